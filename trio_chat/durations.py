"""How long something is to hold, as people type it: `30m`, `24h`, `7d`. May know nothing else."""

from __future__ import annotations

import re

__all__ = ["LONGEST", "parse_duration", "spoken"]

LONGEST = 10 * 365 * 86400
"""Seconds of the longest one: ten years."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_NAMES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SHAPE = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII | re.IGNORECASE)


def parse_duration(text: str) -> int | None:
    """Return the seconds, or None if it is no such word, or longer than anybody means."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    seconds = int(found[1]) * _UNITS[found[2].lower()]
    return seconds if seconds <= LONGEST else None


def spoken(seconds: float) -> str:
    """Return how long that is, in words: in the largest unit that says it exactly."""
    for size, name in _NAMES:
        count, rest = divmod(round(seconds), size)
        if count and not rest:
            return f"{count} {name}{'s' * (count != 1)}"
    return "a moment"
