"""The tables, and how those of earlier versions become them."""

from __future__ import annotations

import apsw

__all__ = ["SCHEMA", "TABLES", "migrate"]

SCHEMA = 2
"""The version of the tables below, kept in the database's `user_version`."""

# What encrypted rooms added. Key packages go to whoever asks, oldest first. A Welcome is kept
# once, whomever it is for. Blobs are in parts, since SQLite reads a value as a whole.
_BESIDE = """
CREATE INDEX room_listed ON room(key) WHERE direct = 0 AND access = 'open';
CREATE INDEX member_place ON member(room);
CREATE TABLE info(
    room INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    body TEXT NOT NULL, tree TEXT NOT NULL, previous TEXT  -- the tree of the commit before
);
CREATE TABLE welcome(
    id INTEGER PRIMARY KEY, room INTEGER NOT NULL, epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL, time REAL NOT NULL, tree TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX welcome_tree ON welcome(room, tree);
CREATE INDEX welcome_age ON welcome(time);
CREATE TABLE welcome_for(
    device TEXT, room INTEGER, welcome INTEGER NOT NULL, PRIMARY KEY(device, room)
) WITHOUT ROWID;
CREATE INDEX welcome_use ON welcome_for(welcome);
CREATE TABLE blob(
    id INTEGER PRIMARY KEY, room INTEGER NOT NULL, digest TEXT NOT NULL,
    size INTEGER NOT NULL, seq INTEGER NOT NULL,  -- of the newest commit that names it
    UNIQUE(room, digest)
);
CREATE TABLE blob_part(
    id INTEGER PRIMARY KEY, blob INTEGER NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE(blob, start)
);
CREATE TABLE key_package(
    id INTEGER PRIMARY KEY, user TEXT NOT NULL, device TEXT NOT NULL, last INTEGER NOT NULL,
    time REAL NOT NULL, package TEXT NOT NULL
);
CREATE INDEX key_package_place ON key_package(user, device, last, id);
CREATE INDEX key_package_age ON key_package(time);
"""

# What moderation added. Room 0 is the whole server.
_RULES = """
CREATE TABLE sanction(
    kind TEXT, room INTEGER, subject TEXT, until REAL, since REAL NOT NULL,
    actor TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY(room, kind, subject)
) WITHOUT ROWID;
CREATE INDEX sanction_end ON sanction(until) WHERE until IS NOT NULL;
"""

# Batches lie in the order in which they came, whatever their room: appending fills one page
# after the other, and never moves a row to another page. (A moved row leaves a copy behind in
# the free part of its old page, which `secure_delete` does not know of.) The index finds a
# room's part; it holds no text. Rows up to their room's `floor` are blank: see `Expire`.
TABLES = f"""
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE room(
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, mode TEXT NOT NULL,
    topic TEXT NOT NULL, created REAL NOT NULL, direct INTEGER NOT NULL,
    floor INTEGER NOT NULL,  -- the last sequence number that is gone
    access TEXT NOT NULL DEFAULT 'open',
    epoch INTEGER NOT NULL DEFAULT 0,  -- how many commits the log has taken
    password TEXT  -- Argon2id, as it is written down commonly; NULL: none is asked for
);
CREATE TABLE member(
    user TEXT, key TEXT, room INTEGER NOT NULL, role TEXT NOT NULL DEFAULT 'member',
    PRIMARY KEY(user, key)
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
{_BESIDE}
{_RULES}
"""

_FROM_1 = """
ALTER TABLE room ADD COLUMN access TEXT NOT NULL DEFAULT 'open';
ALTER TABLE room ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE room ADD COLUMN password TEXT;
ALTER TABLE member ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
UPDATE room SET access = 'closed' WHERE direct;
DROP INDEX room_listed;
"""


def migrate(db: apsw.Connection) -> None:
    """Make an older database one of this version: all of it, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(_FROM_1)
        db.execute(_BESIDE)
        db.execute(_RULES)
        db.pragma("user_version", SCHEMA)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
