"""Certificates to test with, made in memory: authorities, people and their devices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_chat.e2ee.device import sign_certificate
from trio_chat.e2ee.identity import Device, UserKey, issue_device
from trio_chat.mls import Certificate, X509Credential

NOW = datetime(2030, 5, 17, 12, tzinfo=UTC)
DAY = timedelta(days=1)

KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@cache
def key_of(kind: str, holder: str = "") -> UserKey:
    """The key of a holder: always the same, because RSA keys take their time."""
    key = KEYS[kind]()
    assert isinstance(key, UserKey)
    return key


def name(*common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common])


def usage(**true: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{each: true.get(each, False) for each in every})


def build(subject: x509.Name, key: Any, issuer: x509.Name, **options: Any) -> Any:
    """A certificate to be signed."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(options.get("serial") or x509.random_serial_number())
        .not_valid_before(options.get("begin", NOW - 100 * DAY))
        .not_valid_after(options.get("end", NOW + 300 * DAY))
    )
    for extension, critical in options.get("extensions", ()):
        builder = builder.add_extension(extension, critical)
    return builder


@attrs.frozen(eq=False)
class Person:
    """Somebody with a certificate."""

    certificate: x509.Certificate
    key: UserKey
    issuers: tuple[CA, ...]  # the nearest first; the last is the authority

    def device(self, called: str = "laptop", **options: Any) -> Device:
        options.setdefault("now", NOW)
        options.setdefault("authority", self.issuers[-1].certificate)
        options.setdefault("intermediates", [each.certificate for each in self.issuers[:-1]])
        return issue_device(self.certificate, self.key, called, **options)


@attrs.frozen(eq=False)
class CA:
    """An authority, or one below it."""

    certificate: x509.Certificate
    key: UserKey
    above: tuple[CA, ...] = ()

    @classmethod
    def create(cls, called: str = "our CA", kind: str = "p256", **options: Any) -> CA:
        key = key_of(kind, called)
        return cls(cls._certificate(called, key, name(called), key, **options), key)

    @staticmethod
    def _certificate(
        called: str, key: UserKey, issuer: x509.Name, issuer_key: UserKey, **options: Any
    ) -> x509.Certificate:
        if "extensions" not in options:
            constraints = x509.BasicConstraints(ca=True, path_length=options.get("path_length"))
            options["extensions"] = [(constraints, True)]
        builder = build(name(called), key.public_key(), issuer, **options)
        return sign_certificate(builder, issuer_key)

    def below(self, called: str, **options: Any) -> CA:
        """A CA under this one."""
        key = key_of("p256", called)
        certificate = self._certificate(called, key, self.certificate.subject, self.key, **options)
        return CA(certificate, key, (self, *self.above))

    def person(self, user: str, kind: str = "p256", **options: Any) -> Person:
        key = options.pop("key", None) or key_of(kind, user)
        subject = options.pop("subject", None) or name(user)
        builder = build(subject, key.public_key(), self.certificate.subject, **options)
        return Person(sign_certificate(builder, self.key), key, (self, *self.above))

    def revoke(self, *serials: int) -> x509.CertificateRevocationList:
        return revocation_list(self.certificate.subject, self.key, *serials)


def revocation_list(
    issuer: x509.Name, key: UserKey, *serials: int
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(NOW - 50 * DAY)
        .next_update(NOW - 40 * DAY)  # an old list still counts
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(
        key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )


def credential(*certificates: x509.Certificate | bytes) -> X509Credential:
    return X509Credential(
        tuple(
            Certificate(each if isinstance(each, bytes) else each.public_bytes(Encoding.DER))
            for each in certificates
        )
    )


CLIENT = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
SERVER = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
