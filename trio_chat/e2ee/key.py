"""The key of a client's store: in a file beside it, or made of a passphrase.

Beside `me.store` lies either `me.store.key`, the key itself, which whoever has both can read all
with; or `me.store.salt`, which is no secret, and without which the passphrase is worth nothing.
Either is made before the store, never after it. Knows files, not SQLite.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from pathlib import Path

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from trio_chat.errors import ConfigError
from trio_chat.files import create_private, read_private

__all__ = ["key_path", "load_or_make_key", "needs_passphrase", "salt_path", "stretch_passphrase"]

KEY_SIZE = 32  # bytes
# RFC 9106, section 4, the second recommended choice: half a second, 64 MiB. Kept with the salt,
# so that later stores may take more.
_ITERATIONS, _LANES, _MEMORY = 3, 4, 64 * 1024  # KiB

_KEY = re.compile(rb"[0-9a-f]{64}\s*", re.IGNORECASE)
_SALT = re.compile(rb"argon2id ([1-9]\d?) ([1-9]\d?) ([1-9]\d{2,6}) ([0-9a-f]{32})\s*")


def key_path(store: Path) -> Path:
    """Return where the key of a store lies."""
    return store.with_name(f"{store.name}.key")


def salt_path(store: Path) -> Path:
    """Return where the salt of a store lies."""
    return store.with_name(f"{store.name}.salt")


def needs_passphrase(store: Path) -> bool:
    """Return whether a store was made with a passphrase."""
    return salt_path(store).exists()


def load_or_make_key(store: Path) -> bytes:
    """Return a store's key out of its file; make that if there is no store yet.

    Raises:
        ConfigError: The file is missing although there is a store, others can read it, or it
            holds no key.
    """
    path = key_path(store)
    data = _load_or_make(store, path, secrets.token_bytes(KEY_SIZE).hex().encode())
    if not _KEY.fullmatch(data):
        raise _unusable(path)
    return bytes.fromhex(data.decode("ascii"))


def stretch_passphrase(store: Path, passphrase: str) -> bytes:
    """Return a store's key by Argon2id; make the salt if there is no store yet.

    Takes half a second and 64 MiB. Whether the passphrase is right, opening the store tells.

    Raises:
        ConfigError: The salt is missing although there is a store, or is none; or the
            passphrase is empty.
    """
    if not passphrase:
        raise ConfigError("the passphrase is empty")
    path = salt_path(store)
    new = f"argon2id {_ITERATIONS} {_LANES} {_MEMORY} {secrets.token_hex(16)}".encode()
    match = _SALT.fullmatch(_load_or_make(store, path, new))
    if match is None:
        raise _unusable(path)
    iterations, lanes, memory = map(int, match.groups()[:3])
    salt = bytes.fromhex(match[4].decode("ascii"))
    try:
        argon2 = Argon2id(
            salt=salt, length=KEY_SIZE, iterations=iterations, lanes=lanes, memory_cost=memory
        )
    except ValueError:
        raise _unusable(path) from None
    return argon2.derive(unicodedata.normalize("NFC", passphrase).encode())


def _load_or_make(store: Path, path: Path, new: bytes) -> bytes:
    if path.exists():
        return read_private(path)
    if store.exists():
        raise ConfigError(
            f"{store} is there but {path} is not",
            hint=f"put {path} back from the backup; nothing else can read the store",
        )
    create_private(path, new + b"\n")
    return new


def _unusable(path: Path) -> ConfigError:
    return ConfigError(f"{path} is damaged", hint=f"put {path} back from the backup")
