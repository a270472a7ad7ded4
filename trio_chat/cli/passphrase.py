"""Passphrases of private keys: from a file, from standard input, or from the terminal.

Never from an argument, never echoed. `pki`, `serve`, `join` and `send` ask here.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from trio_chat.errors import ConfigError

__all__ = ["new_passphrase", "read_passphrase"]

_LONGEST = 1023  # bytes that OpenSSL takes


def read_passphrase(key: Path, passphrase_file: str | None) -> bytes | None:
    """Return the passphrase of an existing key, or None if it is not encrypted.

    Args:
        key: A private key in PEM.
        passphrase_file: Its first line is the passphrase; `-` is standard input. None
            asks on the terminal.

    Raises:
        ConfigError: a file cannot be read or others can read it, or there is no terminal
            to ask on.
    """
    from trio_chat.files import read_private
    from trio_chat.pki import is_encrypted

    if not is_encrypted(read_private(key)):
        return None
    if passphrase_file is not None:
        return _from_file(passphrase_file)
    return _ask(f"Passphrase of {key}: ", key)


def new_passphrase(key: Path, passphrase_file: str | None) -> bytes:
    """Return the passphrase for a key that is about to be made; on a terminal, ask twice.

    Raises:
        ConfigError: as above, or it is empty, or the two differ.
    """
    if passphrase_file is not None:
        return _from_file(passphrase_file)
    first = _ask(f"New passphrase for {key}: ", key)
    if _ask("The same again: ", key) != first:
        raise ConfigError("the two passphrases differ; nothing was made")
    return first


def _from_file(name: str) -> bytes:
    from trio_chat.files import read_private

    if name == "-":
        import sys

        data = sys.stdin.buffer.readline()
    else:
        data = read_private(Path(name))
    return _checked(data.split(b"\n")[0].removesuffix(b"\r"))


def _ask(prompt: str, key: Path) -> bytes:
    import getpass
    import warnings

    try:
        with warnings.catch_warnings():
            # Where the echo cannot be turned off, nothing is asked.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return _checked(getpass.getpass(prompt).encode())
    except (getpass.GetPassWarning, EOFError, OSError):
        raise ConfigError(
            f"{shlex.quote(str(key))} needs a passphrase and there is no terminal to ask on",
            hint="--passphrase-file FILE, or - for standard input",
        ) from None


def _checked(passphrase: bytes) -> bytes:
    if not passphrase:
        raise ConfigError("the passphrase is empty")
    if len(passphrase) > _LONGEST:
        raise ConfigError(f"the passphrase is longer than {_LONGEST} bytes")
    return passphrase
