"""Passwords of accounts: hashed with Argon2id, in threads, a few at once.

What is kept of one has its parameters in it (the PHC format), so that these may change. For
a name without account a stand-in is looked at, so that it costs the same.
"""

from __future__ import annotations

import os
import unicodedata

import trio
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from trio_chat.errors import Forbidden

__all__ = ["SHORTEST", "Passwords", "check_new"]

SHORTEST = 8  # characters
_PASSES = 3
_LANES = 1
_MEMORY = 64 * 1024  # KiB
_SIZE = 32  # bytes
_SALT = 16  # bytes

# Of a password that nobody knows: it was random, and thrown away.
_STAND_IN = (
    "$argon2id$v=19$m=65536,t=3,p=1$2mPxUIHJNSQoHcltcMvI2A"
    "$debeazYXOG2flNlLGz0JHd/MgB2VH/dKaZZOLj3BMSo"
)


def check_new(password: str) -> None:
    """Raise `Forbidden` if nobody should have this password."""
    if len(password) < SHORTEST:
        raise Forbidden(f"a password has at least {SHORTEST} characters")


class Passwords:
    """Hashes passwords and compares them.

    Attributes:
        hashings: How often Argon2id was run, for whatever reason.
    """

    def __init__(self, at_once: int) -> None:
        self.limiter = trio.CapacityLimiter(at_once)
        self.hashings = 0

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        self.hashings += 1
        return await trio.to_thread.run_sync(_hash, password, limiter=self.limiter)

    async def matches(self, password: str, kept: str | None) -> bool:
        """Is it the password that this was kept of? With None it is not, for the same price."""
        self.hashings += 1
        against = kept if kept is not None else _STAND_IN
        found = await trio.to_thread.run_sync(_matches, password, against, limiter=self.limiter)
        return found and kept is not None


def _hash(password: str) -> str:
    salt = os.urandom(_SALT)
    made = Argon2id(salt=salt, length=_SIZE, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY)
    return made.derive_phc_encoded(_bytes(password))


def _matches(password: str, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(_bytes(password), kept)
    except InvalidKey:
        return False
    return True


def _bytes(password: str) -> bytes:
    """The same bytes on whatever keyboard it is typed."""
    return unicodedata.normalize("NFC", password).encode(errors="surrogatepass")
