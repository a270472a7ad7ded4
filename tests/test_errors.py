"""`trio_chat.errors`: one table of codes, the same in the program and in the specification."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trio_chat import errors
from trio_chat.errors import CODES, ChatError, ProtocolError, Refused

SPECIFICATION = Path(__file__).parents[1] / "docs" / "protocol.md"


def test_the_specification_has_the_same_codes_in_the_same_order() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \|", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE
    )
    first = rows.index(next(iter(CODES)))
    assert rows[first : first + len(CODES)] == list(CODES)
    table = SPECIFICATION.read_text(encoding="utf-8").split(f"| `{list(CODES)[-1]}` |")[1]
    assert not table.split("\n")[1].startswith("|"), "the specification has more codes"


def test_a_code_has_one_class_and_a_class_one_code() -> None:
    kinds = list(Refused.__subclasses__())
    assert set(kinds) == set(CODES.values())
    assert all(CODES[kind.code] is kind for kind in kinds)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in CODES)


def test_the_codes_of_protocol_errors_are_in_the_table() -> None:
    assert {ProtocolError().code, errors.TooLong("").code, "unknown-type"} <= CODES.keys()


def test_everything_public_is_one_tree_and_documented() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type):
            assert issubclass(kind, ChatError)
            assert kind.__doc__


@pytest.mark.parametrize("code", CODES)
def test_an_error_shows_its_text(code: str) -> None:
    error = CODES[code]("what happened", room="lobby", n=3, retry_after=2.0)
    assert str(error) == "what happened"
    assert (error.code, error.room, error.n, error.retry_after) == (code, "lobby", 3, 2.0)


def test_a_hint_is_the_next_command_and_is_kept_apart() -> None:
    error = ChatError("it is gone", hint="trio-chat pki init")
    assert str(error) == "it is gone"
    assert error.hint == "trio-chat pki init"
    assert ChatError("x").hint == ""
