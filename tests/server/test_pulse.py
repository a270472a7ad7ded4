"""`trio_chat.server.pulse`: who is asked for a sign of life, and who is given up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect
from trio_chat.limits import Limits
from trio_chat.protocol.frames import Whois
from trio_chat.server.dispatch import HANDLERS
from trio_chat.server.pulse import _beat

LIMITS = Limits(heartbeat_interval=30, heartbeat_timeout=90, retention=1000)


@attrs.define
class Patient:
    """What the pulse sees of a connection."""

    wire: Any
    heard: float = 0.0
    busy: bool = False
    pinged: float | None = None
    told: list[str] = attrs.field(factory=list)

    def say(self, frame: Any) -> None:
        self.told.append(frame.type)

    def end(self, reason: str) -> None:
        self.told.append(reason)


def patient(**state: Any) -> Patient:
    return Patient(SimpleNamespace(blocked=False), **state)


def beat(found: Patient, *times: float) -> list[str]:
    for now in times:
        _beat(found, LIMITS, now)  # type: ignore[arg-type]
    return found.told


def test_who_is_silent_is_asked_once_and_given_up_after_the_timeout() -> None:
    assert beat(patient(), 29) == []
    assert beat(patient(), 29, 30, 31, 60, 90) == ["ping"]
    assert beat(patient(), 30, 91) == ["ping", "silent"]


def test_any_byte_is_a_sign_of_life() -> None:
    found = patient()
    beat(found, 30)
    found.heard = 80
    assert beat(found, 91, 109) == ["ping"]
    assert beat(found, 110) == ["ping", "ping"]


@pytest.mark.parametrize("why", ["blocked", "busy"])
def test_whose_silence_is_not_its_own_is_asked_before_it_is_given_up(why: str) -> None:
    found = patient()
    setattr(found if why == "busy" else found.wire, why, True)
    assert beat(found, 30, 91, 500) == []
    setattr(found if why == "busy" else found.wire, why, False)
    assert beat(found, 501, 560) == ["ping"]
    assert beat(found, 562) == ["ping", "silent"]


def test_who_is_behind_for_longer_than_anything_is_kept_is_given_up() -> None:
    found = patient()
    found.wire.blocked = True
    assert beat(found, 1000) == []
    assert beat(found, 1001) == ["behind for too long"]


async def test_who_waits_for_a_reply_is_not_silent(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = HANDLERS[Whois]

    async def late(*given: Any) -> None:
        await trio.sleep(0.3)
        await answer(*given)

    monkeypatch.setitem(HANDLERS, Whois, late)
    monkeypatch.setattr("trio_chat.server.pulse.TICK", 0.01)
    server = await run_server(heartbeat_interval=0.1, heartbeat_timeout=0.2)
    alice = await enter(server, "alice")
    await alice.say("whois", user="alice", id="1")
    await alice.expect("person", id="1")
    await alice.quiet()
