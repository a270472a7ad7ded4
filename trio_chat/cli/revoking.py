"""Revoking for a running server: what it does itself when an admin tells it to."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from trio_chat.errors import ConfigError
from trio_chat.files import read_private
from trio_chat.pki import Authority, Place, find_issued, is_encrypted, serial_text

__all__ = ["revoke"]

_FILES = (".crt", ".pem", ".cer")


def revoke(ca: Path, what: str, certificate: str | None) -> list[str]:
    """Put on the list what the words stand for, or a certificate in PEM of that name.

    Returns the serial numbers, those that were on the list already among them.

    Raises:
        ConfigError: the CA's key is not here or not open, or there is no such certificate.
    """
    place = Place(ca)
    _check_key(place, what)
    authority = Authority.load(ca)
    if certificate is not None:
        serials = _find_same(authority, certificate, what)
    elif what.endswith(_FILES):
        raise ConfigError(f"there is no file {what}")  # here it would be a file of the server's
    else:
        serials = find_issued(place, authority.certificate, what)
    authority.revoke(serials)
    return [f"0x{serial_text(serial)}" for serial in sorted(serials)]


def _check_key(place: Place, what: str) -> None:
    """Raise `ConfigError` with another way if nothing can be signed here."""
    command = f"trio-chat pki revoke {shlex.quote(what)}"
    if not place.key.exists():
        raise ConfigError(
            f"the CA's key {place.key} is not on this machine, so nothing can be revoked here",
            hint=f"where it is: {command}, then copy ca.crl to {place.crl}",
        )
    if is_encrypted(read_private(place.key)):
        raise ConfigError(
            f"the CA's key {place.key} has a passphrase, which the server does not know",
            hint=f"{command}{place.as_option()} asks for it; the server sees it within a second",
        )


def _find_same(authority: Authority, pem: str, name: str) -> set[int]:
    """Return the serial numbers of a certificate, called `name`, and of all with its key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "asked.crt")
        path.write_text(pem, encoding="utf-8")
        try:
            return find_issued(authority.place, authority.certificate, str(path))
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), name), hint=error.hint) from None
