from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from trio_chat.errors import ConfigError
from trio_chat.pki import Authority, describe_ours, find_issued, list_issued, serial_text
from trio_chat.pki.issued import read_issued


def _found(authority: Authority, target: str) -> set[int]:
    return find_issued(authority.place, target)


def test_the_list_tells_who_has_what(authority: Authority, now: datetime) -> None:
    authority.issue_server(["localhost", "::1"], now=now)
    authority.issue_client("Ana", device="laptop", admin=True, now=now + timedelta(minutes=1))
    server, client = list_issued(authority.place)
    assert (server.kind, server.name) == ("server", "localhost ::1")
    assert (client.kind, client.name, client.device) == ("client", "Ana", "laptop")
    assert client.roles == ("admin",)


def test_the_list_tells_what_is_still_good(authority: Authority, now: datetime) -> None:
    authority.issue_client("ana", days=1, now=now)
    bob = authority.issue_client("bob", now=now + timedelta(minutes=1))
    authority.revoke([bob.certificate.serial_number])
    first, second = list_issued(authority.place)
    assert first.state(now) == "valid"
    assert first.state(now + timedelta(days=2)) == "expired"
    assert second.state(now) == "revoked"


def test_the_list_has_what_was_revoked_but_not_issued_here(authority: Authority) -> None:
    authority.revoke([4096])
    (entry,) = list_issued(authority.place)
    assert (entry.kind, entry.serial) == ("unknown", 4096)
    assert entry.revoked is not None


def test_the_list_tells_what_was_revoked_though_ca_crl_is_lost(
    authority: Authority, now: datetime
) -> None:
    ana = authority.issue_client("ana", now=now).certificate
    authority.revoke([ana.serial_number], now=now)
    authority.place.crl.unlink()
    (entry,) = list_issued(authority.place)
    assert entry.state(now) == "revoked"
    ours = describe_ours(authority.place, ana)
    assert ours is not None
    assert ours.revoked == now


def test_a_broken_file_in_the_folder_is_named(authority: Authority) -> None:
    (authority.place.issued / "00.crt").write_text("nothing")
    with pytest.raises(ConfigError, match=r"00\.crt holds no certificate"):
        read_issued(authority.place)


def test_a_name_stands_for_all_its_certificates_however_spelled(authority: Authority) -> None:
    serials = {
        authority.issue_client("José", device=device).certificate.serial_number
        for device in (None, "laptop", "phone")
    }
    authority.issue_client("josefa")
    assert _found(authority, "josé") == _found(authority, "JOSE\u0301") == serials


def test_a_name_and_device_stand_for_that_device(authority: Authority) -> None:
    authority.issue_client("ana")
    laptop = authority.issue_client("ana", device="Laptop")
    assert _found(authority, "ana/laptop") == {laptop.certificate.serial_number}


def test_a_serial_number_is_read_in_both_ways(authority: Authority) -> None:
    serial = authority.issue_client("ana").certificate.serial_number
    text = serial_text(serial)
    pairs = ":".join(text[i : i + 2] for i in range(0, len(text), 2))
    for written in (str(serial), text, text.lower(), f"0x{text}", pairs):
        assert _found(authority, written) == {serial}


def test_a_serial_number_issued_elsewhere_is_taken_if_it_is_plain(authority: Authority) -> None:
    assert _found(authority, "0x1000") == {4096}
    assert _found(authority, "10:0A") == {0x100A}
    assert _found(authority, "7") == {7}


def test_a_serial_number_with_two_meanings_is_asked_about(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="can be read in two ways") as caught:
        _found(authority, "1000")
    assert "0x1000" in caught.value.hint
    assert "0x3e8" in caught.value.hint


def test_a_renewed_certificate_goes_with_the_old_one(authority: Authority) -> None:
    old = authority.issue_client("ana")
    new = authority.renew(old.crt)
    both = {old.certificate.serial_number, new.certificate.serial_number}
    assert _found(authority, str(old.crt)) == both
    assert _found(authority, str(old.certificate.serial_number)) == both


def test_a_file_of_another_ca_is_refused(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority.create(tmp_path_factory.mktemp("other") / "ca.crt").issue_client("ana")
    with pytest.raises(ConfigError, match="was not issued by"):
        _found(authority, str(other.crt))


@pytest.mark.parametrize(
    "target", ["nobody", "ana/", "0x", "-1", "0", "missing.crt", "f" * 40, "9" * 48, "f" * 48]
)
def test_what_stands_for_nothing_is_an_error(authority: Authority, target: str) -> None:
    with pytest.raises(ConfigError, match="no certificate was issued to"):
        _found(authority, target)


def test_a_revocation_is_looked_up_by_issuer_and_serial(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory, now: datetime
) -> None:
    ana = authority.issue_client("ana").certificate
    before = describe_ours(authority.place, ana)
    authority.revoke([ana.serial_number], now=now)
    after = describe_ours(authority.place, ana)
    assert before is not None
    assert after is not None
    assert (before.revoked, after.revoked) == (None, now)
    other = Authority.create(tmp_path_factory.mktemp("other") / "ca.crt")
    assert describe_ours(other.place, ana) is None
