"""Who has come into an encrypted room, told of when they can read.

Somebody is there a moment before they can read, and a greeting in that moment is nothing that they
could read. Pure objects: no Trio, no clock, no bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container

from trio_chat import names
from trio_chat.client.state import Notice
from trio_chat.protocol.frames import Entered, Left

__all__ = ["Arrivals"]

PATIENCE = 3.0  # seconds after which it is told all the same


class Arrivals:
    """Comings and goings that are not told yet, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Entered | Left]] = deque()

    def add(self, frame: Notice, now: float) -> bool:
        """Keep that somebody has come, and what follows on it; return False for all else."""
        if isinstance(frame, Entered) or (isinstance(frame, Left) and self._waiting):
            self._waiting.append((now + PATIENCE, frame))
            return True
        return False

    def ready(self, readers: Container[names.Key], now: float) -> list[Entered | Left]:
        """Take out what can be told, in order."""
        told: list[Entered | Left] = []
        while self._waiting:
            deadline, frame = self._waiting[0]
            can_read = all(names.key(member.user) in readers for member in frame.members)
            if isinstance(frame, Entered) and not can_read and now < deadline:
                break
            told.append(frame)
            self._waiting.popleft()
        return told

    def left(self, now: float) -> float:
        """Return the seconds after which to look again; infinity if nothing waits."""
        return max(0.0, self._waiting[0][0] - now) if self._waiting else float("inf")
