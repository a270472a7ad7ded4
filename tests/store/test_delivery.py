"""What commits bring is written with their batch or not at all, and goes when nothing needs it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import trio

from trio_chat import names
from trio_chat.chat.epochs import Commit
from trio_chat.errors import StoreError
from trio_chat.store import PART, Batch, GroupInfo, KeyPackage, Store, Turns, Welcome, open_store

MakeBatch = Callable[..., Batch]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with open_store(path, key=None, durability="process") as store:
        yield store


@pytest.fixture
async def room(store: Store) -> int:
    row = await store.create_room("den", mode="encrypted", now=0.0, access="closed")
    return row.id


def commit(
    text: str, welcomes: Sequence[tuple[Sequence[str], str]] = (), *, put: bool = True
) -> Commit:
    """A commit whose tree is `text` itself."""
    blob = text.encode()
    tree = hashlib.sha256(blob).hexdigest()
    return Commit(f"info {text}", tree, welcomes, blob if put else None)


def tree(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_batch_brings_its_commits(store: Store, room: int, batch: MakeBatch) -> None:
    commits = [(2, commit("one", [(["d1", "d2"], "w1")])), (3, commit("two", [(["d2"], "w2")]))]
    trees = await store.append(batch(room, 1, 4, turns=Turns(0, commits)))
    state = await store.load_room(room)
    assert (state.epoch, state.seq, state.trees) == (2, 4, trees)
    assert trees == frozenset({tree("one"), tree("two")})
    assert await store.read_info(room) == GroupInfo(2, 3, "info two", tree("two"))
    assert await store.read_welcome(room, "d1") == Welcome(1, 2, "w1", tree("one"))
    assert await store.read_welcome(room, "d2") == Welcome(2, 3, "w2", tree("two"))
    assert await store.read_welcome(room, "d3") is None
    assert await store.read_blob(room, tree("one"), 1) == (3, b"ne")
    assert await store.append(batch(room, 5)) is None  # no commit, nothing new


async def test_only_the_epoch_that_a_room_is_at_can_be_ended(
    store: Store, room: int, batch: MakeBatch
) -> None:
    await store.append(batch(room, 1, turns=Turns(0, [(1, commit("one"))])))
    for epoch in (0, 2):
        turns = Turns(epoch, [(2, commit("other", [(["d"], "w")]))])
        with pytest.raises(StoreError, match=f"not at epoch {epoch}"):
            await store.append(batch(room, 2, turns=turns, counters={"d": 1}))
    state = await store.load_room(room)
    assert (state.epoch, state.seq, state.counters) == (1, 1, {})
    assert await store.read_info(room) == GroupInfo(1, 1, "info one", tree("one"))
    assert await store.read_welcome(room, "d") is None


async def test_a_commit_whose_blob_is_not_there_takes_nothing_along_and_no_neighbour(
    store: Store, room: int, batch: MakeBatch
) -> None:
    other = (await store.create_room("other", mode="plain", now=0.0)).id
    failed: list[StoreError] = []

    async def fail() -> None:
        turns = Turns(0, [(1, commit("one", [(["d"], "w")])), (2, commit("two", put=False))])
        try:
            await store.append(batch(room, 1, 2, turns=turns))
        except StoreError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:  # both in one transaction
        nursery.start_soon(fail)
        nursery.start_soon(store.append, batch(other, 1))
    (error,) = failed
    assert "has no blob" in str(error)
    state = await store.load_room(room)
    assert (state.epoch, state.seq, state.trees) == (0, 0, frozenset())
    assert await store.read_welcome(room, "d") is None
    assert await store.read_info(room) is None
    assert (await store.load_room(other)).seq == 1


async def test_a_large_blob_is_read_in_parts(store: Store, room: int, batch: MakeBatch) -> None:
    data = bytes(range(256)) * 1024 + b"end"  # two parts and a bit
    name = hashlib.sha256(data).hexdigest()
    brought = Commit("info", name, (), bytearray(data))
    await store.append(batch(room, 1, turns=Turns(0, [(1, brought)])))
    assert await store.read_blob(room, name, 0) == (len(data), data[:PART])
    assert await store.read_blob(room, name, PART + 5) == (len(data), data[PART + 5 : 2 * PART])
    assert await store.read_blob(room, name, 2 * PART) == (len(data), b"end")
    assert await store.read_blob(room, name, 2**53) == (len(data), b"")
    assert await store.read_blob(room + 1, name, 0) is None  # another room's


async def test_welcomes_expire_and_with_them_the_blobs_that_only_they_need(
    store: Store, room: int, batch: MakeBatch
) -> None:
    for number, text in enumerate(("a", "b", "c", "d"), 1):
        welcomes = [([f"device {text}"], f"welcome {text}")]
        turns = Turns(number - 1, [(number, commit(text, welcomes))])
        await store.append(batch(room, number, time=float(number), turns=turns))
    assert await store.expire_welcomes(2.5) == {room: {tree("c"), tree("d")}}
    assert (await store.load_room(room)).trees == {tree("c"), tree("d")}
    assert await store.read_blob(room, tree("b"), 0) is None
    assert await store.read_welcome(room, "device b") is None
    assert await store.read_welcome(room, "device c") is not None
    assert await store.expire_welcomes(2.5) == {}
    # The info and the blobs of the last two commits stay, however old.
    assert await store.expire_welcomes(99.0) == {room: {tree("c"), tree("d")}}
    assert (await store.read_info(room)) == GroupInfo(4, 4, "info d", tree("d"))


async def test_many_welcomes_expire_step_by_step(store: Store, room: int, batch: MakeBatch) -> None:
    welcomes = [([f"device {number}"], "w") for number in range(450)]
    await store.append(batch(room, 1, turns=Turns(0, [(1, commit("x", welcomes))])))
    assert await store.expire_welcomes(99.0) == {room: {tree("x")}}
    assert await store.read_welcome(room, "device 449") is None


# --- key packages ------------------------------------------------------------------------


async def publish(store: Store, device: str, *packages: str, now: float = 1.0) -> None:
    user = names.key("ann")
    await store.publish_packages(user, device, packages, None, now=now, keep=100, devices=9)


async def test_a_key_package_has_one_taker(store: Store) -> None:
    ann = names.key("ann")
    await publish(store, "d", *(f"p{number}" for number in range(30)))
    taken: list[KeyPackage] = []

    async def take() -> None:
        for _ in range(5):
            taken.extend(await store.claim_packages(ann, 0.0))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(take)
    assert sorted(each.package for each in taken) == sorted(f"p{number}" for number in range(30))
    assert await store.claim_packages(ann, 0.0) == []


async def test_what_was_claimed_stays_claimed_when_it_is_opened_again(path: Path) -> None:
    async with open_store(path, key=None, durability="process") as store:
        await publish(store, "d", "p1", "p2")
        assert await store.claim_packages(names.key("ann"), 0.0) == [KeyPackage("d", "p1", False)]
    async with open_store(path, key=None, durability="process") as store:
        assert await store.count_packages(names.key("ann"), "d", 0.0) == 1
        assert await store.claim_packages(names.key("ann"), 0.0) == [KeyPackage("d", "p2", False)]


async def test_many_key_packages_expire_step_by_step(store: Store) -> None:
    for device in range(9):
        packages = (f"{device} {number}" for number in range(100))
        await publish(store, f"d{device}", *packages, now=float(device))
    await publish(store, "d3", *(f"more {number}" for number in range(100)), now=9.0)
    await store.expire_packages(8.5)
    assert await store.count_packages(names.key("ann"), "d3", 0.0) == 100
    assert await store.count_packages(names.key("ann"), "d8", 0.0) == 0
