"""What was appended, created and put is read back; retention forgets for real."""

from __future__ import annotations

import gc
import random  # noqa: TID251 - seeded
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from trio_chat import names
from trio_chat.errors import RoomExists, StoreError
from trio_chat.store import (
    Batch,
    Conflict,
    RoomRow,
    RoomState,
    RoomSummary,
    Store,
    open_store,
    queries,
)

MakeBatch = Callable[..., Batch]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with open_store(path, key=None, durability="process") as store:
        yield store


async def lobby(store: Store) -> int:
    return (await store.create_room("Lobby", mode="plain", now=0.0)).id


# Rooms


async def test_a_room_is_found_by_its_key_only(store: Store) -> None:
    made = await store.create_room("Straße", mode="plain", now=1.0)
    assert await store.find_room(names.key("STRASSE")) == made
    assert made == RoomRow(made.id, "Straße", "plain", "")
    assert await store.find_room(names.key("street")) is None
    with pytest.raises(RoomExists):
        await store.create_room("strasse", mode="encrypted", now=2.0)


async def test_a_new_room_is_empty_and_an_unknown_one_an_error(store: Store) -> None:
    assert await store.load_room(await lobby(store)) == RoomState(1, 0, {}, "")
    with pytest.raises(StoreError, match="no room 77"):
        await store.load_room(77)


async def test_rooms_are_listed_by_key_in_pages_without_direct_ones(
    store: Store, batch: MakeBatch
) -> None:
    for name in ("delta", "Alpha", "@ann+bob", "charlie", "Bravo"):
        await store.create_room(name, mode="plain", now=0.0)
    await store.append(batch(2, 1, 3, topic="first"))
    page = await store.list_rooms("", 3)
    assert page[0] == RoomSummary("Alpha", "plain", "first", 3)
    assert [room.name for room in page] == ["Alpha", "Bravo", "charlie"]
    assert [room.name for room in await store.list_rooms("charlie", 3)] == ["delta"]


async def test_direct_rooms_are_listed_for_their_two_people(store: Store) -> None:
    for one, other in (("ann", "bob"), ("ann", "Zoe"), ("bob", "zoe")):
        people = (names.key(one), names.key(other))
        await store.create_room(
            names.direct_room(one, other), mode="encrypted", now=0.0, people=people
        )
    found = await store.own_rooms(names.key("Ann"), "", 10)
    assert [room.name for room in found] == ["~ann+bob", "~ann+zoe"]
    found = await store.own_rooms(names.key("zoe"), "~ann+zoe", 10)
    assert [room.name for room in found] == ["~bob+zoe"]
    assert await store.own_rooms(names.key("eve"), "", 10) == []


# The log


async def test_state_follows_what_is_appended(store: Store, batch: MakeBatch) -> None:
    room = await lobby(store)
    await store.append(batch(room, 1, 3, counters={"a": 2, "b/x": 1}))
    await store.append(batch(room, 4, 2, counters={"a": 4}, topic="new"))
    assert await store.load_room(room) == RoomState(1, 5, {"a": 4, "b/x": 1}, "new")


async def test_a_counter_never_goes_back(store: Store, batch: MakeBatch) -> None:
    room = await lobby(store)
    await store.append(batch(room, 1, counters={"a": 7}))
    await store.append(batch(room, 2, counters={"a": 3}))
    assert (await store.load_room(room)).counters == {"a": 7}


@pytest.mark.parametrize("first", [1, 3, 5])
async def test_a_batch_that_does_not_come_next_is_refused(
    store: Store, batch: MakeBatch, first: int
) -> None:
    room = await lobby(store)
    await store.append(batch(room, 1, 3))
    with pytest.raises(StoreError, match="goes on at 4"):
        await store.append(batch(room, first, counters={"a": 9}, topic="no"))
    assert await store.load_room(room) == RoomState(1, 3, {}, "")
    await store.append(batch(room, 4))


async def test_a_second_server_is_kept_off_the_database(path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="in use by another server"):
        async with open_store(path, key=None):
            pass


@pytest.mark.parametrize("body", [b"", b"one", b"one\n", b"one\ntwo", b"1\n2\n3\n"])
def test_a_batch_has_as_many_lines_as_numbers(body: bytes) -> None:
    with pytest.raises(ValueError, match="lines"):
        Batch(room=1, first=1, last=2, time=0.0, body=body)


async def test_reading_on_starts_right_after(store: Store, batch: MakeBatch) -> None:
    room, other = await lobby(store), (await store.create_room("x", mode="plain", now=0.0)).id
    for first in (1, 4, 7):
        await store.append(batch(room, first, 3))
        await store.append(batch(other, first, 3))
    for after in range(-1, 11):
        rows = await store.read_after(room, after, 1 << 20)
        wanted = list(range(max(after, 0) + 1, 10))
        assert b"".join(row.body for row in rows) == b"".join(b"line %d\n" % n for n in wanted)
        assert [n for row in rows for n in range(row.first, row.last + 1)] == wanted


async def test_reading_on_gives_whole_batches_up_to_a_size(store: Store, batch: MakeBatch) -> None:
    room = await lobby(store)
    for first in (1, 3, 5):
        await store.append(batch(room, first, 2))
    size = len(b"line 1\nline 2\n")
    for max_bytes, count in ((0, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (99, 3)):
        assert len(await store.read_after(room, 0, max_bytes)) == count


async def test_reading_back_gives_the_last_lines_oldest_first(
    store: Store, batch: MakeBatch
) -> None:
    room, other = await lobby(store), (await store.create_room("x", mode="plain", now=0.0)).id
    for first in (1, 4, 7):
        await store.append(batch(room, first, 3))
        await store.append(batch(other, first, 3))
    for before in range(12):
        for limit in range(1, 11):
            wanted = [b"line %d" % n for n in range(1, min(before, 10))][-limit:]
            assert await store.read_before(room, before, limit) == wanted
    assert await store.read_before(room, 10, 9, max_bytes=12) == [b"line 8", b"line 9"]
    assert await store.read_before(room, 10, 9, max_bytes=1) == [b"line 9"]


async def test_only_line_feeds_separate_lines(store: Store) -> None:
    room = await lobby(store)
    body = b"a\rb\x0b\n\xe2\x80\xa8\x85\n"
    await store.append(Batch(room=room, first=1, last=2, time=0.0, body=body))
    assert await store.read_before(room, 3, 5) == [b"a\rb\x0b", b"\xe2\x80\xa8\x85"]
    assert (await store.read_after(room, 1, 99))[0].body == b"\xe2\x80\xa8\x85\n"


async def test_no_query_scans_a_table(path: Path, store: Store) -> None:
    await lobby(store)
    db = apsw.Connection(str(path))
    seen: list[tuple[str, apsw.Bindings | None]] = []

    def note(_cursor: object, sql: str, bindings: apsw.Bindings | None) -> bool:
        seen.append((sql, bindings))
        return True

    db.exec_trace = note
    queries.find_room(names.key("a"), db)
    queries.load_room(1, db)
    queries.read_after(1, 5, 100, db)
    queries.read_before(1, 5, 100, None, db)
    queries.list_rooms("a", 5, db)
    queries.own_rooms(names.key("a"), "a", 5, db)
    queries.get("a", db)
    db.exec_trace = None
    plans = [
        row[3]
        for sql, bindings in seen
        if "SELECT" in sql
        for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)
    ]
    db.close()
    assert len(plans) >= 8
    assert not [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan]


# The directory


async def test_the_directory_compares_and_sets(store: Store) -> None:
    assert await store.get("k") is None
    assert await store.put("k", b"1", rev=0) == 1
    assert await store.put("k", b"2", rev=1) == 2
    assert await store.put("k", b"3", rev=None) == 3
    for stale in (0, 1, 2, 4):
        with pytest.raises(Conflict) as caught:
            await store.put("k", b"no", rev=stale)
        assert caught.value.rev == 3
    value = await store.get("k")
    assert value is not None
    assert (value.rev, value.data) == (3, b"3")


# Retention


async def test_retention_deletes_what_is_older_and_numbers_go_on(
    store: Store, batch: MakeBatch
) -> None:
    old, mixed, young = [
        (await store.create_room(name, mode="plain", now=0.0)).id for name in "abc"
    ]
    await store.append(batch(old, 1, 3, time=10.0, counters={"d": 3}))
    await store.append(batch(mixed, 1, 2, time=10.0))
    await store.append(batch(mixed, 3, 2, time=20.0))
    await store.append(batch(young, 1, 1, time=20.0))
    assert sorted(await store.expire(20.0)) == [(old, 4), (mixed, 3)]
    assert await store.load_room(old) == RoomState(4, 3, {"d": 3}, "")
    assert await store.read_after(old, 0, 99) == []
    assert [(row.first, row.last) for row in await store.read_after(mixed, 0, 99)] == [(3, 4)]
    assert await store.expire(20.0) == []
    assert [room.seq for room in await store.list_rooms("", 9)] == [3, 4, 1]
    await store.append(batch(old, 4))
    with pytest.raises(StoreError, match="goes on at 5"):
        await store.append(batch(old, 1))


async def test_numbers_go_on_after_retention_and_a_restart(path: Path, batch: MakeBatch) -> None:
    async with open_store(path, key=None) as store:
        room = await lobby(store)
        await store.append(batch(room, 1, 5, time=1.0))
        await store.expire(2.0)
    async with open_store(path, key=None) as store:
        with pytest.raises(StoreError, match="goes on at 6"):
            await store.append(batch(room, 1))
        await store.append(batch(room, 6))
        assert await store.load_room(room) == RoomState(6, 6, {}, "")


@pytest.mark.parametrize(
    ("shortest", "longest", "seed"), [(50, 300, 1), (100, 1300, 0), (500, 1500, 1), (20, 9000, 0)]
)
async def test_deleted_text_is_in_no_file_any_more(
    path: Path, store: Store, shortest: int, longest: int, seed: int
) -> None:
    """Row by row, so that pages with deleted and living rows are divided and joined often."""
    chance = random.Random(seed)
    rooms = [(await store.create_room(f"r{n}", mode="plain", now=0.0)).id for n in range(3)]
    for time in range(400):
        body = b"canary%06d;" % time * (chance.randint(shortest, longest) // 13 + 1) + b"\n"
        seq = time // 3 + 1
        await store.append(
            Batch(room=rooms[time % 3], first=seq, last=seq, time=float(time), body=body)
        )
    before = 0
    while before < 390:
        before += chance.randint(1, 12)
        assert await store.expire(float(before))
        files = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert {int(time) for time in re.findall(rb"canary(\d{6})", files)} == set(
            range(before, 400)
        )
    kept = [line for room in rooms for line in await store.read_before(room, 999, 999)]
    assert len(kept) == 400 - before
    assert all(line.startswith(b"canary") for line in kept)
    assert not store.statistics().unclean


async def test_blank_rows_are_deleted_but_for_a_margin(path: Path, store: Store) -> None:
    room = await lobby(store)
    body = b"x" * 4000 + b"\n"
    for seq in range(1, 1201):
        await store.append(Batch(room=room, first=seq, last=seq, time=float(seq), body=body))
    assert await store.expire(1201.0) == [(room, 1201)]
    db = apsw.Connection(str(path))
    assert 10 < db.execute("SELECT count(*) FROM batch").get < 100
    db.close()
    assert await store.load_room(room) == RoomState(1201, 1200, {}, "")
    assert await store.read_after(room, 0, 99) == []
    assert await store.read_before(room, 9999, 99) == []


async def test_a_reader_in_the_way_of_cleaning_only_delays_it(
    path: Path, store: Store, batch: MakeBatch
) -> None:
    room = await lobby(store)
    await store.append(batch(room, 1, time=1.0))
    await store._writer.submit(lambda transaction: transaction.db.set_busy_timeout(0))
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN; SELECT * FROM room")
    assert await store.expire(2.0) == [(room, 2)]
    assert store.statistics().unclean
    reader.close()
    assert await store.expire(2.0) == []
    assert not store.statistics().unclean
    assert not (path.parent / "chat.db-wal").stat().st_size


async def test_reading_leaves_nothing_behind(store: Store) -> None:
    def cursors() -> int:
        gc.collect()
        return sum(type(each).__name__ == "Cursor" for each in gc.get_objects())

    before = cursors()
    for _ in range(20):
        await store.find_room(names.key("nowhere"))
        await store.expire(0.0)
    assert cursors() - before < 5
