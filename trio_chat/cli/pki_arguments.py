"""The arguments of `trio-chat pki`'s commands. Nothing is done here.

Help of one command fits on a terminal of 80 by 24: one list, one line each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from trio_chat.cli.help import Formatter, arguments

__all__ = ["add_arguments"]

_EXAMPLES = {
    "init": """\
  trio-chat pki init
  trio-chat pki init --ca lab/ca.crt --encrypt
  trio-chat pki init --intermediate""",
    "issue": """\
  trio-chat pki issue bob --device laptop
  trio-chat pki issue --server --public-name chat.example.org""",
    "request": """\
  trio-chat pki request bob""",
    "sign": """\
  trio-chat pki sign bob.csr bob
  trio-chat pki sign server.csr --server --public-name chat.example.org""",
    "renew": """\
  trio-chat pki renew
  trio-chat pki renew pki/bob.crt --days 90""",
    "revoke": """\
  trio-chat pki revoke bob
  trio-chat pki revoke bob/laptop
  trio-chat pki revoke 0x1F2E3D4C
  trio-chat pki revoke old/bob.crt""",
    "crl": """\
  trio-chat pki crl
  openssl crl -in pki/ca.crl -noout -text""",
    "list": """\
  trio-chat pki list
  trio-chat pki list --json""",
    "show": """\
  trio-chat pki show pki/bob.crt""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below `pki`."""
    if not parser.add_help:
        parser.add_argument("-h", "--help", action="help", help="show this")
    commands = parser.add_subparsers(dest="pki_command", metavar="COMMAND", required=True)

    init = _command(commands, "init", "make a CA: its certificate, key and list")
    _days(init, 3650)
    _key_type(init)
    _flag(init, "--encrypt", "protect the CA's key with a passphrase")
    _flag(init, "--intermediate", "and a CA below it, for the server to sign with")
    _place(init)

    issue = _command(
        commands,
        "issue",
        "make a key and a certificate, for a person or a server",
        usage="trio-chat pki issue NAME [OPTION ...]\n"
        "       trio-chat pki issue --server [--public-name NAME] [OPTION ...]",
    )
    issue.add_argument("name", metavar="NAME", nargs="?", help="who: makes NAME.crt and NAME.key")
    _holder(issue)
    _days(issue, 365)
    _key_type(issue)
    _flag(issue, "--encrypt", "ask for a passphrase to protect the new key")
    _out(issue)
    _place(issue)

    request = _command(commands, "request", "make a key and a request, for another's CA to sign")
    request.add_argument("name", metavar="NAME", help="who: makes NAME.key and NAME.csr")
    _key_type(request)
    _flag(request, "--encrypt", "ask for a passphrase to protect the new key")
    request.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="where to (default: here)"
    )

    sign = _command(
        commands,
        "sign",
        "certify a key that somebody else keeps",
        usage="trio-chat pki sign CSR NAME [OPTION ...]\n"
        "       trio-chat pki sign CSR --server [--public-name NAME] [OPTION ...]",
    )
    sign.add_argument(
        "csr", metavar="CSR", help="the request, a PEM file; only the key is taken from it"
    )
    sign.add_argument("name", metavar="NAME", nargs="?", help="who it is for: makes NAME.crt")
    _holder(sign)
    _days(sign, 365)
    _out(sign)
    _place(sign)

    renew = _command(commands, "renew", "issue a certificate again, for the same key")
    renew.add_argument(
        "file", metavar="FILE", nargs="?", help="the certificate (default: the server's)"
    )
    _days(renew, 365)
    _place(renew)

    revoke = _command(commands, "revoke", "end certificates before their time")
    revoke.add_argument(
        "target", metavar="WHAT", help="NAME, NAME/DEVICE, a serial number, or a .crt file"
    )
    _place(revoke)

    crl = _command(commands, "crl", "sign the revocation list anew, for 60 days")
    _place(crl)

    listing = _command(commands, "list", "what was issued and revoked")
    _flag(listing, "--json", "one JSON array on standard output")
    _ca(listing)

    show = _command(commands, "show", "what a certificate, request or list says")
    show.add_argument("file", metavar="FILE", help="a PEM file")
    _ca(show)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    *,
    usage: str | None = None,
) -> argparse._ArgumentGroup:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{_EXAMPLES[name]}",
        formatter_class=Formatter,
        usage=usage,
        add_help=False,
        allow_abbrev=False,
    )
    parser.set_defaults(parser=parser)
    return arguments(parser)


def _flag(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    group.add_argument(name, action="store_true", help=text)


def _holder(group: argparse._ArgumentGroup) -> None:
    _flag(group, "--server", "for a server: makes server.crt")
    group.add_argument(
        "--public-name",
        metavar="NAME",
        action="append",
        default=[],
        help="one more host name or IP of the server; repeatable",
    )
    group.add_argument("--device", metavar="NAME", help="which of the person's machines")
    _flag(group, "--admin", "is an admin: may give the server orders")
    _flag(group, "--bot", "is a program: shown as one, may write faster")


def _days(group: argparse._ArgumentGroup, default: int) -> None:
    group.add_argument(
        "--days", metavar="N", type=_number_of_days, default=default, help=f"how long ({default})"
    )


def _number_of_days(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:9]) <= 36500:
        raise argparse.ArgumentTypeError("a whole number of days, 1 to 36500")
    return int(text)


def _key_type(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--key-type",
        metavar="TYPE",
        choices=("p256", "ed25519", "rsa"),
        default="p256",
        help="p256 (default), ed25519 or rsa",
    )


def _out(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", metavar="DIR", type=Path, help="where to (default: beside the CA)")


def _ca(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ca",
        metavar="FILE",
        type=Path,
        default=Path("pki/ca.crt"),
        help="the CA's certificate (pki/ca.crt)",
    )


def _place(group: argparse._ArgumentGroup) -> None:
    _ca(group)
    group.add_argument(
        "--passphrase-file", metavar="FILE", help="opens the CA's key; - is standard input"
    )
