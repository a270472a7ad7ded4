"""Handlers of rooms' lists: who may join where not everybody may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.chat.house import no_room
from trio_chat.chat.roles import Rank
from trio_chat.errors import Forbidden
from trio_chat.protocol.frames import Invite, Invited, Ok, Uninvite
from trio_chat.server import deeds
from trio_chat.server.acts import Moderator
from trio_chat.server.targets import find_target

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["invite", "uninvite"]


async def invite(server: Server, connection: Connection, frame: Invite) -> None:
    """Put a person on the list, and tell them."""
    async with server.rooms.hold(frame.room) as room:
        who = Moderator.of(connection)
        _check_list(room, who)
        target = await find_target(server, frame.user, None, None)
        seq = await deeds.invite(server, room, who, target)
        if seq is not None and target.person is not None:
            server.tell(target.person, Invited(room=room.name, sender=who.name))
    connection.say(Ok(seq=seq, id=frame.id))


async def uninvite(server: Server, connection: Connection, frame: Uninvite) -> None:
    """Take a person off the list, and their connections out of the room."""
    person = names.key(frame.user)
    async with server.rooms.hold(frame.room) as room:
        who = Moderator.of(connection)
        _check_list(room, who)
        if who.is_(person):
            raise Forbidden("whoever owns a room cannot go off its list")
        seq = None
        if person in room.house.people:
            target = await find_target(server, frame.user, None, None, known=False)
            seq = await deeds.kick(server, room, who, target, None, uninvite=True)
    connection.say(Ok(seq=seq, id=frame.id))


def _check_list(room: Room, who: Moderator) -> None:
    """Raise what is wrong with changing a room's list, before anybody is looked for."""
    rank = who.rank(room)
    if rank is Rank.STRANGER:
        raise no_room(room.key)
    if room.house.direct:
        raise Forbidden("a room of two people stays theirs")
    if room.house.invites_nobody:
        raise Forbidden("the room is open: everybody may join it")
    if rank < Rank.OWNER:
        raise Forbidden("only an owner of the room may do that")
