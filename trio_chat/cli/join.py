"""`trio-chat join`: the terminal client."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.cli.faces import Conversation, interactive
from trio_chat.cli.help import arguments
from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from trio_chat.address import Address

__all__ = [
    "EPILOG",
    "SUMMARY",
    "USAGE",
    "add_arguments",
    "add_connection_arguments",
    "address",
    "credentials",
    "run",
]

USAGE = "trio-chat join HOST:PORT --cert FILE --key FILE [ARGUMENTS]"
SUMMARY = "enter a room and chat, in the terminal"

WARN_DAYS = 14  # before one's own certificate ends

EPILOG = """\
examples:
  trio-chat join localhost:8443 --cert pki/alice.crt --key pki/alice.key
  trio-chat join localhost --cert bot.crt --key bot.key --plain < lines.txt

Inside, /help lists the commands and Tab completes them; Ctrl-D leaves.
"""


def add_connection_arguments(group: argparse._ArgumentGroup) -> None:
    """Add with which certificate to connect and whom to trust: for `join` and `send`."""
    add = group.add_argument
    add("--cert", type=Path, metavar="FILE", help="your certificate")
    add("--key", type=Path, metavar="FILE", help="its private key")
    add("--ca", type=Path, metavar="FILE", help="whom to trust (ca.crt beside --cert)")
    add("--pin", metavar="SHA256", help="trust the server with this key, whatever its name")
    add("--passphrase-file", metavar="FILE", help="opens your key; - is standard input")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `join`."""
    group = arguments(parser)
    add = group.add_argument
    add("address", metavar="HOST:PORT", nargs="?", help="the server; its port is 8443 if left out")
    add("-ip", metavar="IP", help="the server, another way to say it")
    add("-p", metavar="PORT", type=int, help="its port, another way to say it")
    add_connection_arguments(group)
    add(
        "--room",
        action="append",
        default=[],
        metavar="ROOM",
        help="enter it; repeatable (the only room, or lobby)",
    )
    add("--plain", action="store_true", help="a line an event, no prompt; so without a terminal")
    add("--no-toolbar", action="store_true", help="no status line")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        metavar="WHEN",
        help="always, never or auto: on a terminal (auto)",
    )


def address(options: argparse.Namespace) -> Address:
    """Return where to connect.

    Raises:
        ConfigError: nothing says where, or two things do.
    """
    from trio_chat.address import DEFAULT_PORT, Address

    if options.address is not None and options.ip is not None:
        raise ConfigError("both HOST:PORT and -ip say where to connect", hint="leave one out")
    if options.address is None and options.ip is None and options.p is None:
        raise ConfigError("no server given", hint=f"trio-chat join localhost:{DEFAULT_PORT} ...")
    if options.address is None:
        host = options.ip or "localhost"
        found = Address.parse(f"[{host}]" if ":" in host else host)
    else:
        found = Address.parse(options.address)
    if options.p is None:
        return found
    if not 0 < options.p < 65536:
        raise ConfigError(f"{options.p} is no port", hint="-p takes 1 to 65535")
    return Address(found.host, options.p)


def credentials(options: argparse.Namespace) -> tuple[Path, Path, bytes | None]:
    """Return certificate, key and the key's passphrase, if it has one.

    Raises:
        ConfigError: one of the files is not given, or the passphrase cannot be had.
    """
    from trio_chat.cli.passphrase import read_passphrase

    if options.cert is None or options.key is None:
        missing = "--cert" if options.cert is None else "--key"
        raise ConfigError(
            f"{missing} is missing: your certificate is who you are",
            hint="trio-chat pki issue NAME makes a certificate and its key",
        )
    for path in (options.cert, options.key):
        if not path.exists():
            raise ConfigError(
                f"there is no {path}",
                hint="trio-chat pki issue NAME makes a certificate and its key",
            )
    return options.cert, options.key, read_passphrase(options.key, options.passphrase_file)


def run(options: argparse.Namespace) -> int:
    """Chat until the user leaves; 130 if that was by SIGINT."""
    where = address(options)
    talk = not options.plain and interactive()
    if options.passphrase_file == "-" and not talk:  # noqa: S105 - names standard input
        raise ConfigError(
            "standard input cannot hold both the passphrase and the lines",
            hint="--passphrase-file FILE",
        )
    cert, key, passphrase = credentials(options)

    from trio_chat.client import connect
    from trio_chat.identity import key_fingerprint
    from trio_chat.pki import read_certificate
    from trio_chat.ui.state import state_folder

    certificate = read_certificate(cert)
    _warn_of_the_end(cert, certificate)
    connecting = connect(
        where, cert=cert, key=key, ca=options.ca, pin=options.pin, passphrase=passphrase
    )
    return Conversation(
        connecting=connecting,
        fingerprint=key_fingerprint(certificate),
        rooms=options.room,
        folder=state_folder(),
        colour=options.color,
        toolbar=not options.no_toolbar,
    ).run(plain=not talk)


def _warn_of_the_end(path: Path, certificate: Certificate) -> None:
    """Say in time that one will need another certificate."""
    import datetime as dt

    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    if dt.timedelta(0) < left < dt.timedelta(days=WARN_DAYS):
        print(
            f"trio-chat: warning: your certificate ends in {left.days} days\n"
            f"trio-chat: hint: where its CA is: trio-chat pki renew {path}",
            file=sys.stderr,
        )
