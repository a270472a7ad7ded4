"""Issuing certificates without a person at the keyboard: what a server does for who is invited.

Signed is with the intermediate CA where there is one, and else with the CA's own key if that
lies open beside it. May know the CA's files and the time it is given; no sockets.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat import names
from trio_chat.errors import BadFrame, ConfigError, InviteRefused, NoEnrolment, Revoked
from trio_chat.files import read_private, replace_file
from trio_chat.invitation import decode_secret
from trio_chat.pki.authority import Authority
from trio_chat.pki.certificates import (
    client_leaf,
    is_issued_by,
    leaf_again,
    public_key,
    read_certificate,
    read_certificates,
)
from trio_chat.pki.invites import Invite, Invites
from trio_chat.pki.issued import Entry, list_issued, serial_text
from trio_chat.pki.keys import PublicKey, is_encrypted
from trio_chat.pki.place import Place
from trio_chat.pki.requests import csr_key

__all__ = ["ENROLLED_DAYS", "Enroller", "Redeemed", "requested_key"]

ENROLLED_DAYS = 30


@attrs.frozen
class Redeemed:
    """What came of an invite: certificates in PEM, the new one first, and whose it is."""

    pem: bytes
    name: str
    room: str | None


@attrs.frozen(kw_only=True)
class Enroller:
    """Whoever may sign by itself. `Enroller.load` finds out."""

    authority: Authority
    invites: Invites
    roots: tuple[x509.Certificate, ...]  # the CA's certificates

    @classmethod
    def load(cls, ca: Path) -> Enroller:
        """Open the key to sign with.

        Raises:
            ConfigError: there is none that needs no passphrase, or it is unusable. The hint is
                the way to a certificate that needs no such key.
        """
        place = Place(ca)
        place.check_there()
        by_request = (
            f"where the CA's key is: trio-chat pki init --intermediate{place.as_option()}; or one "
            "by one: NAME runs `trio-chat pki request NAME`, and there `trio-chat pki sign "
            "NAME.csr NAME` makes the certificate"
        )
        try:
            if place.intermediate.exists():
                authority = Authority.load_intermediate(ca)
            else:
                if not place.key.exists():
                    raise ConfigError(f"there is neither {place.key} nor {place.intermediate_key}")
                if is_encrypted(read_private(place.key)):
                    raise ConfigError(f"{place.key} has a passphrase")
                authority = Authority.load(ca)
            roots = tuple(read_certificates(ca))
        except ConfigError as error:
            raise ConfigError(
                f"the server has no key to sign with: {error}", hint=error.hint or by_request
            ) from None
        return cls(authority=authority, invites=Invites(place), roots=roots)

    @property
    def anchor(self) -> x509.Certificate:
        """The root that everything issued here ends at."""
        own = self.authority.certificate
        return next(root for root in self.roots if own == root or is_issued_by(own, root))

    @property
    def roots_pem(self) -> str:
        """The CA's certificates for anybody, and nothing else that the file may hold."""
        return "".join(root.public_bytes(Encoding.PEM).decode("ascii") for root in self.roots)

    def redeem(self, secret: str, csr: str, device: str | None, now: datetime) -> Redeemed:
        """Certify a key for who is invited; once, whatever happens meanwhile.

        The invite is spent first. Whoever comes again with the same key gets the same
        certificate: the first answer may have been lost.

        Args:
            secret: The invite's, as it came over the wire.
            csr: A request in PEM. Only its key is taken, and that its maker holds it.
            device: What the machine is called, for people to read.

        Raises:
            InviteRefused: the invite is unknown, spent or expired.
            BadFrame: the request is none.
            BadName: the device's name breaks the rule.
            NoEnrolment: the CA's own time is over.
            ConfigError: a file cannot be written.
        """
        raw = decode_secret(secret)
        if raw is None:
            raise InviteRefused("that is no invite's secret")
        try:
            invite = self.invites.find(raw, now)
        except InviteRefused:
            again = self._again(raw, csr)
            if again is None:
                raise
            return again
        key = requested_key(csr)
        leaf = client_leaf(invite.name, device=device, admin=invite.admin, bot=invite.bot)
        if now >= self.authority.certificate.not_valid_after_utc:
            raise NoEnrolment("the CA's certificate has ended; whoever runs it makes a new one")
        self.invites.spend(raw)
        certificate = self.authority.sign(key, leaf, days=ENROLLED_DAYS, now=now)
        self._mark(certificate, b"")
        pem = self._with_chain(certificate)
        self.invites.keep_issued(raw, pem)
        return _redeemed(pem, invite)

    def issue(self, name: str, csr: str, device: str | None, now: datetime) -> bytes:
        """Certify a key for a person who is known otherwise; return certificates in PEM.

        Raises:
            BadFrame, BadName, NoEnrolment, ConfigError: as for `redeem`.
        """
        key, leaf = requested_key(csr), client_leaf(name, device=device)
        if now >= self.authority.certificate.not_valid_after_utc:
            raise NoEnrolment("the CA's certificate has ended; whoever runs it makes a new one")
        certificate = self.authority.sign(key, leaf, days=ENROLLED_DAYS, now=now)
        self._mark(certificate, b"")
        return self._with_chain(certificate)

    def invited(self, secret: str, now: datetime) -> Invite:
        """Return what an invite says that is open, or was spent; it stays as it is.

        Raises:
            InviteRefused: it is unknown or expired.
        """
        raw = decode_secret(secret)
        if raw is None:
            raise InviteRefused("that is no invite's secret")
        return self.invites.spent(raw) or self.invites.find(raw, now)

    def is_named(self, name: str) -> bool:
        """Was a certificate ever issued to that name, or is somebody of that name invited?"""
        return bool(self._of(name)) or self.invites.awaits(name)

    def is_barred(self, name: str, but: bytes | None = None) -> bool:
        """Is everything revoked that was ever issued to that name (but for `but`, in PEM)?"""
        new = None if but is None else x509.load_pem_x509_certificate(but).serial_number
        found = [entry for entry in self._of(name) if entry.serial != new]
        return bool(found) and all(entry.revoked is not None for entry in found)

    def _of(self, name: str) -> list[Entry]:
        return [
            entry
            for entry in list_issued(self.authority.place)
            if entry.kind == "client" and names.key(entry.name) == names.key(name)
        ]

    def renew(self, old: x509.Certificate, now: datetime) -> bytes:
        """Issue a certificate again that an invite has brought about, for the same key.

        Each one has one successor, and not before half of its life: asking again and again
        gets the same answer, and fills no disk.

        Args:
            old: The certificate that whoever asks has shown in the handshake.

        Raises:
            NoEnrolment: it was issued by hand, for a time that somebody chose.
            Revoked: it is on the list.
            ConfigError: a file cannot be read or written.
        """
        mark = self._marked(old)
        try:
            successor = mark.read_text(encoding="ascii")
        except FileNotFoundError:
            raise NoEnrolment(
                "this certificate was issued by hand, and is renewed by hand"
            ) from None
        except OSError as error:
            raise ConfigError(f"cannot read {mark}: {error.strerror}") from None
        if successor:
            return self._with_chain(read_certificate(mark.with_name(f"{successor}.crt")))
        begin, end = old.not_valid_before_utc, old.not_valid_after_utc
        if now < begin + (end - begin) / 2:
            return self._with_chain(old)
        new = self.authority.sign(public_key(old), leaf_again(old), days=ENROLLED_DAYS, now=now)
        if self.authority.is_revoked(old):  # asked last: now it is in the books, both are found
            raise Revoked("this certificate has been revoked; ask whoever runs the CA for another")
        self._mark(new, b"")
        self._mark(old, serial_text(new.serial_number).encode())
        return self._with_chain(new)

    def _marked(self, certificate: x509.Certificate) -> Path:
        name = f"{serial_text(certificate.serial_number)}.enrolled"
        return self.authority.place.issued / name

    def _mark(self, certificate: x509.Certificate, successor: bytes) -> None:
        replace_file(self._marked(certificate), successor)

    def _with_chain(self, certificate: x509.Certificate) -> bytes:
        direct = not is_issued_by(certificate, self.authority.certificate)  # by the root, once
        whole = (certificate, *(() if direct else self.authority.chain))
        return b"".join(each.public_bytes(Encoding.PEM) for each in whole)

    def _again(self, raw: bytes, csr: str) -> Redeemed | None:
        """Return what was issued for a spent invite, to who holds that certificate's key."""
        invite, pem = self.invites.spent(raw), self.invites.issued(raw)
        if invite is None or pem is None:
            return None
        same = public_key(x509.load_pem_x509_certificate(pem)) == requested_key(csr)
        return _redeemed(pem, invite) if same else None


def _redeemed(pem: bytes, invite: Invite) -> Redeemed:
    return Redeemed(pem, invite.name, invite.room)


def requested_key(csr: str) -> PublicKey:
    """Return the key of a request, whose maker holds it.

    Raises:
        BadFrame: it is none, or its maker does not hold the key.
    """
    try:
        return csr_key(csr.encode(errors="replace"), "the request")
    except ConfigError as error:
        raise BadFrame(str(error)) from None
