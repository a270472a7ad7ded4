"""Certificates: what ours say, and how one is built and read.

One shape for the CA, one for servers and one for people. What is signed comes from here
and never from a request. May know X.509 and the reading of a file; no folder, no clock.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_chat import names
from trio_chat.errors import ConfigError
from trio_chat.identity import DEVICE_URI, USER_URI, client_identity
from trio_chat.pki.keys import PrivateKey, PublicKey, check_public_key, hash_for

__all__ = [
    "SKEW",
    "Leaf",
    "client_leaf",
    "is_issued_by",
    "issuer_key_id",
    "leaf_again",
    "make_ca",
    "make_intermediate",
    "make_leaf",
    "public_key",
    "read_certificate",
    "read_certificates",
    "server_leaf",
    "whole_seconds",
]

SKEW = timedelta(minutes=5)  # by which other clocks may be behind ours

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)


@attrs.frozen(kw_only=True)
class Leaf:
    """What a certificate says about its holder, apart from the key and the time."""

    subject: x509.Name
    names: x509.SubjectAlternativeName
    usage: x509.ObjectIdentifier  # serverAuth or clientAuth, never both


def client_leaf(
    name: str, *, device: str | None = None, admin: bool = False, bot: bool = False
) -> Leaf:
    """Return what a person's or bot's certificate says.

    Raises:
        BadName: the name or the device's name breaks the rule, or is reserved.
    """
    name = names.check_user(name)
    uris = [USER_URI + quote(name, safe="")]
    if device is not None:
        uris.append(DEVICE_URI + quote(names.check_name(device), safe=""))
    units = ["trio-chat admin"] * admin + ["trio-chat bot"] * bot
    return Leaf(
        subject=_subject(name, units),
        names=x509.SubjectAlternativeName([x509.UniformResourceIdentifier(u) for u in uris]),
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
    )


def server_leaf(hosts: Sequence[str]) -> Leaf:
    """Return what the certificate of a server says that is reached as `hosts`.

    Raises:
        ConfigError: one of them is neither a host's name nor an IP address.
    """
    general = list(dict.fromkeys(_host(host) for host in hosts))
    if not general:
        raise ConfigError("a server needs at least one name", hint="--public-name NAME")
    return Leaf(
        subject=_subject("trio-chat server", []),
        names=x509.SubjectAlternativeName(general),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
    )


def leaf_again(certificate: x509.Certificate) -> Leaf:
    """Return what `certificate` says, to say it again in another one.

    Raises:
        ConfigError: it is a CA's, it claims both usages, or neither although it names hosts.
        BadName, WrongCertificate: it names nobody who could use it.
    """
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise ConfigError("a CA's certificate is not renewed here")
    except x509.ExtensionNotFound:
        pass
    try:
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternative = x509.SubjectAlternativeName([])
    hosts = [n for n in alternative if isinstance(n, x509.DNSName | x509.IPAddress)]
    try:
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:  # plain `openssl` made it
        if hosts:  # a person's machine, or a server? A person must not become a server
            raise ConfigError(
                "the certificate does not say whether it is a server's or a person's",
                hint="make a new one: trio-chat pki issue --server, or trio-chat pki issue NAME",
            ) from None
        usages = {ExtendedKeyUsageOID.CLIENT_AUTH}
    if {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= usages:
        raise ConfigError(
            "the certificate is for servers and for clients; nobody gets both from us",
            hint="make two: trio-chat pki issue --server, trio-chat pki issue NAME",
        )
    if ExtendedKeyUsageOID.SERVER_AUTH in usages:
        if not hosts:
            raise ConfigError("the server's certificate names no host")
        usage, general = ExtendedKeyUsageOID.SERVER_AUTH, list(alternative)
    else:
        identity = client_identity(certificate)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        general = list(alternative) or list(client_leaf(identity.user).names)
    return Leaf(
        subject=certificate.subject, names=x509.SubjectAlternativeName(general), usage=usage
    )


def make_ca(key: PrivateKey, name: str, *, days: int, now: datetime) -> x509.Certificate:
    """Return a self-signed CA certificate, which may have one CA beneath it."""
    return (
        _ca_builder(key.public_key(), _subject(name, []), now - SKEW, now + timedelta(days=days), 1)
        .issuer_name(_subject(name, []))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hash_for(key))
    )


def make_intermediate(
    key: PublicKey,
    subject: x509.Name | str,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    *,
    days: int,
    now: datetime,
) -> x509.Certificate:
    """Return the certificate of a CA that has no other CA beneath it.

    Raises:
        ConfigError: the issuer's certificate is over.
    """
    begin, end = _within(issuer, days, now)
    name = _subject(subject, []) if isinstance(subject, str) else subject
    return (
        _ca_builder(key, name, begin, end, 0)
        .issuer_name(issuer.subject)
        .add_extension(issuer_key_id(issuer), critical=False)
        .sign(issuer_key, hash_for(issuer_key))
    )


def make_leaf(
    leaf: Leaf,
    key: PublicKey,
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    *,
    days: int,
    now: datetime,
) -> x509.Certificate:
    """Return a certificate for `key`, which ends no later than its issuer's.

    Raises:
        ConfigError: the issuer's certificate is over, or the key is of no use.
    """
    begin, end = _within(issuer, days, now)
    return (
        _builder(check_public_key(key), begin, end)
        .subject_name(leaf.subject)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([leaf.usage]), critical=False)
        .add_extension(leaf.names, critical=False)
        .add_extension(issuer_key_id(issuer), critical=False)
        .sign(issuer_key, hash_for(issuer_key))
    )


def issuer_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier of the issuer's key as it stands in the issuer's certificate."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key(issuer))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Did `issuer` sign it? The name is compared and the signature verified."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def public_key(certificate: x509.Certificate) -> PublicKey:
    """Return the certificate's key, or raise `ConfigError` if it is of no use."""
    return check_public_key(certificate.public_key())


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a PEM file: at least one.

    Raises:
        ConfigError: it cannot be read, or there is none in it.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} holds no certificate in PEM") from None


def read_certificate(path: Path) -> x509.Certificate:
    """Read the first certificate of a PEM file; raise `ConfigError` as above."""
    return read_certificates(path)[0]


def whole_seconds(now: datetime) -> datetime:
    """Return the moment as certificates can say it, in UTC."""
    return now.astimezone(UTC).replace(microsecond=0)


def _within(issuer: x509.Certificate, days: int, now: datetime) -> tuple[datetime, datetime]:
    """Return when a certificate begins and ends that must not outlive its issuer's."""
    if now >= issuer.not_valid_after_utc:
        raise ConfigError(f"the CA's certificate ended on {issuer.not_valid_after_utc:%Y-%m-%d}")
    begin = max(now - SKEW, issuer.not_valid_before_utc)
    return begin, min(now + timedelta(days=days), issuer.not_valid_after_utc)


def _ca_builder(
    key: PublicKey, name: x509.Name, begin: datetime, end: datetime, below: int
) -> x509.CertificateBuilder:
    return (
        _builder(key, begin, end)
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
    )


def _builder(key: PublicKey, begin: datetime, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(whole_seconds(begin))
        .not_valid_after(whole_seconds(end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(common: str, units: Iterable[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.DNSName | x509.IPAddress:
    text = host.strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return x509.IPAddress(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        name = text.removesuffix(".").lower().encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ConfigError(
            f"{host!r} is neither a host's name nor an IP address",
            hint="write it like chat.example.org or 192.0.2.7, without a port",
        )
    return x509.DNSName(name)
