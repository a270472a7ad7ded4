"""The CA as a thing to talk to: `Authority.create(ca)`, `authority.issue_client("alice")`.

Whatever it signs it remembers first, and nothing that is there is ever written over,
except what is renewed. May know the CA's files and the wall clock; no terminal.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat import names
from trio_chat.errors import ConfigError
from trio_chat.files import create_private, replace_file
from trio_chat.identity import key_fingerprint
from trio_chat.pki.certificates import (
    Leaf,
    client_leaf,
    is_issued_by,
    leaf_again,
    make_ca,
    make_intermediate,
    make_leaf,
    public_key,
    read_certificate,
    server_leaf,
)
from trio_chat.pki.issued import read_issued, record
from trio_chat.pki.keys import (
    KeyType,
    PrivateKey,
    PublicKey,
    dump_key,
    generate_key,
)
from trio_chat.pki.place import Place
from trio_chat.pki.revocations import resign_crl, revoked

__all__ = ["CA_DAYS", "LEAF_DAYS", "Authority", "Issued"]

CA_DAYS = 3650
LEAF_DAYS = 365


@attrs.frozen(kw_only=True)
class Issued:
    """A certificate that was signed, and where it lies."""

    certificate: x509.Certificate
    crt: Path
    key: Path | None  # None if the key is somebody else's secret


@attrs.frozen(kw_only=True)
class Authority:
    """A CA whose key is open. `now` is the present moment wherever it is left out.

    `chain` is what its certificates need beside them, where it is not the root itself.
    """

    place: Place
    certificate: x509.Certificate
    key: PrivateKey = attrs.field(repr=False)
    chain: tuple[x509.Certificate, ...] = ()

    @classmethod
    def create(
        cls,
        ca: Path,
        *,
        days: int = CA_DAYS,
        key_type: KeyType = "p256",
        passphrase: bytes | None = None,
        now: datetime | None = None,
    ) -> Authority:
        """Make a CA: its certificate at `ca`, its key and an empty list beside it.

        Raises:
            ConfigError: one of these files is there already, or cannot be written; then
                none of them is left.
        """
        place, now = Place(ca), now or datetime.now(UTC)
        key = generate_key(key_type)
        # Its own name for each: issuer and serial number are what tells identities apart.
        name = f"trio-chat CA {secrets.token_hex(4)}"
        certificate = make_ca(key, name, days=days, now=now)
        parts = [place.ca, place.key, place.crl, place.last_crl]
        if place.ca in (*parts[1:], place.server_certificate, place.server_key):
            raise ConfigError(
                f"{place.ca.name} is the name of another of the CA's files",
                hint=f"--ca {shlex.quote(str(place.folder / 'ca.crt'))}",
            )
        below = (place.intermediate, place.intermediate_key)
        _refuse_existing([*parts, *below, *place.issued.glob("*.crt")])
        with place.lock():
            _refuse_existing(parts)
            try:
                create_private(place.key, dump_key(key, passphrase))
                _write(place.ca, certificate)
                resign_crl(place, certificate, key, now=now)
            except BaseException:
                for part in parts:
                    part.unlink(missing_ok=True)
                raise
        return cls(place=place, certificate=certificate, key=key)

    @classmethod
    def load(cls, ca: Path, *, passphrase: bytes | None = None) -> Authority:
        """Open the CA whose certificate is at `ca` and whose key is beside it.

        Raises:
            ConfigError: a file is missing or unusable, or the passphrase is wrong.
        """
        place = Place(ca)
        certificate, key = place.load_issuer(passphrase)
        return cls(place=place, certificate=certificate, key=key)

    @classmethod
    def load_intermediate(cls, ca: Path) -> Authority:
        """Open the CA below the one at `ca`, which signs for a server and has no passphrase.

        Raises:
            ConfigError: a file is missing or unusable, or they do not belong together.
        """
        place = Place(ca)
        certificate, key = place.load_intermediate()
        return cls(place=place, certificate=certificate, key=key, chain=(certificate,))

    def create_intermediate(
        self, *, days: int = CA_DAYS, key_type: KeyType = "p256", now: datetime | None = None
    ) -> Authority:
        """Make a CA below this one, which may issue to people and not to other CAs.

        Its key has no passphrase: a server must be able to use it at any time.

        Raises:
            ConfigError: one is there already, or cannot be written.
        """
        place, now = self.place, now or datetime.now(UTC)
        key = generate_key(key_type)
        name = f"trio-chat intermediate CA {secrets.token_hex(4)}"
        with place.lock():
            _refuse_existing([place.intermediate, place.intermediate_key])
            certificate = make_intermediate(
                key.public_key(), name, self.certificate, self.key, days=days, now=now
            )
            try:
                create_private(place.intermediate_key, dump_key(key))
                record(place, certificate)
                _write(place.intermediate, certificate)
                resign_crl(place, certificate, key, now=now)
            except BaseException:
                place.intermediate.unlink(missing_ok=True)
                place.intermediate_key.unlink(missing_ok=True)
                raise
        return Authority(place=place, certificate=certificate, key=key, chain=(certificate,))

    def issue_client(
        self,
        name: str,
        *,
        device: str | None = None,
        admin: bool = False,
        bot: bool = False,
        days: int = LEAF_DAYS,
        key_type: KeyType = "p256",
        out: Path | None = None,
        passphrase: bytes | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """Make a key and a certificate for a person: `NAME[-DEVICE].crt` and `.key`.

        Args:
            out: Where they go, if not beside the CA.
            passphrase: What to encrypt the new key with.

        Raises:
            BadName: a name breaks the rule.
            ConfigError: a file is there already, or cannot be written.
        """
        leaf = client_leaf(name, device=device, admin=admin, bot=bot)
        crt = self.client_file(name, device, out)
        return self._issue(
            leaf, generate_key(key_type), days=days, crt=crt, passphrase=passphrase, now=now
        )

    def issue_server(
        self,
        hosts: Sequence[str],
        *,
        days: int = LEAF_DAYS,
        key_type: KeyType = "p256",
        out: Path | None = None,
        passphrase: bytes | None = None,
        now: datetime | None = None,
    ) -> Issued:
        """Make `server.crt` and `server.key` for a server that is reached as `hosts`.

        Raises:
            ConfigError: a host's name is none, a file is there already, or cannot be
                written.
        """
        leaf = server_leaf(hosts)
        crt = (out or self.place.folder) / "server.crt"
        return self._issue(
            leaf, generate_key(key_type), days=days, crt=crt, passphrase=passphrase, now=now
        )

    def sign(
        self, key: PublicKey, leaf: Leaf, *, days: int = LEAF_DAYS, now: datetime | None = None
    ) -> x509.Certificate:
        """Certify somebody's public key as `leaf` says; it is remembered, but no file is made.

        Raises:
            ConfigError: the key is of no use, or the CA's time is over.
        """
        now = now or datetime.now(UTC)
        certificate = make_leaf(leaf, key, self.certificate, self.key, days=days, now=now)
        self.place.issued.mkdir(exist_ok=True)
        record(self.place, certificate)
        return certificate

    def sign_to(
        self,
        key: PublicKey,
        leaf: Leaf,
        crt: Path,
        *,
        days: int = LEAF_DAYS,
        now: datetime | None = None,
    ) -> Issued:
        """The same, and write the certificate to `crt`, which must not be there."""
        with self.place.lock():
            _refuse_existing([crt])
            certificate = self.sign(key, leaf, days=days, now=now)
            _write(crt, certificate, *self.chain)
        return Issued(certificate=certificate, crt=crt, key=None)

    def renew(self, crt: Path, *, days: int = LEAF_DAYS, now: datetime | None = None) -> Issued:
        """Issue `crt` again, for the same key and holder, in the place of the old one.

        Raises:
            ConfigError: it is not ours, it is revoked, or the file cannot be written.
        """
        old = read_certificate(crt)
        if not is_issued_by(old, self.certificate):
            raise ConfigError(f"{crt} was not issued by {self.place.ca}")
        with self.place.lock():
            if self.is_revoked(old):
                raise ConfigError(
                    f"{crt} is revoked and stays so",
                    hint="move it and its key away, then make new ones with trio-chat pki issue",
                )
            if self.place.intermediate.exists() and old == self.place.issuers()[-1]:
                certificate = self._intermediate_again(old, days, now or datetime.now(UTC))
            else:
                certificate = self.sign(public_key(old), leaf_again(old), days=days, now=now)
            _write(crt, certificate, *self.chain)
        key = crt.with_suffix(".key")
        return Issued(certificate=certificate, crt=crt, key=key if key.exists() else None)

    def revoke(self, serials: Iterable[int], *, now: datetime | None = None) -> set[int]:
        """Put certificates on the list; return those that were not on it yet.

        Raises:
            ConfigError: the list is unusable or cannot be written.
        """
        with self.place.lock():
            return resign_crl(
                self.place,
                self.certificate,
                self.key,
                revoke=serials,
                now=now or datetime.now(UTC),
            )

    def client_file(self, name: str, device: str | None = None, out: Path | None = None) -> Path:
        """Return where the certificate of that person goes."""
        stem = names.check_user(name) + (f"-{names.check_name(device)}" if device else "")
        return (out or self.place.folder) / f"{stem}.crt"

    def _issue(
        self,
        leaf: Leaf,
        key: PrivateKey,
        *,
        days: int,
        crt: Path,
        passphrase: bytes | None,
        now: datetime | None,
    ) -> Issued:
        key_file = crt.with_suffix(".key")
        with self.place.lock():
            _refuse_existing([crt, key_file])
            create_private(key_file, dump_key(key, passphrase))
            try:
                certificate = self.sign(key.public_key(), leaf, days=days, now=now)
                _write(crt, certificate, *self.chain)
            except BaseException:
                key_file.unlink(missing_ok=True)
                raise
        return Issued(certificate=certificate, crt=crt, key=key_file)

    def _intermediate_again(
        self, old: x509.Certificate, days: int, now: datetime
    ) -> x509.Certificate:
        """Return the intermediate CA's certificate for another time; all it signed stays good."""
        certificate = make_intermediate(
            public_key(old), old.subject, self.certificate, self.key, days=days, now=now
        )
        record(self.place, certificate)
        return certificate

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        """Is it, or another one for the same key, on the list?"""
        key = key_fingerprint(certificate)
        same = [c for c in read_issued(self.place) if key_fingerprint(c) == key]
        ended = revoked(self.place, self.certificate)
        return any(c.serial_number in ended for c in (certificate, *same))


def _refuse_existing(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise ConfigError(
                f"{path} is there already", hint="nothing is overwritten; move it away first"
            )


def _write(crt: Path, *certificates: x509.Certificate) -> None:
    replace_file(crt, b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
