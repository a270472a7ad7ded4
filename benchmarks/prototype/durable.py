"""`fast.py` with a durable, encrypted log in the current folder.

One row for each batch of a room; one transaction for the batches of all rooms that wait; what
is committed is then written to the members. A prototype: nothing is ever read back, and
cancelling it in a transaction is not thought of.
"""

from __future__ import annotations

import contextlib
import functools
import math
import tempfile
from pathlib import Path

import apsw
import apsw.aio  # the asynchronous side of `apsw.Connection`
import fast
import trio
from common import options

TABLE = """
create table log(room text, first integer, last integer, time real, body blob,
                 primary key(room, first)) without rowid
"""


async def commit(waiting, synchronous):
    """Take the waiting batches of all rooms, commit them together, wake their broadcasters."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        db = await apsw.Connection.as_async(str(Path(folder, "log.db")))
        async with contextlib.aclosing(db):
            await db.pragma("key", "secret")
            await db.pragma("journal_mode", "wal")
            await db.pragma("synchronous", synchronous)
            await db.execute(TABLE)
            async for item in waiting:
                batch = [item]
                with contextlib.suppress(trio.WouldBlock):
                    while True:
                        batch.append(waiting.receive_nowait())
                async with db:
                    await db.executemany(
                        "insert into log values(?,?,?,?,?)", [row for row, _ in batch]
                    )
                for _, done in batch:
                    done.set()


class DurableRoom(fast.Room):
    """A room whose batches are on the disk before anybody sees them."""

    def __init__(self, waiting, name):
        super().__init__(name)
        self.waiting = waiting
        self.seq = 0

    async def keep(self, blob, lines):
        done = trio.Event()
        row = (self.name, self.seq, self.seq + lines, trio.current_time(), blob)
        self.waiting.send_nowait((row, done))
        self.seq += lines
        await done.wait()


async def main(o):
    send, receive = trio.open_memory_channel(math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit, receive, o.synchronous)
        make_room = functools.partial(DurableRoom, send)
        await fast.Server(fast.make_context(o), nursery, make_room).serve(o.port)


if __name__ == "__main__":
    trio.run(main, options())
