"""The store: rooms, their logs and the directory, behind one small interface.

Sequence numbers, once committed, are the truth; what is pushed to anybody is what this
has taken. Another engine can stand behind the same methods, so nothing here may know of
connections, frames or people.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import attrs
import trio

from trio_chat import names
from trio_chat.chat.sanctions import Sanction
from trio_chat.store import (
    audit,
    delivery,
    keypackages,
    operations,
    overview,
    queries,
    sanctions,
)
from trio_chat.store.database import Database, Durability, open_reading, open_writing
from trio_chat.store.rows import (
    Batch,
    Change,
    GroupInfo,
    KeyPackage,
    RoomRow,
    RoomState,
    RoomSummary,
    Slice,
    Statistics,
    Value,
    Welcome,
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
        self,
        name: str,
        *,
        mode: str,
        now: float,
        people: tuple[names.Key, ...] = (),
        access: str = "open",
        role: str = "member",
        password: str | None = None,
    ) -> RoomRow:
        """Make a room; `people` are on its list, with that role; `password` is a hash.

        Raises:
            RoomExists: there is one with that key.
        """
        create = operations.CreateRoom(name, mode, now, people, access, role, password)
        return await self._writer.submit(create)

    async def append(self, batch: Batch) -> frozenset[str] | None:
        """Append lines to a room's log, with all that comes with them, in one transaction.

        That is the counters they use up, the topic they set, and of commits the epochs they
        end, their infos, Welcomes and blobs.

        Returns:
            The blobs that the room has now, or None where there was no commit.

        Raises:
            StoreError: `batch.first` is not the number that comes next, or the room not at
                the epoch that the first commit ends, among others.
        """
        return await self._writer.submit(operations.Append(batch), size=batch.size)

    async def publish_packages(
        self,
        user: names.Key,
        device: str,
        packages: Sequence[str],
        last: str | None,
        *,
        now: float,
        keep: int,
        devices: int,
    ) -> None:
        """Leave key packages of a device, of which `keep` are kept, of so many devices."""
        size = sum(map(len, packages)) + len(last or "")
        publish = keypackages.Publish(
            user=user,
            device=device,
            packages=packages,
            last=last,
            now=now,
            keep=keep,
            devices=devices,
        )
        await self._writer.submit(publish, size=size)

    async def claim_packages(self, user: names.Key, since: float) -> list[KeyPackage]:
        """Take one key package, left after `since`, of each device of a person."""
        return await self._writer.submit(keypackages.Claim(user, since))

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

    async def expire_packages(self, before: float) -> None:
        """Delete key packages that were left before that time."""
        while await self._writer.submit(keypackages.ExpirePackages(before)):
            pass

    async def expire_welcomes(self, before: float) -> dict[int, frozenset[str]]:
        """Delete Welcomes that were stored before that time, and blobs that only they needed.

        Returns:
            The number of each room it was about, with the blobs that it has now.
        """
        trees: dict[int, frozenset[str]] = {}
        while step := await self._writer.submit(delivery.ExpireWelcomes(before)):
            trees.update(step)
        return trees

    async def change(self, *changes: Change) -> None:
        """Write changes together, or none of them."""
        await self._writer.submit(sanctions.Together(changes))

    async def expire_sanctions(self, before: float) -> None:
        """Delete bans and mutes that were over before that time."""
        await self._writer.submit(sanctions.ExpireSanctions(before))

    # Reading

    async def read_sanctions(self, room: int = sanctions.EVERYWHERE) -> list[Sanction]:
        """Return the bans and mutes of a room, or of the whole server."""
        return await self._reading.run(functools.partial(sanctions.read_sanctions, room))

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
        """Return up to `limit` open rooms after that name, by key; no two-person rooms."""
        return await self._reading.run(functools.partial(queries.list_rooms, after, limit))

    async def own_rooms(self, user: names.Key, after: str, limit: int) -> list[RoomSummary]:
        """Return up to `limit` rooms that a person is on the list of, after that name, by key."""
        return await self._reading.run(functools.partial(queries.own_rooms, user, after, limit))

    async def count_packages(self, user: names.Key, device: str, since: float) -> int:
        """Return how many key packages, left after `since`, a device has to give out."""
        return await self._reading.run(functools.partial(keypackages.count, user, device, since))

    async def read_info(self, room: int) -> GroupInfo | None:
        """Return what a room's newest commit said of its group."""
        return await self._reading.run(functools.partial(delivery.read_info, room))

    async def read_welcome(self, room: int, device: str) -> Welcome | None:
        """Return the newest Welcome for a device in a room."""
        return await self._reading.run(functools.partial(delivery.read_welcome, room, device))

    async def read_blob(self, room: int, digest: str, offset: int) -> tuple[int, bytes] | None:
        """Return the size of a room's blob, and its bytes from `offset` on, up to a part."""
        return await self._reading.run(functools.partial(delivery.read_blob, room, digest, offset))

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
