"""What `join` does first with `--invite`, `--register` or `--login`: it gets a certificate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from trio_chat.address import Address
    from trio_chat.client import Enrolment, Trust

__all__ = ["add_arguments", "sign_in"]

_BESIDE = Path("pki/ca.crt")  # where `serve` makes it


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the ways to a certificate."""
    add = group.add_argument
    add("--invite", metavar="TOKEN", help="enrol first: get a certificate; - asks for the token")
    add("--register", metavar="NAME", help="take a name, with a password; may want --invite")
    add("--login", metavar="NAME", help="get a certificate for this machine, by password")
    add("--password-file", metavar="FILE", help="has the password; - is standard input")


def sign_in(options: argparse.Namespace, where: Address) -> str | None:
    """Get a certificate if that was asked for; return the room that an invite is for."""
    _check(options)
    if options.register is not None or options.login is not None:
        made = _by_password(options, where)
    elif options.invite is not None:
        made = _by_invite(options, where)
    else:
        return None
    _say(made, where)
    # What came of it counts from now on: as if nothing else had been said.
    options.ca = None
    return made.room


def _check(options: argparse.Namespace) -> None:
    ways = [options.register, options.login]
    if all(ways):
        raise ConfigError("--register and --login at once", hint="leave one out")
    if options.login is not None and options.invite is not None:
        raise ConfigError("--login needs no invite", hint="leave --invite out")
    if options.password_file is not None and not any(ways):
        raise ConfigError(
            "--password-file is for --register and --login",
            hint="a key's passphrase is read from --passphrase-file",
        )
    if not any((*ways, options.invite)):
        return
    named = [options.cert, options.key, options.pin]
    if any(named) or (options.invite is not None and options.ca):
        raise ConfigError(
            "this gets a certificate, and a CA to trust; --cert, --key, --ca and --pin name others",
            hint="leave one or the other out",
        )


def _by_invite(options: argparse.Namespace, where: Address) -> Enrolment:
    import trio

    from trio_chat.cli.credentials import read_invitation
    from trio_chat.client import enrol

    return trio.run(enrol, where, read_invitation(options.invite))


def _by_password(options: argparse.Namespace, where: Address) -> Enrolment:
    from functools import partial

    import trio

    from trio_chat.cli.credentials import read_invitation
    from trio_chat.cli.passwords import read_password
    from trio_chat.client import log_in, register

    user = options.register or options.login
    if options.invite == "-" and options.password_file == "-":  # noqa: S105 - standard input
        raise ConfigError("standard input cannot hold both the invite and the password")
    invitation = None if options.invite is None else read_invitation(options.invite)
    trust = None if invitation is not None else _trust(options, where)
    password = read_password(user, options.password_file, new=options.register is not None)
    if options.login is not None:
        assert trust is not None
        return trio.run(partial(log_in, where, user, password, trust=trust))
    made = partial(register, where, user, password, trust=trust, invitation=invitation)
    return trio.run(made)


def _trust(options: argparse.Namespace, where: Address) -> Trust:
    """Return what the server is known by; never nothing."""
    from trio_chat.client import Trust, recall

    ca: Path | None = options.ca
    if ca is None and recall(where) is None and _BESIDE.exists():
        ca = _BESIDE
        print(f"trusting {ca}", file=sys.stderr)
    return Trust.of(where, ca)


def _say(made: Enrolment, where: Address) -> None:
    from trio_chat.text import safe

    print(f"you are {safe(made.user)} at {safe(str(where))}", file=sys.stderr)
    print(f"from now on this will do: trio-chat join {safe(str(where))}", file=sys.stderr)
    if made.remembered.pin is not None:
        print(
            f"trio-chat: warning: the server's certificate is not for {safe(where.host)}; its key "
            f"is remembered instead\n"
            "trio-chat: hint: where you were invited to that address, it is all right",
            file=sys.stderr,
        )
    sys.stderr.flush()
