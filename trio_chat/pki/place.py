"""Where a CA's files lie, and who may change them now.

    ca.crt  ca.key  ca.crl          the CA, its key, its revocation list
    server.crt  server.key          the server's
    intermediate.crt and .key       a CA below it for the server, so that ca.key can go away
    issued/SERIAL.crt               every certificate that this CA has signed
    issued/SERIAL.enrolled          that one may renew it; holds its successor's SERIAL
    issued/ca.crl                   the last list signed, should ca.crl be lost
    issued/lock                     held while the list or somebody's files are written
    invites/                        who may enrol; see invites.py

May know files and locks; nothing of what the certificates mean.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs
from cryptography import x509

from trio_chat.errors import ConfigError
from trio_chat.files import lock
from trio_chat.pki.certificates import is_issued_by, read_certificates
from trio_chat.pki.keys import PrivateKey, load_key

__all__ = ["Place"]


@attrs.frozen
class Place:
    """The files that belong to the CA whose certificate is `ca`."""

    ca: Path

    @property
    def folder(self) -> Path:
        """Where all of them are."""
        return self.ca.parent

    @property
    def key(self) -> Path:
        """The CA's private key."""
        return self.ca.with_suffix(".key")

    @property
    def crl(self) -> Path:
        """The revocation lists: one PEM block per issuer."""
        return self.ca.with_name("ca.crl")

    @property
    def server_certificate(self) -> Path:
        """The server's certificate."""
        return self.ca.with_name("server.crt")

    @property
    def server_key(self) -> Path:
        """The server's private key."""
        return self.ca.with_name("server.key")

    @property
    def issued(self) -> Path:
        """The folder of what was signed."""
        return self.ca.with_name("issued")

    @property
    def intermediate(self) -> Path:
        """The certificate of the CA that the server signs enrolments with, if there is one."""
        return self.ca.with_name("intermediate.crt")

    @property
    def intermediate_key(self) -> Path:
        """Its private key."""
        return self.ca.with_name("intermediate.key")

    @property
    def invites(self) -> Path:
        """The folder of invites."""
        return self.ca.with_name("invites")

    @property
    def last_crl(self) -> Path:
        """A copy of the list that was signed last. It tells that there must be one."""
        return self.issued / "ca.crl"

    def check_there(self) -> None:
        """Raise `ConfigError`, with how to make one, if there is no CA."""
        if not self.ca.exists():
            raise ConfigError(
                f"there is no CA at {self.ca}", hint=f"trio-chat pki init{self.as_option()}"
            )

    def load_issuer(self, passphrase: bytes | None = None) -> tuple[x509.Certificate, PrivateKey]:
        """Read the CA's certificate and key.

        The file may hold several CAs; the one that the key belongs to is returned.

        Raises:
            ConfigError: one is missing or unreadable, or they do not belong together.
        """
        self.check_there()
        candidates = read_certificates(self.ca)
        if not self.key.exists():
            raise ConfigError(
                f"{self.key} is missing: without it nothing can be signed",
                hint="do this on the machine that keeps the CA's key",
            )
        key = load_key(self.key, passphrase)
        for certificate in candidates:
            if certificate.public_key() == key.public_key():
                return certificate, key
        raise ConfigError(f"{self.key} is not the key of {self.ca}")

    def issuers(self) -> list[x509.Certificate]:
        """Return the certificates of all CAs here: those of `ca`, then the intermediate one.

        Raises:
            ConfigError: a file is unusable, or the intermediate one is of another CA.
        """
        roots = read_certificates(self.ca)
        if not self.intermediate.exists():
            return roots
        below = read_certificates(self.intermediate)[0]
        if not any(is_issued_by(below, root) for root in roots):
            raise ConfigError(f"{self.intermediate} was not issued by {self.ca}")
        return [*roots, below]

    def load_intermediate(self) -> tuple[x509.Certificate, PrivateKey]:
        """Read the certificate and the key of the CA below this one.

        Raises:
            ConfigError: one is missing or unreadable, or they do not belong together.
        """
        certificate = self.issuers()[-1]
        if not self.intermediate_key.exists():
            raise ConfigError(
                f"{self.intermediate} is there but {self.intermediate_key} is missing",
                hint="put it back, or move the certificate away as well",
            )
        key = load_key(self.intermediate_key)
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"{self.intermediate_key} is not the key of {self.intermediate}")
        return certificate, key

    def as_option(self) -> str:
        """Return ` --ca PATH` for a command line, or nothing where it is the default."""
        return "" if self.ca == Path("pki/ca.crt") else f" --ca {shlex.quote(str(self.ca))}"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing these files; waits for its turn.

        Raises:
            ConfigError: the folder cannot be written.
        """
        descriptor = self._open_lock()
        try:
            try:
                lock(descriptor, wait=True)
            except OSError as error:
                raise ConfigError(f"cannot lock the CA's files: {error.strerror}") from None
            yield
        finally:
            os.close(descriptor)  # which unlocks

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """The same, but says False at once where another process has the lock."""
        descriptor = self._open_lock()
        try:
            yield lock(descriptor, wait=False)
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        try:
            self.issued.mkdir(parents=True, exist_ok=True)
            return os.open(self.issued / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot write in {self.issued}: {error.strerror}") from None
