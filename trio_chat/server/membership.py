"""Handlers of being somewhere: rooms made, joined and left, and how one is shown there."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_chat import names
from trio_chat.errors import NoUser, TooMany
from trio_chat.protocol.frames import Away, AwayChanged, Create, Join, Leave, Nick, NickChanged, Ok
from trio_chat.server.checks import check_length, cursor_of
from trio_chat.server.cursor import Cursor
from trio_chat.server.room import Arrival
from trio_chat.server.rooms import ensure_room, no_room

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["away", "create", "join", "leave", "nick"]

NICK_SIZE = 64  # characters
AWAY_SIZE = 256  # characters


async def join(server: Server, connection: Connection, frame: Join) -> None:
    """Enter a room: `joined`, then the log after `after`, then live."""
    name, people = await _joinable(server, connection, frame.room)
    key = names.key(name)
    full = len(connection.cursors) >= server.limits.rooms_per_connection
    if full and key not in connection.cursors:
        raise TooMany("too many rooms on one connection; leave another first")
    if people:
        await ensure_room(server.store, name, time.time(), mode="encrypted", people=people)
    async with server.rooms.hold(name) as room:
        room.leave(connection)  # who is in it already enters anew
        arrival = Arrival(Cursor(room, connection), frame.after, frame.id)
        try:
            await room.inbox.send(arrival)
            await arrival.done.wait()
        except trio.Cancelled:
            arrival.cancelled = True
            raise
        if arrival.turned_away:
            raise no_room(key)


async def _joinable(
    server: Server, connection: Connection, name: str
) -> tuple[str, tuple[names.Key, ...]]:
    """Return the room's name and, for a two-person room that may be made, the two."""
    if not names.is_direct(name):
        return names.check_name(name), ()
    me = connection.identity.key
    name = names.key(name)
    peer = names.peer_of(name, me)
    if peer is None:
        raise no_room(name)
    if name.startswith(names.PLAIN_DIRECT):
        return name, ()  # where it is, it stays; no more are made
    there = server.rooms.active(name) or await server.store.find_room(names.key(name))
    if not there and not await server.knows(peer):
        raise NoUser("nobody of that name has ever been here; `/users` lists who is")
    return name, tuple({me, peer})  # one, where people talk to themselves


async def leave(server: Server, connection: Connection, frame: Leave) -> None:
    """Leave a room."""
    cursor = cursor_of(connection, frame.room)
    cursor.room.leave(connection)
    connection.say(Ok(id=frame.id))


async def create(server: Server, connection: Connection, frame: Create) -> None:
    """Make a room: an encrypted one for its maker and whom they invite, or a plain one for all."""
    name, now = names.check_name(frame.room), time.time()
    if frame.mode == "plain":
        await server.store.create_room(name, mode="plain", now=now)
    else:
        maker = (connection.identity.key,)
        await server.store.create_room(
            name, mode="encrypted", now=now, people=maker, access="closed", role="owner"
        )
    connection.say(Ok(id=frame.id))


async def away(server: Server, connection: Connection, frame: Away) -> None:
    """Be away, or back, in all rooms."""
    check_length(frame.text or "", AWAY_SIZE, "an away text")
    connection.away = frame.text
    await _show(connection, partial(AwayChanged, text=frame.text), away=frame.text)
    connection.say(Ok(id=frame.id))


async def nick(server: Server, connection: Connection, frame: Nick) -> None:
    """Bear a display name, or none, in all rooms."""
    check_length(frame.nick or "", NICK_SIZE, "a nick")
    connection.nick = frame.nick
    await _show(connection, partial(NickChanged, nick=frame.nick), nick=frame.nick)
    connection.say(Ok(id=frame.id))


async def _show(
    connection: Connection,
    frame: Callable[..., AwayChanged | NickChanged],
    **changes: str | None,
) -> None:
    """Show a change in all rooms; there may be many, so others get turns between them."""
    user, device = connection.identity.user, connection.device
    for cursor in list(connection.cursors.values()):
        room = cursor.room
        if connection in room.cursors:
            room.roster.update(device, **changes)
            if not room.roster.large:
                room.cast(frame(room=room.name, user=user, device=device))
        await trio.lowlevel.checkpoint()
