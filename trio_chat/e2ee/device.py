"""Device certificates: what one says, and how a user's key makes one.

A user's key, of whatever kind the server's TLS takes, certifies an Ed25519 key per device:

    issuer      the subject of the user's certificate
    subject     the same, with CN=<device name> and serialNumber=<device id> at its end
    validity    30 days at most, within that of the user's certificate
    keyUsage    digitalSignature
    2.25...     critical, of our own: the device id, and the fingerprint of the authority's key

The last keeps every ordinary validator from accepting it, as does an issuer that is no CA. So
the CA cannot add a device, which takes the user's key, and a device cannot pose as its user in
TLS. Who judges one is `identity`.

May know X.509 and what MLS exports, but no clock, no files, no network.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NewType

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from trio_chat import names
from trio_chat.errors import BadName, ConfigError
from trio_chat.identity import key_fingerprint
from trio_chat.mls import (
    SUITES,
    Certificate,
    CryptoError,
    ProtocolError,
    SignatureKey,
    X509Credential,
)

__all__ = [
    "DEVICE_EXTENSION",
    "LIFETIME",
    "MALFORMED",
    "SIGNS_ONLY",
    "SKEW",
    "Device",
    "DeviceId",
    "UserKey",
    "check_device_name",
    "check_strength",
    "decode_extension",
    "device_subject",
    "encode_extension",
    "issue_device",
    "sign_certificate",
]

DEVICE_EXTENSION = x509.ObjectIdentifier("2.25.242429928842914893995860930761728609575")
LIFETIME = timedelta(days=30)  # of a device certificate, at most
SKEW = timedelta(minutes=5)  # by which other clocks may differ from ours

# What `cryptography` raises about certificates that are malformed, or signed by another key.
MALFORMED = (
    *(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, CryptoError),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)

DeviceId = NewType("DeviceId", bytes)
"""16 random bytes that one installation keeps for ever."""

UserKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_RSA_BITS = 2048  # as OpenSSL's security level 2, which is the server's
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})  # RFC 8446, section 4.2.3
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512, type(None))  # None: Ed25519
# A SEQUENCE of two OCTET STRINGs, of 16 and 32 bytes.
_HEAD, _MIDDLE = bytes.fromhex("30340410"), bytes.fromhex("0420")
SIGNS_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@attrs.frozen(kw_only=True, eq=False)
class Device:
    """A device of ours: what it shows to others, and its private key."""

    id: DeviceId
    name: str
    certificate: x509.Certificate
    credential: X509Credential = attrs.field(repr=False)
    signature_key: SignatureKey = attrs.field(repr=False)


def issue_device(
    user: x509.Certificate,
    key: UserKey,
    name: str,
    *,
    authority: x509.Certificate,
    intermediates: Iterable[x509.Certificate] = (),
    now: datetime,
    days: float = LIFETIME.days,
    device_id: DeviceId | None = None,
) -> Device:
    """Make a key for a device and have the user's key certify it.

    Args:
        user: The user's certificate.
        key: Its private key; it signs this once and nothing else.
        name: What people read: "laptop".
        authority: The CA whose members are to accept the device.
        intermediates: What lies between, the user's issuer first; self-signed ones are left out.
        now: The time.
        days: For how long, 30 at most; never longer than the user's certificate.
        device_id: That of the certificate that this one renews.

    Raises:
        ConfigError: The user's certificate is not valid now, another key's, or of no use.
        BadName: The name breaks the rule of `check_device_name`.
    """
    name = check_device_name(name)
    try:
        check_strength(user)
        if key.public_key() != user.public_key():
            raise ConfigError("the key is not that of the user's certificate")
    except (*MALFORMED, ProtocolError) as error:
        raise ConfigError(f"the user's certificate is of no use: {error}") from None
    begin = max(now.astimezone(UTC).replace(microsecond=0) - SKEW, user.not_valid_before_utc)
    end = min(begin + min(timedelta(days=days), LIFETIME), user.not_valid_after_utc)
    if not begin <= now <= end:
        raise ConfigError("the user's certificate is not valid now")
    device_id = DeviceId(secrets.token_bytes(16)) if device_id is None else device_id
    signature_key = SUITES[1].generate_signature_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(device_subject(user, name, device_id))
        .issuer_name(user.subject)
        .public_key(ed25519.Ed25519PublicKey.from_public_bytes(signature_key.public))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end.replace(microsecond=0))
        .add_extension(SIGNS_ONLY, critical=True)
        .add_extension(encode_extension(device_id, key_fingerprint(authority)), critical=True)
    )
    certificate = sign_certificate(builder, key)
    chain = [certificate, user, *(each for each in intermediates if each.subject != each.issuer)]
    return Device(
        id=device_id,
        name=name,
        certificate=certificate,
        credential=X509Credential(
            tuple(Certificate(each.public_bytes(Encoding.DER)) for each in chain)
        ),
        signature_key=signature_key,
    )


def check_device_name(name: str) -> str:
    """Return a device's name in NFC, or raise `BadName`.

    It is the user's to choose, and all members have to judge it alike, whatever Unicode their
    Python knows. So all of it must be in a version that each Python has beside its own.
    """
    name = names.check_name(name)
    if any(unicodedata.ucd_3_2_0.category(each) == "Cn" for each in name):
        raise BadName(names.RULE)
    return name


def device_subject(user: x509.Certificate, name: str, device_id: DeviceId) -> x509.Name:
    """Return the subject of a device's certificate."""
    own = [
        x509.NameAttribute(NameOID.COMMON_NAME, name),
        x509.NameAttribute(NameOID.SERIAL_NUMBER, device_id.hex()),
    ]
    return x509.Name([*user.subject.rdns, *(x509.RelativeDistinguishedName([a]) for a in own)])


def encode_extension(device_id: DeviceId, authority: str) -> x509.UnrecognizedExtension:
    """Return the extension of a device certificate; `authority` is a key's fingerprint."""
    content = _HEAD + device_id + _MIDDLE + bytes.fromhex(authority)
    return x509.UnrecognizedExtension(DEVICE_EXTENSION, content)


def decode_extension(extension: x509.UnrecognizedExtension) -> tuple[DeviceId, str]:
    """Return the device id and the fingerprint, or raise ProtocolError."""
    content = extension.value
    device_id, authority = DeviceId(content[4:20]), content[22:].hex()
    if len(content) != 54 or encode_extension(device_id, authority) != extension:
        raise ProtocolError("a device certificate's extension is malformed")
    return device_id, authority


def sign_certificate(builder: x509.CertificateBuilder, key: UserKey) -> x509.Certificate:
    """Sign a certificate with a user's key, as TLS 1.3 would have it: RSA keys by PSS."""
    match key:
        case ed25519.Ed25519PrivateKey():
            return builder.sign(key, None)
        case rsa.RSAPrivateKey():
            digest = hashes.SHA256()
            pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            return builder.sign(key, digest, rsa_padding=pss)
        case _:
            return builder.sign(key, hashes.SHA256())


def check_strength(certificate: x509.Certificate) -> None:
    """Refuse keys and hashes that the server's TLS would not take either.

    Raises:
        ProtocolError: The key or the hash is too weak, or of an unknown kind.
        CryptoError: The key is of small order.
    """
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits) if bits >= _RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey(curve=curve) if curve.name in _CURVES:
            pass
        case ed25519.Ed25519PublicKey() as key:
            SUITES[1].check_signature_key(key.public_bytes_raw())
        case _:
            raise ProtocolError("a key in the chain is too weak, or of an unknown kind")
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise ProtocolError("a certificate is signed with a hash that is no longer good")
