"""The revocation list: checked by the program, after every handshake and on every change.

OpenSSL's own CRL flags are not used: with them a missing list refuses everybody under a
false message, and a list loaded into a live context can be ignored. The file holds one PEM
CRL an issuer (RFC 5280, section 5); it is replaced as a whole or not at all.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from trio_chat.errors import ConfigError, CrlUnusable, Revoked
from trio_chat.identity import Identity

__all__ = ["Revocations"]

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


@attrs.frozen
class _List:
    """What a file said, verified."""

    revoked: frozenset[tuple[bytes, int]]  # (issuer's name in DER, serial)
    expires: float  # seconds since 1970; infinity without a list
    text: str | None = attrs.field(default=None, repr=False)  # in PEM


_NOTHING = _List(frozenset(), float("inf"))


@attrs.define
class Revocations:
    """The list beside the CA, as it is now.

    There may be none: a CA made by plain `openssl` often has none. A list that was there
    and is missing, unreadable or expired lets nobody new in.
    """

    path: Path
    ca: Path
    _list: _List = attrs.field(default=_NOTHING, init=False)
    _problem: str | None = attrs.field(default=None, init=False)
    _stamp: tuple[int, int, int] | None = attrs.field(default=None, init=False)
    seen: bool = attrs.field(default=False, init=False)

    def load(self, *, seen: bool) -> None:
        """Read the list for the first time; `seen` says whether one was ever there.

        Raises:
            ConfigError: it is there but cannot be used, or it was there and is not.
        """
        self._stamp = self._stat()
        if self._stamp is not None:
            self._list = _read(self.path, self.ca)
        elif seen:
            raise ConfigError(
                f"the revocation list {self.path} was there and is missing",
                hint=f"put it back, or sign one anew: trio-chat pki crl --ca {self.ca}",
            )
        self.seen = seen or self._stamp is not None

    def refresh(self) -> bool:
        """Look whether the file has changed; return whether more are revoked now.

        A file that cannot be used is remembered as a problem; the old list still counts.
        """
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        if stamp is None:
            self._problem = "it is missing" if self.seen else None
            return False
        self.seen = True
        try:
            found = _read(self.path, self.ca)
        except ConfigError as error:
            self._problem = str(error)
            return False
        self._problem = None
        grown = not found.revoked <= self._list.revoked
        self._list = found
        return grown

    def problem(self, now: float) -> str | None:
        """Return why nobody new can be let in at `now`, seconds since 1970, or None."""
        if self._problem is None and now > self._list.expires:
            return "it has expired"
        return self._problem

    @property
    def expires(self) -> float:
        """When the list ends, in seconds since 1970; infinity where there is none."""
        return self._list.expires

    @property
    def text(self) -> str | None:
        """The list in force, in PEM, if there is one."""
        return self._list.text

    def revokes(self, identity: Identity) -> bool:
        """Is this certificate on the list?"""
        return (identity.issuer, identity.serial) in self._list.revoked

    def check(self, identity: Identity, now: float) -> None:
        """Let a certificate pass at `now`, seconds since 1970.

        Raises:
            Revoked: it is on the list.
            CrlUnusable: there was a list, and it cannot be used now.
        """
        if self.revokes(identity):
            raise Revoked("this certificate has been revoked; ask whoever runs the CA for another")
        if self.problem(now) is not None:
            raise CrlUnusable(
                "the server's revocation list is missing, unreadable or expired, so nobody "
                "new is let in; whoever runs the server mends it with `trio-chat pki crl`"
            )

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path, ca: Path) -> _List:
    """Read and verify a list, all or nothing."""
    try:
        issuers = x509.load_pem_x509_certificates(ca.read_bytes())
        texts = _PEM.findall(path.read_bytes())
        lists = [x509.load_pem_x509_crl(pem) for pem in texts]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is no revocation list in PEM") from None
    if not lists:
        raise ConfigError(f"{path} holds no revocation list", hint=f"trio-chat pki crl --ca {ca}")
    revoked: set[tuple[bytes, int]] = set()
    for found in lists:
        if not any(_signed_by(found, issuer) for issuer in issuers):
            raise ConfigError(f"{path} is not signed by {ca}", hint=f"trio-chat pki crl --ca {ca}")
        issuer_name = found.issuer.public_bytes()
        revoked.update((issuer_name, entry.serial_number) for entry in found)
    ends = [end for found in lists if (end := found.next_update_utc) is not None]
    expires = min(ends).timestamp() if ends else float("inf")
    text = "".join(pem.decode("ascii") + "\n" for pem in texts)
    return _List(frozenset(revoked), expires, text)


def _signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if found.issuer != issuer.subject:
        return False
    try:
        return found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # raises TypeError for other kinds
    except (InvalidSignature, TypeError, ValueError):
        return False
