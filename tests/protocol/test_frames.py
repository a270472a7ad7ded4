"""`trio_chat.protocol.frames`: the vocabulary."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from trio_chat.protocol import frames
from trio_chat.protocol.frames import COMMANDS, EVENTS

SPECIFICATION = Path(__file__).parents[2] / "docs" / "protocol.md"


@pytest.mark.parametrize(
    "kind", dict.fromkeys([*COMMANDS.values(), frames.SendSealed, *EVENTS.values()])
)
def test_a_frame_is_a_documented_value(kind: type[attrs.AttrsInstance]) -> None:
    assert kind.__doc__
    assert kind.__setattr__ is not object.__setattr__  # frozen
    assert kind.__name__ in frames.__all__


def test_only_the_first_frame_and_those_sent_freely_have_no_id() -> None:
    without = {
        name
        for name, kind in COMMANDS.items()
        if "id" not in {field.name for field in attrs.fields(kind)}
    }
    assert without == {"hello", "chat", "relay", "send", "ping", "pong"}


def test_the_ancestors_frames_keep_their_names() -> None:
    assert {"hello", "list", "chat", "relay"} <= COMMANDS.keys()
    assert {"welcome", "users", "server", "relay", "error"} <= EVENTS.keys()


def test_passwords_are_not_shown() -> None:
    assert "sesame" not in repr(frames.Join(room="r", password="sesame"))


def test_the_specification_describes_every_frame() -> None:
    text = SPECIFICATION.read_text(encoding="utf-8")
    described = set(re.findall(r"`([a-z.-]+)`", text))
    assert COMMANDS.keys() | EVENTS.keys() <= described
