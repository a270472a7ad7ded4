"""The revocation list (RFC 5280, section 5): read, added to, signed again.

`ca.crl` holds one PEM list per issuer; only that of the issuer at hand is ever rewritten, the
others stay as they are. What was revoked once stays so: the last list signed is kept in
`issued/` too, so losing `ca.crl` does not let anybody back in. May know the CA's files, but
no clock.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat.errors import ConfigError
from trio_chat.files import read_private, replace_file
from trio_chat.pki.certificates import SKEW, issuer_key_id, public_key, whole_seconds
from trio_chat.pki.keys import PrivateKey, hash_for, is_encrypted
from trio_chat.pki.place import Place

__all__ = [
    "CRL_LIFE",
    "is_rolled_back",
    "read_crl",
    "read_crls",
    "refresh_crl",
    "resign_crl",
    "revoked",
    "sign_crl",
]

CRL_LIFE = timedelta(days=60)

_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


def sign_crl(
    issuer: x509.Certificate,
    key: PrivateKey,
    entries: Iterable[x509.RevokedCertificate],
    *,
    number: int,
    now: datetime,
) -> x509.CertificateRevocationList:
    """Return a signed list of `entries` that is good for 60 days."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(whole_seconds(now - SKEW))
        .next_update(whole_seconds(now + CRL_LIFE))
        .add_extension(issuer_key_id(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hash_for(key))


def read_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """Read all lists of a PEM file; signatures are not looked at.

    Raises:
        ConfigError: it cannot be read, or something in it is no list.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    blocks = _BLOCK.findall(data)
    try:
        lists = [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError:
        lists = []
    if not lists:
        raise ConfigError(f"{path} holds no revocation list in PEM")
    return lists


def read_crl(path: Path, issuer: x509.Certificate) -> list[x509.CertificateRevocationList]:
    """Return `issuer`'s lists in that file: one, or none if the file or the list is absent.

    More than one only if somebody put files together; then all of them count.

    Raises:
        ConfigError: it cannot be read, or another key has signed one.
    """
    lists = read_crls(path) if path.exists() else []
    own = [crl for crl in lists if crl.issuer == issuer.subject]
    if not all(crl.is_signature_valid(public_key(issuer)) for crl in own):
        raise ConfigError(f"the list in {path} is not signed by the CA it names")
    return own


def revoked(place: Place, issuer: x509.Certificate) -> dict[int, x509.RevokedCertificate]:
    """Return all that `issuer` has ever revoked, by serial number.

    Raises:
        ConfigError: a list is unusable; the hint tells how to mend it.
    """
    return {entry.serial_number: entry for crl in _known(place, issuer) for entry in crl}


def is_rolled_back(place: Place, issuer: x509.Certificate) -> bool:
    """Does `ca.crl` lack something that was revoked once?

    Raises:
        ConfigError: a list is unusable.
    """
    present = {entry.serial_number for crl in read_crl(place.crl, issuer) for entry in crl}
    return not revoked(place, issuer).keys() <= present


def resign_crl(
    place: Place,
    issuer: x509.Certificate,
    key: PrivateKey,
    *,
    revoke: Iterable[int] = (),
    now: datetime,
) -> set[int]:
    """Sign our list anew with the serial numbers to `revoke`; return those that are new.

    Earlier entries stay, the list's number grows, and the file changes at once or not at
    all. The caller holds the place's lock.

    Raises:
        ConfigError: the present list is unusable, or the new one cannot be written.
    """
    entries = revoked(place, issuer)
    added = set(revoke) - entries.keys()
    for serial in sorted(added):
        entries[serial] = (
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(whole_seconds(now))
            .build()
        )
    number = max(map(_number, _known(place, issuer)), default=0) + 1
    crl = sign_crl(issuer, key, entries.values(), number=number, now=now)
    _write(place, crl)
    return added


def refresh_crl(ca: Path, now: datetime) -> bool:
    """Sign lists in `ca.crl` again that are past half of their life, or not the newest.

    Not the newest is an older copy that was put back, one from a machine that does not know
    the intermediate CA, or a revocation that was interrupted.

    For a server to call now and then: it asks nothing and waits for nobody.

    Returns:
        Has one been signed again? No, if it is young or `ca.crl` is absent, if the issuer's
        key is absent, unreadable or encrypted, or if another process is at it just now.

    Raises:
        ConfigError: a file is unusable, others can read a key, or writing failed.
    """
    place = Place(ca)
    if not place.crl.exists():
        return False
    loaders = {place.key: place.load_issuer, place.intermediate_key: place.load_intermediate}
    signed = [
        _refresh(place, *load(), now=now)
        for path, load in loaders.items()
        if os.access(path, os.R_OK) and not is_encrypted(read_private(path))
    ]
    return any(signed)


def _refresh(place: Place, issuer: x509.Certificate, key: PrivateKey, *, now: datetime) -> bool:
    if not _is_due(place, issuer, now):
        return False
    with place.try_lock() as ours:
        if not ours or not _is_due(place, issuer, now):
            return False
        resign_crl(place, issuer, key, now=now)
    return True


def _known(place: Place, issuer: x509.Certificate) -> list[x509.CertificateRevocationList]:
    """Return the last list we signed and the present one, as far as they are there."""
    last = read_crl(place.last_crl, issuer)
    try:
        present = read_crl(place.crl, issuer)
    except ConfigError as error:
        old, aside = (shlex.quote(f"{place.crl}{end}") for end in ("", ".broken"))
        mend = f"mv {old} {aside} && trio-chat pki crl{place.as_option()}"
        if not last:  # who was revoked stands nowhere else
            mend = f"put {old} back from a copy; without it the revoked come in again"
        raise ConfigError(str(error), hint=mend) from None
    return last + present


def _is_due(place: Place, issuer: x509.Certificate, now: datetime) -> bool:
    present = read_crl(place.crl, issuer)
    if not present:
        return bool(read_crl(place.last_crl, issuer))
    return is_rolled_back(place, issuer) or any(_past_half(crl, now) for crl in present)


def _past_half(crl: x509.CertificateRevocationList, now: datetime) -> bool:
    begin, end = crl.last_update_utc, crl.next_update_utc
    return end is not None and now >= begin + (end - begin) / 2


def _number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def _write(place: Place, crl: x509.CertificateRevocationList) -> None:
    for path in (place.last_crl, place.crl):
        others = read_crls(path) if path.exists() else []
        lists = [crl, *(each for each in others if each.issuer != crl.issuer)]
        replace_file(path, b"".join(each.public_bytes(Encoding.PEM) for each in lists))
