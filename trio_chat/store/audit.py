"""The audit log: who did what, each entry with the hash of the one before it.

Entries are only ever added. What is done is written down twice: before it takes effect, and
when it is known how it went, with the number of the first entry in `of`. So one without the
other tells that the server ended in between. Times are given; may know no Trio.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import apsw
import attrs

from trio_chat.store.database import rows_of
from trio_chat.store.writer import Transaction

__all__ = ["AddAudit", "AuditChain", "AuditEntry", "AuditRow", "newest", "read"]

_BEGINNING = "0" * 64  # what stands for the hash before the first entry

# Made when first needed and not with the other tables: a database of any version gets it.
_TABLE = """
CREATE TABLE IF NOT EXISTS audit(
    n INTEGER PRIMARY KEY, line BLOB NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_unchanged BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER IF NOT EXISTS audit_kept BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is only added to'); END;
"""


@attrs.frozen(kw_only=True)
class AuditEntry:
    """What is written down.

    Attributes:
        time: Seconds since 1970.
        actor: Who: `uid 1000`, `user alice`, `signal HUP`.
        action: The command.
        target: What it was done to; may be empty.
        outcome: `begun`, `done` or `failed`, and more after a colon.
        of: The number of the entry whose outcome this is.
    """

    time: float
    actor: str
    action: str
    target: str
    outcome: str
    of: int | None = None


@attrs.frozen
class AuditRow:
    """An entry as it is kept: `line` is JSON, `hash` its SHA-256 in hexadecimal."""

    n: int
    line: bytes
    hash: str

    def fields(self) -> dict[str, Any]:
        """Return what the line says; empty if it cannot be read."""
        try:
            found = json.loads(self.line)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@attrs.frozen
class AddAudit:
    """Add an entry after the newest one."""

    entry: AuditEntry

    def __call__(self, transaction: Transaction) -> int:
        """Do it and return the entry's number."""
        transaction.db.execute(_TABLE)
        n, before = transaction.one("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1") or (
            0,
            _BEGINNING,
        )
        fields = {"n": n + 1, **attrs.asdict(self.entry), "before": before}
        line = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(
            errors="replace"
        )
        transaction.run("INSERT INTO audit VALUES(?, ?, ?)", n + 1, line, _hash(line))
        return cast(int, n + 1)


@attrs.define
class AuditChain:
    """A check of the log from its beginning, entry by entry.

    Attributes:
        n, hash: The newest entry that was in order.
    """

    n: int = 0
    hash: str = _BEGINNING

    def follow(self, row: AuditRow) -> str | None:
        """Check the next entry; return what is wrong with it, or None."""
        fields = row.fields()
        if row.n != self.n + 1:
            return f"entry {self.n + 1} is missing"
        if _hash(row.line) != row.hash:
            return f"entry {row.n} was changed: it does not have the hash written down with it"
        if fields.get("n") != row.n:
            return f"entry {row.n} has another number in it"
        if fields.get("before") != self.hash:
            return f"entry {row.n} does not follow entry {self.n}: that had another hash"
        self.n, self.hash = row.n, row.hash
        return None


def read(after: int, limit: int, db: apsw.Connection) -> list[AuditRow]:
    """Return up to `limit` entries after number `after`, in order."""
    if not _is_there(db):
        return []
    statement = "SELECT n, line, hash FROM audit WHERE n > ? ORDER BY n LIMIT ?"
    with rows_of(db, statement, after, limit) as rows:
        return [AuditRow(*row) for row in rows]


def newest(db: apsw.Connection) -> int:
    """Return the newest entry's number, 0 if there is none."""
    if not _is_there(db):
        return 0
    with rows_of(db, "SELECT coalesce(max(n), 0) FROM audit") as rows:
        return cast(int, next(rows)[0])


def _is_there(db: apsw.Connection) -> bool:
    with rows_of(db, "SELECT 1 FROM sqlite_schema WHERE name = 'audit'") as rows:
        return next(rows, None) is not None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
