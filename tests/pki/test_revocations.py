from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trio_chat.errors import ConfigError
from trio_chat.pki import Authority, read_crls, refresh_crl
from trio_chat.pki.keys import dump_key
from trio_chat.pki.revocations import read_crl, sign_crl


def _serials(authority: Authority) -> list[int]:
    (crl,) = read_crl(authority.place.crl, authority.certificate)
    return sorted(entry.serial_number for entry in crl)


def _number(authority: Authority) -> int:
    (crl,) = read_crl(authority.place.crl, authority.certificate)
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_list_is_good_for_sixty_days(authority: Authority, now: datetime) -> None:
    (crl,) = read_crls(authority.place.crl)
    assert crl.next_update_utc == now + timedelta(days=60)


def test_what_was_revoked_stays_revoked_and_the_number_grows(
    authority: Authority, now: datetime
) -> None:
    before = _number(authority)
    assert authority.revoke([7]) == {7}
    assert authority.revoke([9, 7]) == {9}
    assert _serials(authority) == [7, 9]
    assert _number(authority) == before + 2


def test_the_date_of_a_revocation_does_not_change(authority: Authority, now: datetime) -> None:
    authority.revoke([7], now=now)
    authority.revoke([7], now=now + timedelta(days=3))
    (entry,) = read_crls(authority.place.crl)[0]
    assert entry.revocation_date_utc == now


def test_losing_the_list_lets_nobody_back_in(authority: Authority) -> None:
    authority.revoke([7])
    authority.place.crl.unlink()
    authority.revoke([])
    assert _serials(authority) == [7]
    assert _number(authority) == 3


def test_other_issuers_lists_in_the_file_stay(authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt")
    other.revoke([5])
    crl = authority.place.crl
    crl.write_bytes(b"a comment\n" + other.place.crl.read_bytes() + crl.read_bytes())
    authority.revoke([7])
    assert _serials(authority) == [7]
    (kept,) = read_crl(crl, other.certificate)
    assert [entry.serial_number for entry in kept] == [5]
    assert len(read_crls(crl)) == 2


def test_of_two_lists_of_ours_in_the_file_nothing_is_forgotten(authority: Authority) -> None:
    place = authority.place
    authority.revoke([7])
    old = place.crl.read_bytes()
    place.last_crl.unlink()
    place.crl.unlink()
    authority.revoke([8])
    place.crl.write_bytes(place.crl.read_bytes() + old)  # as `cat` puts them together
    authority.revoke([9])
    assert _serials(authority) == [7, 8, 9]


def test_an_older_list_that_was_put_back_is_signed_again_at_once(
    authority: Authority, now: datetime
) -> None:
    """The same as after a kill between the two copies of a list that revokes somebody."""
    old = authority.place.crl.read_bytes()
    authority.revoke([7], now=now)
    assert not refresh_crl(authority.place.ca, now)
    authority.place.crl.write_bytes(old)
    assert refresh_crl(authority.place.ca, now)
    assert _serials(authority) == [7]


def test_a_list_that_another_key_signed_is_an_error(
    authority: Authority, tmp_path: Path, now: datetime
) -> None:
    other = Authority.create(tmp_path / "other" / "ca.crt")
    forged = sign_crl(authority.certificate, other.key, [], number=9, now=now)
    authority.place.crl.write_bytes(forged.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigError, match="is not signed by the CA it names"):
        authority.revoke([7])


@pytest.mark.parametrize("text", ["", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_broken_list_is_an_error_and_stays(authority: Authority, text: str) -> None:
    authority.place.crl.write_text(text)
    with pytest.raises(ConfigError, match="holds no revocation list") as caught:
        authority.revoke([7])
    assert authority.place.crl.read_text() == text
    crl, ca = authority.place.crl, authority.place.ca
    assert caught.value.hint == f"mv {crl} {crl}.broken && trio-chat pki crl --ca {ca}"


def test_a_broken_list_that_has_no_copy_must_come_back(authority: Authority) -> None:
    authority.place.last_crl.unlink()
    authority.place.crl.write_text("")
    with pytest.raises(ConfigError) as caught:
        authority.revoke([])
    assert "back from a copy" in caught.value.hint


def test_a_young_list_is_left_alone(authority: Authority, now: datetime) -> None:
    assert not refresh_crl(authority.place.ca, now + timedelta(days=29))
    assert _number(authority) == 1


def test_a_list_past_half_of_its_life_is_signed_again(authority: Authority, now: datetime) -> None:
    authority.revoke([7], now=now)
    later = now + timedelta(days=31)
    assert refresh_crl(authority.place.ca, later)
    assert _serials(authority) == [7]
    assert read_crls(authority.place.crl)[0].next_update_utc == later + timedelta(days=60)
    assert not refresh_crl(authority.place.ca, later)


def test_an_expired_list_is_signed_again(authority: Authority, now: datetime) -> None:
    assert refresh_crl(authority.place.ca, now + timedelta(days=100))


def test_without_the_key_at_hand_nothing_is_signed(authority: Authority, now: datetime) -> None:
    later = now + timedelta(days=31)
    authority.place.key.unlink()
    assert not refresh_crl(authority.place.ca, later)
    authority.place.key.write_bytes(dump_key(authority.key, b"secret"))
    authority.place.key.chmod(0o600)
    assert not refresh_crl(authority.place.ca, later)


def test_a_missing_list_is_not_made_by_refreshing(authority: Authority, now: datetime) -> None:
    authority.place.crl.unlink()
    assert not refresh_crl(authority.place.ca, now + timedelta(days=31))
    assert not authority.place.crl.exists()


def test_refreshing_waits_for_nobody(authority: Authority, now: datetime) -> None:
    later = now + timedelta(days=31)
    with authority.place.lock():
        assert not refresh_crl(authority.place.ca, later)
    assert refresh_crl(authority.place.ca, later)


_REVOKER = """
import sys
from pathlib import Path
from trio_chat.pki import Authority
authority = Authority.load(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for serial in map(int, sys.argv[2:]):
    authority.revoke([serial])
"""


def test_two_programs_that_revoke_at_once_lose_nothing(authority: Authority) -> None:
    shares = [range(100, 110), range(200, 210)]
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _REVOKER, str(authority.place.ca), *map(str, share)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    for program in programs:
        program.communicate()
        assert program.returncode == 0
    assert _serials(authority) == [*shares[0], *shares[1]]
    assert _number(authority) == 21
