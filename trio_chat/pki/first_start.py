"""What `serve` needs before it can start: found, made once, or missing with a remedy.

A CA is made where there is nothing at all, and never beside existing files.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import attrs

from trio_chat.errors import BadName, ConfigError
from trio_chat.names import check_user
from trio_chat.pki.authority import Authority, Issued
from trio_chat.pki.certificates import server_leaf
from trio_chat.pki.place import Place
from trio_chat.pki.revocations import is_rolled_back

__all__ = ["FirstStart", "ensure_pki", "join_line", "server_hosts"]

_KINDS = (".crt", ".cer", ".pem", ".key", ".crl")
_FALLBACK_USER = "owner"


@attrs.frozen(kw_only=True)
class FirstStart:
    """What was made, and for whom."""

    ca: Path
    ca_key: Path
    crl: Path
    server: Issued | None  # None if the server's certificate comes from elsewhere
    hosts: tuple[str, ...]  # by which the server's certificate knows it
    user: str  # who has the admin role
    client: Issued

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that was made, in the order of making."""
        pairs = [(made.crt, made.key) for made in (self.server, self.client) if made is not None]
        made = [path for pair in pairs for path in pair if path is not None]
        return (self.ca, self.ca_key, self.crl, *made)

    def join_line(self, address: str) -> str:
        """Return the command that lets the first user in at `address`."""
        return join_line(address, self.client, self.ca)


def ensure_pki(
    ca: Path,
    *,
    public_names: Sequence[str],
    login: str,
    cert: Path | None = None,
    key: Path | None = None,
    now: datetime | None = None,
) -> FirstStart | None:
    """Make a CA, the server's certificate and a first user's, or find them there.

    Args:
        ca: The CA's certificate; everything else lies beside it.
        public_names: By which the server is reached, besides this host's own.
        login: Whom to make the first user, if a user may be called so; else `owner`.
        cert, key: The server's, if they are not `server.crt` and `server.key` there.

    Returns:
        What was made, or None if all was there.

    Raises:
        ConfigError: some of it is missing; the hint is the command that mends it.
    """
    place = Place(ca)
    if ca.is_dir():
        raise ConfigError(f"{ca} is a folder", hint=f"--ca {shlex.quote(str(ca / 'ca.crt'))}")
    own = (place.server_certificate, place.server_key)
    elsewhere = any(
        given is not None and given.absolute() != beside.absolute()
        for given, beside in zip((cert, key), own, strict=True)
    )
    if not _present(place):
        return _make(place, public_names, login, elsewhere=elsewhere, now=now)
    _check_ca(place)
    if not elsewhere:
        _check_server(place, public_names)
    return None


def server_hosts(public_names: Sequence[str]) -> list[str]:
    """Return all names of a server on this machine: public, its own, loopback.

    Raises:
        ConfigError: a public name is neither a host's name nor an IP address.
    """
    for name in public_names:
        server_leaf([name])
    own = socket.gethostname()
    try:
        server_leaf([own])
    except ConfigError:
        own = "localhost"  # a machine may be called what no certificate can say
    return list(dict.fromkeys([*public_names, own, "localhost", "127.0.0.1", "::1"]))


def join_line(address: str, client: Issued, ca: Path) -> str:
    """Return the command with which the holder of `client` joins the server at `address`."""
    words = ["trio-chat", "join", address, "--cert", str(client.crt)]
    if client.key is not None:
        words += ["--key", str(client.key)]
    if ca.absolute() != client.crt.absolute().with_name("ca.crt"):
        words += ["--ca", str(ca)]
    return shlex.join(words)


def _present(place: Place) -> list[str]:
    """Return the names of certificates, keys and lists that are there."""
    if not place.folder.is_dir():
        return []
    found = [path.name for path in place.folder.iterdir() if path.suffix in _KINDS]
    kept = [path.name for path in place.issued.glob("*.crt")]
    return sorted(found) + sorted(kept)


def _make(
    place: Place,
    public_names: Sequence[str],
    login: str,
    *,
    elsewhere: bool,
    now: datetime | None,
) -> FirstStart:
    hosts = server_hosts(public_names)  # a wrong name must be seen before anything is made
    authority = Authority.create(place.ca, now=now)
    server = None if elsewhere else authority.issue_server(hosts, now=now)
    try:
        user = check_user(login)
    except BadName:
        user = _FALLBACK_USER
    client = authority.issue_client(user, admin=True, now=now)
    return FirstStart(
        ca=place.ca,
        ca_key=place.key,
        crl=place.crl,
        server=server,
        hosts=tuple(hosts),
        user=user,
        client=client,
    )


def _check_ca(place: Place) -> None:
    if not place.ca.exists():
        found = ", ".join(_present(place)[:3])
        fresh = Path(f"{place.folder.absolute()}-new") / place.ca.name
        raise ConfigError(
            f"there is no {place.ca}, but {place.folder} holds {found}; no CA is made beside them",
            hint=f"put the CA's certificate there, or begin anew elsewhere: "
            f"trio-chat serve --ca {shlex.quote(str(fresh))}",
        )
    sign = f"trio-chat pki crl{place.as_option()}"
    if not place.last_crl.exists():
        return
    if not place.crl.exists():
        raise ConfigError(f"the revocation list {place.crl} is missing", hint=sign)
    if any(is_rolled_back(place, issuer) for issuer in place.issuers()):
        raise ConfigError(
            f"the revocation list {place.crl} lacks what has been revoked since", hint=sign
        )


def _check_server(place: Place, public_names: Sequence[str]) -> None:
    cert, key = place.server_certificate, place.server_key
    known_as = "".join(f" --public-name {shlex.quote(name)}" for name in public_names)
    issue = f"trio-chat pki issue --server{known_as}{place.as_option()}"
    missing = [path for path in (cert, key) if not path.exists()]
    if not missing:
        return
    if len(missing) == 2 and not place.key.exists():
        raise ConfigError(
            f"there is no {cert}, and {place.key} to make it with is missing too",
            hint="where the CA's key is: trio-chat pki issue --server --out FOLDER; "
            "then copy both files here",
        )
    if len(missing) == 1:
        (there,) = {cert, key} - set(missing)
        issue = f"{shlex.join(('mv', str(there), f'{there}.old'))} && {issue}"
    raise ConfigError(f"there is no {' and no '.join(map(str, missing))}", hint=issue)
