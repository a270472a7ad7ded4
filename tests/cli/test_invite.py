"""`trio-chat invite`, typed."""

from __future__ import annotations

import argparse
import datetime as dt
import shlex
from pathlib import Path

import pytest

from tests.people import People
from trio_chat.cli import invite
from trio_chat.errors import ConfigError
from trio_chat.invitation import Invitation
from trio_chat.pki import Invites


def type_in(ca: Path, *words: str) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    invite.add_arguments(parser)
    return invite.run(parser.parse_args([*words, "--ca", str(ca)]))


def line(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return shlex.split(capsys.readouterr().out)


def test_the_line_is_for_who_is_invited_as_what_and_until_when(
    own_people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(own_people.ca, "nora", "--bot", "--room", "ops", "--expires", "30m") == 0
    invitation = Invitation.decode(line(capsys)[-1])
    now = dt.datetime.now(dt.UTC)
    found = Invites(own_people.authority.place).find(invitation.secret, now)
    assert (found.name, found.admin, found.bot, found.room) == ("nora", False, True, "ops")
    assert dt.timedelta(minutes=29) < found.expires - now <= dt.timedelta(minutes=30)


def test_the_address_is_that_of_the_server_or_the_one_given(
    own_people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = own_people.ca
    type_in(ca, "nora")
    assert line(capsys)[2] == "localhost:8443"  # it never ran: the first name in its certificate
    Invites(own_people.authority.place).keep_address("chat.example.org:9000")
    type_in(ca, "nora")
    assert line(capsys)[2] == "chat.example.org:9000"
    type_in(ca, "nora", "--at", "[::1]:7")
    assert line(capsys)[2] == "[::1]:7"
    with pytest.raises(ConfigError, match="no HOST:PORT"):
        type_in(ca, "nora", "--at", "a:b")


@pytest.mark.parametrize(
    ("listens", "known", "reached"),
    [
        (("127.0.0.1", 1), ["chat.example.org", "localhost"], "localhost:1"),
        (("::1", 1), ["chat.example.org"], "[::1]:1"),
        (("0.0.0.0", 2), ["chat.example.org", "localhost"], "chat.example.org:2"),
        (("::", 2), [], "localhost:2"),
        (("192.0.2.7", 3), ["chat.example.org"], "192.0.2.7:3"),
    ],
)
def test_a_server_is_reached_as_its_certificate_says(
    listens: tuple[str, int], known: list[str], reached: str
) -> None:
    assert str(invite._reached([listens], known)) == reached


@pytest.mark.parametrize(
    "time", ["", "0h", "-1h", "24", "h", "1y", "91d", "9999999m", "1.5h", "²h"]
)
def test_a_time_that_is_none_is_wrong_usage(
    own_people: People, capsys: pytest.CaptureFixture[str], time: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        type_in(own_people.ca, "nora", f"--expires={time}")
    assert ended.value.code == 2
    assert "a time like 30m, 24h or 7d" in capsys.readouterr().err


def test_that_somebody_is_called_so_already_is_told(
    own_people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    own_people.certificate("Nora")
    type_in(own_people.ca, "nora")
    assert "Nora has a certificate already" in capsys.readouterr().err
    type_in(own_people.ca, "paul")
    assert "already" not in capsys.readouterr().err


def test_without_a_ca_the_hint_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no CA at") as caught:
        type_in(tmp_path / "ca.crt", "nora")
    assert caught.value.hint.startswith("trio-chat pki init")


def test_help_and_its_examples_fit_a_screen() -> None:
    assert all(len(line) <= 80 for line in invite.EPILOG.split("\n"))
