from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
import trustme
from cryptography import x509

from trio_chat.errors import BadName, ConfigError
from trio_chat.identity import ADMIN, BOT, client_identity, may_serve
from trio_chat.pki.certificates import (
    Leaf,
    client_leaf,
    is_issued_by,
    leaf_again,
    make_ca,
    make_leaf,
    server_leaf,
)
from trio_chat.pki.keys import PrivateKey, generate_key

_KEY = generate_key()  # whose, does not matter here


def _signed(leaf: Leaf, now: datetime, days: int = 30) -> x509.Certificate:
    ca = make_ca(_KEY, "test CA", days=365, now=now)
    return make_leaf(leaf, _KEY.public_key(), ca, _KEY, days=days, now=now)


def test_a_persons_certificate_says_who_and_what_they_are(now: datetime) -> None:
    leaf = client_leaf("Ana", device="laptop", admin=True, bot=True)
    identity = client_identity(_signed(leaf, now))
    assert (identity.user, identity.device_name) == ("Ana", "laptop")
    assert identity.roles == {ADMIN, BOT}


def test_nobody_has_a_role_unasked(now: datetime) -> None:
    identity = client_identity(_signed(client_leaf("ana"), now))
    assert identity.roles == set()
    assert identity.device_name is None


def test_a_name_outside_ascii_is_percent_encoded_in_its_uri(now: datetime) -> None:
    certificate = _signed(client_leaf("José", device="móvil"), now)
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == [
        "trio-chat:Jos%C3%A9",
        "trio-chat-device:m%C3%B3vil",
    ]
    identity = client_identity(certificate)
    assert (identity.user, identity.device_name) == ("José", "móvil")


@pytest.mark.parametrize("name", ["god", "CA", "Server", "admin", "", "a b", "../x", "a" * 33])
def test_a_name_that_breaks_the_rule_is_not_certified(name: str) -> None:
    with pytest.raises(BadName):
        client_leaf(name)


def test_a_device_name_that_breaks_the_rule_is_not_certified() -> None:
    with pytest.raises(BadName):
        client_leaf("ana", device="../laptop")


def test_a_certificate_is_for_servers_or_for_clients_never_both(now: datetime) -> None:
    for leaf, server in [(client_leaf("ana"), False), (server_leaf(["localhost"]), True)]:
        certificate = _signed(leaf, now)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert len(list(usages)) == 1
        assert may_serve(certificate) is server


def test_a_server_is_reached_by_names_and_addresses() -> None:
    names = server_leaf(["Chat.Example.org.", "[::1]", "192.0.2.7", "localhost", "::1"]).names
    assert names.get_values_for_type(x509.DNSName) == ["chat.example.org", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("::1"), ip_address("192.0.2.7")]


def test_an_international_host_name_is_written_in_ascii() -> None:
    assert server_leaf(["café.example"]).names.get_values_for_type(x509.DNSName) == [
        "xn--caf-dma.example"
    ]


@pytest.mark.parametrize("host", ["", "a b", "chat:8443", "*.example", "-a", "a..b", "x" * 64])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="neither a host's name nor an IP address"):
        server_leaf([host])


def test_a_certificate_does_not_outlive_its_ca(now: datetime) -> None:
    ca = make_ca(_KEY, "test CA", days=10, now=now)
    leaf = make_leaf(client_leaf("ana"), _KEY.public_key(), ca, _KEY, days=365, now=now)
    assert leaf.not_valid_after_utc == ca.not_valid_after_utc == now + timedelta(days=10)
    with pytest.raises(ConfigError, match="the CA's certificate ended on"):
        make_leaf(
            client_leaf("ana"), _KEY.public_key(), ca, _KEY, days=1, now=now + timedelta(days=10)
        )


def test_clocks_may_be_some_minutes_behind(now: datetime) -> None:
    certificate = _signed(client_leaf("ana"), now)
    assert certificate.not_valid_before_utc == now - timedelta(minutes=5)


def test_serial_numbers_are_never_the_same(now: datetime) -> None:
    assert len({_signed(client_leaf("ana"), now).serial_number for _ in range(5)}) == 5


def test_a_ca_may_have_one_ca_beneath_it_and_nobody_else_is_one(now: datetime) -> None:
    ca = make_ca(_KEY, "test CA", days=365, now=now)
    basic = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 1)
    leaf = _signed(client_leaf("ana"), now).extensions
    assert leaf.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert leaf.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


@pytest.mark.parametrize(
    "leaf",
    [client_leaf("José", device="x", admin=True), server_leaf(["a.example", "::1"])],
    ids=["client", "server"],
)
def test_saying_it_again_says_the_same(now: datetime, leaf: Leaf) -> None:
    assert leaf_again(_signed(leaf, now)) == leaf


def test_a_ca_is_not_said_again(now: datetime) -> None:
    with pytest.raises(ConfigError, match="CA's certificate"):
        leaf_again(make_ca(_KEY, "test CA", days=1, now=now))


def test_both_usages_are_not_said_again() -> None:
    both = trustme.CA().issue_cert("localhost", common_name="ana")
    certificate = x509.load_pem_x509_certificate(both.cert_chain_pems[0].bytes())
    with pytest.raises(ConfigError, match="for servers and for clients"):
        leaf_again(certificate)


def test_plain_certificates_get_one_usage_when_said_again(now: datetime) -> None:
    def plain(key: PrivateKey, *names: x509.GeneralName) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(client_leaf("carol").subject)
            .issuer_name(client_leaf("carol").subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(generate_key("ed25519"), None)

    person = leaf_again(plain(_KEY))
    assert person == client_leaf("carol")
    with pytest.raises(ConfigError, match="does not say whether"):
        leaf_again(plain(_KEY, x509.DNSName("a.example")))  # renewing makes nobody a server


def test_an_issuer_is_known_by_its_signature_not_by_its_name(now: datetime) -> None:
    certificate = _signed(client_leaf("ana"), now)
    assert is_issued_by(certificate, make_ca(_KEY, "test CA", days=1, now=now))
    assert not is_issued_by(certificate, make_ca(generate_key(), "test CA", days=1, now=now))
    assert not is_issued_by(certificate, make_ca(_KEY, "other CA", days=1, now=now))


def test_trustmes_certificates_are_accepted_as_people() -> None:
    made = trustme.CA().issue_cert("ana@example.org", common_name="ana")
    assert client_identity(
        x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes())
    ).user == ("ana")
