"""Counting what may be tried only so often: wrong passwords, new accounts. Pure bookkeeping."""

from __future__ import annotations

from collections import deque

from trio_chat.errors import TooMany

__all__ = ["Attempts"]

NAMES = 100_000  # that are counted; over it, the one that began first is forgotten


class Attempts:
    """Counts by name over a window. An attempt counts from its beginning, not its end.

    So many at the same time are no way around it.
    """

    def __init__(self, limit: int, window: float) -> None:
        self.limit = limit
        self.window = window
        self._times: dict[str, deque[float]] = {}

    def begin(self, *names: str, now: float) -> None:
        """Count an attempt for each of the names, or for none.

        Raises:
            TooMany: one of them has had too many; `retry_after` says when it may be again.
        """
        waits = [wait for name in names if (wait := self._wait(name, now)) > 0]
        if waits:
            raise TooMany(
                f"too many attempts; wait {_duration(max(waits))}", retry_after=round(max(waits), 1)
            )
        for name in names:
            self._times.setdefault(name, deque()).append(now)
        while len(self._times) > NAMES:
            del self._times[next(iter(self._times))]

    def forgive(self, *names: str, now: float) -> None:
        """Do not count the attempt that these began at `now`: it was right."""
        for name in names:
            times = self._times.get(name)
            if times and now in times:
                times.remove(now)
                if not times:
                    del self._times[name]

    def forget(self, now: float) -> None:
        """Drop what the window no longer covers, so that memory does not grow with time.

        Only from the oldest on: each look costs nothing, and in the end all are gone.
        """
        while self._times:
            name = next(iter(self._times))
            if self._times[name][-1] > now - self.window:
                return
            del self._times[name]

    def _wait(self, name: str, now: float) -> float:
        times = self._times.get(name)
        if times is None:
            return 0.0
        while times and times[0] <= now - self.window:
            times.popleft()
        if not times:
            del self._times[name]
            return 0.0
        if len(times) < self.limit:
            return 0.0
        return times[-self.limit] + self.window - now


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
