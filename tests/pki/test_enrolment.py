"""`trio_chat.pki.enrolment`: who signs, and for whom again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509

from tests.inviting import new_key, request
from trio_chat.errors import ConfigError, NoEnrolment, Revoked
from trio_chat.identity import client_identity
from trio_chat.invitation import encode_secret
from trio_chat.pki import Authority, Enroller, Invite, find_issued, list_issued
from trio_chat.pki.keys import dump_key

DAY = timedelta(days=1)


@pytest.fixture
def enroller(authority: Authority) -> Enroller:
    return Enroller.load(authority.place.ca)


def enrol(enroller: Enroller, now: datetime, *, bot: bool = False) -> list[x509.Certificate]:
    invite = Invite(name="nora", expires=now + DAY, bot=bot)
    secret = encode_secret(enroller.invites.add(invite, now))
    made = enroller.redeem(secret, request(new_key()), "laptop", now)
    return x509.load_pem_x509_certificates(made.pem)


def renew(enroller: Enroller, old: x509.Certificate, now: datetime) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(enroller.renew(old, now))


def test_the_intermediate_s_key_is_preferred(authority: Authority, now: datetime) -> None:
    assert Enroller.load(authority.place.ca).authority.certificate == authority.certificate
    below = authority.create_intermediate(now=now)
    enroller = Enroller.load(authority.place.ca)
    assert enroller.authority.certificate == below.certificate
    assert enroller.anchor == authority.certificate
    leaf, above = enrol(enroller, now)
    assert above == below.certificate
    leaf.verify_directly_issued_by(above)


@pytest.mark.parametrize("case", ["absent", "encrypted", "readable by others", "no intermediate"])
def test_a_key_that_cannot_be_used_is_told(authority: Authority, case: str) -> None:
    place = authority.place
    match case:
        case "absent":
            place.key.unlink()
        case "encrypted":
            place.key.write_bytes(dump_key(authority.key, b"sesame"))
        case "readable by others":
            place.key.chmod(0o644)
        case "no intermediate":
            authority.create_intermediate()
            place.intermediate_key.unlink()
    with pytest.raises(ConfigError, match="the server has no key to sign with") as caught:
        Enroller.load(place.ca)
    assert caught.value.hint


def test_of_several_roots_the_one_that_signs_is_named(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority.create(tmp_path_factory.mktemp("other") / "ca.crt")
    ca = authority.place.ca
    ca.write_bytes(other.place.ca.read_bytes() + ca.read_bytes())
    assert Enroller.load(ca).anchor == authority.certificate


def test_a_certificate_is_renewed_for_the_same_key_and_says_the_same(
    enroller: Enroller, now: datetime
) -> None:
    (old,) = enrol(enroller, now, bot=True)
    later = now + 20 * DAY
    (new,) = renew(enroller, old, later)
    assert new.public_key() == old.public_key()
    assert new.subject == old.subject
    for identity in (client_identity(old), client_identity(new)):
        assert (identity.user, identity.device_name) == ("nora", "laptop")
        assert identity.roles == {"bot"}
    assert new.not_valid_after_utc == later + 30 * DAY
    (newest,) = renew(enroller, new, later + 20 * DAY)
    assert newest.not_valid_after_utc == later + 50 * DAY


def test_before_half_of_its_life_it_stays_the_same(enroller: Enroller, now: datetime) -> None:
    (old,) = enrol(enroller, now)
    assert renew(enroller, old, now + 14 * DAY) == [old]
    assert renew(enroller, old, now + 16 * DAY) != [old]


def test_each_one_has_one_successor(enroller: Enroller, now: datetime) -> None:
    (old,) = enrol(enroller, now)
    answers = [renew(enroller, old, now + 20 * DAY + n * DAY) for n in range(5)]
    assert all(answer == answers[0] for answer in answers)
    assert len(list_issued(enroller.authority.place)) == 2


def test_what_was_issued_by_hand_is_not_renewed_by_the_server(
    enroller: Enroller, now: datetime
) -> None:
    made = enroller.authority.issue_client("contractor", days=7, now=now)
    with pytest.raises(NoEnrolment, match="by hand"):
        enroller.renew(made.certificate, now + 6 * DAY)


def test_what_is_revoked_is_not_renewed(enroller: Enroller, now: datetime) -> None:
    (old,) = enrol(enroller, now)
    enroller.authority.revoke(find_issued(enroller.authority.place, "nora"))
    with pytest.raises(Revoked):
        enroller.renew(old, now + 20 * DAY)


def test_revoking_somebody_finds_what_was_renewed(enroller: Enroller, now: datetime) -> None:
    (old,) = enrol(enroller, now)
    (new,) = renew(enroller, old, now + 20 * DAY)
    found = find_issued(enroller.authority.place, "nora")
    assert found == {old.serial_number, new.serial_number}


def test_whoever_was_enrolled_by_the_root_is_renewed_by_the_intermediate(
    authority: Authority, enroller: Enroller, now: datetime
) -> None:
    (old,) = enrol(enroller, now)
    below = authority.create_intermediate(now=now)
    later = Enroller.load(authority.place.ca)
    assert renew(later, old, now) == [old]  # it needs no intermediate beside it
    new, above = renew(later, old, now + 20 * DAY)
    assert above == below.certificate
    new.verify_directly_issued_by(above)
