"""Who a device is: the chain of certificates that a leaf of a group shows, and its judging.

A leaf shows an X.509 chain (RFC 9420, section 5.3):

    device          made by `device`, signed by the user's key
    user            the certificate that the server's TLS takes as well
    intermediates   two at most; the authority itself is known, and does not travel

What depends on a clock or on revocation lists is judged apart from the rest. `Authenticator`
itself is what MLS calls: all members must get the same answer from it, now and later, or the
group falls apart. `check` and `faults` also know the time, which is given to them.

`x509.verification` is no help: it refuses certificates of version 1, those without alternative
names and CAs without key usage, and plain `openssl` makes all of these.

May know X.509 and what MLS exports, but no clock, no files, no network.
"""

from __future__ import annotations

import enum
import hashlib
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from trio_chat import names
from trio_chat.e2ee.device import (
    DEVICE_EXTENSION,
    LIFETIME,
    MALFORMED,
    SIGNS_ONLY,
    SKEW,
    Device,
    DeviceId,
    UserKey,
    check_device_name,
    check_strength,
    decode_extension,
    device_subject,
    issue_device,
)
from trio_chat.errors import ChatError
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.mls import BasicCredential, LeafNode, ProtocolError, X509Credential

__all__ = [
    "GRACE",
    "Authenticator",
    "Device",
    "DeviceId",
    "DeviceIdentity",
    "Fault",
    "UserKey",
    "issue_device",
]

GRACE = timedelta(days=7)  # in which an expired device is not yet taken out of its groups

CredentialValue: TypeAlias = BasicCredential | X509Credential

_INTERMEDIATES = 2
_LARGEST = 16 * 1024  # bytes of a certificate: a user can put into a device's whatever they like


@attrs.frozen(kw_only=True)
class DeviceIdentity:
    """Whom a leaf's credential vouches for."""

    user: str
    roles: frozenset[str]  # of trio_chat.identity's ADMIN, BOT
    user_key: bytes = attrs.field(repr=False)  # the SubjectPublicKeyInfo, in DER
    device_id: DeviceId
    device_name: str
    signature_key: bytes = attrs.field(repr=False)  # the device's, as MLS has it
    begin: datetime  # when the last certificate of the chain becomes valid
    expiry: datetime  # when the first one ends

    @property
    def key(self) -> names.Key:
        """The user's name folded for comparison."""
        return names.key(self.user)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the user's key, 64 hexadecimal digits; renewal does not change it."""
        return hashlib.sha256(self.user_key).hexdigest()


class Fault(enum.Enum):
    """Why a device that is who it says must not be in a group, or no longer."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    TOO_EARLY = "not valid yet"
    UNKNOWN = "not certified by an authority that is known here"


@attrs.frozen
class _Chain:
    """An accepted chain: who it is, and each certificate beside that of its issuer."""

    identity: DeviceIdentity
    issued: tuple[tuple[x509.Certificate, x509.Certificate], ...]


def _tuple(given: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(given)


@attrs.frozen
class Authenticator:
    """The authentication service of RFC 9420, section 5.3.1, as `mls.Services` takes it.

    Attributes:
        authorities: The CA's certificates.
        revocations: Lists, from wherever: one counts if the issuer of what it lists signed it.
    """

    authorities: tuple[x509.Certificate, ...] = attrs.field(converter=_tuple)
    revocations: tuple[x509.CertificateRevocationList, ...] = attrs.field(
        default=(), converter=_tuple
    )

    def __call__(
        self,
        credential: CredentialValue,
        signature_key: bytes,
        replaces: CredentialValue | None = None,
    ) -> DeviceIdentity:
        """Return who that is, as far as it depends neither on the time nor on revocations.

        Who takes the place of another must be the same user, with the same device or the same
        key: or else an external commit could take out somebody else.

        Raises:
            ProtocolError: The credential is not accepted; the text says which rule it breaks.
        """
        identity = _read(self.authorities, credential).identity
        if identity.signature_key != signature_key:
            raise ProtocolError("the device certificate is for another signature key")
        if replaces is not None:
            old = _read(self.authorities, replaces).identity
            if identity.key != old.key or (
                identity.device_id != old.device_id and identity.user_key != old.user_key
            ):
                raise ProtocolError("a device can only take the place of one of the same user")
        return identity

    def check(
        self, credential: CredentialValue, signature_key: bytes, *, now: datetime
    ) -> DeviceIdentity:
        """Judge a device that we are to add: by dates and revocation lists as well.

        Raises:
            ProtocolError: The credential is not accepted; the text says why.
        """
        identity = self(credential, signature_key)
        fault = self._fault(_read(self.authorities, credential), now, SKEW, {})
        if fault is not None:
            raise ProtocolError(f"the certificate of {identity.user}'s device is {fault.value}")
        return identity

    def faults(self, members: Mapping[int, LeafNode], *, now: datetime) -> dict[int, Fault]:
        """Return who of a group's `members()` must go before anything more is encrypted."""
        return self._faults(members, now, GRACE)

    def void(self, members: Mapping[int, LeafNode], *, now: datetime) -> set[int]:
        """Return who may go, as `policy.check` wants to know about others' commits.

        These are more than `faults` of the same time: who takes somebody out waits for the end
        of the grace, who looks on a day less. So clocks that differ come to no two judgements.
        """
        return set(self._faults(members, now, GRACE - timedelta(days=1)))

    def _faults(
        self, members: Mapping[int, LeafNode], now: datetime, tolerance: timedelta
    ) -> dict[int, Fault]:
        known: dict[x509.Certificate, frozenset[int]] = {}
        found = {}
        for index, leaf in members.items():
            try:
                chain = _read(self.authorities, leaf.credential)
            except ProtocolError:  # of an authority that we no longer know
                found[index] = Fault.UNKNOWN
                continue
            fault = self._fault(chain, now, tolerance, known)
            if fault is not None:
                found[index] = fault
        return found

    def _fault(
        self,
        chain: _Chain,
        now: datetime,
        tolerance: timedelta,
        known: dict[x509.Certificate, frozenset[int]],
    ) -> Fault | None:
        """Judge what changes; `known` keeps what each issuer has revoked."""
        for certificate, issuer in chain.issued:
            if issuer not in known:
                known[issuer] = self._revoked_by(issuer)
            if certificate.serial_number in known[issuer]:
                return Fault.REVOKED
        if now - tolerance > chain.identity.expiry:
            return Fault.EXPIRED
        if now + tolerance < chain.identity.begin:
            return Fault.TOO_EARLY
        return None

    def _revoked_by(self, issuer: x509.Certificate) -> frozenset[int]:
        """Return the serials in all lists that the issuer has signed, however old they are."""
        return frozenset(
            entry.serial_number
            for crl in self.revocations
            if crl.issuer == issuer.subject and _is_signed(crl, issuer)
            for entry in crl
        )


def _is_signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key: Any = issuer.public_key()  # of a kind that `check_strength` has let pass
    try:
        return crl.is_signature_valid(key)
    except MALFORMED:
        return False


# The chain


@lru_cache(maxsize=4096)  # each commit shows its sender's chain again, and asks about the old one
def _read(authorities: Sequence[x509.Certificate], credential: CredentialValue) -> _Chain:
    """Judge a chain, or raise ProtocolError."""
    if not isinstance(credential, X509Credential):
        raise ProtocolError("a member must show X.509 certificates")
    encoded = [each.cert_data for each in credential.certificates]
    if not 2 <= len(encoded) <= 2 + _INTERMEDIATES:
        raise ProtocolError("a chain is a device, a user and at most two intermediates")
    if max(map(len, encoded)) > _LARGEST:
        raise ProtocolError("a certificate is too large")
    try:
        with warnings.catch_warnings():  # about oddities, which would get onto the screen
            warnings.simplefilter("ignore")
            return _walk(authorities, *map(x509.load_der_x509_certificate, encoded))
    except ChatError as error:
        raise ProtocolError(str(error)) from None
    except MALFORMED:
        raise ProtocolError("a certificate is malformed, or not signed by the next one") from None


def _walk(
    authorities: Sequence[x509.Certificate],
    device: x509.Certificate,
    user: x509.Certificate,
    *intermediates: x509.Certificate,
) -> _Chain:
    """Go down from the authority, so that no key is used before it is certified."""
    device_id, domain = _device_extension(device)
    authority = _authority(authorities, domain, (user, *intermediates)[-1])
    issued = list(zip((user, *intermediates), (*intermediates, authority), strict=True))
    for below, (certificate, issuer) in reversed(list(enumerate(issued))):
        _check_issuer(issuer, below)
        certificate.verify_directly_issued_by(issuer)
        check_strength(certificate)
    _check_extensions(user, _UNDERSTOOD)
    _check_signs(user)
    person = client_identity(user)
    device.verify_directly_issued_by(user)
    check_strength(device)
    whole = (device, user, *intermediates, authority)
    info = user.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    identity = DeviceIdentity(
        user=person.user,
        roles=person.roles,
        user_key=info,
        device_id=device_id,
        device_name=_device_name(device, user, device_id),
        signature_key=_device_key(device, user),
        begin=max(each.not_valid_before_utc for each in whole),
        expiry=min(each.not_valid_after_utc for each in whole),
    )
    return _Chain(identity, ((device, user), *issued))


def _authority(
    authorities: Sequence[x509.Certificate], fingerprint: str, top: x509.Certificate
) -> x509.Certificate:
    """Return the newest certificate of the authority that a device is for."""
    fitting = [
        each
        for each in authorities
        if each.subject == top.issuer and key_fingerprint(each) == fingerprint
    ]
    if not fitting:
        raise ProtocolError("the chain does not end at an authority that is known here")
    return max(fitting, key=lambda each: each.not_valid_after_utc)


def _device_extension(device: x509.Certificate) -> tuple[DeviceId, str]:
    """Return the device id and the fingerprint of the authority that the device is for.

    There is nothing else in it than what `issue_device` puts there: this is where a user could
    put what two versions of the library read in two ways, and so part the members of a room.
    """
    if device.serial_number <= 0:
        raise ProtocolError("a device certificate's serial number is malformed")
    found = {each.oid: each for each in device.extensions}
    if found.keys() - {DEVICE_EXTENSION, ExtensionOID.KEY_USAGE}:
        raise ProtocolError("a device certificate has an extension that is none of its own")
    own = found.get(DEVICE_EXTENSION)
    if own is None or not own.critical:
        raise ProtocolError("a device certificate lacks its critical extension")
    assert isinstance(own.value, x509.UnrecognizedExtension)
    return decode_extension(own.value)


def _device_name(device: x509.Certificate, user: x509.Certificate, device_id: DeviceId) -> str:
    """Return the name that a device's subject adds to its user's, beside the id."""
    common = device.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = check_device_name(str(common[-1].value)) if common else ""
    if not name or device.subject != device_subject(user, name, device_id):
        raise ProtocolError("a device's subject is not its user's with a name and the device id")
    return name


def _device_key(device: x509.Certificate, user: x509.Certificate) -> bytes:
    """Return a device's raw key, if what its certificate says about it is right."""
    begin, end = device.not_valid_before_utc, device.not_valid_after_utc
    if end - begin > LIFETIME:
        raise ProtocolError("a device certificate is for more than 30 days")
    if begin < user.not_valid_before_utc or end > user.not_valid_after_utc:
        raise ProtocolError("a device certificate is not within the time of its user's")
    if _values(device).get(x509.KeyUsage) != SIGNS_ONLY:
        raise ProtocolError("a device certificate does not say that its key is for signatures")
    key = device.public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ProtocolError("a device's key must be Ed25519")
    return key.public_bytes_raw()


# Each certificate (RFC 5280, section 4.2.1)

_UNDERSTOOD = frozenset(  # and so may be critical
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)


def _check_issuer(issuer: x509.Certificate, below: int) -> None:
    """Check that a certificate may issue others, with so many CAs below it."""
    _check_extensions(issuer, _UNDERSTOOD)
    values = _values(issuer)
    constraints = values.get(x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ProtocolError("an issuer in the chain is no CA")
    if constraints.path_length is not None and below > constraints.path_length:
        raise ProtocolError("a CA in the chain may not have so many others below it")
    usage = values.get(x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise ProtocolError("an issuer's key is not for signing certificates")
    purposes = values.get(x509.ExtendedKeyUsage)
    if purposes is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise ProtocolError("a CA in the chain is not for clients")


def _check_signs(certificate: x509.Certificate) -> None:
    """RFC 8446, section 4.4.2.2, asks this of whoever signs a handshake."""
    usage = _values(certificate).get(x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise ProtocolError("a key in the chain is not for signatures")


def _check_extensions(
    certificate: x509.Certificate, understood: Container[x509.ObjectIdentifier]
) -> None:
    """Refuse what is critical and unknown; limits on names must count even where they are not."""
    for each in certificate.extensions:
        if each.oid not in understood and (
            each.critical or each.oid == ExtensionOID.NAME_CONSTRAINTS
        ):
            raise ProtocolError("a certificate has an extension that is not understood here")


def _values(certificate: x509.Certificate) -> dict[type, Any]:
    """Return the values of a certificate's extensions, by class."""
    return {type(each.value): each.value for each in certificate.extensions}
