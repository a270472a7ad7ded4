"""A room's newest batches, kept in memory for those who are a little behind."""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Iterator

from trio_chat.chat.ledger import Numbered

__all__ = ["Tail"]


class Tail:
    """Batches that follow each other, up to so many bytes; the oldest go.

    Attributes:
        size: How many bytes there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[tuple[int, int, bytes]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        return iter(self._batches)

    def remember(self, batch: Numbered) -> None:
        """Keep the newest batch."""
        self._batches.append((batch.first, batch.last, batch.body))
        self.size += len(batch.body)
        while self.size > self._limit:
            self.size -= len(self._batches.popleft()[2])

    def recall(self, after: int, size: int) -> tuple[int, bytes] | None:
        """Return whole batches that start right after `after`, and the number they end with.

        About `size` bytes at most; None if they are not all here.
        """
        start = bisect.bisect_left(self._batches, after + 1, key=_first)
        if start == len(self._batches) or self._batches[start][0] != after + 1:
            return None  # older than memory, or inside a batch: the log slices
        parts: list[bytes] = []
        found, end = 0, after
        for _, last, body in itertools.islice(self._batches, start, None):
            parts.append(body)
            found, end = found + len(body), last
            if found >= size:
                break
        return end, b"".join(parts)

    def clear(self) -> None:
        """Forget all of it."""
        self._batches.clear()
        self.size = 0


def _first(kept: tuple[int, int, bytes]) -> int:
    return kept[0]
