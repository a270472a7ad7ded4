"""`trio_chat.identity`: who a certificate says somebody is."""

from __future__ import annotations

import datetime as dt
import hashlib
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trio_chat.errors import BadName, WrongCertificate
from trio_chat.identity import client_identity, key_fingerprint, may_serve

KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def certificate(
    *common: str,
    uris: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    usages: tuple[x509.ObjectIdentifier, ...] | None = None,
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey = KEY,
) -> x509.Certificate:
    parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    parts += [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common]
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(parts))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]))
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def test_the_common_name_is_the_user_where_nothing_else_is_said() -> None:
    found = client_identity(certificate("alice"))
    assert (found.user, found.key, found.roles, found.device_name) == (
        "alice",
        "alice",
        frozenset(),
        None,
    )
    assert found.serial == 4711


def test_the_uri_goes_before_the_common_name() -> None:
    found = client_identity(certificate("whatever it is", uris=("trio-chat:alice",)))
    assert found.user == "alice"


def test_names_in_uris_are_percent_encoded() -> None:
    uris = ("trio-chat:" + quote("Uxía"), "trio-chat-device:" + quote("portátil"))
    found = client_identity(certificate(uris=uris))
    assert (found.user, found.device_name) == ("Uxía", "portátil")


@pytest.mark.parametrize(
    ("units", "roles"),
    [
        ((), set()),
        (("trio-chat admin",), {"admin"}),
        (("trio-chat bot", "ChatTermUnit"), {"bot"}),
        (("trio-chat admin", "trio-chat bot"), {"admin", "bot"}),
        (("admin", "Trio-Chat Admin", "trio-chat admin "), set()),
    ],
)
def test_roles_are_organisational_units_to_the_letter(
    units: tuple[str, ...], roles: set[str]
) -> None:
    assert client_identity(certificate("a", units=units)).roles == roles


@pytest.mark.parametrize(
    "bad",
    [
        certificate(),
        certificate("alice", "bob"),
        certificate("alice", uris=("trio-chat:alice", "trio-chat:bob")),
        certificate(uris=("https://example.org",)),
    ],
    ids=["no name", "two common names", "two users", "another uri"],
)
def test_a_certificate_names_one_person(bad: x509.Certificate) -> None:
    with pytest.raises(WrongCertificate, match="names nobody"):
        client_identity(bad)


@pytest.mark.parametrize("name", ["god", "a b", "../../etc", "*", "x" * 33, "\u202ebob"])
def test_a_name_that_breaks_the_rule_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        client_identity(certificate(name))
    with pytest.raises(BadName):
        client_identity(certificate(uris=("trio-chat:" + quote(name, safe=""),)))


@pytest.mark.parametrize("uri", ["trio-chat:%FF", "trio-chat-device:%FF"])
def test_percent_encoding_that_is_no_utf_8_is_refused(uri: str) -> None:
    with pytest.raises(WrongCertificate, match="malformed"):
        client_identity(certificate("alice", uris=(uri,)))


def test_a_malformed_extension_is_refused() -> None:
    good = certificate("a", uris=("trio-chat:alice",)).public_bytes(Encoding.DER)
    broken = good.replace(b"trio-chat:alice", b"trio-chat:alic\xff")  # not IA5
    with pytest.raises(WrongCertificate, match="malformed"):
        client_identity(x509.load_der_x509_certificate(broken))


def test_the_scheme_of_a_uri_has_no_case() -> None:
    """Else the common name would count, and be somebody else."""
    assert client_identity(certificate("bob", uris=("Trio-Chat:alice",))).user == "alice"


@pytest.mark.parametrize("usages", [None, (CLIENT,), (CLIENT, SERVER)])
def test_a_client_may_have_no_usage_or_the_clients(
    usages: tuple[x509.ObjectIdentifier, ...] | None,
) -> None:
    assert client_identity(certificate("a", usages=usages)).user == "a"


def test_a_servers_certificate_is_no_clients() -> None:
    with pytest.raises(WrongCertificate, match="clientAuth"):
        client_identity(certificate("a", usages=(SERVER,)))


def test_only_an_explicit_usage_makes_a_server() -> None:
    assert may_serve(certificate("a", usages=(SERVER,)))
    assert may_serve(certificate("a", usages=(SERVER, CLIENT)))
    assert not may_serve(certificate("a", usages=(CLIENT,)))
    assert not may_serve(certificate("a"))
    any_usage = (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)
    assert not may_serve(certificate("a", usages=any_usage))


def test_a_device_is_beneath_its_key() -> None:
    found = client_identity(certificate("a"))
    assert found.device(None) == found.fingerprint[:32]
    assert found.device("x") == found.fingerprint[:32] + ".x"
    other = client_identity(certificate("a", key=ec.generate_private_key(ec.SECP256R1())))
    assert other.device("x") != found.device("x")


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["p256", "ed25519", "rsa"],
)
def test_issuer_and_key_are_taken_as_they_stand(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> None:
    made = certificate("a", key=key)
    info = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = client_identity(made)
    assert found.fingerprint == hashlib.sha256(info).hexdigest() == key_fingerprint(made)
    assert found.issuer == made.issuer.public_bytes()
    assert found.serial == 4711


def test_the_fingerprint_survives_renewal() -> None:
    assert key_fingerprint(certificate("a")) == key_fingerprint(certificate("a", units=("u",)))
    assert len(key_fingerprint(certificate("a"))) == 64
