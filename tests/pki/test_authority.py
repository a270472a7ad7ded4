from __future__ import annotations

import stat
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from trio_chat.errors import BadName, ConfigError
from trio_chat.files import create_private
from trio_chat.identity import ADMIN, client_identity, may_serve
from trio_chat.pki import Authority, client_leaf, read_certificate, read_csr, revocations
from trio_chat.pki import authority as module
from trio_chat.pki.issued import read_issued
from trio_chat.pki.keys import generate_key, load_key
from trio_chat.pki.revocations import read_crl


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_ca_is_a_certificate_a_private_key_and_an_empty_list(authority: Authority) -> None:
    place = authority.place
    assert _mode(place.key) == 0o600
    assert read_certificate(place.ca) == authority.certificate
    (crl,) = read_crl(place.crl, authority.certificate)
    assert list(crl) == []


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "ca.crl", "issued/01.crt", "issued/ca.crl"])
def test_no_ca_is_made_over_another_ones_files(ca: Path, name: str) -> None:
    there = ca.parent / name
    there.parent.mkdir(parents=True)
    there.write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        Authority.create(ca)
    assert there.read_text() == "precious"
    assert [p for p in ca.parent.rglob("*") if p.is_file()] == [there]


def test_two_cas_never_have_the_same_name(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt")
    assert other.certificate.subject != authority.certificate.subject


def test_the_private_key_is_in_no_repr(authority: Authority) -> None:
    assert "PrivateKey" not in repr(authority)


def test_an_encrypted_ca_opens_with_its_passphrase(ca: Path) -> None:
    Authority.create(ca, passphrase=b"correct horse")
    Authority.load(ca, passphrase=b"correct horse")
    with pytest.raises(ConfigError, match="does not open"):
        Authority.load(ca, passphrase=b"wrong")


def test_a_person_gets_a_certificate_and_a_private_key(authority: Authority) -> None:
    made = authority.issue_client("ana", admin=True)
    assert made.crt == authority.place.folder / "ana.crt"
    assert made.key == authority.place.folder / "ana.key"
    assert (_mode(made.crt) & 0o444, _mode(made.key)) == (0o444, 0o600)
    certificate = read_certificate(made.crt)
    assert client_identity(certificate).roles == {ADMIN}
    assert load_key(made.key).public_key() == certificate.public_key()


def test_the_files_of_a_device_bear_its_name(authority: Authority, tmp_path: Path) -> None:
    made = authority.issue_client("ana", device="laptop", out=tmp_path)
    assert made.crt == tmp_path / "ana-laptop.crt"
    assert made.key == tmp_path / "ana-laptop.key"


def test_a_name_is_written_composed_in_files(authority: Authority) -> None:
    assert authority.issue_client("Jose\u0301").crt.name == "Jos\u00e9.crt"


def test_a_name_with_a_dot_keeps_it_in_its_files(authority: Authority) -> None:
    made = authority.issue_client("ana.maria")
    assert made.key is not None
    assert (made.crt.name, made.key.name) == ("ana.maria.crt", "ana.maria.key")


def test_a_persons_key_can_be_encrypted(authority: Authority) -> None:
    made = authority.issue_client("ana", passphrase=b"correct horse")
    assert made.key is not None
    load_key(made.key, b"correct horse")


@pytest.mark.parametrize("name", ["ca.key", "ca.crl", "server.crt", "server.key"])
def test_a_ca_is_not_called_what_another_of_its_files_is(ca: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is the name of another") as caught:
        Authority.create(ca.with_name(name))
    assert caught.value.hint == f"--ca {ca}"
    assert not ca.parent.exists()


@pytest.mark.parametrize("failing", range(3))
def test_a_ca_that_cannot_be_made_whole_leaves_nothing(
    ca: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The certificate or one of the two copies of the list cannot be written."""
    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        if len(written) == failing:
            raise ConfigError(f"cannot write {path}: disk full")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(module, "replace_file", full)
    monkeypatch.setattr(revocations, "replace_file", full)
    with pytest.raises(ConfigError, match="disk full"):
        Authority.create(ca)
    assert {p.name for p in ca.parent.rglob("*") if p.is_file()} == {"lock"}


@pytest.mark.parametrize("there", ["ana.crt", "ana.key"])
def test_nothing_that_is_there_is_written_over(authority: Authority, there: str) -> None:
    (authority.place.folder / there).write_text("precious")
    with pytest.raises(ConfigError, match="is there already"):
        authority.issue_client("ana")
    assert (authority.place.folder / there).read_text() == "precious"
    assert read_issued(authority.place) == []


def test_a_bad_name_leaves_no_files(authority: Authority) -> None:
    before = sorted(authority.place.folder.rglob("*"))
    with pytest.raises(BadName):
        authority.issue_client("../ana")
    assert sorted(authority.place.folder.rglob("*")) == before


def test_when_writing_fails_no_key_is_left(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise ConfigError(f"cannot write {path}: disk full, {len(data)} bytes")

    monkeypatch.setattr(module, "replace_file", full)
    with pytest.raises(ConfigError, match="disk full"):
        authority.issue_client("ana")
    assert list(authority.place.folder.glob("ana.*")) == []


def test_a_server_gets_a_certificate_for_its_names(authority: Authority) -> None:
    made = authority.issue_server(["localhost", "::1"])
    assert made.crt == authority.place.server_certificate
    assert made.key == authority.place.server_key
    assert may_serve(read_certificate(made.crt))


def _request(path: Path, **changes: bytes) -> x509.CertificateSigningRequest:
    key = generate_key()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "trio-chat admin"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "god"),
                ]
            )
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("trio-chat:boss")]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(request.public_bytes(Encoding.PEM))
    return request


def test_only_the_key_is_taken_from_a_request(authority: Authority, tmp_path: Path) -> None:
    request = _request(tmp_path / "bob.csr")
    key = read_csr(tmp_path / "bob.csr")
    made = authority.sign_to(key, client_leaf("bob"), tmp_path / "bob.crt")
    identity = client_identity(made.certificate)
    assert made.key is None
    assert (identity.user, identity.roles) == ("bob", frozenset())
    assert made.certificate.public_key() == request.public_key()
    basic = made.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert basic.ca is False


def test_a_request_whose_maker_lacks_the_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bob.csr"
    der = _request(path).public_bytes(Encoding.DER)
    forged = x509.load_der_x509_csr(der.replace(b"trio-chat:boss", b"trio-chat:boat"))
    path.write_bytes(forged.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="is not signed by the key in it"):
        read_csr(path)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bob.csr").write_text(text)
    with pytest.raises(ConfigError, match="holds no certificate request"):
        read_csr(tmp_path / "bob.csr")


def test_signing_needs_no_files_and_is_remembered(authority: Authority) -> None:
    certificate = authority.sign(generate_key().public_key(), client_leaf("ana"))
    assert read_issued(authority.place) == [certificate]


def test_renewing_keeps_the_key_and_the_holder(authority: Authority, now: datetime) -> None:
    old = authority.issue_client("ana", device="x", days=1, now=now)
    new = authority.renew(old.crt, days=20, now=now + timedelta(hours=12))
    assert read_certificate(old.crt) == new.certificate != old.certificate
    assert new.certificate.not_valid_after_utc == now + timedelta(days=20, hours=12)
    before, after = client_identity(old.certificate), client_identity(new.certificate)
    assert after.fingerprint == before.fingerprint
    assert (after.user, after.device_name) == ("ana", "x")
    assert len(read_issued(authority.place)) == 2


def test_only_our_own_certificates_are_renewed(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "other" / "ca.crt").issue_client("ana")
    with pytest.raises(ConfigError, match="was not issued by"):
        authority.renew(stranger.crt)


def test_a_revoked_key_is_never_certified_again_by_renewing(
    authority: Authority, now: datetime
) -> None:
    old = authority.issue_client("ana", now=now)
    authority.renew(old.crt, now=now)
    authority.revoke([old.certificate.serial_number], now=now)
    with pytest.raises(ConfigError, match="is revoked and stays so"):
        authority.renew(old.crt)


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "put back from before"])
def test_nor_where_the_list_was_lost_since(authority: Authority, now: datetime, lost: bool) -> None:
    crl = authority.place.crl
    empty, ana = crl.read_bytes(), authority.issue_client("ana", now=now)
    authority.revoke([ana.certificate.serial_number], now=now)
    if lost:
        crl.unlink()
    else:
        crl.write_bytes(empty)
    with pytest.raises(ConfigError, match="is revoked and stays so"):
        authority.renew(ana.crt)


def test_a_ca_made_by_others_can_issue(tmp_path: Path) -> None:
    foreign = trustme.CA()
    (tmp_path / "ca.crt").write_bytes(foreign.cert_pem.bytes())
    create_private(tmp_path / "ca.key", foreign.private_key_pem.bytes())
    authority = Authority.load(tmp_path / "ca.crt")
    made = authority.issue_client("ana")
    made.certificate.verify_directly_issued_by(authority.certificate)
    assert authority.revoke([made.certificate.serial_number])


def test_of_two_who_issue_the_same_name_at_once_one_gets_it(authority: Authority) -> None:
    together, results = threading.Barrier(2), list[x509.Certificate | None]()

    def issue() -> None:
        together.wait()
        try:
            results.append(authority.issue_client("ana").certificate)
        except ConfigError:
            results.append(None)

    threads = [threading.Thread(target=issue) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (made,) = [certificate for certificate in results if certificate is not None]
    assert read_certificate(authority.place.folder / "ana.crt") == made
    assert read_issued(authority.place) == [made]
