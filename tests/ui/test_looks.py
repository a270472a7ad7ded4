from __future__ import annotations

import pytest

from trio_chat.text import safe
from trio_chat.ui.looks import Colour, painted, wanted
from trio_chat.ui.render import Line


@pytest.mark.parametrize(
    ("choice", "terminal", "environment", "colour"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_when_there_is_colour(
    choice: Colour, terminal: bool, environment: dict[str, str], colour: bool
) -> None:
    assert wanted(choice, terminal, environment) is colour


def test_colour_surrounds_the_text_and_does_not_change_it() -> None:
    line = Line("event", (("name", safe("bob")), ("", safe(" hi"))))
    assert painted(line) == "\x1b[1mbob\x1b[0m hi"
