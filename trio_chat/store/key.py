"""The key file beside the database: made with it, never after it.

Whoever has this file and the database can read every word; so it is 0600, and is never
made anew beside a database, which could not be opened with it. Knows files, not SQLite.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from trio_chat.errors import ConfigError
from trio_chat.files import create_private, read_private

__all__ = ["KEY_SIZE", "key_path", "load_or_make_key"]

KEY_SIZE = 32
"""Bytes of a key."""

_HEX = re.compile(rb"[0-9a-f]{64}\s*", re.IGNORECASE)


def key_path(database: Path) -> Path:
    """Return where the key of `database` lies: `chat.db.key` beside `chat.db`."""
    return database.with_name(f"{database.name}.key")


def load_or_make_key(database: Path) -> bytes:
    """Return the 32 bytes that encrypt `database`; make them if there is no database yet.

    Raises:
        ConfigError: the key file is missing although there is a database, others can read
            it, or it holds no key.
    """
    path = key_path(database)
    if path.exists():
        return _parse(path, read_private(path))
    if database.exists():
        raise ConfigError(
            f"{database} is there but its key {path} is not",
            hint=f"put {path} back from the backup; nothing else can read the database",
        )
    key = secrets.token_bytes(KEY_SIZE)
    create_private(path, key.hex().encode() + b"\n")
    return key


def _parse(path: Path, text: bytes) -> bytes:
    if not _HEX.fullmatch(text):
        raise ConfigError(
            f"{path} holds no key",
            hint=f"put {path} back from the backup: 64 hexadecimal digits on one line",
        )
    return bytes.fromhex(text.decode("ascii"))
