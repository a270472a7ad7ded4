"""Events wait in order, hold the receiver up, and never the one who waits for an answer."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.client.events import Gap
from trio_chat.client.inbox import Inbox
from trio_chat.errors import Disconnected


def events(*numbers: int) -> list[Gap]:
    return [Gap("lobby", number, number) for number in numbers]


async def test_events_come_out_in_order() -> None:
    inbox = Inbox(10)
    inbox.put(events(1, 2))
    inbox.put(events(3))
    assert [await inbox.take() for _ in range(3)] == events(1, 2, 3)


async def test_taking_waits_for_an_event_and_each_goes_to_one_taker() -> None:
    inbox = Inbox(10)
    found: list[Any] = []

    async def take() -> None:
        found.append(await inbox.take())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        inbox.put(events(1, 2, 3))
    assert sorted(event.first for event in found) == [1, 2, 3]


async def test_the_receiver_waits_while_the_limit_is_reached() -> None:
    inbox = Inbox(2)
    inbox.put(events(1, 2))
    passed = trio.Event()

    async def receive() -> None:
        await inbox.wait_for_room()
        passed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        assert not passed.is_set()
        assert inbox.full
        await inbox.take()
        await passed.wait()


async def test_the_receiver_goes_on_while_somebody_waits_for_an_answer() -> None:
    inbox = Inbox(1)
    inbox.put(events(1, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.wait_for_room)
        await trio.testing.wait_all_tasks_blocked()
        with inbox:
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
            assert not inbox.full
    assert inbox.full


async def test_cancelling_a_taker_loses_no_event() -> None:
    inbox = Inbox(5)
    with trio.CancelScope() as scope:
        scope.cancel()
        inbox.put(events(1))
        await inbox.take()
    assert scope.cancelled_caught
    assert await inbox.take() == events(1)[0]


async def test_an_error_at_the_end_comes_after_what_was_left() -> None:
    inbox = Inbox(5)
    inbox.put(events(1))
    inbox.end(lambda: Disconnected("over"))
    assert await inbox.take() == events(1)[0]
    for _ in range(2):
        with pytest.raises(Disconnected):
            await inbox.take()


async def test_closing_drops_what_is_left_and_frees_all_who_wait() -> None:
    inbox = Inbox(1)
    ended = []

    async def take() -> None:
        with pytest.raises(StopAsyncIteration):
            await inbox.take()
        ended.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        inbox.end(None)
    inbox.put(events(1))
    assert ended == [True, True]


async def test_taking_is_a_checkpoint() -> None:
    inbox = Inbox(5)
    inbox.put(events(1))
    with trio.testing.assert_checkpoints():
        await inbox.take()


async def test_cancelling_a_taker_that_has_been_woken_loses_no_event() -> None:
    inbox = Inbox(5)
    taken: list[Any] = []

    async def take() -> None:
        taken.append(await inbox.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        inbox.put(events(1))
        nursery.cancel_scope.cancel()
    assert taken + list(inbox._events) == events(1)
