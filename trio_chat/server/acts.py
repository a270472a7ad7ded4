"""Acts of moderation in a room: who may, and how each takes place.

An act goes through its room's inbox as a message does. When its turn has come it is judged by
the room's rules as they are then; what it changes, its line in the log and its entry in the
audit log are written in one transaction, and then it takes effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from trio_chat import names
from trio_chat.chat.house import muted, no_room
from trio_chat.chat.ledger import Act, Entry, act_rest, author
from trio_chat.chat.roles import DEEDS, Deed, Rank, may
from trio_chat.errors import Forbidden, Refused
from trio_chat.identity import ADMIN
from trio_chat.protocol.codec import encode_text
from trio_chat.store import (
    AddAudit,
    AuditEntry,
    Change,
)

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["OPERATOR", "Moderator", "carry_out", "objection"]

_NEEDS = {
    Rank.MODERATOR: "a moderator or an owner of the room",
    Rank.OWNER: "an owner of the room",
    Rank.ADMIN: "an admin",
}


@attrs.frozen
class Moderator:
    """Who does it: somebody's connection, or, without one, whoever runs the server.

    Attributes:
        name: As others see it.
    """

    name: str
    connection: Connection | None = None

    @classmethod
    def of(cls, connection: Connection) -> Moderator:
        """Return somebody who is connected."""
        return cls(connection.identity.user, connection)

    @property
    def line(self) -> bytes:
        """The part of an entry that says who."""
        if self.connection is None:
            return b',"from":%s' % encode_text(self.name)
        return author(self.name, self.connection.device)

    def is_(self, person: names.Key | None) -> bool:
        """Is it the same person?"""
        return self.connection is not None and self.connection.suspect.user == person

    def rank(self, room: Room) -> Rank:
        """Return how they rank in a room."""
        if self.connection is None:
            return Rank.OPERATOR
        return room.house.rank(self.connection.suspect.user, admin=self.connection.is_admin)

    def audit(self, action: str, target: str, now: float) -> tuple[Change, ...]:
        """Return what is written down of it; orders are written down by the desk."""
        if self.connection is None:
            return ()
        entry = AuditEntry(
            time=round(now, 3),
            actor=f"user {self.name}",
            action=action,
            target=target,
            outcome="done",
        )
        return (AddAudit(entry),)


OPERATOR = Moderator("server")
"""Whoever runs the server; nobody can be called so."""


@attrs.define(eq=False)
class _Fate:
    """Whether an act has taken place."""

    done: trio.Event = attrs.field(factory=trio.Event)
    seq: int = 0
    error: Refused | None = None

    def accepted(self, seq: int) -> None:
        self.seq = seq
        self.done.set()

    def refused(self, error: Refused) -> None:
        self.error = error
        self.done.set()


async def carry_out(
    room: Room,
    who: Moderator,
    kind: str,
    fields: Mapping[str, object],
    check: Callable[[float], Refused | None],
    changes: tuple[Change, ...] | list[Change],
    apply: Callable[[], None],
    audit: tuple[str, str],
) -> int:
    """Have an act take its turn; return its number in the log, or raise why it may not be.

    *Cancellation*: it has not taken place, or takes place whole.
    """
    now = time.time()
    if (error := check(now)) is not None:
        raise error
    act = Act(kind, check, (*changes, *who.audit(*audit, now)), apply)
    fate = _Fate()
    rest = act_rest(who.line, fields)
    await room.inbox.send([Entry("", None, rest, None, fate, None, act)])
    await fate.done.wait()
    if fate.error is not None:
        raise fate.error
    return fate.seq


def objection(
    server: Server,
    room: Room,
    who: Moderator,
    deed: Deed,
    person: names.Key | None,
    now: float,
    *,
    oneself: bool = False,
) -> Refused | None:
    """Say why somebody may not do that to `person`, as things are now."""
    rank = who.rank(room)
    if rank is Rank.STRANGER:
        return no_room(room.key)
    if room.house.direct:
        return Forbidden("a room of two people stays theirs")
    if deed == "invite" and room.house.invites_nobody:
        return Forbidden("the room is open: everybody may join it")
    if oneself:
        return None
    if not may(deed, rank):
        return Forbidden(f"only {_NEEDS[DEEDS[deed]]} may do that")
    if who.connection is not None:
        silence = room.house.silence(who.connection.suspect, now, admin=who.connection.is_admin)
        if silence is not None:
            return muted(silence, f"in {room.name}", now)
        banned = room.house.sanctions.against("ban", who.connection.suspect, now)
        if banned is not None and rank < Rank.ADMIN:
            return no_room(room.key)
    if person is not None:
        if who.is_(person):
            return Forbidden("nobody does that to themselves")
        if not may(deed, rank, _rank_of(server, room, person)):
            return Forbidden("only somebody who ranks above them may do that")
    return None


def _rank_of(server: Server, room: Room, person: names.Key) -> Rank:
    """Return how somebody ranks in a room, wherever they are."""
    admin = any(ADMIN in each.identity.roles for each in server.people.get(person, ()))
    return room.house.rank(person, admin=admin)
