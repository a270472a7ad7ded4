"""As whom to come, and whom to trust: from options, or from what enrolling has left."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from trio_chat.address import Address
    from trio_chat.invitation import Invitation

__all__ = ["Credentials", "add_connection_arguments", "credentials", "read_invitation"]

_LONGEST = 1024  # bytes of an invite that are read from standard input


@attrs.frozen(kw_only=True)
class Credentials:
    """What `connect` wants to know beside the address."""

    cert: Path
    key: Path
    ca: Path | None
    pin: str | None
    passphrase: bytes | None = attrs.field(repr=False)
    enrolled: bool = False  # then it is renewed by itself


def add_connection_arguments(group: argparse._ArgumentGroup) -> None:
    """Add with which certificate to connect and whom to trust: for `join` and `send`."""
    add = group.add_argument
    add("--cert", type=Path, metavar="FILE", help="your certificate (what `join --invite` got)")
    add("--key", type=Path, metavar="FILE", help="its private key")
    add("--ca", type=Path, metavar="FILE", help="whom to trust (ca.crt beside --cert)")
    add("--pin", metavar="SHA256", help="trust the server with this key, whatever its name")
    add("--passphrase-file", metavar="FILE", help="opens your key; - is standard input")


def credentials(options: argparse.Namespace, where: Address) -> Credentials:
    """Return what the options name, or else what is remembered of the server at `where`.

    Raises:
        ConfigError: there is neither, a file is not there, or the passphrase cannot be had.
    """
    from trio_chat.cli.passphrase import read_passphrase

    found = None if options.cert or options.key else _remembered(options, where)
    if found is not None:
        return found
    if options.cert is None or options.key is None:
        missing = "--cert" if options.cert is None else "--key"
        none = "" if options.cert or options.key else f", and none is remembered for {where}"
        raise ConfigError(
            f"{missing} is missing: your certificate is who you are{none}",
            hint="trio-chat pki issue NAME makes a certificate and its key; with an invite: "
            "trio-chat join HOST:PORT --invite TOKEN",
        )
    for path in (options.cert, options.key):
        if not path.exists():
            raise ConfigError(
                f"there is no {path}",
                hint="trio-chat pki issue NAME makes a certificate and its key",
            )
    return Credentials(
        cert=options.cert,
        key=options.key,
        ca=options.ca,
        pin=options.pin,
        passphrase=read_passphrase(options.key, options.passphrase_file),
    )


def read_invitation(given: str) -> Invitation:
    """Return the invite that was given, or, for `-`, the first line of standard input.

    Raises:
        ConfigError: it is none.
    """
    from trio_chat.invitation import Invitation

    return Invitation.decode(_from_input() if given == "-" else given)


def _remembered(options: argparse.Namespace, where: Address) -> Credentials | None:
    from trio_chat.client import recall

    kept = recall(where)
    if kept is None:
        return None
    pin = options.pin or (None if options.ca else kept.pin)
    return Credentials(
        cert=kept.cert,
        key=kept.key,
        ca=options.ca or kept.ca,
        pin=pin,
        passphrase=None,
        enrolled=True,
    )


def _from_input() -> str:
    """Read one line and not a byte more: what follows it are lines to say."""
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        import getpass

        try:
            return getpass.getpass("Invite: ")
        except EOFError:
            return ""
    line = b""
    while len(line) < _LONGEST and not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            break
        line += byte
    return line.decode(errors="replace")
