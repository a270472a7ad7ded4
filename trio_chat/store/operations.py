"""What can be written: each a function of a transaction, run in the database's thread.

They check first and change afterwards, so that one which refuses has changed nothing.
May know the tables and the values, but no Trio and no clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import cast

import attrs

from trio_chat import names
from trio_chat.errors import RoomExists, StoreError
from trio_chat.store import delivery
from trio_chat.store.database import rows_of
from trio_chat.store.rows import Batch, Conflict, RoomRow
from trio_chat.store.writer import Transaction

__all__ = ["Append", "CreateRoom", "Expire", "Expired", "Put", "SetRole", "clean"]

# Retention goes in steps, so that appending is not held up.
_STEP_ROWS = 500
_STEP_BYTES = 8 * 1024 * 1024

# Blank rows that stay before the first one with text: six pages of them at least. Deleting
# a row can move the rows of its own and the two neighbouring pages.
_MARGIN = 6 * 4096
_ROW_IN_PAGE = 480  # bytes of a longer row that are surely in the table's page itself


@attrs.frozen
class Append:
    """Append a batch to its room, with its counters, the topic it sets, and its commits."""

    batch: Batch

    def __call__(self, transaction: Transaction) -> frozenset[str] | None:
        """Do it; refuse a batch that does not come next.

        Returns:
            The blobs that the room has now, or None where there was no commit.
        """
        batch = self.batch
        last = transaction.last(batch.room)
        if last is None:
            last = _last(transaction, batch.room)
        if batch.first != last + 1:
            raise StoreError(
                f"the log of room {batch.room} goes on at {last + 1}, not at {batch.first}"
            )
        trees = None
        if batch.turns is not None:
            trees = delivery.apply(transaction, batch.room, batch.turns, batch.time)
        transaction.run(
            "INSERT INTO batch(room, first, last, time, body) VALUES(?, ?, ?, ?, ?)",
            batch.room,
            batch.first,
            batch.last,
            batch.time,
            batch.body,
        )
        if batch.counters:
            transaction.db.executemany(
                "INSERT INTO counter VALUES(?, ?, ?) ON CONFLICT DO UPDATE"
                " SET n = excluded.n WHERE excluded.n > n",
                [(batch.room, device, n) for device, n in batch.counters.items()],
            )
        if batch.topic is not None:
            transaction.run("UPDATE room SET topic = ? WHERE id = ?", batch.topic, batch.room)
        for change in batch.changes:
            change(transaction)
        transaction.set_last(batch.room, batch.last)
        transaction.rows += 1
        return trees


@attrs.frozen
class CreateRoom:
    """Make a room; `people` are those on its list, with that role."""

    name: str
    mode: str
    now: float
    people: tuple[names.Key, ...] = ()
    access: str = "open"
    role: str = "member"
    password: str | None = attrs.field(default=None, repr=False)

    def __call__(self, transaction: Transaction) -> RoomRow:
        """Do it and return the row; refuse a name that is taken."""
        key = names.key(self.name)
        if transaction.one("SELECT 1 FROM room WHERE key = ?", key) is not None:
            raise RoomExists(f"there is a room {self.name} already", room=self.name)
        transaction.run(
            "INSERT INTO room(key, name, mode, topic, created, direct, floor, access, password)"
            " VALUES(?, ?, ?, '', ?, ?, 0, ?, ?)",
            key,
            self.name,
            self.mode,
            self.now,
            names.is_direct(self.name),
            self.access,
            self.password,
        )
        room = transaction.db.last_insert_rowid()
        transaction.db.executemany(
            "INSERT INTO member(user, key, room, role) VALUES(?, ?, ?, ?)",
            [(person, key, room, self.role) for person in self.people],
        )
        return RoomRow(room, self.name, self.mode, "", self.access)


@attrs.frozen
class SetRole:
    """Put a person on a room's list, or, with no role, take them off it."""

    room: int
    key: names.Key
    person: names.Key
    role: str | None

    def __call__(self, transaction: Transaction) -> None:
        """Do it."""
        if self.role is None:
            statement = "DELETE FROM member WHERE user = ? AND key = ?"
            transaction.run(statement, self.person, self.key)
        else:
            transaction.run(
                "INSERT INTO member(user, key, room, role) VALUES(?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET role = excluded.role",
                self.person,
                self.key,
                self.room,
                self.role,
            )


@attrs.frozen
class Put:
    """Put an entry into the directory, if it is at revision `rev`: 0 is none, None is any."""

    key: str
    data: bytes
    rev: int | None

    def __call__(self, transaction: Transaction) -> int:
        """Do it and return the new revision; refuse if it is at another one."""
        present: int = transaction.one("SELECT rev FROM directory WHERE key = ?", self.key) or 0
        if self.rev is not None and self.rev != present:
            raise Conflict(f"the entry is at revision {present}, not {self.rev}", rev=present)
        transaction.run(
            "INSERT INTO directory VALUES(?, ?, ?) ON CONFLICT DO UPDATE"
            " SET rev = excluded.rev, data = excluded.data",
            self.key,
            present + 1,
            self.data,
        )
        return present + 1


@attrs.frozen
class Expired:
    """What a step of retention has done.

    Attributes:
        floors: Room -> the last sequence number deleted.
        more: There may be more to delete.
    """

    floors: dict[int, int]
    more: bool


@attrs.frozen
class Expire:
    """Erase the oldest batches while they are older than `before`: some, in one step.

    A body is overwritten with zeros where it is; the room's floor moves, and says that the
    row is gone. Then blank rows are deleted, but for the last ones: deleting makes SQLite
    move the rows around, and a row that moves leaves a copy behind. So only blank ones may.
    """

    before: float

    def __call__(self, transaction: Transaction) -> Expired:
        """Take one step and return what it deleted."""
        floors: dict[int, int] = {}
        erased: list[int] = []
        size = 0
        with _oldest(transaction) as rows:
            for row, room, last, time, length in rows:
                if time >= self.before or len(erased) == _STEP_ROWS or size >= _STEP_BYTES:
                    break
                floors[room] = last
                erased.append(row)
                size += length
        if erased:
            transaction.run(
                "UPDATE batch SET body = zeroblob(length(body)) WHERE id BETWEEN ? AND ?",
                erased[0],
                erased[-1],
            )
            transaction.db.executemany(
                "UPDATE room SET floor = ? WHERE id = ?",
                [(floor, room) for room, floor in floors.items()],
            )
            transaction.run("DELETE FROM batch WHERE id < ?", _margin(transaction, erased[-1]))
        return Expired(floors, more=len(erased) == _STEP_ROWS or size >= _STEP_BYTES)


def clean(transaction: Transaction) -> None:
    """Have the write-ahead log emptied after this transaction."""
    transaction.clean = True


def _last(transaction: Transaction, room: int) -> int:
    """Return the last sequence number that a room has given out."""
    floor = transaction.one("SELECT floor FROM room WHERE id = ?", room)
    if floor is None:
        raise StoreError(f"there is no room {room}")
    last = transaction.one(
        "SELECT last FROM batch WHERE room = ? ORDER BY first DESC LIMIT 1", room
    )
    return cast(int, floor if last is None else last)


@contextlib.contextmanager
def _oldest(transaction: Transaction) -> Iterator[Iterator[tuple[int, int, int, float, int]]]:
    """Give the oldest batches with text, after the blank ones: id, room, last, time, length."""
    with rows_of(
        transaction.db,
        "SELECT batch.id, room, last, time, length(body)"
        " FROM batch CROSS JOIN room ON room.id = batch.room"
        " WHERE last > floor ORDER BY batch.id",
    ) as rows:
        yield rows


def _margin(transaction: Transaction, newest: int) -> int:
    """Return the first of the blank rows that are to stay, up to `newest`."""
    size = 0
    first = newest
    statement = "SELECT id, length(body) FROM batch WHERE id <= ? ORDER BY id DESC"
    with rows_of(transaction.db, statement, newest) as rows:
        for first, length in rows:  # noqa: B007
            size += min(length, _ROW_IN_PAGE)
            if size >= _MARGIN:
                break
    return first
