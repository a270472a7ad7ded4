"""Who a certificate says somebody is: the one function that server and client share.

The user is the certificate's `trio-chat:` URI in its subject alternative name, or else its
common name; roles are organisational units; a device name is a second URI. May know X.509,
but no files, no clock, no sockets.
"""

from __future__ import annotations

import hashlib

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
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


def client_identity(certificate: x509.Certificate) -> Identity:
    """Return the identity in a client's certificate, whose chain is already verified.

    Raises:
        WrongCertificate: its usage is for something else, it names nobody, or it is
            malformed.
        BadName: the name in it breaks the rule.
    """
    try:
        return _identity(certificate)
    except _MALFORMED:
        raise WrongCertificate("the certificate is malformed") from None


def _identity(certificate: x509.Certificate) -> Identity:
    usages = _usages(certificate)
    if usages is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise WrongCertificate(
            "the certificate is not for clients (its extended key usage lacks clientAuth); "
            "use one made by `trio-chat pki issue NAME`"
        )
    uris = _uris(certificate)
    users, devices = _after(USER_URI, uris), _after(DEVICE_URI, uris)
    common = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(users) > 1 or (not users and len(common) != 1):
        raise WrongCertificate(
            "the certificate names nobody: it needs one common name (CN) "
            f"or one {USER_URI}NAME in its subject alternative name"
        )
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Identity(
        user=names.check_user(_unquoted(users[0]) if users else common[0]),
        roles=frozenset(_ROLE_UNITS[unit.value] for unit in units if unit.value in _ROLE_UNITS)
        or _NO_ROLES,
        device_name=names.check_name(_unquoted(devices[0])) if devices else None,
        fingerprint=key_fingerprint(certificate),
        issuer=certificate.issuer.public_bytes(),
        serial=certificate.serial_number,
    )


def may_serve(certificate: x509.Certificate) -> bool:
    """Does this certificate say, explicitly, that it is a server's?

    OpenSSL takes an absent usage for any; a member's certificate made by plain
    `openssl` must not pose as the server, so here absence is a no.
    """
    usages = _usages(certificate)
    return usages is not None and ExtendedKeyUsageOID.SERVER_AUTH in usages


def key_fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the SubjectPublicKeyInfo, in hexadecimal.

    It survives renewal with the same key, which a fingerprint of the whole does not.
    """
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()


def _usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier] | None:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)


def _after(scheme: str, uris: list[str]) -> list[str]:
    """Return what follows a scheme, which is compared without case (RFC 3986, 3.1)."""
    return [uri[len(scheme) :] for uri in uris if uri[: len(scheme)].lower() == scheme]


def _unquoted(name: str) -> str:
    """Undo the percent-encoding of a URI, which holds ASCII only."""
    from urllib.parse import unquote

    return unquote(name, errors="strict")
