"""A database of an earlier version becomes one of this, or stays what it is."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from trio_chat import names
from trio_chat.errors import StoreError
from trio_chat.store import Batch, RoomRow, open_store, schema

# The tables as version 1 made them, to the letter.
TABLES_1 = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE room(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, mode TEXT NOT NULL,
    topic TEXT NOT NULL, created REAL NOT NULL, direct INTEGER NOT NULL,
    floor INTEGER NOT NULL  -- the last sequence number that is gone
);
CREATE INDEX room_listed ON room(key) WHERE direct = 0;
CREATE TABLE member(
    user TEXT, key TEXT, room INTEGER NOT NULL, PRIMARY KEY(user, key)
) WITHOUT ROWID;
CREATE TABLE batch(
    id INTEGER PRIMARY KEY, room INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, time REAL NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX batch_place ON batch(room, first, last);
CREATE TABLE counter(
    room INTEGER, device TEXT, n INTEGER NOT NULL, PRIMARY KEY(room, device)
) WITHOUT ROWID;
CREATE TABLE directory(key TEXT PRIMARY KEY, rev INTEGER NOT NULL, data BLOB NOT NULL);
"""

FILLED = """
INSERT INTO meta VALUES('log', 'the old log');
INSERT INTO room VALUES
    (1, 'lobby', 'Lobby', 'plain', 'cats', 5.0, 0, 2),
    (2, '@ann+bob', '@ann+bob', 'plain', '', 6.0, 1, 0);
INSERT INTO member VALUES('ann', '@ann+bob', 2), ('bob', '@ann+bob', 2);
INSERT INTO batch VALUES
    (1, 1, 1, 2, 7.0, zeroblob(14)),
    (2, 1, 3, 4, 8.0, CAST('three' || char(10) || 'four' || char(10) AS BLOB)),
    (3, 2, 1, 1, 9.0, CAST('psst' || char(10) AS BLOB));
INSERT INTO counter VALUES(1, 'd', 3), (2, 'd', 1);
INSERT INTO directory VALUES('person:ann', 1, CAST('Ann' AS BLOB));
PRAGMA application_id = 0x74726331;
PRAGMA user_version = 1;
"""


def of_version_1(path: Path, key: bytes | None) -> None:
    db = apsw.Connection(os.fspath(path))
    if key is not None:
        db.pragma("cipher", "chacha20")
        db.pragma("key", f"raw:{key.hex()}")
    db.pragma("journal_mode", "wal")
    db.execute(TABLES_1 + FILLED)
    db.close()
    path.chmod(0o600)


def shape(path: Path) -> set[tuple[str, ...]]:
    """All columns and indexes, as SQLite sees them."""
    db = apsw.Connection(os.fspath(path))
    columns = db.execute(
        "SELECT m.name, c.name, c.type, c.'notnull', c.dflt_value, c.pk"
        " FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
    )
    found = {tuple(map(str, row)) for row in columns}
    indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'")
    found |= {tuple(map(str, row)) for row in indexes}
    db.close()
    return found


@pytest.mark.parametrize("encrypted", [False, True])
async def test_what_was_there_is_there_still_plain_and_open_or_of_two(
    path: Path, key: bytes, encrypted: bool
) -> None:
    used = key if encrypted else None
    of_version_1(path, used)
    for _ in range(2):  # when it is migrated, and when it has been
        async with open_store(path, key=used) as store:
            assert store.log_id == "the old log"
            lobby = await store.find_room(names.key("lobby"))
            assert lobby == RoomRow(1, "Lobby", "plain", "cats", "open")
            state = await store.load_room(1)
            assert (state.first, state.seq, state.counters) == (3, 4, {"d": 3})
            assert (state.epoch, state.people, state.trees) == (0, {}, frozenset())
            assert [each.body for each in await store.read_after(1, 0, 99)] == [b"three\nfour\n"]
            of_two = await store.load_room(2)
            assert of_two.people == {"ann": "member", "bob": "member"}
            (row,) = await store.own_rooms(names.key("bob"), "", 9)
            assert (row.name, row.mode, row.access) == ("@ann+bob", "plain", "closed")
            assert [row.name for row in await store.list_rooms("", 9)] == ["Lobby"]
            found = await store.get("person:ann")
            assert found is not None
            assert found.data == b"Ann"
    async with open_store(path, key=used) as store:
        await store.append(Batch(room=1, first=5, last=5, time=10.0, body=b"five\n"))
        await store.create_room("den", mode="encrypted", now=11.0, access="closed")


async def test_it_has_the_same_tables_as_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    of_version_1(old, None)
    for path in (old, new):
        async with open_store(path, key=None):
            pass
    assert shape(old) == shape(new)


async def test_a_migration_that_fails_has_changed_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version_1(path, None)
    before = shape(path)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "_BESIDE", schema._BESIDE + "CREATE TABLE room(x);")
        with pytest.raises(StoreError):
            async with open_store(path, key=None):
                pytest.fail("it was opened")
    assert shape(path) == before
    async with open_store(path, key=None) as store:
        assert (await store.load_room(1)).seq == 4
