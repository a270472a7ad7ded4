"""What lies beside the log of an encrypted room: epochs, group infos, Welcomes, blobs.

Functions of a transaction that write it together with the commit's batch, so there is never
one without the other; functions of a read-only connection that read it. May know the tables
and the values, but no Trio and no clock.
"""

from __future__ import annotations

from typing import cast

import apsw
import attrs

from trio_chat.chat.epochs import Commit
from trio_chat.errors import StoreError
from trio_chat.store.database import rows_of
from trio_chat.store.rows import GroupInfo, Turns, Welcome
from trio_chat.store.writer import Transaction

__all__ = ["BLOBS", "PART", "ExpireWelcomes", "apply", "read_blob", "read_info", "read_welcome"]

BLOBS = 8
"""How many a room has at most."""

PART = 128 * 1024
"""Bytes of a blob in one row, and in one answer."""

_STEP = 200  # Welcomes that expire in one transaction


def apply(transaction: Transaction, room: int, turns: Turns, now: float) -> frozenset[str]:
    """Write down what the commits of a batch bring; return the blobs that the room has then."""
    transaction.run(
        "UPDATE room SET epoch = ? WHERE id = ? AND epoch = ?",
        turns.epoch + len(turns.commits),
        room,
        turns.epoch,
    )
    if transaction.db.changes() != 1:
        raise StoreError(f"room {room} is not at epoch {turns.epoch}")
    replaced: set[int] = set()
    for epoch, (seq, commit) in enumerate(turns.commits, turns.epoch + 1):
        _name_blob(transaction, room, seq, commit)
        replaced |= _put_welcomes(transaction, room, epoch, seq, commit, now)
    _drop_unused(transaction, replaced)
    _put_info(transaction, room, turns)
    return _prune_blobs(transaction, room)


def _name_blob(transaction: Transaction, room: int, seq: int, commit: Commit) -> None:
    """Have the room keep the blob that a commit names; store it if the commit brought it."""
    find = "SELECT id FROM blob WHERE room = ? AND digest = ?"
    blob = transaction.one(find, room, commit.tree)
    if blob is None:
        data = commit.blob
        if data is None:
            raise StoreError(f"room {room} has no blob {commit.tree}")
        transaction.run(
            "INSERT INTO blob(room, digest, size, seq) VALUES(?, ?, ?, ?)",
            *(room, commit.tree, len(data), seq),
        )
        blob = transaction.db.last_insert_rowid()
        with memoryview(data) as view:
            for start in range(0, len(data), PART):
                transaction.run(
                    "INSERT INTO blob_part(blob, start, data) VALUES(?, ?, ?)",
                    *(blob, start, bytes(view[start : start + PART])),
                )
    else:
        transaction.run("UPDATE blob SET seq = ? WHERE id = ?", seq, blob)


def _put_welcomes(
    transaction: Transaction, room: int, epoch: int, seq: int, commit: Commit, now: float
) -> set[int]:
    """Store Welcomes, each once; return those that are no longer the newest of some device."""
    replaced: set[int] = set()
    for devices, body in commit.welcomes:
        transaction.run(
            "INSERT INTO welcome(room, epoch, seq, time, tree, body) VALUES(?, ?, ?, ?, ?, ?)",
            *(room, epoch, seq, now, commit.tree, body),
        )
        welcome = transaction.db.last_insert_rowid()
        for device in devices:
            find = "SELECT welcome FROM welcome_for WHERE device = ? AND room = ?"
            if (older := transaction.one(find, device, room)) is not None:
                replaced.add(older)
            transaction.run(
                "INSERT INTO welcome_for VALUES(?, ?, ?) ON CONFLICT DO UPDATE"
                " SET welcome = excluded.welcome",
                *(device, room, welcome),
            )
    return replaced


def _drop_unused(transaction: Transaction, welcomes: set[int]) -> None:
    transaction.db.executemany(
        "DELETE FROM welcome WHERE id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM welcome_for WHERE welcome = ?1)",
        [(welcome,) for welcome in welcomes],
    )


def _put_info(transaction: Transaction, room: int, turns: Turns) -> None:
    """Keep the newest commit's info, and which tree the one before it had."""
    seq, newest = turns.commits[-1]
    if len(turns.commits) > 1:
        previous = turns.commits[-2][1].tree
    else:
        previous = transaction.one("SELECT tree FROM info WHERE room = ?", room)
    transaction.run(
        "INSERT OR REPLACE INTO info(room, epoch, seq, body, tree, previous)"
        " VALUES(?, ?, ?, ?, ?, ?)",
        *(room, turns.epoch + len(turns.commits), seq, newest.info, newest.tree, previous),
    )


def _prune_blobs(transaction: Transaction, room: int) -> frozenset[str]:
    """Delete the blobs that nothing refers to, and the oldest above the limit."""
    statement = """
        SELECT id, digest, EXISTS (
            SELECT 1 FROM info WHERE room = ?1 AND (tree = digest OR previous = digest)
        ) OR EXISTS (SELECT 1 FROM welcome WHERE room = ?1 AND tree = digest)
        FROM blob WHERE room = ?1 ORDER BY seq DESC, id DESC
    """
    with rows_of(transaction.db, statement, room) as rows:
        found = list(rows)
    used = [(blob, digest) for blob, digest, is_used in found if is_used]
    kept = dict(used[:BLOBS])
    gone = [(blob,) for blob, _digest, _used in found if blob not in kept]
    transaction.db.executemany("DELETE FROM blob_part WHERE blob = ?", gone)
    transaction.db.executemany("DELETE FROM blob WHERE id = ?", gone)
    return frozenset(kept.values())


@attrs.frozen
class ExpireWelcomes:
    """Delete Welcomes older than `before`, some in one step, and the blobs only they needed."""

    before: float

    def __call__(self, transaction: Transaction) -> dict[int, frozenset[str]]:
        """Take one step; return the rooms it was about, with the blobs they have now."""
        statement = "SELECT id, room FROM welcome WHERE time < ? ORDER BY time LIMIT ?"
        with rows_of(transaction.db, statement, self.before, _STEP) as rows:
            found = list(rows)
        gone = [(welcome,) for welcome, _room in found]
        transaction.db.executemany("DELETE FROM welcome_for WHERE welcome = ?", gone)
        transaction.db.executemany("DELETE FROM welcome WHERE id = ?", gone)
        return {room: _prune_blobs(transaction, room) for room in {room for _, room in found}}


def read_info(room: int, db: apsw.Connection) -> GroupInfo | None:
    """Return what a room's newest commit said of its group."""
    with rows_of(db, "SELECT epoch, seq, body, tree FROM info WHERE room = ?", room) as rows:
        return next((GroupInfo(*row) for row in rows), None)


def read_welcome(room: int, device: str, db: apsw.Connection) -> Welcome | None:
    """Return the newest Welcome for a device in a room."""
    statement = """
        SELECT epoch, seq, body, tree
        FROM welcome_for JOIN welcome ON welcome.id = welcome_for.welcome
        WHERE device = ? AND welcome_for.room = ?
    """
    with rows_of(db, statement, device, room) as rows:
        return next((Welcome(*row) for row in rows), None)


def read_blob(room: int, digest: str, offset: int, db: apsw.Connection) -> tuple[int, bytes] | None:
    """Return the size of a room's blob and its bytes from `offset` on, up to a part."""
    statement = """
        SELECT size, (SELECT substr(data, ?3 - start + 1) FROM blob_part
            WHERE blob_part.blob = blob.id AND start = ?3 / ?4 * ?4)
        FROM blob WHERE room = ?1 AND digest = ?2
    """
    with rows_of(db, statement, room, digest, offset, PART) as rows:
        found = next(rows, None)
    return None if found is None else (found[0], cast(bytes, found[1] or b""))
