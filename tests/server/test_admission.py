"""`trio_chat.server.admission`: who gets in, by address."""

from __future__ import annotations

import attrs
import pytest

from trio_chat.limits import Limits
from trio_chat.server.admission import Admission


@attrs.define(eq=False)
class Applicant:
    address: str
    gone: bool = False

    def make_room(self) -> None:
        self.gone = True


def admission(**limits: float) -> Admission[Applicant]:
    return Admission(Limits(**limits))  # type: ignore[arg-type]


def test_over_the_limit_the_oldest_of_the_busiest_address_goes() -> None:
    door = admission(unauthenticated=4)
    quiet = Applicant("192.0.2.1")
    busy = [Applicant("192.0.2.2") for _ in range(4)]
    for each in (quiet, *busy):
        door.apply(each)
    assert [each.gone for each in busy] == [True, False, False, False]
    assert not quiet.gone
    assert door.waiting_count == 4


def test_who_is_let_in_waits_no_longer() -> None:
    door = admission(unauthenticated=1)
    first, second = Applicant("a"), Applicant("a")
    door.apply(first)
    door.withdraw(first)
    door.withdraw(first)
    door.apply(second)
    assert not first.gone
    assert door.waiting_count == 1
    door.withdraw(second)
    assert door.waiting == {}


def test_an_address_that_fails_too_often_gets_one_place_and_costs_nobody_else_any() -> None:
    door = admission(failures_per_address=3, failures_window=100)
    door.talked = 0.0
    for now in (0.0, 1.0):
        door.fail("bad", now)
    assert door.slots_for("bad", 2.0) is door.slots
    door.fail("bad", 2.0)
    single = door.slots_for("bad", 3.0)
    assert single is not door.slots
    assert single is door.slots_for("bad", 3.0)
    assert door.slots_for("good", 3.0) is door.slots


def test_in_a_silence_nobody_waits_for_a_place_but_an_address_that_fails() -> None:
    door = admission(failures_per_address=1, failures_window=100)
    assert door.slots_for("good", 0.0) is None
    door.talked = 1.0
    assert door.slots_for("good", 5.9) is door.slots
    assert door.slots_for("good", 6.0) is None
    door.fail("bad", 6.0)
    assert door.slots_for("bad", 6.0) is not None


def test_failures_are_forgotten_after_the_window() -> None:
    door = admission(failures_per_address=2, failures_window=100)
    door.talked = 100.0
    door.fail("bad", 0.0)
    door.fail("bad", 50.0)
    assert door.slots_for("bad", 60.0) is not door.slots
    assert door.slots_for("bad", 101.0) is door.slots
    door.fail("other", 0.0)
    door.forget(1000.0)
    assert door.failures("bad", 1000.0) == door.failures("other", 1000.0) == 0
    assert door._failures == {}
    assert door._single == {}


def test_failures_of_only_so_many_addresses_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trio_chat.server.admission.ADDRESSES", 3)
    door = admission(failures_per_address=1)
    for number in range(10):
        door.fail(str(number), 0.0)
        door.slots_for(str(number), 0.0)
    assert list(door._failures) == list(door._single) == ["7", "8", "9"]
