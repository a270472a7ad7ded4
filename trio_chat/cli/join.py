"""`trio-chat join`: the terminal client."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from trio_chat.cli import signing_in
from trio_chat.cli.credentials import Credentials, add_connection_arguments, credentials
from trio_chat.cli.faces import Conversation, interactive
from trio_chat.cli.help import arguments
from trio_chat.cli.signing_in import sign_in
from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from trio_chat.address import Address

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "address", "run"]

USAGE = "trio-chat join HOST:PORT [--invite TOKEN] [ARGUMENTS]"
SUMMARY = "enter a room and chat, in the terminal"

WARN_DAYS = 14  # before one's own certificate ends

EPILOG = """\
examples:
  trio-chat join localhost:8443 --cert pki/alice.crt --key pki/alice.key
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `join`."""
    group = arguments(parser)
    add = group.add_argument
    add("address", metavar="HOST:PORT", nargs="?", help="the server; its port is 8443 if left out")
    add("-ip", metavar="IP", help=argparse.SUPPRESS)
    add("-p", metavar="PORT", type=int, help=argparse.SUPPRESS)
    signing_in.add_arguments(group)
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


def run(options: argparse.Namespace) -> int:
    """Chat until the user leaves; 130 if that was by SIGINT."""
    where = address(options)
    talk = not options.plain and interactive()
    if options.passphrase_file == "-" and not talk:  # noqa: S105 - names standard input
        raise ConfigError(
            "standard input cannot hold both the passphrase and the lines",
            hint="--passphrase-file FILE",
        )
    if options.password_file == "-" and options.passphrase_file == "-":  # noqa: S105 - as above
        raise ConfigError("standard input cannot hold both the passphrase and the password")
    rooms = options.room
    room = sign_in(options, where)
    rooms = rooms or ([room] if room else [])
    found = credentials(options, where)

    from trio_chat.client import connect
    from trio_chat.identity import key_fingerprint
    from trio_chat.pki import read_certificate
    from trio_chat.ui.state import state_folder

    certificate = read_certificate(found.cert)
    _warn_of_the_end(found, certificate)
    connecting = connect(
        where,
        cert=found.cert,
        key=found.key,
        ca=found.ca,
        pin=found.pin,
        passphrase=found.passphrase,
    )
    return Conversation(
        connecting=connecting,
        fingerprint=key_fingerprint(certificate),
        rooms=rooms,
        folder=state_folder(),
        colour=options.color,
        toolbar=not options.no_toolbar,
    ).run(plain=not talk)


def _warn_of_the_end(found: Credentials, certificate: Certificate) -> None:
    """Say in time that one will need another certificate."""
    import datetime as dt

    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    warned = dt.timedelta(days=WARN_DAYS)
    hint = f"where its CA is: trio-chat pki renew {found.cert}"
    if found.enrolled:
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        warned = min(warned, life * 3 / 10)  # it should have been renewed at a third
        hint = "it is renewed when you connect; else ask for another invite"
    if dt.timedelta(0) < left < warned:
        print(
            f"trio-chat: warning: your certificate ends in {left.days} days\n"
            f"trio-chat: hint: {hint}",
            file=sys.stderr,
        )
