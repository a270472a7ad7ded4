"""Commands about oneself: passwords are asked for unseen, and are on no screen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from trio_chat.errors import LoginRefused
from trio_chat.ui import people

Stage: TypeAlias = Any  # of conftest.py

PASSWORD = "correct horse"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """What the server is asked; it says yes to the right password."""
    found: list[tuple[str, str, bool]] = []

    async def get_account(client: object, user: str, password: str, *, new: bool) -> Any:
        found.append((user, password, new))
        if password != PASSWORD:
            raise LoginRefused("the password is wrong")
        return SimpleNamespace(user=user)

    monkeypatch.setattr(people, "get_account", get_account)
    return found


async def test_a_login_asks_once_and_a_new_password_is_asked_for_twice(
    stage: Stage, asked: list[tuple[str, str, bool]]
) -> None:
    stage.face.secrets = [PASSWORD] * 3
    await stage.type("/login nora", "/register zoe")
    assert asked == [("nora", PASSWORD, False), ("zoe", PASSWORD, True)]
    assert stage.face.questions == [
        "the password of nora: ",
        "a password for zoe: ",
        "once more: ",
    ]
    assert "you have a certificate for nora now, and are still alice here" in stage.screen
    assert PASSWORD not in stage.screen


async def test_with_a_password_on_the_line_nothing_is_asked(
    stage: Stage, asked: list[tuple[str, str, bool]]
) -> None:
    await stage.type(f"/login nora {PASSWORD}", "/register zoe hunter2")
    assert asked == [("nora", PASSWORD, False), ("zoe", "hunter2", True)]
    assert stage.face.questions == []
    assert "the password is wrong" in stage.screen
    assert "hunter2" not in stage.screen


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([], "no password was given; nothing was sent"),
        ([""], "no password was given; nothing was sent"),
        ([PASSWORD, "correct hrose"], "that was not the same twice; nothing was sent"),
    ],
)
async def test_without_a_password_or_with_two_nobody_is_registered(
    stage: Stage, asked: list[tuple[str, str, bool]], secrets: list[str], said: str
) -> None:
    stage.face.secrets = secrets
    await stage.type("/register zoe")
    assert asked == []
    assert said in stage.screen
    assert "correct" not in stage.screen
