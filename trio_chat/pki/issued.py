"""What a CA has signed: a folder with one file for each certificate.

One file each means that nobody's entry is lost when two programs issue at once. May know
the CA's files; signs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from trio_chat import names
from trio_chat.errors import ChatError, ConfigError
from trio_chat.files import replace_file
from trio_chat.identity import client_identity, key_fingerprint, may_serve
from trio_chat.pki import revocations
from trio_chat.pki.certificates import is_issued_by, read_certificate
from trio_chat.pki.place import Place

__all__ = [
    "Entry",
    "describe",
    "describe_ours",
    "find_issued",
    "issued_by",
    "list_issued",
    "read_issued",
    "record",
    "serial_text",
]


@attrs.frozen(kw_only=True)
class Entry:
    """One certificate, for people to read."""

    kind: str  # "client", "server", "ca" or "unknown"
    name: str  # the user; a server's host names; empty if unknown
    device: str | None
    roles: tuple[str, ...]
    serial: int
    not_before: datetime | None
    not_after: datetime | None
    fingerprint: str | None  # as in `Identity`
    revoked: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.not_after is not None and now > self.not_after else "valid"


def record(place: Place, certificate: x509.Certificate) -> None:
    """Remember that this certificate was signed."""
    path = place.issued / f"{serial_text(certificate.serial_number)}.crt"
    replace_file(path, certificate.public_bytes(Encoding.PEM))


def read_issued(place: Place) -> list[x509.Certificate]:
    """Return everything signed, oldest first.

    Raises:
        ConfigError: a file in the folder is unusable.
    """
    found = [read_certificate(path) for path in sorted(place.issued.glob("*.crt"))]
    return sorted(found, key=lambda certificate: certificate.not_valid_before_utc)


def list_issued(place: Place) -> list[Entry]:
    """Return everything signed and everything revoked, oldest first.

    A revoked certificate that was made elsewhere appears with its serial number only.

    Raises:
        ConfigError: the CA's certificate, its list or a certificate is unusable.
    """
    revoked = {
        serial: entry.revocation_date_utc
        for issuer in place.issuers()
        for serial, entry in revocations.revoked(place, issuer).items()
    }
    entries = [
        attrs.evolve(describe(certificate), revoked=revoked.pop(certificate.serial_number, None))
        for certificate in read_issued(place)
    ]
    unknown = (
        Entry(
            kind="unknown",
            name="",
            device=None,
            roles=(),
            serial=serial,
            not_before=None,
            not_after=None,
            fingerprint=None,
            revoked=date,
        )
        for serial, date in revoked.items()
    )
    return [*entries, *unknown]


def describe_ours(place: Place, certificate: x509.Certificate) -> Entry | None:
    """Return what it says and whether it is revoked, or None if another CA has issued it.

    Raises:
        ConfigError: the CA's certificate or its list is unusable.
    """
    for issuer in place.issuers():
        if is_issued_by(certificate, issuer):
            revoked = revocations.revoked(place, issuer).get(certificate.serial_number)
            date = revoked.revocation_date_utc if revoked else None
            return attrs.evolve(describe(certificate), revoked=date)
    return None


def describe(certificate: x509.Certificate) -> Entry:
    """Return what a certificate says, whoever made it."""
    kind, name, device, roles = "unknown", _common_name(certificate), None, frozenset[str]()
    if _is_ca(certificate):
        kind = "ca"
    elif may_serve(certificate):
        kind, name = "server", " ".join(_hosts(certificate))
    else:
        try:
            identity = client_identity(certificate)
        except ChatError:
            pass
        else:
            kind, name = "client", identity.user
            device, roles = identity.device_name, identity.roles
    return Entry(
        kind=kind,
        name=name,
        device=device,
        roles=tuple(sorted(roles)),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=key_fingerprint(certificate),
    )


def issued_by(place: Place, issuer: x509.Certificate) -> set[int]:
    """Return the serial numbers of all that `issuer` has signed, as far as it is kept here."""
    return {c.serial_number for c in read_issued(place) if is_issued_by(c, issuer)}


def find_issued(place: Place, target: str, *, missing_ok: bool = False) -> set[int]:
    """Return the serial numbers that `target` stands for.

    A file's path; or a user, all whose certificates are meant; or `USER/DEVICE`; or a
    serial number, decimal or hexadecimal. A file or number stands for all certificates
    with the same key, because renewing one does not end the other. With `missing_ok`, a
    name that nothing was issued to stands for nothing.

    Raises:
        ConfigError: it stands for nothing, or for two things.
    """
    signed = read_issued(place)
    if target.endswith((".crt", ".pem", ".cer")) and Path(target).is_file():
        certificate = read_certificate(Path(target))
        if not any(is_issued_by(certificate, issuer) for issuer in place.issuers()):
            raise ConfigError(f"{target} was not issued by {place.ca}")
        return {certificate.serial_number} | _same_key(signed, [certificate])
    if of_name := _of_name(signed, target):
        return of_name
    readings = _serials(target)
    known = [c for c in signed if c.serial_number in readings]
    if known:
        return _same_key(signed, known)
    if not readings:
        if missing_ok:
            return set()
        raise ConfigError(
            f"no certificate was issued to {target}",
            hint=f"trio-chat pki list{place.as_option()}",
        )
    if len(readings) > 1:
        decimal = int(target)
        raise ConfigError(
            f"the serial number {target} can be read in two ways",
            hint=f"write 0x{target} if it is hexadecimal, or {hex(decimal)} if it is decimal",
        )
    return readings


def serial_text(serial: int) -> str:
    """Return a serial number as `openssl x509 -serial` shows it."""
    text = f"{serial:X}"
    return text.zfill(len(text) + len(text) % 2)


def _of_name(signed: Iterable[x509.Certificate], target: str) -> set[int]:
    user, _, device = target.partition("/")
    entries = [entry for entry in map(describe, signed) if entry.kind == "client"]
    return {
        entry.serial
        for entry in entries
        if names.key(entry.name) == names.key(user)
        and (not device or names.key(entry.device or "") == names.key(device))
    }


def _same_key(signed: Iterable[x509.Certificate], wanted: Iterable[x509.Certificate]) -> set[int]:
    keys = {key_fingerprint(certificate) for certificate in wanted}
    return {c.serial_number for c in signed if key_fingerprint(c) in keys}


def _serials(text: str) -> set[int]:
    """Return what a serial number's text can mean: one number, two, or none."""
    digits = text.replace(":", "").lower()
    if not re.fullmatch(r"(0x)?[0-9a-f]{1,48}", digits, re.ASCII):
        return set()
    readings = {int(digits, 16)}
    if text.isdecimal():
        readings.add(int(text))
    return {serial for serial in readings if 0 < serial < 2**159}  # RFC 5280, 4.1.2.2


def _common_name(certificate: x509.Certificate) -> str:
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else ""


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hosts(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [
        str(name.value)
        for name in extension.value
        if isinstance(name, x509.DNSName | x509.IPAddress)
    ]
