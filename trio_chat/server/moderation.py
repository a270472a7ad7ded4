"""Handlers of moderation: roles, kicks, bans and mutes in rooms. What they do is deeds.py's."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.chat.house import no_room
from trio_chat.chat.roles import Rank
from trio_chat.errors import Forbidden
from trio_chat.protocol.frames import (
    Ban,
    Kick,
    ListSanctions,
    Mute,
    Ok,
    SanctionInfo,
    Sanctions,
    SetRole,
    Unban,
    Unmute,
)
from trio_chat.server import deeds
from trio_chat.server.acts import Moderator
from trio_chat.server.targets import find_target, split_subject

if TYPE_CHECKING:
    from trio_chat.chat.sanctions import Kind, Sanction
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = [
    "ban",
    "kick",
    "list_sanctions",
    "mute",
    "set_role",
    "tell_sanctions",
    "unban",
    "unmute",
    "use_master_key",
]


async def set_role(server: Server, connection: Connection, frame: SetRole) -> None:
    """Give somebody another role."""
    who = Moderator.of(connection)
    async with server.rooms.hold(frame.room) as room:
        _check_there(room, who)
        known = names.key(frame.user) not in room.house.people
        target = await find_target(server, frame.user, None, None, known=known)
        seq = await deeds.set_role(server, room, who, target, frame.role)
    connection.say(Ok(seq=seq, id=frame.id))


async def kick(server: Server, connection: Connection, frame: Kick) -> None:
    """Put somebody out."""
    who = Moderator.of(connection)
    async with server.rooms.hold(frame.room) as room:
        _check_there(room, who)
        target = await find_target(server, frame.user, None, None, known=False)
        seq = await deeds.kick(server, room, who, target, frame.reason)
    connection.say(Ok(seq=seq, id=frame.id))


async def ban(server: Server, connection: Connection, frame: Ban) -> None:
    """Keep somebody out."""
    await _sanction(server, connection, frame, deeds.ban)


async def mute(server: Server, connection: Connection, frame: Mute) -> None:
    """Let somebody read and say nothing."""
    await _sanction(server, connection, frame, deeds.mute)


async def unban(server: Server, connection: Connection, frame: Unban) -> None:
    """End a ban."""
    await _lift(server, connection, frame, "ban")


async def unmute(server: Server, connection: Connection, frame: Unmute) -> None:
    """End a mute."""
    await _lift(server, connection, frame, "mute")


async def _sanction(
    server: Server,
    connection: Connection,
    frame: Ban | Mute,
    deed: Callable[..., Awaitable[int]],
) -> None:
    who = Moderator.of(connection)
    async with server.rooms.hold(frame.room) as room:
        _check_there(room, who)
        target = await find_target(server, frame.user, frame.device, frame.address)
        seq = await deed(server, room, who, target, seconds=frame.seconds, reason=frame.reason)
    connection.say(Ok(seq=seq, id=frame.id))


async def _lift(server: Server, connection: Connection, frame: Unban | Unmute, kind: Kind) -> None:
    who = Moderator.of(connection)
    async with server.rooms.hold(frame.room) as room:
        _check_there(room, who)
        target = await find_target(server, frame.user, frame.device, frame.address, known=False)
        seq = await deeds.lift(server, room, who, kind, target)
    connection.say(Ok(seq=seq, id=frame.id))


async def list_sanctions(server: Server, connection: Connection, frame: ListSanctions) -> None:
    """Answer with who is banned and muted; addresses are for admins."""
    who = Moderator.of(connection)
    async with server.rooms.hold(frame.room) as room:
        rank = _check_there(room, who)
        if rank < Rank.MODERATOR:
            raise Forbidden("only a moderator or an owner of the room may do that")
        found = tell_sanctions(room.house.sanctions, addresses=rank >= Rank.ADMIN)
    connection.say(Sanctions(room=room.name, sanctions=found, id=frame.id))


def tell_sanctions(found: Iterable[Sanction], *, addresses: bool) -> list[SanctionInfo]:
    """Return those in force as they are told, the oldest first."""
    now = time.time()
    return [
        SanctionInfo(
            kind=each.kind,
            until=each.until,
            since=each.since,
            by=each.actor,
            reason=each.reason or None,
            **dict(split_subject(each.subject)),
        )
        for each in sorted(found, key=lambda each: each.since)
        if each.holds(now) and (addresses or not each.subject.startswith("address:"))
    ]


async def use_master_key(server: Server, connection: Connection, room: Room) -> None:
    """Let an admin into a plain room whatever its list and password say, so that all see it."""
    house = room.house
    if house.has_master_key(admin=connection.is_admin) and not house.invited(
        connection.suspect.user
    ):
        await deeds.enter_as_admin(server, room, connection)


def _check_there(room: Room, who: Moderator) -> Rank:
    """Return somebody's rank; for strangers the room is not there, before all else."""
    rank = who.rank(room)
    if rank is Rank.STRANGER:
        raise no_room(room.key)
    return rank
