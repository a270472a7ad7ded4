"""Files that must be whole or absent, and files that only their owner may read."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path

from trio_chat.errors import ConfigError

__all__ = ["create_private", "lock", "read_private", "replace_file"]


def create_private(path: Path, data: bytes) -> None:
    """Make a file with mode 0600 that was not there before, and get it to the disk.

    Raises:
        ConfigError: there is such a file already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already", hint="nothing is overwritten; move it away first"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    _sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file or leave the old one: temporary file, fsync, rename, fsync.

    Raises:
        ConfigError: it cannot be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    _sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        ConfigError: it is missing or unreadable, or others may read it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(f"others can read {path}", hint=f"chmod 600 {path}")
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


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
