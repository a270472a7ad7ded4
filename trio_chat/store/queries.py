"""What can be read: functions of a read-only connection, run in its thread.

Every one is a few look-ups in an index or one range of it, never a scan, and leaves no
statement open behind it: an open one would keep the write-ahead log from being emptied.
Rows up to a room's floor are blank, and nobody sees them.
May know the tables and the values, but no Trio.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import apsw
import attrs

from trio_chat import names
from trio_chat.errors import StoreError
from trio_chat.store.database import rows_of
from trio_chat.store.rows import RoomRow, RoomState, RoomSummary, Slice, Value
from trio_chat.store.sanctions import read_sanctions

__all__ = [
    "find_room",
    "get",
    "list_rooms",
    "load_room",
    "own_rooms",
    "read_after",
    "read_before",
]

_SUMMARY = """
SELECT room.name, room.mode, room.topic, coalesce(
    (SELECT last FROM batch WHERE batch.room = room.id ORDER BY first DESC LIMIT 1), room.floor),
    room.access, room.password IS NOT NULL
"""


def find_room(key: names.Key, db: apsw.Connection) -> RoomRow | None:
    """Return the room with that key."""
    statement = "SELECT id, name, mode, topic, access FROM room WHERE key = ?"
    with rows_of(db, statement, key) as rows:
        return next((RoomRow(*row) for row in rows), None)


def load_room(room: int, db: apsw.Connection) -> RoomState:
    """Return a room's state at one moment."""
    with _snapshot(db):
        statement = f"{_SUMMARY}, room.floor, room.epoch, room.password FROM room WHERE room.id = ?"
        with rows_of(db, statement, room) as rows:
            found = next(rows, None)
        if found is None:
            raise StoreError(f"there is no room {room}")
        _name, mode, topic, seq, _access, _locked, floor, epoch, password = found
        with rows_of(db, "SELECT device, n FROM counter WHERE room = ?", room) as rows:
            counters = dict(rows)
        with rows_of(db, "SELECT user, role FROM member WHERE room = ?", room) as rows:
            people = dict(rows)
        state = RoomState(
            first=floor + 1,
            seq=seq,
            counters=counters,
            topic=topic,
            epoch=epoch,
            people=people,
            password=password,
            sanctions=tuple(read_sanctions(room, db)),
        )
        if mode == "plain":
            return state
        with rows_of(db, "SELECT digest FROM blob WHERE room = ?", room) as rows:
            return attrs.evolve(state, trees=frozenset(digest for (digest,) in rows))


def read_after(room: int, after: int, max_bytes: int, db: apsw.Connection) -> list[Slice]:
    """Return what follows number `after`, whole batches but for the first one's beginning."""
    slices: list[Slice] = []
    size = 0
    statement = """
        SELECT first, last, body FROM batch
        WHERE room = ?1 AND last >= ?2 AND first >= max(
            (SELECT floor + 1 FROM room WHERE id = ?1),
            coalesce((SELECT max(first) FROM batch WHERE room = ?1 AND first <= ?2), ?2))
        ORDER BY first
    """
    with rows_of(db, statement, room, after + 1) as rows:
        for first, last, body in rows:
            skipped = max(after + 1 - first, 0)
            kept = body.split(b"\n", skipped)[skipped] if skipped else body
            size += len(kept)
            if slices and size > max_bytes:
                break
            slices.append(Slice(first + skipped, last, kept))
    return slices


def read_before(
    room: int, before: int, limit: int, max_bytes: int | None, db: apsw.Connection
) -> list[bytes]:
    """Return the last lines before number `before`, oldest first, without line feeds."""
    newest_first: list[bytes] = []
    size = 0
    statement = """
        SELECT first, body FROM batch
        WHERE room = ?1 AND first < ?2 AND first > (SELECT floor FROM room WHERE id = ?1)
        ORDER BY first DESC
    """
    with rows_of(db, statement, room, before) as rows:
        for first, body in rows:
            for line in reversed(body[:-1].split(b"\n")[: before - first]):
                size += len(line)
                if len(newest_first) == limit or _is_over(size, max_bytes, newest_first):
                    return newest_first[::-1]
                newest_first.append(line)
            if len(newest_first) == limit:
                break
    return newest_first[::-1]


def list_rooms(after: str, limit: int, db: apsw.Connection) -> list[RoomSummary]:
    """Return open rooms that are not two-person rooms, by key."""
    statement = f"""
        {_SUMMARY} FROM room WHERE direct = 0 AND access = 'open' AND key > ?
        ORDER BY key LIMIT ?
    """
    with rows_of(db, statement, names.key(after), limit) as rows:
        return [_summary(row) for row in rows]


def own_rooms(user: names.Key, after: str, limit: int, db: apsw.Connection) -> list[RoomSummary]:
    """Return the closed rooms on whose list a person is, by key."""
    statement = f"""
        {_SUMMARY} FROM member JOIN room ON room.id = member.room
        WHERE member.user = ? AND member.key > ?
            AND (room.access = 'closed' OR room.direct)
        ORDER BY member.key LIMIT ?
    """
    with rows_of(db, statement, user, names.key(after), limit) as rows:
        return [_summary(row) for row in rows]


def _summary(row: Any) -> RoomSummary:
    name, mode, topic, seq, access, locked = row
    return RoomSummary(name, mode, topic, seq, access, bool(locked))


def get(key: str, db: apsw.Connection) -> Value | None:
    """Return an entry of the directory."""
    with rows_of(db, "SELECT rev, data FROM directory WHERE key = ?", key) as rows:
        return next((Value(*row) for row in rows), None)


@contextlib.contextmanager
def _snapshot(db: apsw.Connection) -> Iterator[None]:
    """See the database as it is at one moment, in all statements within."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def _is_over(size: int, max_bytes: int | None, so_far: list[bytes]) -> bool:
    return max_bytes is not None and size > max_bytes and bool(so_far)
