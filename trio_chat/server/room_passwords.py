"""Passwords of rooms: hashed and compared in a thread, and only so many times.

Argon2id (RFC 9106) with what OWASP recommends for passwords. Whoever asks learns nothing from
how long it takes: a comparison with nothing costs what a comparison costs.
"""

from __future__ import annotations

import os
import unicodedata
from collections import deque

import trio
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from trio_chat import names
from trio_chat.errors import TooMany
from trio_chat.limits import Limits

__all__ = ["RoomPasswords"]

_MEMORY = 19 * 1024  # KiB
_PASSES = 2
_AT_ONCE = 2  # each takes a processor for a while
_ROOMS = 6  # times as many attempts of a person in all rooms together
# Of a password that nobody knows: 32 random bytes, which are not kept.
_NOTHING = (
    "$argon2id$v=19$m=19456,t=2,p=1$G7tVqx0Ktn+Bwm83RIWqjg"
    "$zIllhBfykYeiUCCfi4YPDZLaeR5nJ5pl211tl8rbrig"
)


class RoomPasswords:
    """Who has tried which passwords, and how often."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._threads = trio.CapacityLimiter(_AT_ONCE)
        self._tried: dict[names.Key, deque[tuple[float, names.Key]]] = {}

    async def hash(self, password: str) -> str:
        """Return what is kept of a new password."""
        return await trio.to_thread.run_sync(_hash, _folded(password), limiter=self._threads)

    async def check(
        self, person: names.Key, room: names.Key, password: str, kept: str | None
    ) -> bool:
        """Is that the password? Where none is kept it is not, which takes as long to find out.

        Raises:
            TooMany: this person has given too many wrong ones.
        """
        attempt = self._begin(person, room, trio.current_time())
        right = await trio.to_thread.run_sync(
            _verify, _folded(password), kept or _NOTHING, limiter=self._threads
        )
        if right and kept is not None:
            tried = self._tried.get(person)
            if tried is not None and attempt in tried:
                tried.remove(attempt)
            return True
        return False

    def forget(self, now: float) -> None:
        """Drop attempts that no longer count."""
        for person, tried in list(self._tried.items()):
            while tried and tried[0][0] <= now - self.limits.password_window:
                tried.popleft()
            if not tried:
                del self._tried[person]

    def _begin(self, person: names.Key, room: names.Key, now: float) -> tuple[float, names.Key]:
        """Note an attempt before its outcome is known: many at once are as many."""
        limits = self.limits
        tried = self._tried.setdefault(person, deque())
        while tried and tried[0][0] <= now - limits.password_window:
            tried.popleft()
        here = [when for when, where in tried if where == room]
        first = None
        if len(here) >= limits.password_attempts:
            first = here[0]
        elif len(tried) >= limits.password_attempts * _ROOMS:
            first = tried[0][0]
        if first is not None:
            wait = max(1.0, round(first + limits.password_window - now, 1))
            raise TooMany("too many wrong passwords; try again later", retry_after=wait)
        attempt = (now, room)
        tried.append(attempt)
        return attempt


def _folded(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode(errors="replace")


def _hash(password: bytes) -> str:
    return _argon2(os.urandom(16)).derive_phc_encoded(password)


def _verify(password: bytes, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, kept)
    except InvalidKey:
        return False
    return True


def _argon2(salt: bytes) -> Argon2id:
    return Argon2id(salt=salt, length=32, iterations=_PASSES, lanes=1, memory_cost=_MEMORY)
