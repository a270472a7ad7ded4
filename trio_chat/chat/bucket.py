"""How fast a peer's input is taken: late, never not at all."""

from __future__ import annotations

__all__ = ["Bucket"]


class Bucket:
    """A token bucket that answers how long to wait, after the generic cell rate algorithm.

    `burst` frames are free at once; from then on `rate` a second. Nothing is ever refused:
    limits that break pasting are the first complaint about other servers.
    """

    __slots__ = ("_due", "_interval", "_slack")

    def __init__(self, burst: int, rate: float) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) * self._interval
        self._due = float("-inf")  # when the bucket would be full again

    def take(self, now: float) -> float:
        """Take one token at `now`; return the seconds to wait before going on."""
        due = self._due = max(self._due + self._interval, now)
        return max(0.0, due - now - self._slack)
