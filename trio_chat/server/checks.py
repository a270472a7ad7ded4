"""What several handlers check first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.chat.house import muted
from trio_chat.errors import NotMember, TextTooLong

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.cursor import Cursor
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["check_length", "check_size", "check_voice", "cursor_of"]


def cursor_of(connection: Connection, room: str) -> Cursor:
    """Return the connection's place in a room.

    Raises:
        NotMember: it is not in that room.
    """
    cursor = connection.cursors.get(names.key(room))
    if cursor is None:
        raise NotMember("join the room first")
    return cursor


def check_voice(server: Server, connection: Connection, room: Room | None = None) -> None:
    """Raise `Muted` if somebody may say nothing in a room, or anywhere."""
    if server.sanctions:
        now = time.time()
        address = not connection.is_admin
        mute = server.sanctions.against("mute", connection.suspect, now, address=address)
        if mute is not None:
            raise muted(mute, "on this server", now)
    if room is not None and room.house.sanctions:
        error = room.unheard(connection, time.time())
        if error is not None:
            raise error


def check_size(text: str, limit: int) -> None:
    """Raise `TextTooLong` if `text` has more than `limit` bytes in UTF-8."""
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise TextTooLong(f"a message may have {limit} bytes; send it in parts")


def check_length(text: str, limit: int, what: str) -> None:
    """Raise `TextTooLong` if `text`, which is `what`, has more than `limit` characters."""
    if len(text) > limit:
        raise TextTooLong(f"{what} may have {limit} characters")
