"""A CA below the CA: what it may sign, and that what it signed can be taken back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat.errors import ConfigError
from trio_chat.pki import Authority, Place, find_issued, issued_by, list_issued, refresh_crl
from trio_chat.pki.certificates import read_certificates
from trio_chat.pki.first_start import ensure_pki
from trio_chat.pki.revocations import is_rolled_back, read_crls, revoked


@pytest.fixture
def below(authority: Authority, now: datetime) -> Authority:
    return authority.create_intermediate(now=now)


def test_it_is_a_ca_that_can_have_no_other_below_it(below: Authority, authority: Authority) -> None:
    certificate = below.certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    certificate.verify_directly_issued_by(authority.certificate)
    assert certificate.not_valid_after_utc <= authority.certificate.not_valid_after_utc
    assert below.place.intermediate_key.stat().st_mode & 0o777 == 0o600


def test_what_it_issues_lies_with_its_chain_and_openssl_verifies_that(
    below: Authority, openssl: Callable[..., str], tmp_path: Path
) -> None:
    made = below.issue_client("bob")
    leaf, above = read_certificates(made.crt)
    assert above == below.certificate
    leaf.verify_directly_issued_by(above)
    verified = openssl(
        "verify",
        *("-purpose", "sslclient", "-x509_strict", "-CAfile", below.place.ca),
        *("-untrusted", below.place.intermediate, made.crt),
    )
    assert verified.endswith("OK\n")


def test_nothing_is_overwritten(below: Authority, authority: Authority) -> None:
    before = below.place.intermediate_key.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        authority.create_intermediate()
    assert below.place.intermediate_key.read_bytes() == before


def test_no_new_ca_is_made_above_an_old_intermediate(below: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(below.place.intermediate, other)
    with pytest.raises(ConfigError, match="is there already"):
        Authority.create(other / "ca.crt")


def test_an_intermediate_of_another_ca_is_refused(below: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt")
    for path in (below.place.intermediate, below.place.intermediate_key):
        shutil.copy(path, other.place.folder)
    with pytest.raises(ConfigError, match="was not issued by"):
        Authority.load_intermediate(other.place.ca)


def test_without_its_key_it_is_said(below: Authority) -> None:
    below.place.intermediate_key.unlink()
    with pytest.raises(ConfigError, match=r"intermediate\.key is missing"):
        Authority.load_intermediate(below.place.ca)


def test_its_list_stands_beside_the_root_s_and_revokes_without_the_root_s_key(
    below: Authority, authority: Authority
) -> None:
    place = below.place
    alice, bob = authority.issue_client("alice"), below.issue_client("bob")
    authority.revoke([alice.certificate.serial_number])
    place.key.unlink()
    assert find_issued(place, "bob") == {bob.certificate.serial_number}
    assert issued_by(place, below.certificate) == {bob.certificate.serial_number}
    Authority.load_intermediate(place.ca).revoke([bob.certificate.serial_number])
    assert len(read_crls(place.crl)) == 2
    assert set(revoked(place, authority.certificate)) == {alice.certificate.serial_number}
    assert set(revoked(place, below.certificate)) == {bob.certificate.serial_number}
    ended = {entry.name for entry in list_issued(place) if entry.revoked}
    assert ended == {"alice", "bob"}


def test_a_list_from_a_machine_without_it_is_noticed_and_mended(
    below: Authority, authority: Authority, now: datetime
) -> None:
    place = below.place
    root_s = [crl for crl in read_crls(place.crl) if crl.issuer == authority.certificate.subject]
    bob = below.issue_client("bob").certificate.serial_number
    below.revoke([bob])
    place.key.unlink()  # it is on the other machine, which only knows its own list
    (only,) = root_s
    place.crl.write_bytes(only.public_bytes(Encoding.PEM))
    assert is_rolled_back(place, below.certificate)
    with pytest.raises(ConfigError, match="lacks what has been revoked since"):
        ensure_pki(place.ca, public_names=[], login="x")
    assert refresh_crl(place.ca, now)
    assert not is_rolled_back(place, below.certificate)
    assert set(revoked(place, below.certificate)) == {bob}
    assert not refresh_crl(place.ca, now)


def test_both_lists_are_signed_anew_in_time(below: Authority, now: datetime) -> None:
    before = {crl.issuer: crl.next_update_utc for crl in read_crls(below.place.crl)}
    assert refresh_crl(below.place.ca, now + timedelta(days=31))
    after = {crl.issuer: crl.next_update_utc for crl in read_crls(below.place.crl)}
    assert before.keys() == after.keys()
    for issuer, end in after.items():
        earlier = before[issuer]
        assert end is not None
        assert earlier is not None
        assert end > earlier


def test_renewing_it_keeps_its_key_and_all_it_signed(
    below: Authority, authority: Authority, now: datetime
) -> None:
    place: Place = below.place
    bob = below.issue_client("bob")
    later = now + timedelta(days=400)
    renewed = authority.renew(place.intermediate, days=800, now=later).certificate
    assert renewed.public_key() == below.certificate.public_key()
    assert renewed.subject == below.certificate.subject
    assert renewed.not_valid_after_utc > later + timedelta(days=799)
    bob.certificate.verify_directly_issued_by(renewed)
    again = Authority.load_intermediate(place.ca)
    assert again.certificate == renewed
    assert (
        again.renew(bob.crt, now=later).certificate.serial_number != bob.certificate.serial_number
    )
    assert read_certificates(bob.crt)[1] == renewed
