"""`trio-chat pki`: the small CA on a command line.

Files made go to standard output, one a line; what is said about them to standard error,
and at its end the command that comes next.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.cli.pki_arguments import add_arguments
from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from trio_chat.pki import Authority, Issued, Leaf, Place

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "run"]

USAGE = "trio-chat pki COMMAND ..."
SUMMARY = "a small private CA: who may come in, and who no longer"

EPILOG = """\
examples:
  trio-chat pki init                    make pki/ca.crt
  trio-chat pki issue bob               a key and a certificate for bob
  trio-chat pki revoke bob              and never again"""


def run(options: argparse.Namespace) -> int:
    """Do what the command says."""
    try:
        return _ACTIONS[options.pki_command](options)
    except PermissionError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from None


def _init(options: argparse.Namespace) -> int:
    from trio_chat.cli.passphrase import new_passphrase
    from trio_chat.pki import Authority, Place

    place = Place(options.ca)
    if options.intermediate and place.ca.exists():
        return _init_intermediate(_open(options, root=True), options)
    for there in (place.ca, place.key):  # before anybody types a passphrase
        if there.exists():
            raise ConfigError(
                f"{there} is there already",
                hint="make another CA elsewhere, with --ca FOLDER/ca.crt",
            )
    passphrase = (
        new_passphrase(place.key, options.passphrase_file)
        if options.encrypt or options.passphrase_file
        else None
    )
    authority = Authority.create(
        options.ca,
        days=options.days,
        key_type=options.key_type,
        passphrase=passphrase,
    )
    _say(f"made a CA; whoever has {place.key} can let anybody in: keep it")
    _made(place.ca, place.key, place.crl)
    if options.intermediate:
        return _init_intermediate(authority, options)
    _next(f"trio-chat pki issue --server{place.as_option()}")
    return 0


def _init_intermediate(authority: Authority, options: argparse.Namespace) -> int:
    place = authority.place
    authority.create_intermediate(days=options.days, key_type=options.key_type)
    _say(f"made a CA below it, which signs for the server; {place.key} can be taken away now")
    _made(place.intermediate, place.intermediate_key)
    _next(f"trio-chat invite NAME{place.as_option()}")
    return 0


def _issue(options: argparse.Namespace) -> int:
    from trio_chat.cli.passphrase import new_passphrase
    from trio_chat.pki import server_hosts

    _check_holder(options)
    authority = _open(options)
    crt = _target(authority, options)
    passphrase = new_passphrase(crt.with_suffix(".key"), None) if options.encrypt else None
    out = options.out or authority.place.folder
    _make_folder(out)
    if options.server:
        hosts = server_hosts(options.public_name)
        made = authority.issue_server(
            hosts, days=options.days, key_type=options.key_type, out=out, passphrase=passphrase
        )
        _say(f"made a certificate for the server at {', '.join(hosts)}")
    else:
        made = authority.issue_client(
            options.name,
            device=options.device,
            admin=options.admin,
            bot=options.bot,
            days=options.days,
            key_type=options.key_type,
            out=out,
            passphrase=passphrase,
        )
        _say(f"made a certificate for {options.name}")
    _made(made.crt, made.key)
    _next(_after(authority, made, server=options.server))
    return 0


def _request(options: argparse.Namespace) -> int:
    from trio_chat.cli.passphrase import new_passphrase
    from trio_chat.pki import make_request

    key = options.out / f"{options.name}.key"
    passphrase = new_passphrase(key, None) if options.encrypt else None
    _make_folder(options.out)
    csr = make_request(options.name, key, key_type=options.key_type, passphrase=passphrase)
    _say(f"made a key, which stays here, and a request: send {csr} to whoever has the CA")
    _made(csr, key)
    _next(f"where the CA is: trio-chat pki sign {csr.name} {options.name}")
    return 0


def _sign(options: argparse.Namespace) -> int:
    from trio_chat.pki import client_leaf, read_csr, server_hosts, server_leaf

    _check_holder(options)
    key = read_csr(Path(options.csr))
    leaf: Leaf
    if options.server:
        leaf = server_leaf(server_hosts(options.public_name))
    else:
        leaf = client_leaf(
            options.name, device=options.device, admin=options.admin, bot=options.bot
        )
    authority = _open(options)
    crt = _target(authority, options)
    _make_folder(crt.parent)
    made = authority.sign_to(key, leaf, crt, days=options.days)
    _say("signed the key of the request; everything else in it was ignored")
    _made(made.crt)
    _say(f"send {made.crt} and {authority.place.ca} to whoever has the key")
    return 0


def _renew(options: argparse.Namespace) -> int:
    from trio_chat.pki import Authority, Place, is_issued_by, read_certificate

    place = Place(options.ca)
    crt = Path(options.file) if options.file else place.server_certificate
    authority = _open(options)
    if place.intermediate.exists() and is_issued_by(read_certificate(crt), place.issuers()[-1]):
        authority = Authority.load_intermediate(options.ca)
    made = authority.renew(crt, days=options.days)
    _say(f"good until {made.certificate.not_valid_after_utc:%Y-%m-%d}; the key is the same")
    _made(made.crt)
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from trio_chat.pki import Invites, Place, find_issued, revoke_issued, serial_text

    place = Place(options.ca)
    place.check_there()
    withdrawn = Invites(place).withdraw(options.target)
    if withdrawn:
        _say(f"withdrew {withdrawn} open invite{'s' * (withdrawn != 1)}")
        if not find_issued(place, options.target, missing_ok=True):
            return 0
    serials, new = revoke_issued(place, options.target, partial(_open, options, root=True))
    for serial in sorted(serials):
        print(f"0x{serial_text(serial)}")
    already = "" if len(new) == len(serials) else f", {len(serials) - len(new)} were already"
    _say(f"revoked {len(new)} certificate{'s' * (len(new) != 1)}{already}")
    _say(f"the server reads {place.crl}; give a copy to every server that uses this CA")
    return 0


def _crl(options: argparse.Namespace) -> int:
    from trio_chat.pki import Authority, Place

    place = Place(options.ca)
    below = place.intermediate_key.exists()
    if place.key.exists() or not below:
        _open(options, root=True).revoke([])
    if below:
        Authority.load_intermediate(options.ca).revoke([])
    _say("signed the revocation list, good for 60 days")
    _made(place.crl)
    return 0


def _list(options: argparse.Namespace) -> int:
    from trio_chat.cli.pki_tables import entries_as_json, entries_as_table
    from trio_chat.pki import Place, list_issued

    place = Place(options.ca)
    place.check_there()
    entries = list_issued(place)
    print((entries_as_json if options.json else entries_as_table)(entries))
    if not entries and not options.json:
        _next(f"trio-chat pki issue NAME{place.as_option()}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from trio_chat.cli.pki_tables import file_as_text

    print(file_as_text(Path(options.file), options.ca))
    return 0


def _open(options: argparse.Namespace, *, root: bool = False) -> Authority:
    """Open the CA; ask for its passphrase if it has one.

    Where its key has been taken away, the intermediate CA serves, unless `root` forbids it.
    """
    from trio_chat.cli.passphrase import read_passphrase
    from trio_chat.pki import Authority, Place

    place = Place(options.ca)
    if not root and not place.key.exists() and place.intermediate_key.exists():
        return Authority.load_intermediate(options.ca)
    passphrase = read_passphrase(place.key, options.passphrase_file) if place.key.exists() else None
    return Authority.load(options.ca, passphrase=passphrase)


def _check_holder(options: argparse.Namespace) -> None:
    """Refuse what does not go together, as argparse would: exit status 2."""
    if options.server == (options.name is not None):
        options.parser.error("give either NAME or --server")
    if options.server and (options.device or options.admin or options.bot):
        options.parser.error("--device, --admin and --bot are for people and bots")
    if options.public_name and not options.server:
        options.parser.error("--public-name goes with --server")


def _target(authority: Authority, options: argparse.Namespace) -> Path:
    """Return the certificate's file; refuse one that is there before anything is asked."""
    if options.server:
        crt: Path = (options.out or authority.place.folder) / "server.crt"
    else:
        crt = authority.client_file(options.name, options.device, options.out)
    if crt.exists():
        renew = f"trio-chat pki renew {shlex.quote(str(crt))}{authority.place.as_option()}"
        other = "for another key, move it away first or name a folder with --out"
        raise ConfigError(
            f"{crt} is there already",
            hint=other if options.pki_command == "sign" else f"{renew}; {other}",
        )
    return crt


def _after(authority: Authority, made: Issued, *, server: bool) -> str:
    from trio_chat.address import DEFAULT_PORT
    from trio_chat.pki import join_line

    place: Place = authority.place
    if server and made.crt == place.server_certificate:
        return f"trio-chat serve --ca {shlex.quote(str(place.ca))}"
    if server:
        words = ("--ca", place.ca, "--cert", made.crt, "--key", made.key)
        return shlex.join(["trio-chat", "serve", *map(str, words)])
    return join_line(f"localhost:{DEFAULT_PORT}", made, place.ca)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {folder}: {error.strerror}") from None


def _made(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            print(path)


def _say(text: str) -> None:
    from trio_chat.text import safe

    sys.stdout.flush()
    print(safe(text), file=sys.stderr)


def _next(command: str) -> None:
    _say(f"next: {command}")


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": _init,
    "issue": _issue,
    "request": _request,
    "sign": _sign,
    "renew": _renew,
    "revoke": _revoke,
    "crl": _crl,
    "list": _list,
    "show": _show,
}
