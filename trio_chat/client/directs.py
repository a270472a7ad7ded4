"""One's two-person rooms: which of them the client joins by itself, and from where it reads on.

Nobody is asked into such a room: somebody writes, and it is there. So the client joins those with
something new, and no room else unasked. Pure objects: no Trio, no clock, no bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from trio_chat import names
from trio_chat.names import Key
from trio_chat.protocol.frames import Direct, Rooms

__all__ = ["Cursor", "Directs"]


@attrs.frozen
class Cursor:
    """How far a room had been read, in the history `log` (None: in whichever there is)."""

    seq: int
    log: str | None = None


class Directs:
    """What is known of rooms that are not joined.

    Attributes:
        start: How far each room had been read; two-person rooms, and what the program said.
        listed: Are one's two-person rooms known?
    """

    def __init__(self, cursors: Mapping[str, int], log: str | None) -> None:
        self.start = {names.key(room): Cursor(seq, log) for room, seq in cursors.items()}
        self.listed = False

    def written(self, frame: Direct, user: str) -> int | None:
        """Somebody wrote: return from where to read on, None if that is no room of ours."""
        if not _is_ours(frame.room, user):
            return None
        start = self.start.get(names.key(frame.room))
        unread = 0 if self.listed else max(0, frame.seq - 1)
        return unread if start is None else start.seq

    def news(
        self, frame: Rooms, user: str, log: str, joined: Collection[Key]
    ) -> Iterator[tuple[str, int]]:
        """Yield the rooms with something new, and from where to read on.

        How far the others are is remembered.
        """
        for info in frame.rooms:
            key = names.key(info.room)
            if not _is_ours(info.room, user) or key in joined:
                continue
            start = self.start.get(key)
            if start is None:  # new since the last connection, or not read here ever
                start = self.start[key] = Cursor(0 if self.listed else info.seq, log)
            if info.seq != start.seq or (start.log or log) != log:
                yield info.room, start.seq


def _is_ours(room: str, user: str) -> bool:
    return names.peer_of(names.key(room), user) is not None
