from __future__ import annotations

from pathlib import Path

import pytest

from trio_chat.ui.state import open_cursors, state_folder


def test_the_cursors_survive_a_restart_and_know_their_history(tmp_path: Path) -> None:
    path = tmp_path / "read.json"
    cursors = open_cursors(path, "log1", "alice")
    cursors.set("Lobby", 7)
    cursors.save()
    assert path.stat().st_mode & 0o777 == 0o600
    other = open_cursors(path, "log2", "alice")
    assert other.get("lobby") is None
    other.set("lobby", 1)
    other.save()
    assert open_cursors(path, "log1", "ALICE").get("lobby") == 7
    assert open_cursors(path, "log1", "bob").get("lobby") is None


def test_two_terminals_keep_the_later_cursor(tmp_path: Path) -> None:
    one, two = (open_cursors(tmp_path / "read.json", "log", "alice") for _ in range(2))
    one.set("lobby", 9)
    two.set("lobby", 5)
    two.set("ops", 3)
    one.save()
    two.save()
    found = open_cursors(tmp_path / "read.json", "log", "alice")
    assert (found.get("lobby"), found.get("ops")) == (9, 3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"log": 3}', b'{"log": {"alice": []}}'])
def test_a_damaged_file_of_cursors_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "read.json"
    path.write_bytes(content)
    assert open_cursors(path, "log", "alice").get("lobby") is None


def test_the_state_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder().stat().st_mode & 0o777 == 0o700
    assert state_folder().parent == tmp_path


@pytest.mark.parametrize("seq", [b"-5", b"true", b"1.5", b'"7"'])
def test_a_cursor_that_is_no_number_of_an_entry_counts_as_none(tmp_path: Path, seq: bytes) -> None:
    path = tmp_path / "read.json"
    path.write_bytes(b'{"log": {"alice": {"lobby": %s}}}' % seq)
    assert open_cursors(path, "log", "alice").get("lobby") is None
