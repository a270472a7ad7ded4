"""A member of a room, as the room sees it: how far its connection has been given the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.chat.ledger import author

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room

__all__ = ["Cursor"]

GONE = 1 << 62  # right before no batch, and behind none


class Cursor:
    """One connection in one room.

    The rule that keeps every reader exact: a batch is pushed to a cursor only if it stands
    right before it. All others read on from the log until they stand there, so nothing is
    doubled, lost or out of order, whoever is scheduled when.

    Attributes:
        seq: The last sequence number given to the connection.
        who: The bytes that name this member in the lines of its messages.
        stale: Did it miss something of the roster while it was behind?
    """

    __slots__ = ("connection", "room", "seq", "stale", "who", "wire")

    def __init__(self, room: Room, connection: Connection) -> None:
        self.room = room
        self.connection = connection
        self.wire = connection.wire
        self.seq = 0
        self.stale = False
        self.who = author(connection.identity.user, connection.device)

    def retire(self) -> None:
        """Be given nothing more."""
        self.seq = GONE

    @property
    def lags(self) -> bool:
        """Is there more in the log than the connection has been given?"""
        return self.seq < self.room.ledger.seq
