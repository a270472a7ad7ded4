"""`trio_chat.pki.invites`: files that are there once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from trio_chat.errors import BadName, ConfigError, InviteRefused
from trio_chat.invitation import hash_secret
from trio_chat.pki import Authority, Invite, Invites

DAY = timedelta(days=1)


@pytest.fixture
def invites(authority: Authority) -> Invites:
    return Invites(authority.place)


def nora(now: datetime, **fields: object) -> Invite:
    return Invite(**{"name": "nora", "expires": now + DAY, **fields})  # type: ignore[arg-type]  # tests say what


def test_what_was_invited_is_found_by_the_secret_alone(invites: Invites, now: datetime) -> None:
    first = invites.add(nora(now, room="ops", admin=True), now)
    second = invites.add(nora(now, name="ñandú", bot=True), now)
    assert invites.find(first, now) == nora(now, room="ops", admin=True)
    assert invites.find(second, now) == nora(now, name="ñandú", bot=True)
    assert first != second


def test_only_its_owner_can_look_at_them_and_the_secret_is_in_none(
    invites: Invites, now: datetime
) -> None:
    secret = invites.add(nora(now), now)
    folder = invites.place.invites
    (path,) = (each for each in folder.iterdir() if each.is_file())
    assert path.name == hash_secret(secret)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_bytes()
    assert secret.hex() not in path.read_text() + path.name


def test_it_is_spent_once(invites: Invites, now: datetime) -> None:
    secret = invites.add(nora(now), now)
    invites.spend(secret)
    with pytest.raises(InviteRefused, match="used already"):
        invites.spend(secret)
    with pytest.raises(InviteRefused, match="used already"):
        invites.find(secret, now)
    assert invites.spent(secret) == nora(now)


def test_of_many_processes_one_spends_it(invites: Invites, now: datetime) -> None:
    secret = invites.add(nora(now), now)
    program = (
        "import sys; from pathlib import Path; from trio_chat.pki import Invites, Place\n"
        "sys.stdin.read()\n"
        "Invites(Place(Path(sys.argv[1]))).spend(bytes.fromhex(sys.argv[2]))"
    )
    words = [sys.executable, "-c", program, str(invites.place.ca), secret.hex()]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(words, stdin=pipe, stderr=subprocess.DEVNULL) for _ in range(6)]
    for process in running:  # all of them are loaded and wait
        assert process.stdin is not None
        process.stdin.close()
    assert sorted(process.wait() for process in running) == [0, 1, 1, 1, 1, 1]


def test_somebody_s_open_invites_can_be_withdrawn(invites: Invites, now: datetime) -> None:
    assert invites.withdraw("nora") == 0
    gone = [invites.add(nora(now), now), invites.add(nora(now, name="Nora"), now)]
    spent, other = invites.add(nora(now), now), invites.add(nora(now, name="paul"), now)
    invites.spend(spent)
    assert invites.withdraw("NORA") == 2
    for secret in gone:
        with pytest.raises(InviteRefused, match="does not know"):
            invites.find(secret, now)
    assert invites.find(other, now).name == "paul"
    assert invites.spent(spent) is not None


def test_it_ends_at_its_time(invites: Invites, now: datetime) -> None:
    secret = invites.add(nora(now), now)
    invites.find(secret, now + DAY - timedelta(seconds=1))
    with pytest.raises(InviteRefused, match="expired on"):
        invites.find(secret, now + DAY)


def test_one_that_was_never_made_is_unknown(invites: Invites, now: datetime) -> None:
    with pytest.raises(InviteRefused, match="does not know this invite"):
        invites.find(bytes(20), now)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "god"}', "\xff", '{"name": 7}'])
def test_a_file_that_is_no_invite_invites_nobody(
    invites: Invites, now: datetime, text: str
) -> None:
    secret = invites.add(nora(now), now)
    (invites.place.invites / hash_secret(secret)).write_bytes(text.encode("latin-1"))
    with pytest.raises(InviteRefused):
        invites.find(secret, now)


@pytest.mark.parametrize("name", ["god", "GOD", "ca", "Server", "admin", "", "a b", "аlice"])
def test_reserved_and_weak_names_are_refused(now: datetime, name: str) -> None:
    with pytest.raises(BadName):
        nora(now, name=name)


def test_a_room_has_a_name_too(now: datetime) -> None:
    with pytest.raises(BadName):
        nora(now, room="@nora+paul")


def test_what_is_long_over_is_forgotten_with_the_next_invite(
    invites: Invites, now: datetime
) -> None:
    spent, expired = invites.add(nora(now), now), invites.add(nora(now), now)
    invites.spend(spent)
    invites.keep_issued(spent, b"pem")
    invites.add(nora(now), now + 80 * DAY)
    assert invites.spent(spent) is not None
    invites.add(nora(now), now + 100 * DAY)
    assert invites.spent(spent) is None
    assert invites.issued(spent) is None
    with pytest.raises(InviteRefused, match="does not know"):
        invites.find(expired, now)


def test_the_address_is_kept(invites: Invites) -> None:
    assert invites.address() is None
    for address in ("chat.example.org:8443", "localhost:1"):
        invites.keep_address(address)
        assert invites.address() == address


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_where_nothing_can_be_written_it_is_said(invites: Invites, now: datetime) -> None:
    invites.place.folder.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot make"):
            invites.add(nora(now), now)
    finally:
        invites.place.folder.chmod(0o700)


def test_a_file_where_the_folder_should_be_is_said(authority: Authority, now: datetime) -> None:
    path: Path = authority.place.invites
    path.write_text("")
    with pytest.raises(ConfigError, match="cannot make"):
        Invites(authority.place).add(nora(now), now)
