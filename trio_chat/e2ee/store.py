"""A client's encrypted store: all that must outlive it, and that nobody else may read.

    with store.event() as event:                # one event, one transaction: all of it or nothing
        for entry in entries:
            event.record(entry)
        event.set_cursor("lobby", Cursor(seq, log))
        event.save_group("lobby", group, epoch)  # once, for all that it has taken

The rule of the write-ahead: encrypting moves a group's keys on, so its new state is here before
the ciphertext leaves. `seal` takes both together and whoever sends, sends what `outbox` holds:
after a crash the same bytes go out again, or others under fresh keys, but never others under
the same keys. A commit is sealed with the group it leads to, which stays *pending* until the
server has taken it. A hundred entries take three times as long as one: most of it is the disk's.

What is deleted is overwritten (a ratchet's old key, a used key package), in the database and in
the index for searching; no write-ahead log of SQLite's keeps copies, hence the rollback journal.
One process has the store open: two would use the same keys.

Synchronous, one thread at a time. Knows files and SQLite, no clock and no network; of what it
keeps only groups and key packages are more to it than bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from trio_chat.e2ee.changes import ENTRY, MEMBERS, OUTGOING, Changes, Cursor, Entry, Outgoing
from trio_chat.errors import ConfigError, StoreError
from trio_chat.files import create_private
from trio_chat.mls import Group, KeyPackageBundle, Services, restore, restore_bundle

__all__ = ["Changes", "Cursor", "Entry", "Outgoing", "SealedStore"]

SCHEMA = 1
_APPLICATION = 0x74726332  # "trc2": not the server's
_KEY_SIZE = 32  # bytes

# `pending` is 1 for the group that a commit of ours leads to; `epoch` is the room's, not MLS's.
# A tree is kept once, however often the state of its epoch is written.
_TABLES = """
CREATE TABLE kept(name TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE state(
    room TEXT, pending INTEGER, epoch INTEGER NOT NULL, tree BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY(room, pending)
) STRICT;
CREATE TABLE tree(room TEXT, hash BLOB, data BLOB NOT NULL, PRIMARY KEY(room, hash)) STRICT;
CREATE TABLE bundle(
    reference BLOB PRIMARY KEY, last_resort INTEGER NOT NULL, expires INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE pin(user TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE cursor(room TEXT PRIMARY KEY, seq INTEGER NOT NULL, log TEXT NOT NULL) STRICT;
CREATE TABLE outbox(
    id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, kind TEXT NOT NULL,
    payload BLOB NOT NULL, n INTEGER, epoch INTEGER, sealed BLOB
) STRICT;
CREATE TABLE history(
    id INTEGER PRIMARY KEY, room TEXT NOT NULL, log TEXT NOT NULL, seq INTEGER,
    time REAL NOT NULL, user TEXT NOT NULL, device TEXT NOT NULL, payload BLOB NOT NULL,
    text TEXT NOT NULL, failure TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX history_place ON history(room, log, seq);
CREATE INDEX history_age ON history(time);
CREATE VIRTUAL TABLE words USING fts5(
    text, content='history', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
INSERT INTO words(words, rank) VALUES('secure-delete', 1);
CREATE TRIGGER history_in AFTER INSERT ON history BEGIN
    INSERT INTO words(rowid, text) VALUES(new.id, new.text);
END;
CREATE TRIGGER history_out AFTER DELETE ON history BEGIN
    INSERT INTO words(words, rowid, text) VALUES('delete', old.id, old.text);
END;
"""


class SealedStore:
    """The store; there is no public constructor: `open` it.

    Whatever SQLite objects to is raised as `StoreError`.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @classmethod
    def open(cls, path: Path, key: bytes) -> Self:
        """Open the store, or make it if there is none.

        Args:
            path: The file; its folder is there.
            key: 32 bytes; see `key`.

        Raises:
            ConfigError: The file cannot be made, or others can read it.
            StoreError: It is none of ours, was made with another key, is newer, or is open.
        """
        if len(key) != _KEY_SIZE:
            raise ConfigError(f"a store's key has {_KEY_SIZE} bytes")
        if not path.exists():
            create_private(path, b"")  # which SQLite takes for a new database
        elif os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(f"others can read {path}", hint=f"chmod 600 {path}")
        with _explained(path):
            db = apsw.Connection(os.fspath(path), apsw.SQLITE_OPEN_READWRITE)
            try:
                _set_up(path, db, key)
            except BaseException:
                db.close(force=True)
                raise
        return cls(db)

    def close(self) -> None:
        """Close the store; another may open it."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def event(self) -> Iterator[Changes]:
        """Give what can be written; it counts all together at the end, and on the disk.

        With an error nothing of it counts. Not to be nested.
        """
        with _explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield Changes(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                if not self._db.get_autocommit():  # else SQLite has taken it back itself
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with _explained():
            return self._db.execute(statement, values).fetchall()

    def kept(self, name: str) -> bytes | None:
        """Return what was kept under a name."""
        rows = self._rows("SELECT data FROM kept WHERE name = ?", name)
        return rows[0][0] if rows else None

    def rooms(self) -> list[str]:
        """Return the rooms with a group, sorted."""
        return [
            room for (room,) in self._rows("SELECT room FROM state WHERE NOT pending ORDER BY 1")
        ]

    def group(
        self, room: str, services: Services, *, pending: bool = False
    ) -> tuple[Group, int] | None:
        """Return a room's group and the room's epoch it is in.

        Args:
            room: The room.
            services: What the application does for the group.
            pending: Whether to return the one that our commit on its way leads to.
        """
        rows = self._rows(
            "SELECT state.data, tree.data, epoch FROM state JOIN tree ON tree.hash = state.tree"
            " AND tree.room = state.room WHERE state.room = ? AND pending = ?",
            *(room, pending),
        )
        if not rows:
            return None
        data, tree, epoch = rows[0]
        return restore(data, services, ratchet_tree=tree), epoch

    def members(self, room: str) -> dict[str, frozenset[str]]:
        """Return who was last known in a room's group: the fingerprints of each user's keys."""
        data = self.kept(MEMBERS + room)
        return msgspec.msgpack.decode(data, type=dict[str, frozenset[str]]) if data else {}

    def bundle(self, reference: bytes) -> KeyPackageBundle | None:
        """Return a key package of ours by its KeyPackageRef."""
        rows = self._rows("SELECT data FROM bundle WHERE reference = ?", reference)
        return restore_bundle(rows[0][0]) if rows else None

    def bundles(self) -> dict[bytes, bool]:
        """Return the KeyPackageRefs that can be used, and whether each is a last resort."""
        return {
            each: bool(last)
            for each, last in self._rows("SELECT reference, last_resort FROM bundle")
        }

    def pins(self) -> dict[str, bytes]:
        """Return what is pinned, by user."""
        return dict(self._rows("SELECT user, data FROM pin"))

    def cursor(self, room: str) -> Cursor | None:
        """Return how far a room's log was followed."""
        rows = self._rows("SELECT seq, log FROM cursor WHERE room = ?", room)
        return Cursor(*rows[0]) if rows else None

    def cursors(self) -> dict[str, Cursor]:
        """Return how far each room's log was followed."""
        rows = self._rows("SELECT room, seq, log FROM cursor")
        return {room: Cursor(seq, log) for room, seq, log in rows}

    def outbox(self, room: str) -> list[Outgoing]:
        """Return what is on its way to a room, oldest first."""
        rows = self._rows(
            f"SELECT {', '.join(OUTGOING)} FROM outbox WHERE room = ? ORDER BY id",  # noqa: S608  # ours
            room,
        )
        return [Outgoing(**dict(zip(OUTGOING, row, strict=True))) for row in rows]

    def history(
        self,
        room: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 200,
    ) -> list[Entry]:
        """Return the last entries of a room, or the next ones after a place, oldest first.

        Args:
            room: Of which room; of its newest log, if one of the next two is given.
            before: Only entries with a smaller `seq`.
            after: Only those with a larger one, and the first ones of them.
            limit: How many, at most.
        """
        newest = "(SELECT log FROM history WHERE room = ?1 ORDER BY id DESC LIMIT 1)"
        place = f" AND seq {{}} ?2 AND log = {newest}"
        if after is not None:
            condition = f"WHERE room = ?1{place.format('>')} ORDER BY id LIMIT ?3"
            return self._entries(condition, room, after, limit)[::-1]
        bound = place.format("<") if before is not None else " AND ?2 IS NULL"
        condition = f"WHERE room = ?1{bound} ORDER BY id DESC LIMIT ?3"
        return self._entries(condition, room, before, limit)

    def last(self, room: str, beginning: bytes) -> Entry | None:
        """Return the last entry of a room with a payload that begins so."""
        condition = "WHERE room = ?1 AND substr(payload, 1, ?2) = ?3 ORDER BY id DESC LIMIT 1"
        found = self._entries(condition, room, len(beginning), beginning)
        return found[0] if found else None

    def search(self, words: str, *, room: str | None = None, limit: int = 50) -> list[Entry]:
        """Return the last entries with all of these words, oldest first.

        Case and accents do not matter; the last word may be the beginning of one.
        """
        query = " ".join(f'"{word}"' for word in words.replace('"', " ").replace("\0", " ").split())
        if not query:
            return []
        return self._entries(
            "WHERE id IN (SELECT rowid FROM words WHERE words MATCH ?1)"
            " AND (?2 IS NULL OR room = ?2) ORDER BY id DESC LIMIT ?3",
            *(f"{query}*".encode(errors="replace").decode(), room, limit),
        )

    def _entries(self, condition: str, *values: Any) -> list[Entry]:
        rows = self._rows(f"SELECT {', '.join(ENTRY)} FROM history {condition}", *values)  # noqa: S608  # ours
        return [Entry(**dict(zip(ENTRY, row, strict=True))) for row in reversed(rows)]


def _set_up(path: Path, db: apsw.Connection, key: bytes) -> None:
    db.pragma("cipher", "chacha20")
    db.pragma("key", f"raw:{key.hex()}")
    # Held as long as it is open; from the first write on, so that is at once.
    db.pragma("locking_mode", "exclusive")
    db.execute("BEGIN EXCLUSIVE; COMMIT")
    version = db.pragma("user_version")
    if version or db.pragma("application_id"):
        if db.pragma("application_id") != _APPLICATION:
            raise StoreError(f"{path} is a database, but not of a trio-chat client")
        if version > SCHEMA:
            raise StoreError(f"{path} is newer than this trio-chat", hint="update trio-chat")
    # What is deleted is overwritten; the journal that could bring it back is cut off at once.
    db.pragma("secure_delete", True)
    db.pragma("journal_mode", "truncate")
    db.pragma("synchronous", "full")
    db.pragma("temp_store", "memory")
    db.pragma("trusted_schema", False)
    if not version:
        db.execute("BEGIN IMMEDIATE")
        db.execute(_TABLES)
        db.pragma("application_id", _APPLICATION)
        db.pragma("user_version", SCHEMA)
        db.execute("COMMIT")


@contextlib.contextmanager
def _explained(path: Path | None = None) -> Iterator[None]:
    """Say in words what SQLite's error means for who keeps something here."""
    try:
        yield
    except apsw.Error as error:
        store = path or "the encrypted store"
        match error:
            case apsw.FullError():
                raise StoreError(f"{store} cannot be written: the disk is full") from error
            case apsw.BusyError():
                raise StoreError(
                    f"{store} is in use by another client",
                    hint="end that one, or choose another folder",
                ) from error
            case apsw.NotADBError() if path:
                raise StoreError(
                    f"{store} is no database, or is not encrypted with this key",
                    hint="is the passphrase right, or the key file the one made with it?",
                ) from error
            case apsw.CorruptError() | apsw.NotADBError():
                raise StoreError(f"{store} is damaged") from error
        raise StoreError(f"{store} cannot be used: {error}") from error
