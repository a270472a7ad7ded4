"""`trio_chat.client.remembered`: which certificate is whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat.address import Address
from trio_chat.client.remembered import Folder, recall
from trio_chat.errors import ConfigError

HERE = Address("localhost", 8443)


def keep(folder: Path, secret: bytes = b"s", pin: str | None = None) -> Folder:
    place = Folder.of(HERE, secret, folder)
    place.key(b"a key")
    place.keep(b"a certificate", b"a ca", pin)
    return place


def test_what_was_kept_is_recalled_by_the_address(tmp_path: Path) -> None:
    assert recall(HERE, tmp_path) is None
    place = keep(tmp_path, pin="ab")
    found = recall(HERE, tmp_path)
    assert found is not None
    assert found.cert.read_bytes() == b"a certificate"
    assert found.key.read_bytes() == b"a key"
    assert found.ca.read_bytes() == b"a ca"
    assert found.pin == "ab"
    assert found.cert.parent == place.path
    for other in (Address("localhost", 1), Address("127.0.0.1", 8443)):
        assert recall(other, tmp_path) is None
    assert recall(Address("LocalHost.", 8443), tmp_path) == found


def test_all_of_it_is_private(tmp_path: Path) -> None:
    place = keep(tmp_path / "data")
    for folder in (place.path, *place.path.parents[:3]):
        assert folder.stat().st_mode & 0o777 == 0o700
    files = [*place.path.iterdir(), place.path.parent / "current"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    place = Folder.of(HERE, b"s", tmp_path)
    assert place.key(b"first") == b"first"
    assert Folder.of(HERE, b"s", tmp_path).key(b"second") == b"first"
    assert not place.is_complete
    assert recall(HERE, tmp_path) is None


def test_the_newest_counts_and_the_older_one_stays(tmp_path: Path) -> None:
    older, newer = keep(tmp_path, b"one"), keep(tmp_path, b"two", "cd")
    found = recall(HERE, tmp_path)
    assert found is not None
    assert (found.cert.parent, found.pin) == (newer.path, "cd")
    assert older.is_complete
    assert older.choose() == recall(HERE, tmp_path)


def test_the_folder_does_not_tell_the_secret(tmp_path: Path) -> None:
    secret = b"\x01" * 20
    place = keep(tmp_path, secret)
    assert secret.hex()[:16] not in str(place.path)


@pytest.mark.parametrize("host", ["../../etc", "::1", "a/b", "..", "x" * 200, "ñ", "-"])
def test_whatever_the_host_is_called_the_folder_is_below_ours(tmp_path: Path, host: str) -> None:
    path = Folder.of(Address(host, 1), b"s", tmp_path).path
    assert path.resolve().is_relative_to(tmp_path / "servers")
    assert path.parent.parent == tmp_path / "servers"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"folder": "../../x", "pin": null}', '{"folder": 7, "pin": null}']
)
def test_a_damaged_file_is_said(tmp_path: Path, text: str) -> None:
    place = keep(tmp_path)
    (place.path.parent / "current").write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        recall(HERE, tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    place = keep(tmp_path)
    (place.path / "own.key").chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        place.key(b"another")
