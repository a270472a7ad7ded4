"""Is a database sound? Looked at from outside, whether a server has it open or not.

Changes nothing: no table is made, no version raised. A write-ahead log that a server left
behind when it was killed is taken in, as the next server would.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw
import attrs

from trio_chat.errors import StoreError
from trio_chat.files import lock
from trio_chat.store import audit
from trio_chat.store.audit import AuditChain
from trio_chat.store.database import explain, unlock
from trio_chat.store.schema import SCHEMA

__all__ = ["Inspection", "inspect_database"]

_PROBLEMS = 20  # of SQLite's told at most
_PAGE = 1000  # entries of the audit log read at once


@attrs.frozen(kw_only=True)
class Inspection:
    """What was found.

    Attributes:
        problems: What SQLite says is wrong; nothing if the database is sound.
        in_use: Has a server it open?
        newest: When the newest batch was written, in seconds since 1970.
        audit: How many entries of the audit log are in order, from its beginning.
        audit_problem: What is wrong with the next one.
    """

    problems: list[str]
    in_use: bool
    newest: float | None
    audit: int
    audit_problem: str | None


def inspect_database(path: Path, *, key: bytes | None) -> Inspection:
    """Read all of a database.

    Raises:
        StoreError: it cannot be opened: no database, another key, a newer version.
    """
    with _is_in_use(path) as in_use:
        try:
            db = _open(path, in_use)
            try:
                unlock(key, db)
                return _look(path, db, in_use)
            finally:
                db.close(force=True)
        except apsw.NotADBError:
            raise StoreError(f"{path} is no database, or is not encrypted with its key") from None
        except apsw.CorruptError as error:
            told = explain(error)
            raise StoreError(f"{path}: {told}", hint=told.hint) from None
        except apsw.Error as error:
            raise StoreError(f"cannot read {path}: {error}") from None


def _look(path: Path, db: apsw.Connection, in_use: bool) -> Inspection:
    version = db.pragma("user_version")
    if version > SCHEMA:
        raise StoreError(f"{path} is newer (version {version}) than this trio-chat")
    found = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_PROBLEMS})")]
    chain = AuditChain()
    problem = None
    db.execute("BEGIN")
    while problem is None and (rows := audit.read(chain.n, _PAGE, db)):
        problem = next(filter(None, map(chain.follow, rows)), None)
    newest = db.execute("SELECT max(time) FROM (SELECT time FROM batch ORDER BY id DESC LIMIT 1)")
    return Inspection(
        problems=[] if found == ["ok"] else found,
        in_use=in_use,
        newest=newest.get,
        audit=chain.n,
        audit_problem=problem,
    )


@contextmanager
def _is_in_use(path: Path) -> Iterator[bool]:
    """Say whether a server has it open; if not, keep servers off meanwhile."""
    try:
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    try:
        yield not lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def _open(path: Path, in_use: bool) -> apsw.Connection:
    if in_use:
        return apsw.Connection(os.fspath(path), apsw.SQLITE_OPEN_READONLY)
    if path.with_name(f"{path.name}-wal").exists():
        return apsw.Connection(os.fspath(path), apsw.SQLITE_OPEN_READWRITE)
    # Not even the files that a reader of a write-ahead log makes beside it.
    uri = f"file:{quote(os.fspath(path.absolute()))}?immutable=1"
    return apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
