"""`trio_chat.files`: whole or absent, and private where they hold a secret."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from trio_chat.errors import ConfigError
from trio_chat.files import create_private, read_private, replace_file

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


@posix
def test_a_private_file_is_its_owners(tmp_path: Path) -> None:
    create_private(tmp_path / "key", b"secret")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_private(tmp_path / "key") == b"secret"


def test_a_private_file_is_never_overwritten(tmp_path: Path) -> None:
    create_private(tmp_path / "key", b"old")
    with pytest.raises(ConfigError, match="is there already"):
        create_private(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"old"


@posix
def test_a_dangling_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        create_private(tmp_path / "key", b"secret")
    assert not (tmp_path / "elsewhere").exists()


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_private_file_that_others_can_read_is_refused_with_the_remedy(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others can read") as caught:
        read_private(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.key"):
        read_private(tmp_path / "nothing.key")


def test_the_remedy_can_be_typed_whatever_the_path(tmp_path: Path) -> None:
    path = tmp_path / "a key; rm"
    create_private(path, b"secret")
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        read_private(path)
    assert shlex.split(caught.value.hint) == ["chmod", "600", str(path)]


def test_a_private_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed where the disk is waited for, the file is not there yet."""
    seen: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append((tmp_path / "key").exists()))
    create_private(tmp_path / "key", b"secret")
    assert seen[0] is False
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


@posix
def test_no_mask_takes_or_gives_anything_when_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "list"
    for mode in (0o644, 0o640, 0o600):
        replace_file(path, b"old")
        path.chmod(mode)
        old = os.umask(0o077)
        try:
            replace_file(path, b"new")
        finally:
            os.umask(old)
        assert path.stat().st_mode & 0o777 == mode


def test_replacing_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list"
    replace_file(path, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ConfigError, match=r"cannot write .*list: No space left"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["list"]
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
