"""Handlers of questions: history, who is where, which rooms there are, who somebody is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.errors import NoUser
from trio_chat.protocol.codec import encode_text
from trio_chat.protocol.frames import (
    History,
    List,
    ListRooms,
    Person,
    RoomInfo,
    Rooms,
    Users,
    Whois,
)
from trio_chat.server.checks import cursor_of

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server
    from trio_chat.store import RoomSummary

__all__ = ["list_rooms", "list_users", "read_history", "whois"]


OWN = "@"  # before the key, in `next`: no name of an open room begins with it


async def read_history(server: Server, connection: Connection, frame: History) -> None:
    """Answer with a page of a room's log, next to `before` or `after`."""
    room = cursor_of(connection, frame.room).room
    limit = min(frame.limit or server.limits.page_entries, server.limits.page_entries)
    if frame.after is not None:
        rows = await server.store.read_after(room.id, frame.after, server.limits.frame_size)
        lines = b"".join(row.body for row in rows).split(b"\n")[:-1][:limit]
    else:
        before = room.ledger.seq + 1 if frame.before is None else frame.before
        size = server.limits.frame_size
        lines = await server.store.read_before(room.id, before, limit, max_bytes=size)
    lines = _fitting(lines, server.limits.frame_size, from_end=frame.after is None)
    # The entries are the log's own bytes; only the frame around them is made here.
    connection.say_line(
        b'{"type":"page","room":%s,"first":%d,"seq":%d,"entries":[%s]%s}\n'
        % (
            encode_text(room.name),
            room.first,
            room.ledger.seq,
            b",".join(lines),
            b"" if frame.id is None else b',"id":%s' % encode_text(frame.id),
        )
    )


def _fitting(lines: list[bytes], size: int, *, from_end: bool) -> list[bytes]:
    """Return as many lines as fit into `size` bytes, at least one, next to where one asked."""
    total, kept = 0, 0
    for line in reversed(lines) if from_end else lines:
        total += len(line) + 1
        if kept and total > size - 1024:
            break
        kept += 1
    return lines[len(lines) - kept :] if from_end else lines[:kept]


async def list_users(server: Server, connection: Connection, frame: List) -> None:
    """Answer with a page of who is in a room, or on the server."""
    size = server.limits.roster_size
    if frame.room is not None:
        roster = cursor_of(connection, frame.room).room.roster
        users, more = roster.page(frame.after, size)
        count = len(roster.members)
    else:
        everybody = {each.device: each for each in server.connections}
        devices = sorted(d for d in everybody if frame.after is None or d > frame.after)
        users = [everybody[device].member() for device in devices[:size]]
        more = devices[size - 1] if len(devices) > size else None
        count = len(everybody)
    connection.say(Users(room=frame.room, count=count, users=users, next=more, id=frame.id))


async def list_rooms(server: Server, connection: Connection, frame: ListRooms) -> None:
    """Answer with a page of rooms: those one is on the list of, then the open ones."""
    size = server.limits.roster_size
    after = frame.after or ""
    me = connection.identity.key
    own: list[RoomSummary] = []
    if not after or after.startswith(OWN):
        own = await server.store.own_rooms(me, after.removeprefix(OWN), size + 1)
        after = ""
    found = own
    if len(own) <= size:
        found = own + await server.store.list_rooms(after, size + 1 - len(own))
    more = None
    if len(found) > size:
        more = (OWN if size <= len(own) else "") + names.key(found[size - 1].name)
    rooms = []
    for row in found[:size]:
        room = server.rooms.active(row.name)
        peer = names.peer_of(row.name, me)
        rooms.append(
            RoomInfo(
                room=row.name,
                mode=row.mode,
                access=row.access,
                topic="" if row.locked and row.access == "open" else row.topic,
                count=len(room.cursors) if room else 0,
                seq=row.seq,
                user=peer and (server.name_of(peer) or peer),
                locked=row.locked or None,
            )
        )
    connection.say(Rooms(rooms=rooms, next=more, id=frame.id))


async def whois(server: Server, connection: Connection, frame: Whois) -> None:
    """Answer with who somebody is, and their devices that are here."""
    key = names.key(frame.user)
    here = list(server.people.get(key, ()))
    if not here and not await server.knows(key):
        raise NoUser("nobody of that name has ever been here; `/users` lists who is")
    connection.say(
        Person(
            user=here[0].identity.user if here else server.name_of(key) or frame.user,
            here=[each.member() for each in here],
            fingerprints=sorted({each.identity.fingerprint for each in here}),
            id=frame.id,
        )
    )
