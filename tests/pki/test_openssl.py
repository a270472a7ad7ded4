"""What OpenSSL says about our files, and we about OpenSSL's."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trio_chat.errors import WrongCertificate
from trio_chat.identity import ADMIN, client_identity, may_serve
from trio_chat.pki import (
    Authority,
    KeyType,
    client_leaf,
    ensure_pki,
    find_issued,
    read_certificate,
    read_crls,
    read_csr,
    serial_text,
)
from trio_chat.pki.keys import load_key

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")

PKI = Path(__file__).parents[2] / "pki"
Openssl = Callable[..., str]


@pytest.mark.parametrize("key_type", ["p256", "ed25519", "rsa"])
def test_openssl_verifies_strictly_what_we_issue(
    ca: Path, openssl: Openssl, key_type: KeyType
) -> None:
    authority = Authority.create(ca, key_type=key_type)
    server = authority.issue_server(["localhost", "127.0.0.1"]).crt
    person = authority.issue_client("José", device="laptop", admin=True).crt
    verify = ("verify", "-x509_strict", "-CAfile", ca)
    openssl(*verify, "-purpose", "sslserver", "-verify_hostname", "localhost", server)
    openssl(*verify, "-purpose", "sslserver", "-verify_ip", "127.0.0.1", server)
    openssl(*verify, "-purpose", "sslclient", person)
    for purpose, crt in [("sslclient", server), ("sslserver", person)]:
        with pytest.raises(AssertionError, match=r"unsuitable|unsupported certificate purpose"):
            openssl(*verify, "-purpose", purpose, crt)


def test_openssl_reads_what_our_certificate_says(authority: Authority, openssl: Openssl) -> None:
    made = authority.issue_client("José", device="laptop", bot=True)
    text = openssl("x509", "-in", made.crt, "-noout", "-text", "-serial")
    assert "URI:trio-chat:Jos%C3%A9, URI:trio-chat-device:laptop" in text
    assert "TLS Web Client Authentication" in text
    assert "X509v3 Basic Constraints: critical\n                CA:FALSE" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in text
    assert "OU = trio-chat bot" in text
    assert f"serial={serial_text(made.certificate.serial_number)}\n" in text


def test_a_certificate_of_version_1_has_issuer_and_key_in_the_same_place(
    tmp_path: Path, openssl: Openssl
) -> None:
    key, csr, crt = (tmp_path / name for name in ("key", "csr", "crt"))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=ana", "-out", csr)
    openssl("x509", "-req", "-in", csr, "-signkey", key, "-days", "1", "-out", crt)
    found = read_certificate(crt)
    assert found.version is x509.Version.v1
    identity = client_identity(found)
    assert identity.issuer == found.issuer.public_bytes()
    info = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity.fingerprint == hashlib.sha256(info).hexdigest()


@pytest.mark.parametrize("key_type", ["p256", "ed25519"])
def test_openssl_verifies_and_obeys_our_list(ca: Path, openssl: Openssl, key_type: KeyType) -> None:
    authority = Authority.create(ca, key_type=key_type)
    ana, bob = (authority.issue_client(name) for name in ("ana", "bob"))
    authority.revoke([bob.certificate.serial_number])
    text = openssl("crl", "-in", authority.place.crl, "-CAfile", ca, "-noout", "-text")
    assert "verify OK" in text
    assert serial_text(bob.certificate.serial_number) in text
    check = ("verify", "-x509_strict", "-crl_check", "-CRLfile", authority.place.crl)
    openssl(*check, "-CAfile", ca, ana.crt)
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*check, "-CAfile", ca, bob.crt)


def test_openssl_opens_our_encrypted_keys(
    authority: Authority, openssl: Openssl, tmp_path: Path
) -> None:
    made = authority.issue_client("ana", passphrase=b"correct horse")
    assert made.key is not None
    openssl("pkey", "-in", made.key, "-passin", "pass:correct horse", "-noout", "-check")
    with pytest.raises(AssertionError):
        openssl("pkey", "-in", made.key, "-passin", "pass:wrong", "-noout")


def test_we_open_keys_that_openssl_encrypted(openssl: Openssl, tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:horse", "-out", key)
    load_key(key, b"horse")


def test_of_an_openssl_request_we_take_the_key(
    authority: Authority, openssl: Openssl, tmp_path: Path
) -> None:
    key, csr = tmp_path / "bob.key", tmp_path / "bob.csr"
    openssl(
        *("req", "-new", "-newkey", "ed25519", "-noenc", "-subj", "/OU=trio-chat admin/CN=god"),
        *("-addext", "subjectAltName=URI:trio-chat:boss", "-keyout", key, "-out", csr),
    )
    made = authority.sign_to(read_csr(csr), client_leaf("bob"), tmp_path / "bob.crt")
    identity = client_identity(made.certificate)
    assert (identity.user, identity.roles) == ("bob", frozenset())
    assert made.certificate.public_key() == load_key(key).public_key()
    openssl("verify", "-x509_strict", "-CAfile", authority.place.ca, made.crt)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after every command of pki/README.md was run in it, in order."""
    folder = tmp_path_factory.mktemp("by-hand")
    shutil.copy(PKI / "ca.cnf", folder)
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (PKI / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) >= 7
    done = subprocess.run(
        ["sh", "-eu", "-c", "".join(blocks)],
        check=False,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_the_readme_makes_a_server_and_people(by_hand: Path) -> None:
    server = read_certificate(by_hand / "server.crt")
    assert may_serve(server)
    with pytest.raises(WrongCertificate):
        client_identity(server)
    alice = client_identity(read_certificate(by_hand / "alice.crt"))
    assert (alice.user, alice.device_name, alice.roles) == ("alice", "laptop", frozenset({ADMIN}))
    bob = read_certificate(by_hand / "bob.crt")
    assert client_identity(bob).user == "bob"
    assert not may_serve(bob)


def test_the_old_recipe_makes_somebody_by_the_common_name(by_hand: Path) -> None:
    certificate = read_certificate(by_hand / "carol.crt")
    identity = client_identity(certificate)
    assert (identity.user, identity.roles, identity.device_name) == ("carol", frozenset(), None)
    assert identity.serial == certificate.serial_number
    assert not may_serve(certificate)


def test_the_readme_revokes(by_hand: Path) -> None:
    (crl,) = read_crls(by_hand / "ca.crl")
    alice = read_certificate(by_hand / "alice.crt")
    assert crl.get_revoked_certificate_by_serial_number(alice.serial_number) is not None
    assert crl.get_revoked_certificate_by_serial_number(1) is None


def test_a_ca_made_by_hand_is_found_complete(by_hand: Path) -> None:
    assert ensure_pki(by_hand / "ca.crt", public_names=[], login="ana") is None


def test_we_go_on_with_a_ca_made_by_hand(by_hand: Path, tmp_path: Path, openssl: Openssl) -> None:
    folder = tmp_path / "pki"
    shutil.copytree(by_hand, folder)
    authority = Authority.load(folder / "ca.crt")
    alice, carol = (read_certificate(folder / f"{name}.crt") for name in ("alice", "carol"))
    serials = find_issued(authority.place, str(folder / "carol.crt"))
    assert authority.revoke(serials) == {carol.serial_number}
    (crl,) = read_crls(authority.place.crl)
    assert {e.serial_number for e in crl} == {alice.serial_number, carol.serial_number}
    openssl("crl", "-in", authority.place.crl, "-CAfile", folder / "ca.crt", "-noout")


def test_an_old_certificate_is_renewed_with_one_usage(
    by_hand: Path, tmp_path: Path, openssl: Openssl
) -> None:
    folder = tmp_path / "pki"
    shutil.copytree(by_hand, folder)
    authority = Authority.load(folder / "ca.crt")
    old = read_certificate(folder / "carol.crt")
    new = authority.renew(folder / "carol.crt").certificate
    assert new.subject == old.subject
    assert new.public_key() == old.public_key()
    assert client_identity(new).user == "carol"
    openssl("verify", "-x509_strict", "-CAfile", folder / "ca.crt", folder / "carol.crt")
