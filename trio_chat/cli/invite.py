"""`trio-chat invite`: who may enrol, and the line that they type for it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.cli.help import arguments
from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from trio_chat.address import Address
    from trio_chat.pki import Enroller, Place
    from trio_chat.server import Server

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "keep_address", "run"]

USAGE = "trio-chat invite NAME [ARGUMENTS]"
SUMMARY = "print the line with which somebody gets a certificate and joins"

EPILOG = """\
examples:
  trio-chat invite bob
  trio-chat invite build --bot --room ops --expires 30m
  trio-chat invite carol --at chat.example.org:8443

The line lets whoever has it in as NAME, once: send it on a safe way.
"""

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_LOOPBACK = ("127.0.0.1", "::1")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = 90  # days


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    add = arguments(parser).add_argument
    add("name", metavar="NAME", help="who it is for; for somebody there, one more machine")
    add("--admin", action="store_true", help="they will be an admin")
    add("--bot", action="store_true", help="it is a program: shown as one, may write faster")
    add("--room", metavar="ROOM", help="where they go first")
    add(
        "--expires",
        metavar="TIME",
        type=_time,
        default="24h",
        help="how long it can be used: 30m, 24h, 7d (24h)",
    )
    add("--at", metavar="HOST:PORT", help="how they reach the server (as it was started)")
    ca = Path("pki/ca.crt")
    add("--ca", type=Path, default=ca, metavar="FILE", help="the CA's certificate (pki/ca.crt)")


def run(options: argparse.Namespace) -> int:
    """Keep the invite beside the CA, where the server finds it; print the line."""
    import datetime as dt

    from trio_chat.address import Address
    from trio_chat.pki import Enroller, Invite

    now = dt.datetime.now(dt.UTC)
    expires = now + options.expires
    invite = Invite(
        name=options.name,
        expires=expires,
        admin=options.admin,
        bot=options.bot,
        room=options.room,
    )
    enroller = Enroller.load(options.ca)
    at = Address.parse(options.at) if options.at else _address(enroller)
    _say_who(enroller.authority.place, invite.name)
    token = _token(enroller, enroller.invites.add(invite, now))
    print(shlex.join(("trio-chat", "join", str(at), "--invite", token)), flush=True)
    print(
        f"good once, until {expires:%Y-%m-%d %H:%M} UTC; whoever has this line comes in as "
        f"{invite.name}",
        file=sys.stderr,
    )
    return 0


def keep_address(server: Server) -> None:
    """Write down where a server is reached, so that invites say it; `serve` calls this."""
    import logging

    if server.enroller is None:
        return
    at = _reached(server.addresses, _names(server.config.cert))
    try:
        server.enroller.invites.keep_address(str(at))
    except ConfigError as error:
        logging.getLogger("trio_chat.server").warning("nobody can be invited: %s", error)


def _time(text: str) -> timedelta:
    from datetime import timedelta

    from trio_chat.durations import parse_duration

    seconds = parse_duration(text)
    if seconds is not None and seconds <= _LONGEST * 86400:
        return timedelta(seconds=seconds)
    raise argparse.ArgumentTypeError(f"a time like 30m, 24h or 7d, at most {_LONGEST}d")


def _token(enroller: Enroller, secret: bytes) -> str:
    """Return the token: the hash of the root that what is issued ends at, and the secret."""
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding

    from trio_chat.invitation import Invitation

    der = enroller.anchor.public_bytes(Encoding.DER)
    return Invitation(hashlib.sha256(der).digest(), secret).encode()


def _say_who(place: Place, name: str) -> None:
    """Tell of those who are called so already: they are one person."""
    from trio_chat import names
    from trio_chat.pki import list_issued

    for entry in list_issued(place):
        if entry.kind == "client" and names.key(entry.name) == names.key(name):
            print(
                f"{entry.name} has a certificate already: this is for one more machine of theirs",
                file=sys.stderr,
            )
            return


def _address(enroller: Enroller) -> Address:
    """Return where the server was reached last, or a good guess if it never ran."""
    from trio_chat.address import DEFAULT_PORT, Address

    kept = enroller.invites.address()
    if kept is not None:
        return Address.parse(kept)
    place = enroller.authority.place
    return _reached([("0.0.0.0", DEFAULT_PORT)], _names(place.server_certificate))  # noqa: S104


def _reached(addresses: Sequence[tuple[str, int]], known: Sequence[str]) -> Address:
    """Return how people reach a server that listens there and whose certificate has these names."""
    from trio_chat.address import Address

    host, port = addresses[0]
    if host in _LOOPBACK:
        return Address("localhost" if "localhost" in known else host, port)
    if host in _EVERYWHERE:
        return Address(known[0] if known else "localhost", port)
    return Address(host, port)


def _names(cert: Path) -> list[str]:
    """Return the names in the server's certificate, the public ones first."""
    from trio_chat.pki import describe, read_certificate

    try:
        return describe(read_certificate(cert)).name.split()
    except ConfigError:
        return []
