"""Handlers of being somewhere: rooms made, joined and left, and how one is shown there."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_chat import names
from trio_chat.chat.house import no_room
from trio_chat.errors import NoRoom, NoUser, RoomExists, TooMany, WrongPassword
from trio_chat.protocol.frames import Away, AwayChanged, Create, Join, Leave, Nick, NickChanged, Ok
from trio_chat.server.checks import check_length, check_voice, cursor_of
from trio_chat.server.cursor import Cursor
from trio_chat.server.moderation import use_master_key
from trio_chat.server.room import Arrival
from trio_chat.server.rooms import ensure_room

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
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
    found = False
    try:
        async with server.rooms.hold(name) as room:
            found = True
            await _enter(server, connection, room, frame)
    except NoRoom:
        if frame.password is not None and not found:
            # Somebody may try names and passwords: none costs more than another.
            await server.room_passwords.check(connection.identity.key, key, frame.password, None)
        raise


async def _enter(server: Server, connection: Connection, room: Room, frame: Join) -> None:
    proven = await _show_password(server, connection, room, frame.password)
    await use_master_key(server, connection, room)
    room.leave(connection)  # who is in it already enters anew
    arrival = Arrival(Cursor(room, connection), frame.after, frame.id, proven=proven)
    try:
        await room.inbox.send(arrival)
        await arrival.done.wait()
    except trio.Cancelled:
        arrival.cancelled = True
        raise
    if arrival.refused is not None:
        raise arrival.refused


async def _show_password(
    server: Server, connection: Connection, room: Room, password: str | None
) -> bool:
    """Say whether somebody gets in by the room's password; raise if they do not get in at all."""
    house, who = room.house, connection.suspect
    error = house.door(who, time.time(), admin=connection.is_admin, proven=False)
    if error is None:
        return False
    if password is None or not isinstance(error, WrongPassword | NoRoom):
        raise error
    if await server.room_passwords.check(who.user, room.key, password, house.password):
        return True
    if isinstance(error, WrongPassword):
        raise WrongPassword(f"that is not the password of {room.name}")
    raise error


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
    """Make a room, which its maker owns.

    A plain one is for everybody and an encrypted one for whom they invite, unless told
    otherwise; with a password it is for those who know it.
    """
    name, mode = names.check_name(frame.room), frame.mode or "encrypted"
    check_voice(server, connection)  # a name is said, too
    everybody = mode == "plain" or frame.password is not None
    access = frame.access or ("open" if everybody else "closed")
    password = None
    if frame.password is not None:
        if await server.store.find_room(names.key(name)) is not None:
            raise RoomExists(f"there is a room {name} already", room=name)
        password = await server.room_passwords.hash(frame.password)
    await server.store.create_room(
        name,
        mode=mode,
        now=time.time(),
        people=(connection.identity.key,),
        access=access,
        role="owner",
        password=password,
    )
    connection.say(Ok(id=frame.id))


async def away(server: Server, connection: Connection, frame: Away) -> None:
    """Be away, or back, in all rooms."""
    check_length(frame.text or "", AWAY_SIZE, "an away text")
    if frame.text:
        check_voice(server, connection)
    connection.away = frame.text
    await _show(connection, partial(AwayChanged, text=frame.text), away=frame.text)
    connection.say(Ok(id=frame.id))


async def nick(server: Server, connection: Connection, frame: Nick) -> None:
    """Bear a display name, or none, in all rooms."""
    check_length(frame.nick or "", NICK_SIZE, "a nick")
    if frame.nick:
        check_voice(server, connection)
    connection.nick = frame.nick
    await _show(connection, partial(NickChanged, nick=frame.nick), nick=frame.nick)
    connection.say(Ok(id=frame.id))


async def _show(
    connection: Connection,
    frame: Callable[..., AwayChanged | NickChanged],
    **changes: str | None,
) -> None:
    """Show a change in all rooms where one may speak; there may be many, so others get turns."""
    now = time.time()
    user, device = connection.identity.user, connection.device
    for cursor in list(connection.cursors.values()):
        room = cursor.room
        if connection in room.cursors and room.unheard(connection, now) is None:
            room.roster.update(device, **changes)
            if not room.roster.large:
                room.cast(frame(room=room.name, user=user, device=device))
        await trio.lowlevel.checkpoint()
