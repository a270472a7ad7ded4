"""Files that must be whole or absent, and files that only their owner may read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from trio_chat.errors import ConfigError

__all__ = [
    "create_private",
    "lock",
    "read_private",
    "replace_file",
    "socket_address",
    "sync_folder",
]

_LONGEST_ADDRESS = 100  # bytes, somewhat less than any system has room for


def create_private(path: Path, data: bytes) -> None:
    """Make a file with mode 0600 that was not there before, whole, and get it to the disk.

    It is written under another name and then linked, which, unlike renaming, fails if
    there is such a file: of two that make it at once one wins, and nobody sees half of it.

    Raises:
        ConfigError: there is such a file already, or it cannot be written.
    """
    try:
        with _written(path, data, 0o600) as temporary:
            os.link(temporary, path)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already", hint="nothing is overwritten; move it away first"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}") from None
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file or leave the old one: temporary file, fsync, rename, fsync.

    A new file gets `mode`, less the process's mask; one that is replaced keeps its own, so
    that whoever could read it still can, whatever the mask of whoever writes.

    Raises:
        ConfigError: it cannot be written; the old content is still there.
    """
    try:
        with _written(path, data, mode) as temporary:
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        ConfigError: it is missing or unreadable, or others may read it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(f"others can read {path}", hint=f"chmod 600 {shlex.quote(str(path))}")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file for this process; the system drops the lock when it is closed.

    Returns:
        Whether it is ours: False, without `wait`, if another process has it.

    Raises:
        OSError: with `wait`, it cannot be locked.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if wait:
            raise
        return False
    return True


def socket_address(path: Path) -> str:
    """Return the path of a unix socket in a form that is short enough for the system.

    Raises:
        OSError: there is none.
    """
    for form in (os.fspath(path), os.path.relpath(path)):
        if len(os.fsencode(form)) <= _LONGEST_ADDRESS:
            return form
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Give a file beside `path` with that content, on the disk; remove it afterwards."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Get a folder's names to the disk, where the file system does that."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
