from __future__ import annotations

from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from trio_chat.ui.completion import ChatCompleter


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/q", ["/quit"]),
        ("/Q", ["/quit"]),
        ("/sal", ["/salas", "/salir"]),
        ("/join ", ["lobby", "ops"]),
        ("/join o", ["ops"]),
        ("/msg ", ["bob ", "carol "]),
        ("/msg @c", ["carol "]),
        ("/w bob hello @c", ["@carol"]),
        ("/help jo", ["/join "]),
        ("hello @b", ["@bob"]),
        ("hello @B", ["@bob"]),
        ("bo", ["bob: "]),
        ("hey bo", ["bob "]),
        ("/quit ", []),
        ("//q", []),
        ("", []),
        ("text\n/q", []),
    ],
)
async def test_what_tab_offers(stage: Any, typed: str, offered: list[str]) -> None:
    stage.client.room("lobby", "alice", "bob", "carol")
    stage.client.room("ops")
    await stage.start(["lobby"])
    found = ChatCompleter(stage.core).get_completions(
        Document(typed), CompleteEvent(completion_requested=True)
    )
    assert [completion.text for completion in found] == offered


async def test_names_are_offered_while_typing_only_after_an_at(stage: Any) -> None:
    stage.client.room("lobby", "alice", "bob")
    await stage.start()
    completer = ChatCompleter(stage.core)
    for typed, count in (("bo", 0), ("@bo", 1), ("/msg bo", 1)):
        event = CompleteEvent(text_inserted=True)
        assert len(list(completer.get_completions(Document(typed), event))) == count


async def test_what_is_offered_is_safe(stage: Any) -> None:
    stage.client.room("lobby", "alice", "\x1b[2Jbob")
    await stage.start()
    event = CompleteEvent(completion_requested=True)
    found = list(ChatCompleter(stage.core).get_completions(Document("/msg "), event))
    assert [c.text for c in found] == ["␛[2Jbob "]
