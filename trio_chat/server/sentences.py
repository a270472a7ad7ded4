"""Bans and mutes of the whole server: looked at when somebody comes, and enforced at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from trio_chat.chat.house import banned
from trio_chat.chat.ledger import Act, Entry, act_rest
from trio_chat.chat.sanctions import Kind, Sanction, address_subject
from trio_chat.errors import BadName, NoUser
from trio_chat.server.acts import OPERATOR
from trio_chat.server.deeds import make_sanction, shown
from trio_chat.server.targets import Target
from trio_chat.store import EVERYWHERE, LiftSanction, PutSanction

if TYPE_CHECKING:
    from trio_chat.errors import Refused
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["check_banned", "impose", "lift"]


def check_banned(server: Server, connection: Connection) -> None:
    """Raise `Banned` if somebody may not be here.

    Of a peer without a certificate only the address is known, and admins are never kept out by
    theirs: an address is shared, and a slip would keep out whoever can mend it.
    """
    if not server.sanctions:
        return
    now = time.time()
    if connection.stranger:
        try:
            subject = address_subject(connection.address)
        except BadName:
            return
        found = server.sanctions.get("ban", subject, now)
    else:
        address = not connection.is_admin
        found = server.sanctions.against("ban", connection.suspect, now, address=address)
    if found is not None:
        raise banned(found, "from this server", now)


async def impose(
    server: Server, kind: Kind, target: Target, *, seconds: float | None, reason: str | None
) -> int:
    """Put a ban or mute in force everywhere; return how many connections it meets."""
    sanction = make_sanction(kind, OPERATOR, target, seconds, reason)
    with trio.CancelScope(shield=True):  # what is in memory is what is on the disk
        await server.store.change(PutSanction(EVERYWHERE, sanction))
        server.sanctions.put(sanction)
    met = target.meets(server.connections)
    rooms = {cursor.room: None for each in met for cursor in each.cursors.values()}
    for room in rooms:
        room.pin()
    try:
        if kind == "ban":
            for connection in met:
                error = banned(sanction, "from this server", sanction.since)
                connection.end("banned", retry_after=error.retry_after)
        for room in rooms:
            if not room.house.direct:
                await _show(room, kind, target, sanction)
    finally:
        for room in rooms:
            room.unpin()
    return len(met)


async def lift(server: Server, kind: Kind, target: Target) -> None:
    """End a ban or mute of exactly that person, device or address.

    Raises:
        NoUser: there is none.
    """
    if server.sanctions.get(kind, target.subject, time.time()) is None:
        done = "banned from this server" if kind == "ban" else "muted everywhere"
        raise NoUser(f"{target} is not {done}; `admin bans` lists who is")
    with trio.CancelScope(shield=True):
        await server.store.change(LiftSanction(EVERYWHERE, kind, target.subject))
        server.sanctions.lift(kind, target.subject)


async def _show(room: Room, kind: Kind, target: Target, sanction: Sanction) -> None:
    """Have a room's log say what happened to somebody who was there."""
    rest = act_rest(OPERATOR.line, {**shown(kind, target, sanction), "everywhere": True})
    act = Act("mode", lambda _now: None, (), lambda: None)
    await room.inbox.send([Entry("", None, rest, None, _Nobody(), None, act)])


class _Nobody:
    """Waits for nothing: the sanction is in force, whether the room says so or not."""

    def accepted(self, seq: int) -> None:
        """It is in the log."""

    def refused(self, error: Refused) -> None:
        """It is not."""
