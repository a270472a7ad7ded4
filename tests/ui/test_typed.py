from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.utils import get_cwidth

from trio_chat.ui.typed import cell, open_history


def test_the_history_is_private_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = open_history(path)
    history.append_string("hello")
    history.append_string("two\nlines")
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(open_history(path).load_history_strings()) == ["two\nlines", "hello"]


@pytest.mark.parametrize(
    "line",
    [
        "/login alice hunter2",
        " /LOGIN alice hunter2",
        "/register a b",
        "/passwd old new",
        "/passphrase x",
        "/join ops hunter2",
        " /Create  ops  hunter2",
        "/create ops --plain hunter2",
        "/jion ops hunter2",
        "/JOINT ops hunter2",
        "/creat ops hunter2",
        "/j ops hunter2",
    ],
)
def test_lines_with_secrets_are_kept_nowhere(tmp_path: Path, line: str) -> None:
    history = open_history(tmp_path / "history")
    history.append_string(line)
    assert history.get_strings() == []
    assert (tmp_path / "history").read_bytes() == b""


def test_a_history_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("")
    path.chmod(0o644)
    open_history(path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("typed", "drawn"),
    [
        ("a", "a"),
        ("\u00e9", "\u00e9"),
        ("\u200d", "\u200b"),
        ("\ufe0f", "\u200b"),
        ("\U0001f3fd", "\u200b"),
        ("\U0001f1ea", "E"),
        ("\u202e", "\ufffd"),
        ("\x01", "\x01"),
        ("\n", "\n"),
    ],
)
def test_each_character_is_drawn_as_one(typed: str, drawn: str) -> None:
    assert cell(typed) == drawn


def test_a_family_takes_the_cells_of_its_members() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert sum(get_cwidth(cell(character)) for character in family) == 6


@pytest.mark.parametrize(
    "line", ["/join ops", "/create ops", "/kick a b", "join ops hunter2", "//join a b"]
)
def test_lines_without_secrets_are_kept(tmp_path: Path, line: str) -> None:
    history = open_history(tmp_path / "history")
    history.append_string(line)
    assert history.get_strings() == [line]
