"""Opening the database: its file, its key, its settings and its tables; one thread each.

A `Database` is one SQLite connection with the one thread that touches it. What is asked
of it is a function, run whole in that thread: one hop there and back, and nothing of
Trio in between. Knows nothing of what the tables are used for.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast

import apsw
import apsw.aio
import attrs
import trio

from trio_chat.errors import ConfigError, StoreError
from trio_chat.files import create_private, lock
from trio_chat.store.key import KEY_SIZE, key_path
from trio_chat.store.schema import SCHEMA, TABLES, migrate

__all__ = ["Database", "Durability", "explain", "open_reading", "open_writing", "rows_of"]

T = TypeVar("T")

Durability = Literal["full", "process"]
"""`full` survives a power cut; `process` survives the end of the process, however sudden."""

_APPLICATION = 0x74726331  # "trc1": tells our databases from anybody else's
_BUSY_TIMEOUT = 5000  # ms that another process (a backup) may hold the database
_WAL_PAGES = 1000  # after which SQLite copies them into the database, and begins anew
_CACHE = 16 * 1024  # KiB of decrypted pages for each connection


@attrs.define
class Database:
    """One connection and its thread."""

    _connection: apsw.AsyncConnection
    log_id: str = ""

    async def run(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run `function` in the connection's thread and return what it returns.

        The caller's deadline ends the wait, as any cancellation does; the thread is not
        told of it, lest it raise an error of its own first.

        Raises:
            StoreError: SQLite raised something.
        """
        token = apsw.aio.deadline.set(math.inf)
        try:
            return cast(T, await self._connection.async_run(function, self._connection))
        except apsw.Error as error:
            raise explain(error) from error
        finally:
            apsw.aio.deadline.reset(token)

    async def aclose(self) -> None:
        """Close the connection and end its thread, whatever is cancelled.

        The last connection to a database copies the write-ahead log into it and deletes it.
        No clock bounds this: closing waits for nothing but the disk, and a connection left
        open would keep the process alive.
        """
        with trio.CancelScope(shield=True):
            await self._connection.aclose(force=True)


@contextlib.asynccontextmanager
async def open_writing(
    path: Path, *, key: bytes | None, durability: Durability
) -> AsyncIterator[Database]:
    """Open the database for its one writer; make it if there is none.

    Raises:
        ConfigError: the file or the lock beside it cannot be made, or others can read it.
        StoreError: it is no database of ours, is encrypted with another key, is newer, or
            another process has it open for writing.
    """
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(_prepare_file, path)
    with _alone(path):
        async with _open_writing(path, key, durability) as database:
            yield database


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other servers off the database: two writers would give out the same numbers."""
    held = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(held, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot make {held}: {error.strerror}") from None
    try:
        if not lock(descriptor, wait=False):
            _refuse(path, "is in use by another server", "end that one, or choose another --db")
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def _open_writing(
    path: Path, key: bytes | None, durability: Durability
) -> AsyncIterator[Database]:
    with trio.CancelScope(shield=True):
        database = await _connect(path, apsw.SQLITE_OPEN_READWRITE)
    try:
        with trio.CancelScope(shield=True):
            database.log_id = await _asked(
                path, database, functools.partial(_set_up, path, key, durability)
            )
        yield database
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def open_reading(path: Path, *, key: bytes | None) -> AsyncIterator[Database]:
    """Open a database, which a writer has open, for reading only."""
    with trio.CancelScope(shield=True):
        database = await _connect(path, apsw.SQLITE_OPEN_READONLY)
    try:
        with trio.CancelScope(shield=True):
            await _asked(path, database, functools.partial(_unlock, key))
        yield database
    finally:
        await database.aclose()


def explain(error: apsw.Error) -> StoreError:
    """Say in words what SQLite's error means for whoever wanted something of the log."""
    match error:
        case apsw.FullError():
            return StoreError(
                "the log cannot be written: the disk is full", hint="free space on its disk"
            )
        case apsw.BusyError() | apsw.LockedError():
            return StoreError(
                "the log cannot be used: another process holds the database",
                hint="end the other process that has it open",
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreError("the log cannot be written: the database is read-only")
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreError(
                "the database is damaged", hint="stop the server and restore the last backup"
            )
        case _:
            return StoreError(f"the log cannot be used: {error}")


@contextlib.contextmanager
def rows_of(
    db: apsw.Connection, statement: str, *bindings: apsw.SQLiteValue
) -> Iterator[Iterator[Any]]:
    """Give the rows of a statement, which is over at the end of the block, all read or not.

    Closing its cursor would end it too, but apsw-sqlite3mc 3.54 keeps a closed cursor for ever.
    """
    cursor = db.cursor()
    try:
        yield iter(cursor.execute(statement, bindings))
    finally:
        cursor.execute("")


async def _connect(path: Path, flags: int) -> Database:
    if not hasattr(apsw, "mc_version"):
        raise StoreError(
            "the installed apsw cannot encrypt", hint="pip install --force-reinstall apsw-sqlite3mc"
        )
    # The stub wants a controller there; the library calls what it finds, to make one.
    token = apsw.async_controller.set(cast(Any, _controller))
    try:
        return Database(await apsw.Connection.as_async(os.fspath(path), flags))
    except apsw.Error as error:
        raise StoreError(f"cannot open {path}: {error}") from error
    finally:
        apsw.async_controller.reset(token)


def _controller() -> apsw.aio.Trio:
    return apsw.aio.Trio(thread_name="trio-chat log")


async def _asked(path: Path, database: Database, function: Callable[[apsw.Connection], T]) -> T:
    """Run `function`, where SQLite's objections mean that the file is not what we want."""
    try:
        return await database.run(function)
    except StoreError as error:
        if isinstance(error.__cause__, apsw.NotADBError):
            raise StoreError(
                f"{path} is no database, or is not encrypted with this key",
                hint=f"put back the {key_path(path)} that was made with it",
            ) from error.__cause__
        if isinstance(error.__cause__, apsw.Error):
            raise StoreError(f"cannot open {path}: {error}", hint=error.hint) from error.__cause__
        raise


def _prepare_file(path: Path) -> None:
    """See to it that there is a file, ours alone: SQLite takes an empty one for a new database.

    What SQLite puts beside it gets the same mode.
    """
    if not path.exists():
        create_private(path, b"")
    elif os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(
            f"others can read {path}", hint=f"chmod 600 {shlex.quote(os.fspath(path))}"
        )


def _set_up(path: Path, key: bytes | None, durability: Durability, db: apsw.Connection) -> str:
    """Set a writing connection up, make or change the tables if need be; return the log's id."""
    _unlock(key, db)
    new = _is_empty(db)
    if not new:
        _check_ours(path, db)
    # The settings before the tables: no page is to be written without them.
    db.pragma("secure_delete", True)
    if db.pragma("journal_mode", "wal") != "wal":
        _refuse(path, "is on a disk where no write-ahead log is possible", "use a local disk")
    db.pragma("synchronous", {"full": "full", "process": "normal"}[durability])
    if new:
        db.execute("BEGIN IMMEDIATE")
        db.execute(TABLES)
        db.execute("INSERT INTO meta VALUES('log', ?)", (secrets.token_hex(16),))
        db.pragma("application_id", _APPLICATION)
        db.pragma("user_version", SCHEMA)
        db.execute("COMMIT")
    elif db.pragma("user_version") < SCHEMA:
        migrate(db)
    _lay_out(db)
    return cast(str, db.execute("SELECT value FROM meta WHERE name = 'log'").get)


def _lay_out(db: apsw.Connection) -> None:
    """Have the write-ahead log's file as long now as it gets before it begins anew, or longer.

    Where commits overwrite what is there, the file system has nothing of its own to write
    down for each: a tenth off the slowest ones. A transaction that is too large for the
    cache is written there before it is taken back; what is left of it counts for nothing.
    """
    size = _WAL_PAGES * db.pragma("page_size")
    db.pragma("cache_size", 10)
    try:
        db.execute("BEGIN IMMEDIATE; CREATE TABLE long(x)")
        db.execute("INSERT INTO long VALUES(zeroblob(?))", (size,))
    except (apsw.BusyError, apsw.FullError, apsw.IOError):
        pass  # not now, or no room: then it grows commit by commit, as far as it can
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.pragma("cache_size", -_CACHE)


def _unlock(key: bytes | None, db: apsw.Connection) -> None:
    """Give the connection its key and what both kinds of connection need."""
    if key is not None:
        if len(key) != KEY_SIZE:
            raise ConfigError(f"a database key has {KEY_SIZE} bytes")
        db.pragma("cipher", "chacha20")
        db.pragma("key", f"raw:{key.hex()}")  # the key itself, no passphrase to stretch
    db.set_busy_timeout(_BUSY_TIMEOUT)
    db.pragma("cache_size", -_CACHE)
    db.pragma("trusted_schema", False)


def _is_empty(db: apsw.Connection) -> bool:
    """Is nothing in the database yet? The first read: NotADBError if the key is wrong."""
    marks = (db.pragma("user_version"), db.pragma("application_id"))
    return marks == (0, 0) and not db.execute("SELECT count(*) FROM sqlite_schema").get


def _check_ours(path: Path, db: apsw.Connection) -> None:
    if db.pragma("application_id") != _APPLICATION:
        _refuse(path, "is a database, but not of trio-chat", "choose another file with --db")
    if (version := db.pragma("user_version")) > SCHEMA:
        _refuse(path, f"is newer (version {version}) than this trio-chat", "update trio-chat")


def _refuse(path: Path, why: str, hint: str) -> NoReturn:
    raise StoreError(f"{path} {why}", hint=hint)
