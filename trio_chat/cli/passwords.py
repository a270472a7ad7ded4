"""Passwords of accounts: from the terminal without echo, a file, or standard input.

Never from an argument, which everybody on the machine can read.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trio_chat.errors import ConfigError

__all__ = ["read_password"]

_LONGEST = 1024  # characters, as the wire has it


def read_password(user: str, password_file: str | None, *, new: bool) -> str:
    """Return the first line of the file, or what is typed; a new one is typed twice.

    Raises:
        ConfigError: a file cannot be read or others can read it, there is no terminal, the
            two differ, or it is none.
    """
    if password_file is not None:
        return _checked(_from_file(password_file))
    first = _checked(_ask(f"Password of {user}: "))
    if new and _ask("The same again: ") != first:
        raise ConfigError("the two passwords differ; nothing was sent")
    return first


def _from_file(name: str) -> str:
    from trio_chat.files import read_private

    if name == "-":
        # Read as bytes, and no byte more than the line: what follows are lines to say.
        data = b"" if sys.stdin is None else _one_line(sys.stdin.fileno())
    else:
        data = read_private(Path(name))
    try:
        return data.split(b"\n")[0].removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ConfigError("the password is not UTF-8") from None


def _one_line(descriptor: int) -> bytes:
    import os

    line = b""
    while len(line) <= _LONGEST * 4 and not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            break
        line += byte
    return line


def _ask(prompt: str) -> str:
    import getpass
    import warnings

    try:
        with warnings.catch_warnings():
            # Where the echo cannot be turned off, nothing is asked.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError(
            "a password is needed and there is no terminal to ask on",
            hint="--password-file FILE, or - for standard input",
        ) from None


def _checked(password: str) -> str:
    if not password:
        raise ConfigError("the password is empty")
    if len(password) > _LONGEST:
        raise ConfigError(f"the password is longer than {_LONGEST} characters")
    return password
