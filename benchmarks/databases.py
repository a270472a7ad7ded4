"""Databases made by the server's own Store, encrypted as `serve` has them, for scale.py."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from pathlib import Path

from daemon import HERE, WORK

sys.path.insert(0, str(HERE.parent))  # this clone's modules, whatever is installed

import trio

from trio_chat.chat.ledger import Entry, Ledger, author, message_rest
from trio_chat.store import Batch, Store, load_or_make_key, open_store
from trio_chat.store.database import open_reading

__all__ = ["GB", "HISTORY", "MB", "big_database", "cool", "die_with_long_wal", "new_database"]

MB = 1 << 20
GB = 1 << 30
HISTORY = 1_000_000  # lines in one room


def new_database(*rooms: str) -> Path:
    """Make an empty database with these rooms."""
    path = fresh("chat.db")

    async def make() -> None:
        async with opened(path) as store, trio.open_nursery() as nursery:
            for room in rooms:
                nursery.start_soon(
                    functools.partial(store.create_room, room, mode="plain", now=time.time())
                )

    trio.run(make)
    return path


def fresh(name: str) -> Path:
    """Return the path of a database that is not there."""
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.glob(f"{name}*"):
        old.unlink()
    return WORK / name


def opened(path: Path) -> contextlib.AbstractAsyncContextManager[Store]:
    return open_store(path, key=load_or_make_key(path), durability="process")


async def fill(store: Store, room: str, lines: int, size: int, pattern: tuple[int, ...]) -> None:
    """Write a room's log with texts of `size`, in batches of so many lines, again and again."""
    row = await store.create_room(room, mode="plain", now=time.time())
    ledger = Ledger(room, 0, {})
    who, n = author("alice", "alice/device"), 0
    while ledger.seq < lines:
        for count in pattern:
            rests = (message_rest(who, n + k, "x" * size, None) for k in range(1, count + 1))
            entries = [Entry("alice", n + k, rest, None, None) for k, rest in enumerate(rests, 1)]
            now, n = time.time(), n + count
            batch = ledger.draft(entries, now).batch
            assert batch is not None
            await store.append(
                Batch(
                    room=row.id, first=batch.first, last=batch.last, time=now, body=batch.body,
                    counters=batch.counters,
                )
            )  # fmt: skip
            ledger.commit(batch)


@functools.cache
def big_database() -> Path:
    """Make one of 1 GB: a room of a million lines, and others' bulk.

    Of each thousand lines in the room 200 are batches of their own and 800 came together.
    """
    path = fresh("big.db")

    async def make() -> None:
        async with opened(path) as store:
            await fill(store, "history", HISTORY, 200, (*[1] * 200, 800))
            bulk = 0
            while (size := path.stat().st_size) < GB:
                bulk += 1
                await fill(store, f"bulk{bulk}", max((GB - size) // 1200, 5000), 1000, (250,))

    trio.run(make)
    return path


def die_with_long_wal(path: Path, size: int) -> int:
    """In a process that ends by SIGKILL, write while a reader keeps the log from being emptied.

    Returns the size of what it left.
    """
    wal = path.with_name(f"{path.name}-wal")

    async def write() -> None:
        key = load_or_make_key(path)
        async with opened(path) as store, open_reading(path, key=key) as reading:
            await reading.run(lambda db: db.execute("BEGIN; SELECT count(*) FROM room").get)
            turn = 0
            while wal.stat().st_size < size:
                turn += 1
                await fill(store, f"wal{time.time_ns()}", 5000, 1000, (250,))
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            trio.run(write)
        os._exit(1)
    if os.waitpid(pid, 0)[1] != signal.SIGKILL:
        raise SystemExit("the writer failed")
    return wal.stat().st_size


def cool(path: Path) -> None:
    """Have the kernel forget the file, as after a reboot."""
    for each in path.parent.glob(f"{path.name}*"):
        with each.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
