"""Who a certificate says somebody is: the one function that server and client share.

The user is the certificate's `trio-chat:` URI in its subject alternative name, or else its
common name; roles are organisational units; a device name is a second URI. May know X.509,
but no files, no clock, no sockets.
"""

from __future__ import annotations

import hashlib

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_chat import names
from trio_chat.errors import WrongCertificate

__all__ = [
    "ADMIN",
    "BOT",
    "DEVICE_URI",
    "USER_URI",
    "Identity",
    "client_identity",
    "key_fingerprint",
    "may_serve",
]

USER_URI = "trio-chat:"
DEVICE_URI = "trio-chat-device:"
ADMIN = "admin"
BOT = "bot"
# What `cryptography` and a percent-encoding that is no UTF-8 raise.
_MALFORMED = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_NO_ROLES: frozenset[str] = frozenset()  # shared: most people have none
_ROLE_UNITS = {"trio-chat admin": ADMIN, "trio-chat bot": BOT}


@attrs.frozen(kw_only=True)
class Identity:
    """What a client's certificate vouches for."""

    user: str
    roles: frozenset[str]  # of ADMIN, BOT
    device_name: str | None  # "laptop", for people to read
    fingerprint: str  # SHA-256 of the SubjectPublicKeyInfo, 64 hexadecimal digits
    issuer: bytes  # DER of the issuer's name
    serial: int

    @property
    def key(self) -> names.Key:
        """The user's name folded for comparison."""
        return names.key(self.user)

    def device(self, chosen: str | None) -> str:
        """Return the wire's id of one installation that uses this certificate.

        It starts with half of the key's fingerprint, so only the holder of that key can
        be this device; `chosen` is the `device` of its `hello`.
        """
        own = self.fingerprint[:32]
        return f"{own}.{chosen}" if chosen else own


def client_identity(certificate: x509.Certificate, der: bytes | None = None) -> Identity:
    """Return the identity in a client's certificate, whose chain is already verified.

    Args:
        certificate: The certificate.
        der: Its encoding, where that is at hand.

    Raises:
        WrongCertificate: its usage is for something else, it names nobody, or it is
            malformed.
        BadName: the name in it breaks the rule.
    """
    try:
        return _identity(certificate, der or certificate.public_bytes(Encoding.DER))
    except _MALFORMED:
        raise WrongCertificate("the certificate is malformed") from None


def _identity(certificate: x509.Certificate, der: bytes) -> Identity:
    """Read each part once: this is a tenth of the server's work for a new connection."""
    extensions = {type(each.value): each.value for each in certificate.extensions}
    usages = extensions.get(x509.ExtendedKeyUsage)
    if usages is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise WrongCertificate(
            "the certificate is not for clients (its extended key usage lacks clientAuth); "
            "use one made by `trio-chat pki issue NAME`"
        )
    uris = _uris(extensions.get(x509.SubjectAlternativeName))
    users, devices = _after(USER_URI, uris), _after(DEVICE_URI, uris)
    subject = list(certificate.subject)
    common = [str(each.value) for each in subject if each.oid == NameOID.COMMON_NAME]
    units = [each.value for each in subject if each.oid == NameOID.ORGANIZATIONAL_UNIT_NAME]
    if len(users) > 1 or (not users and len(common) != 1):
        raise WrongCertificate(
            "the certificate names nobody: it needs one common name (CN) "
            f"or one {USER_URI}NAME in its subject alternative name"
        )
    issuer, key_info = _issuer_and_key(der)
    return Identity(
        user=names.check_user(_unquoted(users[0]) if users else common[0]),
        roles=frozenset(_ROLE_UNITS[unit] for unit in units if unit in _ROLE_UNITS) or _NO_ROLES,
        device_name=names.check_name(_unquoted(devices[0])) if devices else None,
        fingerprint=hashlib.sha256(key_info).hexdigest(),
        issuer=issuer,
        serial=certificate.serial_number,
    )


def _issuer_and_key(der: bytes) -> tuple[bytes, bytes]:
    """Return the issuer's name and the SubjectPublicKeyInfo as they stand in a certificate.

    Both come after a version, which may be absent, among the first elements of the signed
    part (RFC 5280, section 4.1). Taken out of its encoding, because taking them apart and
    putting them together again, as the library does, costs more than all the rest. A key that
    two certificates spell differently (a compressed point) so counts as two.
    """

    def content(start: int) -> tuple[int, int]:
        """Return where the content of the element at `start` begins and ends (X.690, 8.1)."""
        length, begin = der[start + 1], start + 2
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(der[start + 2 : begin])
        return begin, begin + length

    position, _ = content(content(0)[0])
    if der[position] == 0xA0:
        position = content(position)[1]
    elements = []
    for _ in ("serial", "signature", "issuer", "validity", "subject", "key"):
        end = content(position)[1]
        elements.append(der[position:end])
        position = end
    return elements[2], elements[5]


def may_serve(certificate: x509.Certificate) -> bool:
    """Does this certificate say, explicitly, that it is a server's?

    OpenSSL takes an absent usage for any; a member's certificate made by plain
    `openssl` must not pose as the server, so here absence is a no.
    """
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def key_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.

    It survives renewal with the same key, which a fingerprint of the whole does not.
    """
    _, key_info = _issuer_and_key(certificate.public_bytes(Encoding.DER))
    return hashlib.sha256(key_info).hexdigest()


def _uris(alternatives: x509.SubjectAlternativeName | None) -> list[str]:
    if alternatives is None:
        return []
    return alternatives.get_values_for_type(x509.UniformResourceIdentifier)


def _after(scheme: str, uris: list[str]) -> list[str]:
    """Return what follows a scheme, which is compared without case (RFC 3986, 3.1)."""
    return [uri[len(scheme) :] for uri in uris if uri[: len(scheme)].lower() == scheme]


def _unquoted(name: str) -> str:
    """Undo the percent-encoding of a URI, which holds ASCII only."""
    from urllib.parse import unquote

    return unquote(name, errors="strict")
