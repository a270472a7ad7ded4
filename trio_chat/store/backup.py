"""A copy of a database that is in use: one moment of it, whole, checked, still encrypted.

The copy is made by a connection and a thread of its own, a few pages at a time. It reads
inside one transaction, so it sees one moment however much is written meanwhile, never has
to begin anew, and holds nobody up: a write-ahead log lets others write and read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import apsw
import attrs
import trio

from trio_chat.errors import ConfigError, StoreError
from trio_chat.store.database import open_reading, unlock

__all__ = ["back_up"]

_STEP = 256  # pages copied at once: a megabyte
_SYNC = 8  # steps until they are brought to the disk: all at the end would hold others up
_LOOK = 100_000  # of SQLite's instructions, between looks whether the check is still wanted
_PLAIN = b"SQLite format 3\0"  # how a database begins that is not encrypted


async def back_up(path: Path, target: Path, *, key: bytes | None) -> int:
    """Copy the database at `path`, which is in use, to `target`; return its size in bytes.

    `target` has everything that was committed when this was called. It gets its name only
    when it is whole, is on the disk, and has been opened and checked. Cancelled, or failed,
    it leaves nothing behind.

    Raises:
        ConfigError: `target` is there already, or cannot be written.
        StoreError: the database cannot be read, or the copy is not sound.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    await trio.to_thread.run_sync(_begin, target, temporary)
    try:
        async with open_reading(path, key=key) as source:
            copy = _Copy(temporary, key)
            try:
                await source.run(copy.open)
                while not await source.run(copy.step):
                    pass
            finally:
                with trio.CancelScope(shield=True):  # the thread must not keep the file open
                    await source.run(copy.close)
        await trio.to_thread.run_sync(_check, temporary, key)
        return await trio.to_thread.run_sync(_finish, target, temporary)
    except apsw.Error as error:
        raise StoreError(f"the copy cannot be read back: {error}") from error
    except OSError as error:
        raise _cannot(target, error.strerror) from None
    finally:
        temporary.unlink(missing_ok=True)


def _begin(target: Path, temporary: Path) -> None:
    """Make the file, ours alone, before anything is in it."""
    if target.exists() or target.is_symlink():
        raise _there(target)
    try:
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise _cannot(target, error.strerror) from None


@attrs.define
class _Copy:
    """A copy in the making; used in the thread of the connection that it reads."""

    path: Path
    key: bytes | None
    _into: apsw.Connection | None = None
    _backup: apsw.Backup | None = None
    _steps: int = 0

    def open(self, source: apsw.Connection) -> None:
        # One transaction for the whole copy: with one a step, each change would restart it.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - it begins here
        with self._told():
            self._into = apsw.Connection(os.fspath(self.path), apsw.SQLITE_OPEN_READWRITE)
            unlock(self.key, self._into)
            # If this ends early the file goes, so nothing has to be undone in it.
            self._into.pragma("journal_mode", "off")
            self._into.pragma("synchronous", "off")
            self._backup = self._into.backup("main", source, "main")

    def step(self, _source: apsw.Connection) -> bool:
        """Copy some more; return whether that was all."""
        assert self._backup is not None
        assert self._into is not None
        with self._told():
            done = self._backup.step(_STEP)
            self._steps += 1
            if self._steps % _SYNC == 0:
                _sync(self.path)
            if not done:
                return False
            self._backup.finish()
            self._backup = None
            # One file that stands alone: a server makes it a write-ahead log again.
            self._into.pragma("journal_mode", "delete")
            return True

    def close(self, source: apsw.Connection) -> None:
        if self._backup is not None:
            self._backup.close(force=True)
        if self._into is not None:
            self._into.close(force=True)
        if source.in_transaction:
            source.execute("ROLLBACK")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say that it is the copy that cannot be written, not the log."""
        try:
            yield
        except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
            raise ConfigError(f"cannot write the backup: {error}") from error


def _check(path: Path, key: bytes | None) -> None:
    """Open the copy as a server would, and read all of it."""
    with open(path, "rb") as file:
        plain = file.read(len(_PLAIN)) == _PLAIN
    if key is not None and plain:
        raise StoreError("the copy is not encrypted")
    db = apsw.Connection(os.fspath(path), apsw.SQLITE_OPEN_READONLY)
    try:
        unlock(key, db)
        db.set_progress_handler(_go_on, _LOOK)
        found = db.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise StoreError(f"the copy is not sound: {found}")
    finally:
        db.close(force=True)


def _go_on() -> bool:
    trio.from_thread.check_cancelled()
    return False


def _finish(target: Path, temporary: Path) -> int:
    """Get the copy to the disk, and give it its name unless that was taken meanwhile."""
    size = _sync(temporary)
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _there(target) from None
    except OSError:  # a file system without links, a stick say: take the name, then the place
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise _there(target) from None
        temporary.replace(target)
    return size


def _sync(path: Path) -> int:
    """Bring a file to the disk, and return its size."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _there(target: Path) -> ConfigError:
    return ConfigError(
        f"{target} is there already", hint="nothing is overwritten; choose another name"
    )


def _cannot(target: Path, why: str | None) -> ConfigError:
    return ConfigError(f"cannot write {target}: {why}")
