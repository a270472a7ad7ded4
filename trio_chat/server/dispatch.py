"""What each command does: one table from the frame's class to its handler.

A handler gets the server, the connection and the frame. It answers through the connection,
or raises `Refused`, which becomes the reply.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_chat import names
from trio_chat.chat.ledger import Entry, message_rest, topic_rest
from trio_chat.errors import (
    HelloFirst,
    NoRoom,
    NotMember,
    NoUser,
    Refused,
    StoreError,
    StoreUnavailable,
    TextTooLong,
    TooMany,
)
from trio_chat.protocol.codec import encode, encode_text
from trio_chat.protocol.frames import (
    Away,
    AwayChanged,
    Chat,
    Command,
    Create,
    Error,
    Hello,
    History,
    Join,
    Leave,
    List,
    ListRooms,
    Nick,
    NickChanged,
    Ok,
    Person,
    Ping,
    Pong,
    Relay,
    Relayed,
    RoomInfo,
    Rooms,
    Send,
    SetTopic,
    Typing,
    TypingNow,
    Users,
    Whois,
)
from trio_chat.protocol.frames import (
    Server as ServerSays,
)
from trio_chat.server.cursor import Cursor
from trio_chat.server.room import Arrival

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server
    from trio_chat.store import RoomSummary

__all__ = ["HANDLERS", "handle"]

log = logging.getLogger("trio_chat.server")

NAME_SIZE = 64  # characters of a nick or an away text
TOPIC_SIZE = 400  # characters
RELAY_DEBT = 64 * 1024  # bytes owed to a peer above which nothing is relayed to it


async def handle(server: Server, connection: Connection, frame: Command) -> None:
    """Do what `frame` asks, and say how it went."""
    if type(frame) is Pong:
        return  # a sign of life; costs nothing
    await connection.spend()
    try:
        await _do(server, connection, frame)
    except Refused as error:
        connection.say(
            Error(
                code=error.code,
                text=str(error),
                id=getattr(frame, "id", None),
                room=error.room or getattr(frame, "room", None),
                n=error.n or getattr(frame, "n", None),
                retry_after=error.retry_after,
            )
        )


async def _do(server: Server, connection: Connection, frame: Command) -> None:
    try:
        await HANDLERS[type(frame)](server, connection, frame)
    except StoreError as error:
        log.error("connection %d: %s: %s", connection.id, frame.type, error)
        raise StoreUnavailable(
            "the server cannot use its database now; nothing has happened, try again later",
            retry_after=5.0,
        ) from None


# --- talking ---------------------------------------------------------------------------


async def _send(server: Server, connection: Connection, frame: Send) -> None:
    cursor = _cursor(connection, frame.room)
    _check_size(frame.text, server.limits.text_size)
    rest = message_rest(cursor.who, frame.n, frame.text, frame.form)
    await _post(cursor, Entry(connection.device, frame.n, rest, None, connection))


async def _set_topic(server: Server, connection: Connection, frame: SetTopic) -> None:
    cursor = _cursor(connection, frame.room)
    _check_length(frame.text, TOPIC_SIZE, "a topic")
    receipt = _Receipt(connection, frame)
    rest = topic_rest(cursor.who, frame.text)
    await _post(cursor, Entry(connection.device, None, rest, frame.text, receipt))


async def _post(cursor: Cursor, entry: Entry) -> None:
    inbox = cursor.room.inbox
    try:
        inbox.send_nowait(entry)
    except trio.WouldBlock:
        await inbox.send(entry)


@attrs.frozen
class _Receipt:
    """Answers a command when its entry's fate is known."""

    connection: Connection
    frame: SetTopic

    def accepted(self, seq: int) -> None:
        self.connection.say(Ok(seq=seq, id=self.frame.id))

    def refused(self, error: Refused) -> None:
        self.connection.say(
            Error(code=error.code, text=str(error), room=self.frame.room, id=self.frame.id)
        )


async def _typing(server: Server, connection: Connection, frame: Typing) -> None:
    room = _cursor(connection, frame.room).room
    if not room.roster.large:
        user = connection.identity.user
        room.cast(TypingNow(room=room.name, user=user, device=connection.device), but=connection)
    connection.say(Ok(id=frame.id))


async def _chat(server: Server, connection: Connection, frame: Chat) -> None:
    _check_size(frame.text, server.limits.text_size)
    connection.say(ServerSays(f"echo: {frame.text}"))


async def _relay(server: Server, connection: Connection, frame: Relay) -> None:
    to = server.people.get(names.key(frame.to))
    if not to:
        raise NoUser("nobody of that name is here now; `/users` lists who is")
    line = encode(
        Relayed(
            sender=connection.identity.user,
            to=frame.to,
            alg=frame.alg,
            nonce=frame.nonce,
            cipher=frame.cipher,
        )
    )
    for each in to:
        if each.debt < RELAY_DEBT:
            each.say_line(line)


# --- rooms -----------------------------------------------------------------------------


async def _join(server: Server, connection: Connection, frame: Join) -> None:
    name, people = await _joinable(server, connection, frame.room)
    key = names.key(name)
    present = connection.cursors.get(key)
    if present is not None:
        present.room.leave(connection)
    elif len(connection.cursors) >= server.limits.rooms_per_connection:
        raise TooMany("too many rooms on one connection; leave another first")
    if people:
        await server.rooms.ensure(name, time.time(), people=people)
    async with server.rooms.hold(name) as room:
        arrival = Arrival(Cursor(room, connection), frame.after, frame.id)
        try:
            await room.inbox.send(arrival)
            await arrival.done.wait()
        except trio.Cancelled:
            arrival.cancelled = True
            room.leave(connection)
            raise


async def _joinable(
    server: Server, connection: Connection, name: str
) -> tuple[str, tuple[names.Key, ...]]:
    """Return the room's name and, for a two-person room, the two."""
    if not names.is_direct(name):
        return name, ()
    me = connection.identity.key
    name = names.key(name)
    peer = names.peer_of(name, me)
    if peer is None:
        raise NoRoom("there is no such room; `/rooms` lists those there are")
    if not await server.knows(peer):
        raise NoUser("nobody of that name has ever been here; `/users` lists who is")
    return name, (me, peer)


async def _leave(server: Server, connection: Connection, frame: Leave) -> None:
    cursor = _cursor(connection, frame.room)
    cursor.room.leave(connection)
    connection.say(Ok(id=frame.id))


async def _create(server: Server, connection: Connection, frame: Create) -> None:
    await server.rooms.create(names.check_name(frame.room), time.time())
    connection.say(Ok(id=frame.id))


async def _history(server: Server, connection: Connection, frame: History) -> None:
    room = _cursor(connection, frame.room).room
    limit = min(frame.limit or server.limits.page_entries, server.limits.page_entries)
    if frame.after is not None:
        rows = await server.store.read_after(room.id, frame.after, server.limits.frame_size)
        lines = b"".join(row.body for row in rows).splitlines()[:limit]
    else:
        before = room.ledger.seq + 1 if frame.before is None else frame.before
        lines = await server.store.read_before(room.id, before, limit)
    lines = _fitting(lines, server.limits.frame_size, from_end=frame.after is None)
    # The entries are the log's own bytes; only the frame around them is made here.
    connection.say_line(
        b'{"type":"page","room":%s,"first":%d,"seq":%d,"entries":[%s]%s}\n'
        % (
            encode_text(room.name),
            room.first,
            room.ledger.seq,
            b",".join(line.rstrip(b"\n") for line in lines),
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


async def _list(server: Server, connection: Connection, frame: List) -> None:
    size = server.limits.roster_size
    if frame.room is not None:
        roster = _cursor(connection, frame.room).room.roster
        users, more = roster.page(frame.after, size)
        count = len(roster.members)
    else:
        everybody = {each.device: each for each in server.connections}
        devices = sorted(d for d in everybody if frame.after is None or d > frame.after)
        users = [everybody[device].member() for device in devices[:size]]
        more = devices[size - 1] if len(devices) > size else None
        count = len(everybody)
    connection.say(Users(room=frame.room, count=count, users=users, next=more, id=frame.id))


async def _list_rooms(server: Server, connection: Connection, frame: ListRooms) -> None:
    size = server.limits.roster_size
    after = frame.after or ""
    me = connection.identity.key
    found: list[RoomSummary] = []
    if not after or names.is_direct(after):  # two-person rooms come first: '@' is their mark
        found = await server.store.direct_rooms(me, after, size + 1)
        after = ""
    if len(found) <= size:
        found += await server.store.list_rooms(after, size + 1 - len(found))
    more = names.key(found[size - 1].name) if len(found) > size else None
    rooms = []
    for row in found[:size]:
        room = server.rooms.active(row.name)
        peer = names.peer_of(row.name, me)
        rooms.append(
            RoomInfo(
                room=row.name,
                mode=row.mode,
                topic=row.topic,
                count=len(room.cursors) if room else 0,
                seq=row.seq,
                user=peer and (server.name_of(peer) or peer),
            )
        )
    connection.say(Rooms(rooms=rooms, next=more, id=frame.id))


# --- people ----------------------------------------------------------------------------


async def _away(server: Server, connection: Connection, frame: Away) -> None:
    _check_length(frame.text or "", NAME_SIZE * 4, "an away text")
    connection.away = frame.text
    for cursor in connection.cursors.values():
        room = cursor.room
        room.roster.update(connection.device, away=frame.text)
        if not room.roster.large:
            room.cast(
                AwayChanged(
                    room=room.name,
                    user=connection.identity.user,
                    device=connection.device,
                    text=frame.text,
                )
            )
    connection.say(Ok(id=frame.id))


async def _nick(server: Server, connection: Connection, frame: Nick) -> None:
    _check_length(frame.nick or "", NAME_SIZE, "a nick")
    connection.nick = frame.nick
    for cursor in connection.cursors.values():
        room = cursor.room
        room.roster.update(connection.device, nick=frame.nick)
        if not room.roster.large:
            room.cast(
                NickChanged(
                    room=room.name,
                    user=connection.identity.user,
                    device=connection.device,
                    nick=frame.nick,
                )
            )
    connection.say(Ok(id=frame.id))


async def _whois(server: Server, connection: Connection, frame: Whois) -> None:
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


# --- the connection itself -------------------------------------------------------------


async def _hello(server: Server, connection: Connection, frame: Hello) -> None:
    raise HelloFirst("hello was said already; it comes first and once")


async def _ping(server: Server, connection: Connection, frame: Ping) -> None:
    connection.say(Pong())


def _cursor(connection: Connection, room: str) -> Cursor:
    """Return the connection's place in a room.

    Raises:
        NotMember: it is not in that room.
    """
    cursor = connection.cursors.get(names.key(room))
    if cursor is None:
        raise NotMember("join the room first")
    return cursor


def _check_size(text: str, limit: int) -> None:
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise TextTooLong(f"a message may have {limit} bytes; send it in parts")


def _check_length(text: str, limit: int, what: str) -> None:
    if len(text) > limit:
        raise TextTooLong(f"{what} may have {limit} characters")


Handler = Callable[["Server", "Connection", Any], Awaitable[None]]

HANDLERS: dict[type[Command], Handler] = {
    Hello: _hello,
    Join: _join,
    Leave: _leave,
    Create: _create,
    Send: _send,
    History: _history,
    List: _list,
    ListRooms: _list_rooms,
    SetTopic: _set_topic,
    Typing: _typing,
    Away: _away,
    Nick: _nick,
    Whois: _whois,
    Chat: _chat,
    Relay: _relay,
    Ping: _ping,
}
