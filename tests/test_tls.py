"""`trio_chat.tls`: TLS 1.3, mutual, our own authority and nobody else's."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.people import People
from trio_chat.errors import ConfigError, NotTrusted
from trio_chat.identity import key_fingerprint
from trio_chat.pki import Issued, read_certificate
from trio_chat.tls import ALPN, check_server, client_context, server_context, stranger_context


def der(issued: Issued) -> bytes:
    return issued.certificate.public_bytes(Encoding.DER)


def served(people: People, tmp_path: Path, *hosts: str) -> bytes:
    return der(people.authority.issue_server(hosts, out=tmp_path))


def test_the_servers_context_takes_tls_1_3_and_certificates_only(people: People) -> None:
    folder = people.folder
    context = server_context(folder / "server.crt", folder / "server.key", people.ca)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.num_tickets == 0
    assert [each["subject"] for each in context.get_ca_certs()] != []


def test_a_server_that_lets_strangers_in_still_verifies_whatever_is_shown(people: People) -> None:
    folder = people.folder
    files = (folder / "server.crt", folder / "server.key", people.ca)
    context = server_context(*files, strangers=True)
    assert context.verify_mode == ssl.CERT_OPTIONAL
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.num_tickets == 0


def test_a_stranger_trusts_one_authority_or_verifies_nothing_and_shows_nothing(
    people: People,
) -> None:
    root = people.authority.certificate.public_bytes(Encoding.DER)
    trusting, asking = stranger_context(root), stranger_context(None)
    assert trusting.verify_mode == ssl.CERT_REQUIRED
    assert len(trusting.get_ca_certs()) == 1
    assert asking.verify_mode == ssl.CERT_NONE
    assert asking.get_ca_certs() == []
    for context in (trusting, asking):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_for_any_host_a_server_must_still_be_one(people: People, tmp_path: Path) -> None:
    check_server(served(people, tmp_path, "a.example"), None)
    with pytest.raises(NotTrusted, match="not a server's"):
        check_server(der(people.certificate("alice")), None)


def test_the_clients_context_trusts_one_authority(people: People) -> None:
    context = people.context("alice")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_a_pin_trusts_no_authority_at_all(people: People) -> None:
    alice = people.certificate("alice")
    assert alice.key is not None
    context = client_context(alice.crt, alice.key, ca=people.ca, pin="00" * 32)
    assert context.get_ca_certs() == []


@pytest.mark.parametrize("pin", ["", "00", "x" * 64, "\u0660" * 64, "00" * 33])
def test_a_pin_is_a_sha_256(people: People, pin: str) -> None:
    alice = people.certificate("alice")
    assert alice.key is not None
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        client_context(alice.crt, alice.key, ca=people.ca, pin=pin)


def test_without_authority_or_pin_there_is_no_context(people: People) -> None:
    alice = people.certificate("alice")
    assert alice.key is not None
    with pytest.raises(ConfigError, match="no CA"):
        client_context(alice.crt, alice.key, ca=None)


@pytest.mark.parametrize("which", ["cert", "key", "ca"])
@pytest.mark.parametrize("how", ["missing", "garbage", "swapped"])
def test_a_bad_file_is_named(people: People, tmp_path: Path, which: str, how: str) -> None:
    files = {
        "cert": people.folder / "server.crt",
        "key": people.folder / "server.key",
        "ca": people.ca,
    }
    bad = tmp_path / "bad.pem"
    match how:
        case "garbage":
            bad.write_text("nonsense")
            bad.chmod(0o600)
        case "swapped":
            alice = people.certificate("alice")
            assert alice.key is not None
            source = {"cert": alice.crt, "key": alice.key, "ca": alice.key}[which]
            bad.write_bytes(source.read_bytes())
            bad.chmod(0o600)
    files[which] = bad
    with pytest.raises(ConfigError, match=r"bad\.pem"):
        server_context(files["cert"], files["key"], files["ca"])


def test_a_key_that_others_can_read_is_refused(people: People, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.write_bytes((people.folder / "server.key").read_bytes())
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        server_context(people.folder / "server.crt", key, people.ca)


def test_an_encrypted_key_wants_its_passphrase(people: People, tmp_path: Path) -> None:
    made = people.authority.issue_server(["localhost"], out=tmp_path, passphrase=b"sesame")
    assert made.key is not None
    server_context(made.crt, made.key, people.ca, passphrase=b"sesame")
    for wrong in (b"wrong", None):
        with pytest.raises(ConfigError) as caught:
            server_context(made.crt, made.key, people.ca, passphrase=wrong)
        assert "sesame" not in str(caught.value)
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "chat.example.org",
        "CHAT.example.ORG",
        "chat.example.org.",
        "192.0.2.7",
        "::1",
        "münchen.example",
    ],
)
def test_the_server_is_known_by_the_names_in_its_certificate(
    people: People, tmp_path: Path, host: str
) -> None:
    shown = served(people, tmp_path, "chat.example.org", "192.0.2.7", "::1", "münchen.example")
    check_server(shown, host)


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "evil.example.org",
        "chat.example.org.evil",
        "192.0.2.8",
        "",
        "trio-chat server",
    ],
)
def test_and_by_no_other(people: People, tmp_path: Path, host: str) -> None:
    shown = served(people, tmp_path, "chat.example.org", "192.0.2.7")
    with pytest.raises(NotTrusted, match="not for"):
        check_server(shown, host)


def test_a_members_certificate_never_poses_as_the_server(people: People) -> None:
    with pytest.raises(NotTrusted, match="posing"):
        check_server(der(people.certificate("mallory")), "localhost")


def test_a_pin_takes_the_place_of_names_and_usage(people: People) -> None:
    certificate = read_certificate(people.folder / "server.crt")
    shown = certificate.public_bytes(Encoding.DER)
    pin = key_fingerprint(certificate)
    check_server(shown, "tunnel.example", pin=pin)
    spelled = ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()
    check_server(shown, "tunnel.example", pin=spelled)
    with pytest.raises(NotTrusted, match="not the pinned one"):
        check_server(shown, "localhost", pin="00" * 32)
    with pytest.raises(NotTrusted, match="not the pinned one"):
        check_server(shown, "localhost", pin="")


def test_both_sides_offer_the_protocols_name(people: People) -> None:
    folder = people.folder
    server = server_context(folder / "server.crt", folder / "server.key", people.ca)
    client = people.context("alice")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server)
    other = server.wrap_bio(to_server, ssl.MemoryBIO(), server_side=True)
    tapped = server.tapped[2]
    for _ in range(4):
        for side in (one, other):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            to_client.write(tapped.read())
    assert one.version() == other.version() == "TLSv1.3"
    assert one.selected_alpn_protocol() == other.selected_alpn_protocol() == ALPN
