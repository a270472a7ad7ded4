"""Handlers of closed rooms' lists: who may join them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_chat import names
from trio_chat.errors import Forbidden, NoUser
from trio_chat.protocol.frames import Invite, Invited, Ok, Removed, Uninvite
from trio_chat.server.rooms import no_room

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["invite", "uninvite"]


async def invite(server: Server, connection: Connection, frame: Invite) -> None:
    """Put a person on the list, and tell them."""
    person = names.key(frame.user)
    async with _owned(server, connection, frame.room) as room:
        if not await server.knows(person):
            raise NoUser("nobody of that name has ever been here; `/users` lists who is")
        if person not in room.people:
            with trio.CancelScope(shield=True):  # the list in memory is that in the log
                await server.store.set_role(room.id, room.key, person, "member")
                room.people[person] = "member"
            server.tell(person, Invited(room=room.name, sender=connection.identity.user))
    connection.say(Ok(id=frame.id))


async def uninvite(server: Server, connection: Connection, frame: Uninvite) -> None:
    """Take a person off the list, and their connections out of the room."""
    person = names.key(frame.user)
    async with _owned(server, connection, frame.room) as room:
        if person == connection.identity.key:
            raise Forbidden("whoever owns a room cannot go off its list")
        if person in room.people:
            with trio.CancelScope(shield=True):
                await server.store.set_role(room.id, room.key, person, None)
                del room.people[person]
            for each in server.people.get(person, ()):
                room.leave(each)
            server.tell(person, Removed(room=room.name, sender=connection.identity.user))
    connection.say(Ok(id=frame.id))


@asynccontextmanager
async def _owned(server: Server, connection: Connection, name: str) -> AsyncIterator[Room]:
    """Give a room whose list this person may change; nobody else changes it meanwhile.

    Raises:
        NoRoom: there is none, or not for this person.
        Forbidden: its list is not theirs to change, or it has none.
    """
    async with server.rooms.hold(name) as room, room.listing:
        role = room.role(connection.identity.key)
        if role is None:
            raise no_room(room.key)
        if room.access != "closed":
            raise Forbidden("the room is open: everybody may join it")
        if names.is_direct(room.name):
            raise Forbidden("a room of two people stays theirs")
        if role != "owner":
            raise Forbidden("only an owner of the room may do that")
        yield room
