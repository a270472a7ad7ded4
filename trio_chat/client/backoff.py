"""How long to wait before connecting again. Pure: what is random is given."""

from __future__ import annotations

import secrets
from collections.abc import Callable

__all__ = ["Backoff"]

_LONGEST_REQUEST = 600.0  # seconds; a server cannot send us away for longer


class Backoff:
    """Exponential, with full jitter: many clients of one server do not come back as one.

    Args:
        first: The longest first delay, in seconds; it doubles with each failure.
        longest: The longest delay of all.
        uniform: Returns a number between two; `secrets.SystemRandom().uniform` if left out.
    """

    def __init__(
        self,
        first: float = 0.5,
        longest: float = 30.0,
        uniform: Callable[[float, float], float] | None = None,
    ) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform or secrets.SystemRandom().uniform
        self._failures = 0

    def delay(self, retry_after: float | None = None) -> float:
        """Return the seconds until the next attempt, at least what the server asked for."""
        ceiling = min(self._longest, self._first * 2 ** min(self._failures, 32))
        self._failures += 1
        asked = min(max(retry_after or 0.0, 0.0), _LONGEST_REQUEST)
        return asked + self._uniform(0.0, ceiling)

    def succeeded(self) -> None:
        """Start anew: a connection stood for a while."""
        self._failures = 0
