"""The key file is made once, is private, and is never made beside a database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trio_chat.errors import ConfigError
from trio_chat.store import key_path, load_or_make_key


def test_a_key_is_made_once_and_then_read(path: Path) -> None:
    key = load_or_make_key(path)
    assert len(key) == 32
    assert load_or_make_key(path) == key
    assert key_path(path).name == "chat.db.key"
    assert bytes.fromhex(key_path(path).read_text()) == key


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_only_its_owner_can_read_the_key(path: Path) -> None:
    load_or_make_key(path)
    assert key_path(path).stat().st_mode & 0o777 == 0o600
    key_path(path).chmod(0o640)
    with pytest.raises(ConfigError, match="others can read") as caught:
        load_or_make_key(path)
    assert caught.value.hint.startswith("chmod 600 ")


def test_no_key_is_made_beside_a_database(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="is there but its key"):
        load_or_make_key(path)
    assert not key_path(path).exists()


@pytest.mark.parametrize("text", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, "ñ".encode() * 32])
def test_what_is_no_key_is_refused_and_not_quoted(path: Path, text: bytes) -> None:
    key_path(path).write_bytes(text)
    key_path(path).chmod(0o600)
    with pytest.raises(ConfigError, match="holds no key") as caught:
        load_or_make_key(path)
    assert not text or text.decode() not in str(caught.value)
