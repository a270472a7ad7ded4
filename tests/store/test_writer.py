"""One transaction for all that waits; whoever is cancelled or fails harms nobody else."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, and the seed is printed
import re
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from trio_chat.errors import RoomExists, StoreError
from trio_chat.store import Batch, Conflict, Store, open_store
from trio_chat.store.writer import Transaction, Writer

MakeBatch = Callable[..., Batch]


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps of any tasks."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self.steps = steps
        self.scope = scope
        if steps == 0:
            scope.cancel()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


@pytest.fixture
async def store(path: Path, key: bytes) -> AsyncIterator[Store]:
    async with open_store(path, key=key) as store:
        yield store


async def make_rooms(store: Store, count: int) -> list[int]:
    return [(await store.create_room(f"room{n}", mode="plain", now=0.0)).id for n in range(count)]


async def append_cancelled(store: Store, new: Batch, steps: int) -> bool:
    """Append, cancelled after so many steps; say whether it was acknowledged."""
    acknowledged = False
    with trio.CancelScope() as scope:
        canceller = CancelAfter(steps, scope)
        trio.lowlevel.add_instrument(canceller)
        try:
            await store.append(new)
            acknowledged = True
        finally:
            trio.lowlevel.remove_instrument(canceller)
    return acknowledged


# Group commit


async def test_many_appends_share_a_commit(store: Store, batch: MakeBatch) -> None:
    rooms = await make_rooms(store, 50)
    before = store.statistics()

    async def fill(room: int) -> None:
        for n in range(1, 11):
            await store.append(batch(room, n, counters={"d": n}))

    async with trio.open_nursery() as nursery:
        for room in rooms:
            nursery.start_soon(fill, room)
    after = store.statistics()
    assert after.rows - before.rows == after.operations - before.operations == 500
    assert after.commits - before.commits <= 30
    assert after.waiting == after.failures == 0
    assert 0 < after.last_commit <= after.slowest_commit
    for room in rooms:
        assert (await store.load_room(room)).seq == 10


async def test_a_room_may_queue_several_batches(store: Store, batch: MakeBatch) -> None:
    (room,) = await make_rooms(store, 1)
    async with trio.open_nursery() as nursery:
        for n in range(1, 6):
            nursery.start_soon(store.append, batch(room, n))
            await trio.testing.wait_all_tasks_blocked()
    assert (await store.load_room(room)).seq == 5


# Refusals and errors reach whom they concern


async def collect(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at once; return what each returned or raised."""
    came: list[Any] = [None] * len(calls)

    async def one(place: int) -> None:
        try:
            came[place] = await calls[place]()
        except (StoreError, RoomExists) as error:
            came[place] = error

    async with trio.open_nursery() as nursery:
        for place in range(len(calls)):
            nursery.start_soon(one, place)
    return came


async def test_a_refusal_does_not_touch_its_neighbours(store: Store, batch: MakeBatch) -> None:
    one, two = await make_rooms(store, 2)
    before = store.statistics().failures
    good, gap, put, exists, good_too = await collect(
        lambda: store.append(batch(one, 1)),
        lambda: store.append(batch(two, 5)),
        lambda: store.put("k", b"", rev=4),
        lambda: store.create_room("ROOM1", mode="plain", now=0.0),
        lambda: store.append(batch(two, 1)),
    )
    assert good is good_too is None
    assert re.search(r"goes on at [12], not at 5", str(gap))
    assert isinstance(put, Conflict)
    assert isinstance(exists, RoomExists)
    assert store.statistics().failures == before


@pytest.mark.parametrize("bad", ["constraint", "half done", "binding"])
async def test_a_bad_operation_is_undone_and_its_neighbours_done(
    store: Store, batch: MakeBatch, bad: str
) -> None:
    one, two = await make_rooms(store, 2)

    def spoil(transaction: Transaction) -> None:
        transaction.run("UPDATE room SET topic = 'spoilt'")
        transaction.set_last(one, 99)
        match bad:
            case "constraint":
                transaction.run("UPDATE room SET key = 'same'")
            case "half done":
                raise StoreError("that is too late to refuse")
            case "binding":
                transaction.run("UPDATE room SET floor = ?", 2**70)

    first, spoilt, last = await collect(
        lambda: store.append(batch(one, 1)),
        lambda: store._writer.submit(spoil),
        lambda: store.append(batch(two, 1)),
    )
    assert first is last is None
    assert isinstance(spoilt, StoreError)
    await store.append(batch(one, 2))
    for room, seq in ((one, 2), (two, 1)):
        state = await store.load_room(room)
        assert (state.seq, state.topic) == (seq, "")


async def test_a_full_disk_fails_those_who_wait_and_later_there_is_room(
    store: Store, batch: MakeBatch
) -> None:
    rooms = await make_rooms(store, 3)
    await store.append(batch(rooms[0], 1))

    async def limit(pages: int) -> None:
        await store._writer.submit(lambda tx: tx.db.pragma("max_page_count", pages))

    big = b"x" * 200_000 + b"\n"
    await limit(1)
    errors = await collect(
        *(
            lambda room=room, first=first: store.append(
                Batch(room=room, first=first, last=first, time=0.0, body=big)
            )
            for room, first in zip(rooms, (2, 1, 1), strict=True)
        )
    )
    assert [str(error) for error in errors] == ["the log cannot be written: the disk is full"] * 3
    assert len(set(map(id, errors))) == 3
    assert all(error.hint for error in errors)
    assert store.statistics().failures == 1
    await limit(2**30)
    await store.append(batch(rooms[0], 2))
    await store.append(batch(rooms[1], 1))
    assert [(await store.load_room(room)).seq for room in rooms] == [2, 1, 0]


async def test_a_transaction_that_cannot_be_ended_ends_everything(
    path: Path, key: bytes, batch: MakeBatch, second_process: Callable[..., Any]
) -> None:
    def stick(transaction: Transaction) -> None:
        def deny(code: int, what: str | None, *_others: str | None) -> int:
            ends = code == apsw.SQLITE_TRANSACTION and what == "ROLLBACK"
            return apsw.SQLITE_DENY if ends else apsw.SQLITE_OK

        transaction.db.authorizer = deny
        transaction.run("UPDATE room SET topic = 'stuck'")
        raise StoreError("too late")

    answers: list[Any] = []

    async def wait(store: Store) -> None:
        answers.extend(await collect(lambda: store._writer.submit(stick)))

    with pytest.raises(StoreError, match="could not be ended"):  # noqa: PT012 - one block
        async with open_store(path, key=key) as store, trio.open_nursery() as nursery:
            (room,) = await make_rooms(store, 1)
            await store.append(batch(room, 1))
            nursery.start_soon(wait, store)
            await trio.sleep_forever()
    assert [str(answer) for answer in answers] == ["the log has failed"]
    assert store.statistics().waiting == 0
    with pytest.raises(StoreError, match="closed"):
        await store.append(batch(room, 2))
    assert second_process("room0")["room0"]["seq"] == 1


# Cancellation


async def test_an_append_cancelled_at_any_step_is_whole_or_not_there(
    path: Path, key: bytes, batch: MakeBatch, second_process: Callable[..., Any]
) -> None:
    outcomes = set()
    async with open_store(path, key=key) as store:
        (room,) = await make_rooms(store, 1)
        seq = 0
        for steps in range(31):
            new = batch(room, seq + 1, 3, counters={"d": seq + 3})
            acknowledged = await append_cancelled(store, new, steps)
            await store.put("barrier", b"", rev=None)  # after whatever the writer had taken
            state = await store.load_room(room)
            assert state.seq in ((seq + 3,) if acknowledged else (seq, seq + 3))
            assert state.counters.get("d", 0) == state.seq
            outcomes.add((acknowledged, state.seq > seq))
            seq = state.seq
    assert outcomes == {(False, False), (False, True), (True, True)}
    seen = second_process("room0")["room0"]
    assert seen["lines"] == [f"line {n}" for n in range(1, seq + 1)]
    assert seen["rows"] == [[n, n + 2] for n in range(1, seq, 3)]


async def test_a_storm_of_cancellations_loses_nothing_acknowledged(
    path: Path, key: bytes, batch: MakeBatch, second_process: Callable[..., Any]
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: dict[str, int] = {}

    async def write(store: Store, name: str) -> None:
        room = (await store.create_room(name, mode="plain", now=0.0)).id
        seq = 0
        for _ in range(40):
            lines = chance.randint(1, 4)
            new = batch(room, seq + 1, lines, counters={"d": seq + lines})
            if await append_cancelled(store, new, chance.randint(0, 60)):
                acknowledged[name] = seq + lines
            await store.put("barrier", b"", rev=None)
            seq = (await store.load_room(room)).seq
            assert acknowledged.get(name, 0) <= seq <= new.last

    names = [f"room{n}" for n in range(12)]
    async with open_store(path, key=key) as store, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(write, store, name)
    for name, seen in second_process(*names).items():
        assert seen["seq"] >= acknowledged[name]
        assert seen["counters"] == {"d": seen["seq"]}
        assert seen["lines"] == [f"line {n}" for n in range(1, seen["seq"] + 1)]


async def test_the_databases_threads_know_no_deadline(
    store: Store, batch: MakeBatch, mock_clock: trio.testing.MockClock
) -> None:
    """Trio's clock stands still; only a thread that has a deadline of its own could pass it."""
    (room,) = await make_rooms(store, 1)
    with trio.fail_after(1e-9):
        await store.append(batch(room, 1))
        assert await store.read_after(room, 0, 99)


async def test_what_was_cancelled_in_the_queue_is_never_begun(path: Path) -> None:
    writer = Writer(None)  # type: ignore[arg-type]  # it is never asked

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.submit, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        assert writer.statistics().waiting == 1
        nursery.cancel_scope.cancel()
    assert writer.statistics().waiting == 0
    writer.close()
    await writer.run()
    assert writer.statistics().commits == 0


async def test_leaving_finishes_what_waits_even_when_cancelled(
    path: Path, key: bytes, batch: MakeBatch, second_process: Callable[..., Any]
) -> None:
    done: list[int] = []

    async def append(store: Store, room: int) -> None:
        with trio.CancelScope(shield=True):
            await store.append(batch(room, 1))
        done.append(room)

    with trio.CancelScope() as scope:
        async with open_store(path, key=key) as store:
            rooms = await make_rooms(store, 5)
            async with trio.open_nursery() as nursery:
                for room in rooms:
                    nursery.start_soon(append, store, room)
                scope.cancel()
    assert sorted(done) == rooms
    assert all(
        seen["seq"] == 1 for seen in second_process(*(f"room{n}" for n in range(5))).values()
    )
    with pytest.raises(StoreError, match="closed"):
        await store.append(batch(1, 2))
