"""The key of a client's store: from a file, or from a passphrase."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat.e2ee.key import (
    key_path,
    load_or_make_key,
    needs_passphrase,
    salt_path,
    stretch_passphrase,
)
from trio_chat.errors import ConfigError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "me.store"


def test_a_key_is_made_once_and_is_ours_alone(store: Path) -> None:
    key = load_or_make_key(store)
    assert len(key) == 32
    assert key_path(store).stat().st_mode & 0o777 == 0o600
    store.touch()
    assert load_or_make_key(store) == key
    assert not needs_passphrase(store)


def test_a_passphrase_always_makes_the_same_key_of_one_store(store: Path, tmp_path: Path) -> None:
    key = stretch_passphrase(store, "pässphrase")
    assert len(key) == 32
    assert needs_passphrase(store)
    store.touch()
    assert stretch_passphrase(store, "pa\u0308ssphrase") == key  # as another keyboard types it
    assert stretch_passphrase(store, "passphrase") != key
    assert stretch_passphrase(tmp_path / "other", "pässphrase") != key
    assert b"argon2id 3 4 65536 " in salt_path(store).read_bytes()


def test_the_key_is_that_of_the_salt_and_costs_beside_the_store(store: Path) -> None:
    salt_path(store).write_text("argon2id 1 1 128 000102030405060708090a0b0c0d0e0f\n")
    salt_path(store).chmod(0o600)
    expected = "ba9f5249da799ef54e566624f15f8faadbb0d25fcb1b5c5201ae9fca420c7c49"
    assert stretch_passphrase(store, "correct horse").hex() == expected  # for ever


def test_neither_is_made_anew_beside_a_store(store: Path) -> None:
    store.touch()
    with pytest.raises(ConfigError, match="is there but"):
        load_or_make_key(store)
    with pytest.raises(ConfigError, match="is there but"):
        stretch_passphrase(store, "x")
    assert not key_path(store).exists()
    assert not salt_path(store).exists()


def test_a_key_file_that_others_can_read_is_refused(store: Path) -> None:
    load_or_make_key(store)
    key_path(store).chmod(0o640)
    with pytest.raises(ConfigError, match="others can read"):
        load_or_make_key(store)


@pytest.mark.parametrize("text", ["", "ab" * 31, "xy" * 32, "ab" * 33])
def test_what_is_no_key_is_refused(store: Path, text: str) -> None:
    key_path(store).write_text(text)
    key_path(store).chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged"):
        load_or_make_key(store)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00" * 16,
        f"argon2i 3 4 65536 {'00' * 16}",
        f"argon2id 3 4 65536 {'00' * 15}",
        f"argon2id 0 4 65536 {'00' * 16}",
        f"argon2id 3 4 99999999 {'00' * 16}",  # 95 GiB
        f"argon2id 3 99 100 {'00' * 16}",  # too little for so many lanes
    ],
)
def test_what_is_no_salt_is_refused(store: Path, text: str) -> None:
    salt_path(store).write_text(text)
    salt_path(store).chmod(0o600)
    with pytest.raises(ConfigError, match="is damaged"):
        stretch_passphrase(store, "x")


def test_an_empty_passphrase_is_none(store: Path) -> None:
    with pytest.raises(ConfigError, match="empty"):
        stretch_passphrase(store, "")
    assert not salt_path(store).exists()
