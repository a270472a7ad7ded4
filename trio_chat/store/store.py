"""The store: rooms, their logs and the directory, behind one small interface.

Sequence numbers, once committed, are the truth; what is pushed to anybody is what this
has taken. Another engine can stand behind the same methods, so nothing here may know of
connections, frames or people.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import trio

from trio_chat import names
from trio_chat.store import audit, operations, overview, queries
from trio_chat.store.database import Database, Durability, open_reading, open_writing
from trio_chat.store.rows import (
    Batch,
    RoomRow,
    RoomState,
    RoomSummary,
    Slice,
    Statistics,
    Value,
)
from trio_chat.store.writer import Writer

__all__ = ["Store", "open_store"]


@attrs.define(eq=False)
class Store:
    """An open database. Made by `open_store`.

    What writes returns when it is durable. Cancelled, it has either not been begun and
    never will be, or is committed whole. Everything raises `StoreError` when the database
    cannot be used; of what was to be written nothing is there then, and a later call may
    succeed.

    Attributes:
        log_id: A random name of this history: another one means that sequence numbers and
            counters from before mean nothing here.
    """

    log_id: str
    _writer: Writer
    _reading: Database

    # Writing

    async def create_room(
        self, name: str, *, mode: str, now: float, people: tuple[names.Key, ...] = ()
    ) -> RoomRow:
        """Make a room, and say which two people's it is if it is a two-person room.

        Raises:
            RoomExists: there is one with that key.
        """
        return await self._writer.submit(operations.CreateRoom(name, mode, now, people))

    async def append(self, batch: Batch) -> None:
        """Append lines to a room's log, with the counters they use up and the topic they set.

        Raises:
            StoreError: `batch.first` is not the number that comes next, among others.
        """
        await self._writer.submit(operations.Append(batch), size=len(batch.body))

    async def put(self, key: str, data: bytes, *, rev: int | None) -> int:
        """Put an entry into the directory and return its new revision.

        Args:
            key: Its name.
            data: What it is to hold.
            rev: The revision it must be at now: 0 for none; None for whatever there is.

        Raises:
            Conflict: it is at another one, which the exception has.
        """
        return await self._writer.submit(operations.Put(key, data, rev), size=len(data))

    async def expire(self, before: float) -> list[tuple[int, int]]:
        """Delete all batches older than `before` for real: also from the files.

        Only from the oldest on: a batch that came after a younger one stays until that goes.
        A call that is cancelled has deleted some of them.

        Returns:
            The number of each room that lost something, with the oldest number it keeps.
        """
        floors: dict[int, int] = {}
        more = True
        while more:
            step = await self._writer.submit(operations.Expire(before))
            floors.update(step.floors)
            more = step.more
        if floors or self.statistics().unclean:
            await self._writer.submit(operations.clean)
        return [(room, floor + 1) for room, floor in floors.items()]

    # Reading

    async def find_room(self, key: names.Key) -> RoomRow | None:
        """Return the room with that key, if there is one."""
        return await self._reading.run(functools.partial(queries.find_room, key))

    async def load_room(self, room: int) -> RoomState:
        """Return what is needed to go on with a room.

        Raises:
            StoreError: there is no such room, among others.
        """
        return await self._reading.run(functools.partial(queries.load_room, room))

    async def read_after(self, room: int, after: int, max_bytes: int) -> list[Slice]:
        """Return what follows sequence number `after` in a room, in order.

        Whole batches, but the first is cut so that it starts at `after + 1`, or at the
        oldest line kept if that is later; at most `max_bytes` altogether, but at least one
        batch if there is any.
        """
        return await self._reading.run(
            functools.partial(queries.read_after, room, after, max_bytes)
        )

    async def read_before(
        self, room: int, before: int, limit: int, *, max_bytes: int | None = None
    ) -> list[bytes]:
        """Return up to `limit` lines with numbers just below `before`, oldest first.

        Without their line feeds; at most `max_bytes` altogether, if given, but at least one
        line if there is any.
        """
        return await self._reading.run(
            functools.partial(queries.read_before, room, before, limit, max_bytes)
        )

    async def list_rooms(self, after: str, limit: int) -> list[RoomSummary]:
        """Return up to `limit` rooms after that name, by key; no two-person rooms."""
        return await self._reading.run(functools.partial(queries.list_rooms, after, limit))

    async def direct_rooms(self, user: names.Key, after: str, limit: int) -> list[RoomSummary]:
        """Return up to `limit` two-person rooms of a person after that name, by key."""
        return await self._reading.run(functools.partial(queries.direct_rooms, user, after, limit))

    async def get(self, key: str) -> Value | None:
        """Return an entry of the directory, if there is one."""
        return await self._reading.run(functools.partial(queries.get, key))

    # For whoever runs the server

    async def every_room(self, after: str, limit: int) -> list[overview.RoomOverview]:
        """Return up to `limit` rooms after that name, by key; no two-person rooms."""
        return await self._reading.run(functools.partial(overview.every_room, after, limit))

    async def add_audit(self, entry: audit.AuditEntry) -> int:
        """Add an entry to the audit log, and return its number."""
        return await self._writer.submit(audit.AddAudit(entry))

    async def read_audit(self, after: int, limit: int) -> list[audit.AuditRow]:
        """Return up to `limit` entries after number `after`, in order."""
        return await self._reading.run(functools.partial(audit.read, after, limit))

    async def last_audit(self) -> int:
        """Return the number of the newest entry of the audit log, 0 if there is none."""
        return await self._reading.run(audit.newest)

    def statistics(self) -> Statistics:
        """Return how the writer is doing."""
        return self._writer.statistics()


@contextlib.asynccontextmanager
async def open_store(
    path: Path, *, key: bytes | None, durability: Durability = "full"
) -> AsyncIterator[Store]:
    """Open the database at `path`, or make it; on leaving, finish what waits and close it.

    Leaving waits for what has been submitted, also when cancelled: for the disk, that is,
    and nothing else. An error of the body comes out as it is; if the writer fails, the body
    is cancelled and the writer's `StoreError` comes out.

    Args:
        path: The database's file. What SQLite needs beside it (`-wal`, `-shm`) goes with it.
        key: 32 bytes that encrypt it, or None to have it in the clear.
        durability: `full` syncs every commit to the disk; `process` survives `kill -9` but
            may lose the last commits at a power cut.

    Raises:
        ConfigError: the file cannot be made, or others can read it.
        StoreError: it is no database of ours, is encrypted with another key, or is newer.
    """
    async with (
        open_writing(path, key=key, durability=durability) as writing,
        open_reading(path, key=key) as reading,
    ):
        writer = Writer(writing)
        with _without_group():
            async with trio.open_nursery() as nursery:
                try:
                    nursery.start_soon(writer.run)
                    yield Store(writing.log_id, writer, reading)
                finally:
                    writer.close()


@contextlib.contextmanager
def _without_group() -> Iterator[None]:
    """Take a lone exception out of the group that a nursery puts around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # not the group, which says nothing more
