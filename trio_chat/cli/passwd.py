"""`trio-chat passwd`: another password for one's account."""

from __future__ import annotations

import argparse
import sys

from trio_chat.cli.credentials import add_connection_arguments, credentials
from trio_chat.cli.help import arguments

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "run"]

USAGE = "trio-chat passwd HOST:PORT [ARGUMENTS]"
SUMMARY = "take another password, where one has an account"

EPILOG = """\
examples:
  trio-chat passwd chat.example.org
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `passwd`."""
    group = arguments(parser)
    group.add_argument("address", metavar="HOST:PORT", help="the server")
    group.add_argument(
        "--password-file", metavar="FILE", help="has the present one; - is standard input"
    )
    group.add_argument("--new-password-file", metavar="FILE", help="has the new one; as above")
    add_connection_arguments(group)


def run(options: argparse.Namespace) -> int:
    """Ask for both and tell the server, as whoever one's certificate says."""
    import trio

    from trio_chat.address import Address
    from trio_chat.cli.passwords import read_password
    from trio_chat.client import change_password, connect
    from trio_chat.identity import client_identity
    from trio_chat.pki import read_certificate

    where = Address.parse(options.address)
    found = credentials(options, where)
    user = client_identity(read_certificate(found.cert)).user
    old = read_password(f"{user}, the present one", options.password_file, new=False)
    new = read_password(f"{user}, the new one", options.new_password_file, new=True)
    connecting = connect(
        where,
        cert=found.cert,
        key=found.key,
        ca=found.ca,
        pin=found.pin,
        passphrase=found.passphrase,
        reconnect=False,
    )

    async def change() -> None:
        async with connecting as client:
            await change_password(client, old, new)

    trio.run(change)
    print("the password is another one now", file=sys.stderr)
    return 0
