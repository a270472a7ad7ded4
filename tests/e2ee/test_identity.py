"""Device certificates, and who is believed to be whom."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.e2ee.makers import (
    CA,
    CLIENT,
    DAY,
    KEYS,
    NOW,
    SERVER,
    Person,
    build,
    credential,
    key_of,
    name,
    revocation_list,
    usage,
)
from trio_chat.e2ee.device import (
    DEVICE_EXTENSION,
    check_strength,
    device_subject,
    encode_extension,
    sign_certificate,
)
from trio_chat.e2ee.identity import (
    GRACE,
    Authenticator,
    Device,
    DeviceIdentity,
    Fault,
    UserKey,
    issue_device,
)
from trio_chat.errors import BadName, ConfigError, WrongCertificate
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.mls import (
    Add,
    BasicCredential,
    CommitResult,
    CryptoError,
    Group,
    KeyPackageBundle,
    ProtocolError,
    Received,
    X509Credential,
)
from trio_chat.names import check_name
from trio_chat.pki import Authority, client_leaf

OURS = CA.create()
ANNA = OURS.person("anna")
JUDGE = Authenticator([OURS.certificate])
LAPTOP = ANNA.device()


def judged(device: Device, judge: Authenticator = JUDGE) -> DeviceIdentity:
    return judge(device.credential, device.signature_key.public)


def refused(device: Device | X509Credential, words: str, judge: Authenticator = JUDGE) -> None:
    shown = device if isinstance(device, X509Credential) else device.credential
    key = LAPTOP.signature_key if isinstance(device, X509Credential) else device.signature_key
    with pytest.raises(ProtocolError, match=words):
        judge(shown, key.public)


# What is accepted


@pytest.mark.parametrize("kind", KEYS)
def test_users_with_keys_of_all_kinds_have_devices(kind: str) -> None:
    person = OURS.person(f"user-{kind}", kind)
    device = person.device("desktop")
    found = judged(device)
    assert (found.user, found.device_name, found.device_id) == (
        f"user-{kind}",
        "desktop",
        device.id,
    )
    assert found.fingerprint == key_fingerprint(person.certificate)
    assert found.roles == frozenset()


def test_a_device_certificate_says_what_the_design_wants() -> None:
    made = LAPTOP.certificate
    assert made.issuer == ANNA.certificate.subject
    assert [(each.oid, each.value) for each in made.subject] == [
        (NameOID.COMMON_NAME, "anna"),
        (NameOID.COMMON_NAME, "laptop"),
        (NameOID.SERIAL_NUMBER, LAPTOP.id.hex()),
    ]
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=30)
    assert made.not_valid_before_utc < NOW
    assert isinstance(made.public_key(), ed25519.Ed25519PublicKey)
    assert len(LAPTOP.id) == 16
    assert [(each.oid, each.critical) for each in made.extensions] == [
        (x509.KeyUsage.oid, True),
        (DEVICE_EXTENSION, True),
    ]


def test_rsa_users_sign_with_pss() -> None:
    made = OURS.person("user-rsa", "rsa").device().certificate
    assert isinstance(made.signature_algorithm_parameters, padding.PSS)


def test_a_device_certificate_ends_with_its_users() -> None:
    person = OURS.person("anna", end=NOW + DAY)
    device = person.device()
    assert device.certificate.not_valid_after_utc == NOW + DAY
    assert judged(device).expiry == NOW + DAY


def test_roles_come_from_the_users_certificate() -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "trio-chat bot"),
            x509.NameAttribute(NameOID.COMMON_NAME, "clock"),
        ]
    )
    assert judged(OURS.person("clock", subject=subject).device()).roles == {"bot"}


def test_a_user_may_be_named_by_uri_alone() -> None:
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("trio-chat:anna")])
    person = OURS.person("anna", subject=x509.Name([]), extensions=[(uri, True)])
    assert judged(person.device("phone")).user == "anna"


def test_the_same_certificate_serves_two_devices() -> None:
    one, other = judged(ANNA.device("laptop")), judged(ANNA.device("desktop"))
    assert one.fingerprint == other.fingerprint
    assert one.device_id != other.device_id
    assert one.signature_key != other.signature_key


def test_two_intermediates_are_accepted_and_the_root_may_be_named_among_them() -> None:
    near = OURS.below("near").below("nearest")
    person = near.person("anna")
    assert judged(person.device()).user == "anna"
    given = [each.certificate for each in person.issuers]
    assert judged(person.device(intermediates=given)).user == "anna"


def test_a_renewed_authority_with_the_same_key_is_the_same() -> None:
    renewed = CA.create(end=NOW + 900 * DAY)
    assert renewed.certificate != OURS.certificate
    assert judged(LAPTOP, Authenticator([renewed.certificate, OURS.certificate])).user == "anna"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
@pytest.mark.parametrize("subject", ["/CN=uxia", "/C=ES/L=Vigo/O=ChatTerm/CN=uxia", "/CN=Óscar"])
def test_certificates_of_plain_openssl_are_accepted(tmp_path: Path, subject: str) -> None:
    def openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    ca, ca_key, key = tmp_path / "ca.crt", tmp_path / "ca.key", tmp_path / "a.key"
    csr, crt = tmp_path / "a.csr", tmp_path / "a.crt"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=plain CA",
            "-keyout", ca_key, "-out", ca, "-days", 90)  # fmt: skip
    openssl("genrsa", "-out", key, 2048)
    openssl("req", "-new", "-utf8", "-key", key, "-subj", subject, "-out", csr)
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-set_serial", 7,
            "-days", 60, "-out", crt)  # fmt: skip
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    user = x509.load_pem_x509_certificate(crt.read_bytes())
    secret = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(secret, UserKey)
    device = issue_device(
        user, secret, "laptop", authority=authority, now=user.not_valid_before_utc + DAY
    )
    found = judged(device, Authenticator([authority]))
    assert found.user == subject.rpartition("=")[2]


# What is not


def test_another_signature_key_is_refused() -> None:
    other = ANNA.device()
    with pytest.raises(ProtocolError, match="another signature key"):
        JUDGE(LAPTOP.credential, other.signature_key.public)


def test_a_foreign_authority_is_refused_even_if_it_bears_the_same_name() -> None:
    foreign = CA(CA.create(kind="ed25519").certificate, key_of("ed25519", "our CA"))
    assert foreign.certificate.subject == OURS.certificate.subject
    refused(foreign.person("anna").device(), "authority that is known")
    posing = foreign.person("anna").device(authority=OURS.certificate)
    refused(posing, "not signed by the next")
    assert (
        judged(foreign.person("anna").device(), Authenticator([foreign.certificate])).user == "anna"
    )


def test_a_device_for_another_authority_is_refused() -> None:
    other = CA.create("other CA")
    refused(ANNA.device(authority=other.certificate), "authority that is known")


def test_a_device_that_another_user_signed_is_refused() -> None:
    ben = OURS.person("ben")
    mixed = credential(LAPTOP.certificate, ben.certificate)
    refused(mixed, "not signed by the next")
    posing = Person(ANNA.certificate, key_of("p256", "anna"), ANNA.issuers)
    forged = forge(posing, signer=key_of("p256", "ben"))
    refused(forged, "not signed by the next")


def test_an_issuer_of_another_name_is_refused() -> None:
    same_key = OURS.person("anne", key=ANNA.key)
    refused(credential(LAPTOP.certificate, same_key.certificate), "not signed by the next")


def forge(person: Person, *, signer: UserKey | None = None, **changes: Any) -> X509Credential:
    """A device certificate for the laptop's key with something else in it."""
    ours = encode_extension(LAPTOP.id, key_fingerprint(person.issuers[-1].certificate))
    extensions = changes.pop("extensions", None)
    key = ed25519.Ed25519PublicKey.from_public_bytes(LAPTOP.signature_key.public)
    builder = build(
        changes.pop("subject", device_subject(person.certificate, "laptop", LAPTOP.id)),
        changes.pop("key", key),
        person.certificate.subject,
        begin=changes.pop("begin", NOW - DAY),
        end=changes.pop("end", NOW + DAY),
        extensions=extensions(ours)
        if extensions
        else [(usage(digital_signature=True), True), (ours, True)],
        **changes,
    )
    made = sign_certificate(builder, signer or person.key)
    return credential(made, person.certificate)


def test_the_forger_can_make_what_is_accepted() -> None:
    assert JUDGE(forge(ANNA), LAPTOP.signature_key.public).user == "anna"


SIGNS = (usage(digital_signature=True), True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extensions": lambda _: [SIGNS]}, "lacks its critical extension"),
        ({"extensions": lambda ours: [SIGNS, (ours, False)]}, "lacks its critical extension"),
        ({"extensions": lambda ours: [(ours, True)]}, "its key is for"),
        *(
            (
                {"extensions": lambda ours, wrong=wrong: [(usage(**wrong), True), (ours, True)]},
                "its key is for",
            )
            for wrong in (
                {"key_agreement": True},
                {"digital_signature": True, "key_agreement": True},
            )
        ),
        *(
            (
                {
                    "extensions": lambda ours, critical=critical: [
                        SIGNS,
                        (ours, True),
                        (x509.OCSPNoCheck(), critical),
                    ]
                },
                "none of its own",
            )
            for critical in (True, False)
        ),
        (
            {
                "extensions": lambda ours: [
                    SIGNS,
                    (x509.UnrecognizedExtension(DEVICE_EXTENSION, ours.value[:-1]), True),
                ]
            },
            "malformed",
        ),
        (
            {
                "extensions": lambda ours: [
                    SIGNS,
                    (x509.UnrecognizedExtension(DEVICE_EXTENSION, b"\x31" + ours.value[1:]), True),
                ]
            },
            "malformed",
        ),
        ({"end": NOW + 30 * DAY}, "more than 30 days"),
        ({"begin": NOW - 101 * DAY, "end": NOW - 99 * DAY}, "not within the time"),
        ({"begin": NOW + 299 * DAY, "end": NOW + 301 * DAY}, "not within the time"),
        ({"subject": name("ben", "laptop")}, "subject"),
        ({"subject": x509.Name([])}, "subject"),
        ({"subject": device_subject(ANNA.certificate, "laptop", b"\1" * 16)}, "subject"),  # type: ignore[arg-type]  # no real id
        ({"subject": device_subject(ANNA.certificate, "my laptop", LAPTOP.id)}, "a name has"),
        ({"key": key_of("p256").public_key()}, "must be Ed25519"),
    ],
)
def test_a_device_certificate_that_says_something_else_is_refused(
    changes: dict[str, Any], words: str
) -> None:
    refused(forge(ANNA, **changes), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extensions": [SERVER]}, "not for clients"),
        ({"extensions": [(usage(key_encipherment=True), True)]}, "not for signatures"),
        ({"extensions": [(x509.OCSPNoCheck(), True)]}, "not understood"),
        ({"subject": x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")])}, "nobody"),
        ({"subject": name("god")}, "reserved"),
    ],
)
def test_a_user_whom_the_server_would_not_take_is_refused(
    options: dict[str, Any], words: str
) -> None:
    refused(OURS.person("anna", **options).device(), words)


def test_a_user_for_clients_is_accepted() -> None:
    assert judged(OURS.person("anna", extensions=[CLIENT]).device()).user == "anna"


def ca_extensions(*more: tuple[x509.ExtensionType, bool]) -> dict[str, Any]:
    return {"extensions": [(x509.BasicConstraints(ca=True, path_length=None), True), *more]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extensions": []}, "no CA"),
        ({"extensions": [(x509.BasicConstraints(ca=False, path_length=None), True)]}, "no CA"),
        (ca_extensions((usage(crl_sign=True), True)), "not for signing certificates"),
        (ca_extensions(SERVER), "not for clients"),
        (ca_extensions((x509.OCSPNoCheck(), True)), "not understood"),
        (ca_extensions((x509.NameConstraints([x509.DNSName("x")], None), False)), "not understood"),
    ],
)
def test_an_intermediate_that_may_not_issue_is_refused(options: dict[str, Any], words: str) -> None:
    refused(OURS.below("between", **options).person("anna").device(), words)


def test_an_authority_that_is_no_ca_is_refused() -> None:
    root = CA.create("no CA", extensions=[])
    refused(root.person("anna").device(), "no CA", Authenticator([root.certificate]))


def test_path_lengths_are_kept() -> None:
    root = CA.create("short", path_length=1)
    judge = Authenticator([root.certificate])
    one = root.below("one", path_length=0)
    assert judged(one.person("anna").device(), judge).user == "anna"
    refused(one.below("two").person("anna").device(), "so many others", judge)
    refused(root.below("free").below("two").person("anna").device(), "so many others", judge)


def test_three_intermediates_are_too_many() -> None:
    deep = OURS.below("one").below("two").below("three")
    refused(deep.person("anna").device(), "at most two")


def test_a_user_cannot_certify_another_user() -> None:
    eve = OURS.person("eve")
    posing = CA(eve.certificate, eve.key, eve.issuers)
    refused(posing.person("anna").device(), "no CA")


def test_a_device_cannot_have_devices() -> None:
    loaded = LAPTOP.signature_key.loaded
    below = Person(LAPTOP.certificate, loaded, (CA(ANNA.certificate, ANNA.key), OURS))
    refused(below.device(), "no CA")


def test_a_chain_in_another_order_is_refused() -> None:
    near = OURS.below("near")
    person = near.person("anna")
    device, user, between = person.device().credential.certificates
    for order in ((user, device, between), (device, between, user), (between, user, device)):
        refused(X509Credential(order), "extension|authority")
    refused(X509Credential((device, user)), "authority")
    refused(X509Credential((device,)), "a chain is")
    refused(X509Credential(()), "a chain is")


def test_other_credentials_are_refused() -> None:
    with pytest.raises(ProtocolError, match=r"X\.509"):
        JUDGE(BasicCredential(b"anna"), LAPTOP.signature_key.public)


def test_weak_keys_and_hashes_are_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    person = OURS.person("anna", key=weak)
    made = forge(person)
    refused(made, "too weak")
    with pytest.raises(ConfigError, match="too weak"):
        person.device()
    refused(forge(OURS.person("anna", key=ec.generate_private_key(ec.SECP256K1()))), "too weak")


def test_a_weak_hash_in_a_signature_is_refused() -> None:
    builder = build(name("anna"), ANNA.key.public_key(), OURS.certificate.subject)
    signed = builder.sign(OURS.key, hashes.SHA224())
    refused(forge(Person(signed, ANNA.key, ANNA.issuers)), "no longer good")


def test_a_weak_hash_in_a_devices_signature_is_refused() -> None:
    builder = build(
        device_subject(ANNA.certificate, "laptop", LAPTOP.id),
        LAPTOP.certificate.public_key(),
        ANNA.certificate.subject,
        begin=NOW - DAY,
        end=NOW + DAY,
        extensions=[(each.value, each.critical) for each in LAPTOP.certificate.extensions],
    )
    for digest in (hashes.SHA224(), hashes.SHA256()):
        made = credential(builder.sign(ANNA.key, digest), ANNA.certificate)
        if isinstance(digest, hashes.SHA256):
            assert JUDGE(made, LAPTOP.signature_key.public).user == "anna"
        else:
            refused(made, "no longer good")


def test_a_user_key_of_small_order_is_refused() -> None:
    small = ed25519.Ed25519PublicKey.from_public_bytes(bytes([1]) + bytes(31))
    builder = build(name("anna"), small, OURS.certificate.subject)
    signed = sign_certificate(builder, OURS.key)
    with pytest.raises(CryptoError, match="small order"):
        check_strength(signed)
    refused(forge(Person(signed, ANNA.key, ANNA.issuers)), "malformed")


def test_a_devices_name_is_judged_alike_by_all_versions_of_unicode() -> None:
    """A letter of Unicode 8.0 is none to an older Python: whoever has that would be cut off."""
    for called, fits in (("b\u00fcro", True), ("\u0436", True), ("\ua7b5", False)):
        assert check_name(called) == called
        made = forge(ANNA, subject=device_subject(ANNA.certificate, called, LAPTOP.id))
        if fits:
            assert JUDGE(made, LAPTOP.signature_key.public).device_name == called
        else:
            refused(made, "a name has")


def test_a_certificate_that_is_large_is_refused() -> None:
    """A user can put anything into a device's, and each member would keep it."""
    padding = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(16 * 1024))
    refused(forge(ANNA, extensions=lambda ours: [SIGNS, (ours, True), (padding, False)]), "large")


def test_an_odd_certificate_gets_no_warning_onto_the_screen() -> None:
    """The error that a warning is in these tests would be none that MLS expects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        long = x509.NameAttribute(NameOID.COMMON_NAME, "x" * 65, _validate=False)
        made = forge(ANNA, subject=x509.Name([long]))
    refused(made, "a name has")


# Who takes the place of whom


def replace(new: Device, old: Device) -> DeviceIdentity:
    return JUDGE(new.credential, new.signature_key.public, old.credential)


def test_a_device_takes_the_place_of_one_of_the_same_user() -> None:
    assert replace(ANNA.device("phone"), LAPTOP).device_name == "phone"
    renewed = OURS.person("Anna", key=key_of("p384", "anna"))
    assert replace(renewed.device(device_id=LAPTOP.id), LAPTOP).user == "Anna"


def test_a_device_of_another_user_or_with_another_key_and_id_does_not() -> None:
    ben = OURS.person("ben")
    with pytest.raises(ProtocolError, match="take the place"):
        replace(ben.device(device_id=LAPTOP.id), LAPTOP)
    with pytest.raises(ProtocolError, match="take the place"):
        replace(OURS.person("ben", key=ANNA.key).device(), LAPTOP)
    with pytest.raises(ProtocolError, match="take the place"):
        replace(OURS.person("anna", key=key_of("p384", "anna")).device(), LAPTOP)


# The time, and revocation


def check(device: Device, judge: Authenticator = JUDGE, at: Any = NOW) -> DeviceIdentity:
    return judge.check(device.credential, device.signature_key.public, now=at)


def test_dates_are_judged_where_the_time_is_given() -> None:
    assert check(LAPTOP) == judged(LAPTOP)
    with pytest.raises(ProtocolError, match="expired"):
        check(LAPTOP, at=NOW + 31 * DAY)
    with pytest.raises(ProtocolError, match="not valid yet"):
        check(LAPTOP, at=NOW - DAY)


def test_the_dates_of_the_whole_chain_count() -> None:
    root = CA.create("ending", end=NOW + DAY)
    judge = Authenticator([root.certificate])
    device = root.person("anna").device()
    check(device, judge)
    with pytest.raises(ProtocolError, match="expired"):
        check(device, judge, at=NOW + 2 * DAY)


def test_the_lists_of_every_issuer_in_the_chain_count() -> None:
    near = OURS.below("near")
    person = near.person("anna")
    device = person.device()
    user = person.certificate
    for crl in (
        near.revoke(1, user.serial_number),
        OURS.revoke(near.certificate.serial_number),
        revocation_list(user.subject, person.key, device.certificate.serial_number),
    ):
        judge = Authenticator([OURS.certificate], [crl])
        assert judged(device, judge).user == "anna"  # MLS itself does not ask
        with pytest.raises(ProtocolError, match="revoked"):
            check(device, judge)


def test_a_list_that_the_issuer_has_not_signed_counts_for_nothing() -> None:
    serial = ANNA.certificate.serial_number
    forged = revocation_list(OURS.certificate.subject, key_of("p384", "x"), serial)
    other = revocation_list(OURS.certificate.subject, key_of("rsa", "x"), serial)
    by_another_ca = CA.create("other CA").revoke(serial)
    check(LAPTOP, Authenticator([OURS.certificate], [forged, other, by_another_ca]))
    with pytest.raises(ProtocolError, match="revoked"):
        check(LAPTOP, Authenticator([OURS.certificate], [forged, OURS.revoke(serial)]))


def test_members_who_are_revoked_or_long_expired_must_go() -> None:
    people = [OURS.person(each) for each in ("anna", "ben", "cleo")]
    devices = [each.device(days=days) for each, days in zip(people, (30, 3, 30), strict=True)]
    members = dict(enumerate(bundle_of(each).key_package.leaf_node for each in devices))
    crl = OURS.revoke(people[2].certificate.serial_number)
    judge = Authenticator([OURS.certificate], [crl])
    ended = devices[1].certificate.not_valid_after_utc
    assert judge.faults(members, now=NOW) == {2: Fault.REVOKED}
    assert judge.faults(members, now=ended + GRACE) == {2: Fault.REVOKED}
    late = judge.faults(members, now=ended + GRACE + timedelta(seconds=1))
    assert late == {1: Fault.EXPIRED, 2: Fault.REVOKED}
    assert JUDGE.faults(members, now=NOW - 8 * DAY) == dict.fromkeys(members, Fault.TOO_EARLY)
    strangers = Authenticator([CA.create("other CA").certificate])
    assert strangers.faults(members, now=NOW) == dict.fromkeys(members, Fault.UNKNOWN)


def test_whoever_must_go_by_one_clock_may_go_by_all_clocks() -> None:
    people = [OURS.person(each) for each in ("anna", "ben", "cleo")]
    devices = [each.device(days=days) for each, days in zip(people, (30, 3, 30), strict=True)]
    members = dict(enumerate(bundle_of(each).key_package.leaf_node for each in devices))
    judge = Authenticator([OURS.certificate], [OURS.revoke(people[2].certificate.serial_number)])
    late = devices[1].certificate.not_valid_after_utc + GRACE + timedelta(seconds=1)
    must = judge.faults(members, now=late).keys()
    assert must == {1, 2}
    for slow in (timedelta(0), timedelta(minutes=5), timedelta(hours=23)):
        assert judge.void(members, now=late - slow) == must
    assert judge.void(members, now=late - 2 * DAY) == {2}  # and nobody is put out in their grace
    assert judge.void(members, now=NOW) == {2}
    assert JUDGE.void(members, now=NOW) == set()


# Making


def test_what_cannot_be_issued_is_said() -> None:
    with pytest.raises(ConfigError, match="not that of"):
        issue_device(ANNA.certificate, key_of("rsa", "x"), "x", authority=OURS.certificate, now=NOW)
    for at in (NOW + 301 * DAY, NOW - 101 * DAY):
        with pytest.raises(ConfigError, match="not valid now"):
            ANNA.device(now=at)
    for called in ("my laptop", "\ua7b5"):
        with pytest.raises(BadName):
            ANNA.device(called)


# Elsewhere


def test_a_device_certificate_is_no_tls_client_certificate(tmp_path: Path) -> None:
    with pytest.raises(WrongCertificate):
        client_identity(LAPTOP.certificate)
    today = datetime.now(UTC).replace(microsecond=0)
    times: dict[str, Any] = {"begin": today - DAY, "end": today + DAY}
    root = CA.create("of today", **times)
    anna = root.person("anna", **times)
    device = anna.device(now=today)
    key = device.signature_key.loaded
    assert shake_hands(tmp_path, root, anna.key, anna.certificate) is None
    refusal = shake_hands(tmp_path, root, key, device.certificate, anna.certificate)
    assert isinstance(refusal, ssl.SSLCertVerificationError)
    assert "critical" in refusal.verify_message or "CA" in refusal.verify_message


def shake_hands(
    folder: Path, root: CA, key: UserKey, *chain: x509.Certificate
) -> ssl.SSLError | None:
    """Show a certificate to a server of OpenSSL, and return what it says."""
    host = root.person("host", begin=root.certificate.not_valid_before_utc)
    trusted = pem(folder / "ca.pem", root.key, root.certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem(folder / "server.pem", host.key, host.certificate))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(trusted)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(pem(folder / "client.pem", key, *chain))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    listening = server.wrap_bio(to_server, to_client, server_side=True)
    ends = [client.wrap_bio(to_client, to_server), listening]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error
    assert listening.getpeercert(binary_form=True)
    return None


def pem(path: Path, key: UserKey, *chain: x509.Certificate) -> Path:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    return path


NEAR = OURS.below("near").person("anna")
CHAIN = [
    each.cert_data for each in OURS.below("near").person("anna").device().credential.certificates
]


@given(st.data())
def test_hostile_chains_raise_the_one_error(data: st.DataObject) -> None:
    chain = list(CHAIN)
    for _ in range(data.draw(st.integers(1, 3))):
        which = data.draw(st.integers(0, len(chain) - 1))
        der = bytearray(chain[which])
        at = data.draw(st.integers(0, len(der)))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"])):
            case "flip" if at < len(der):
                der[at] = data.draw(st.integers(0, 255))
            case "cut":
                del der[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                der[at:at] = data.draw(st.binary(max_size=20))
            case _:
                chain.insert(which, bytes(der))
        chain[which] = bytes(der)
    try:
        found = JUDGE(credential(*chain), LAPTOP.signature_key.public)
    except ProtocolError:
        return
    pytest.fail(f"{found} has another key")


EDDA = OURS.person("edda", "ed25519")
EDDAS = EDDA.device()


def signed_by_edda(content: bytes) -> X509Credential:
    """A device certificate with any content, as its user can make it."""
    assert isinstance(EDDA.key, ed25519.Ed25519PrivateKey)
    whole = content + bytes.fromhex("300506032b6570 034100") + EDDA.key.sign(content)
    return credential(b"\x30\x82" + len(whole).to_bytes(2) + whole, EDDA.certificate)


@given(st.data())
def test_whatever_users_sign_they_are_but_themselves(data: st.DataObject) -> None:
    content = bytearray(EDDAS.certificate.tbs_certificate_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        found = JUDGE(signed_by_edda(bytes(content)), EDDAS.signature_key.public)
        assert (found.user, found.device_id) == ("edda", EDDAS.id)


def test_a_serial_number_that_is_none_is_refused() -> None:
    """The library reads it, with a warning that one day will be an error."""
    made = forge(EDDA, serial=0x7A7A7A7A).certificates[0].cert_data
    content = x509.load_der_x509_certificate(made).tbs_certificate_bytes
    key = LAPTOP.signature_key.public
    assert JUDGE(signed_by_edda(content), key).user == "edda"
    for wrong in (b"\x02\x04\x80zzz", b"\x02\x04\xffzzz"):
        refused(signed_by_edda(content.replace(b"\x02\x04zzzz", wrong)), "serial number")


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_noise_raises_the_one_error(noise: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        JUDGE(credential(*noise), b"")


# In a group


def bundle_of(device: Device) -> KeyPackageBundle:
    return KeyPackageBundle.create(device.credential, device.signature_key)


def follow(group: Group, result: CommitResult[Group]) -> Group:
    following = group.receive(result.message)
    assert isinstance(following, Group)
    return following


def test_users_with_keys_of_all_kinds_talk_in_one_group() -> None:
    people = [OURS.person(f"user-{kind}", kind) for kind in KEYS]
    devices = [*(each.device() for each in people), people[0].device("desktop")]
    bundles = [bundle_of(each) for each in devices]
    first = Group.create(bundles[0], b"a room", authenticate=JUDGE)
    result = first.commit(*(Add(each.key_package) for each in bundles[1:]), ratchet_tree=True)
    assert result.welcome is not None
    groups = [
        result.group,
        *(Group.join(result.welcome, each, authenticate=JUDGE) for each in bundles[1:]),
    ]
    for speaker in range(len(groups)):
        message = groups[speaker].encrypt(b"hello from " + str(speaker).encode())
        for group in groups:
            if group.index != speaker:
                heard = group.receive(message)
                assert isinstance(heard, Received)
                leaf = group.members()[heard.sender]
                assert (
                    JUDGE(leaf.credential, leaf.signature_key).user == judged(devices[speaker]).user
                )
    assert JUDGE.faults(groups[0].members(), now=NOW) == {}

    renewed = people[0].device("laptop", device_id=devices[0].id)
    result = groups[0].commit(signature_key=renewed.signature_key, credential=renewed.credential)
    groups = [result.group, *(follow(each, result) for each in groups[1:])]
    assert len({each.epoch_authenticator for each in groups}) == 1


def test_a_group_refuses_who_is_not_certified() -> None:
    group = Group.create(bundle_of(LAPTOP), b"a room", authenticate=JUDGE)
    stranger = bundle_of(CA.create("other CA").person("eve").device())
    with pytest.raises(ProtocolError, match="authority"):
        group.commit(Add(stranger.key_package))


def test_only_the_own_user_can_take_out_a_lost_leaf() -> None:
    group = Group.create(bundle_of(LAPTOP), b"a room", authenticate=JUDGE)
    info = group.group_info(external=True, ratchet_tree=True)
    again = bundle_of(ANNA.device(device_id=LAPTOP.id))
    result = Group.join_external(info, again, replace=0, authenticate=JUDGE)
    (leaf,) = result.group.members().values()
    assert leaf.signature_key == again.signature_key.public
    eve = bundle_of(OURS.person("eve").device(device_id=LAPTOP.id))
    forced = Group.join_external(info, eve, replace=0, authenticate=lambda *_: None)
    with pytest.raises(ProtocolError, match="take the place"):
        group.receive(forced.message)


def test_a_chain_of_a_servers_intermediate_is_accepted(tmp_path: Path) -> None:
    """What enrolment issues, `pki init --intermediate` and all."""
    authority = Authority.create(tmp_path / "ca.crt", now=NOW - DAY)
    below = authority.create_intermediate(now=NOW - DAY)
    key = key_of("p256", "nora")
    user = below.sign(key.public_key(), client_leaf("nora", bot=True), days=30, now=NOW - DAY)
    device = issue_device(
        user,
        key,
        "laptop",
        now=NOW,
        authority=authority.certificate,
        intermediates=[below.certificate],
    )
    judge = Authenticator([authority.certificate])
    found = judge.check(device.credential, device.signature_key.public, now=NOW)
    assert found.user == "nora"
    assert found.roles == {"bot"}
