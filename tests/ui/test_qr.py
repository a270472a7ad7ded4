"""A safety number as a code for a camera: the right modules, and words where it cannot be."""

from __future__ import annotations

import sys

import pytest
import segno

from trio_chat.errors import ConfigError
from trio_chat.ui.qr import qr_lines

NUMBER = "05326 83739 33609 18518 68350 40858 69929 71713 91724 96527 63055 37421"
UPPER, LOWER = "\u2588\u2580", "\u2588\u2584"


def modules(lines: list[str]) -> list[list[bool]]:
    """What is drawn, a row for each half of a line."""
    return [[each in half for each in line] for line in lines for half in (UPPER, LOWER)]


@pytest.mark.parametrize("light_ground", [False, True])
def test_each_module_of_the_code_is_half_a_character(light_ground: bool) -> None:
    code = segno.make(NUMBER.replace(" ", ""), micro=False, error="m")
    wanted = [[bool(dark) == light_ground for dark in row] for row in code.matrix_iter(border=4)]
    lines = qr_lines(NUMBER, light_ground=light_ground)
    drawn = modules(lines)
    assert drawn[: len(wanted)] == wanted
    assert not any(any(row) for row in drawn[len(wanted) :])  # of an odd number of rows
    assert {len(line) for line in lines} == {len(wanted[0])}
    assert (len(lines), len(lines[0])) == (17, 33)


def test_the_same_number_is_the_same_code_however_it_is_grouped() -> None:
    assert qr_lines(NUMBER) == qr_lines(NUMBER.replace(" ", "")) != qr_lines(NUMBER[::-1])


@pytest.mark.parametrize("wrong", ["", "hello", "1 2 x", "\u0661"])
def test_what_is_no_number_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        qr_lines(wrong)


def test_without_segno_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        qr_lines(NUMBER)
    assert "trio-chat[qr]" in caught.value.hint
