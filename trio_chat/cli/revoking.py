"""Revoking for a running server: what it does itself when an admin tells it to."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from trio_chat.errors import ConfigError
from trio_chat.files import read_private
from trio_chat.pki import (
    Authority,
    Invites,
    Place,
    find_issued,
    is_encrypted,
    revoke_issued,
    serial_text,
)

__all__ = ["revoke"]

_FILES = (".crt", ".pem", ".cer")


def revoke(ca: Path, what: str, certificate: str | None) -> list[str]:
    """Put on the list what the words stand for, or a certificate in PEM of that name.

    Invites that are open for a name of that kind are withdrawn as well.

    Returns the serial numbers, those that were on the list already among them.

    Raises:
        ConfigError: the CA's key is not here or not open, or there is no such certificate.
    """
    place = Place(ca)
    if certificate is not None:
        serials = _revoke_same(place, certificate, what)
    elif what.endswith(_FILES):
        raise ConfigError(f"there is no file {what}")  # here it would be a file of the server's
    else:
        if Invites(place).withdraw(what) and not find_issued(place, what, missing_ok=True):
            return []
        serials = _revoke(place, what, what)
    return [f"0x{serial_text(serial)}" for serial in sorted(serials)]


def _revoke(place: Place, target: str, what: str) -> set[int]:
    def root() -> Authority:
        _check_key(place, what)
        return Authority.load(place.ca)

    serials, _ = revoke_issued(place, target, root)
    return serials


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


def _revoke_same(place: Place, pem: str, name: str) -> set[int]:
    """Revoke a certificate, called `name`, and all with its key; return their serial numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "asked.crt")
        path.write_text(pem, encoding="utf-8")
        try:
            return _revoke(place, str(path), name)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), name), hint=error.hint) from None
