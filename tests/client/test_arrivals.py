from __future__ import annotations

from trio_chat.client.arrivals import PATIENCE, Arrivals
from trio_chat.names import Key
from trio_chat.protocol.frames import Count, Entered, Left, Member


def entered(user: str) -> Entered:
    return Entered(room="lobby", count=2, members=[Member(user=user, device=f"{user}.1")])


def left(user: str) -> Left:
    return Left(room="lobby", count=1, members=[Member(user=user, device=f"{user}.1")])


def test_who_comes_is_told_of_when_they_can_read() -> None:
    arrivals = Arrivals()
    assert arrivals.add(entered("Bob"), 0.0)
    assert arrivals.ready({Key("alice")}, 1.0) == []
    assert arrivals.ready({Key("alice"), Key("bob")}, 1.0) == [entered("Bob")]
    assert arrivals.ready({Key("bob")}, 1.0) == []


def test_who_cannot_read_is_told_of_after_a_while() -> None:
    arrivals = Arrivals()
    assert arrivals.left(0.0) == float("inf")
    arrivals.add(entered("bob"), 10.0)
    assert arrivals.left(11.0) == PATIENCE - 1
    assert arrivals.ready(set(), 10.0 + PATIENCE - 0.1) == []
    assert arrivals.ready(set(), 10.0 + PATIENCE) == [entered("bob")]


def test_the_order_of_comings_and_goings_is_kept() -> None:
    arrivals = Arrivals()
    assert not arrivals.add(left("carol"), 0.0)  # nothing waits
    arrivals.add(entered("bob"), 0.0)
    assert arrivals.add(left("bob"), 0.0)
    arrivals.add(entered("dave"), 0.0)
    assert arrivals.ready({Key("dave")}, 1.0) == []
    assert arrivals.ready({Key("dave")}, PATIENCE) == [entered("bob"), left("bob"), entered("dave")]


def test_other_notices_are_not_kept() -> None:
    arrivals = Arrivals()
    arrivals.add(entered("bob"), 0.0)
    assert not arrivals.add(Count(room="lobby", count=3), 0.0)
