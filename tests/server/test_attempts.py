"""`trio_chat.server.attempts`: so many in a window, counted from their beginning."""

from __future__ import annotations

import pytest

from trio_chat.errors import TooMany
from trio_chat.server import attempts
from trio_chat.server.attempts import Attempts


def test_over_the_limit_one_waits_until_the_oldest_is_forgotten() -> None:
    found = Attempts(2, 600.0)
    found.begin("alice", now=0.0)
    found.begin("alice", now=100.0)
    with pytest.raises(TooMany, match="8 minutes") as caught:
        found.begin("alice", now=120.0)
    assert caught.value.retry_after == 480.0
    found.begin("bob", now=120.0)
    found.begin("alice", now=600.0)


def test_what_is_refused_counts_for_none_of_its_names() -> None:
    found = Attempts(1, 600.0)
    found.begin("alice", now=0.0)
    for _ in range(3):
        with pytest.raises(TooMany):
            found.begin("alice", "address", now=1.0)
    found.begin("address", now=2.0)


def test_a_right_one_is_forgiven_and_no_other() -> None:
    found = Attempts(2, 600.0)
    found.begin("alice", now=0.0)
    found.begin("alice", now=1.0)
    found.forgive("alice", "nobody", now=1.0)
    found.begin("alice", now=2.0)
    with pytest.raises(TooMany):
        found.begin("alice", now=3.0)


def test_memory_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "NAMES", 10)
    found = Attempts(1, 600.0)
    for n in range(50):
        found.begin(f"name{n}", now=float(n))
    assert len(found._times) == 10
