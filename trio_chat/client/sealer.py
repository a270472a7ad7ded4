"""What a session wants of whoever takes the frames of encrypted rooms; `Encryption` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trio_chat.client.state import Notice, RoomState, UnknownEntry
from trio_chat.errors import ChatError, Refused
from trio_chat.names import Key
from trio_chat.protocol.frames import Acted, Joined, Message, Topic

__all__ = ["Sealer"]


class Sealer(Protocol):
    """It only takes note: nothing here waits."""

    @property
    def ready(self) -> bool:
        """Is it known which rooms there are?"""

    def connected(self) -> None:
        """There is a connection."""

    def lost(self) -> None:
        """The connection is gone."""

    def list_changed(self) -> None:
        """There is another revocation list."""

    def joined(self, state: RoomState, frame: Joined, after: int | None) -> None:
        """An encrypted room is joined, to be read from `after` on, or from now."""

    def entry(self, frame: Message | Topic | Acted | UnknownEntry) -> None:
        """An entry of its log."""

    def noticed(self, frame: Notice) -> bool:
        """Will the program be told later that somebody came or went?"""

    def refused(self, room: str, n: int, error: Refused) -> None:
        """Something sent to it was not taken."""

    def forget(self, key: Key, error: Callable[[], ChatError]) -> None:
        """It was left."""

    def ended(self, error: Callable[[], ChatError]) -> None:
        """Nothing comes any more."""

    def cursor(self, key: Key, log: str) -> int | None:
        """Return how far its log is dealt with already, if it is known."""

    def knows(self, key: Key) -> bool:
        """Is a room known to be an encrypted one?"""
