from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.people import People
from trio_chat.address import Address
from trio_chat.cli import join
from trio_chat.cli.credentials import credentials
from trio_chat.errors import ConfigError, Unreachable


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    join.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["chat.example.org:9000"], "chat.example.org:9000"),
        (["chat.example.org"], "chat.example.org:8443"),
        (["[::1]:9000"], "[::1]:9000"),
        (["-ip", "10.0.0.1", "-p", "9000"], "10.0.0.1:9000"),
        (["-ip", "::1"], "[::1]:8443"),
        (["-ip", "::1", "-p", "9000"], "[::1]:9000"),
        (["-p", "9000"], "localhost:9000"),
        (["localhost", "-p", "9000"], "localhost:9000"),
    ],
)
def test_where_to_connect_can_be_said_in_several_ways(words: list[str], where: str) -> None:
    assert str(join.address(options(*words))) == where


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no server given"),
        (["a:1", "-ip", "b"], "both HOST:PORT and -ip"),
        (["a", "-p", "0"], "0 is no port"),
        (["-ip", "a", "-p", "70000"], "70000 is no port"),
        (["a:b"], "is no HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        join.address(options(*words))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("words", "missing"), [([], "--cert"), (["--cert", "a.crt"], "--key"), (["--key", "k"], "--c")]
)
def test_certificate_and_key_are_required_and_the_hint_makes_them(
    words: list[str], missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"{missing}.* is missing") as caught:
        credentials(options("localhost", *words), Address("localhost", 1))
    assert caught.value.hint.startswith("trio-chat pki issue NAME")


def test_a_certificate_that_is_none_is_said_to_be(people: People, tmp_path: Path) -> None:
    issued = people.certificate("alice")
    path = tmp_path / "alice.crt"
    path.write_text("nonsense")
    words = ["localhost:1", "--cert", str(path), "--key", str(issued.key)]
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        join.run(options(*words))


@pytest.mark.parametrize(("days", "warned"), [(13, True), (15, False)])
def test_a_certificate_that_ends_soon_is_told_of(
    own_people: People, capfd: pytest.CaptureFixture[str], days: int, warned: bool
) -> None:
    issued = own_people.authority.issue_client("alice", days=days)
    words = ["localhost:1", "--cert", str(issued.crt), "--key", str(issued.key), "--plain"]
    with pytest.raises(Unreachable):
        join.run(options(*words))
    assert ("your certificate ends in 12 days" in capfd.readouterr().err) == warned


def test_standard_input_is_not_both_passphrase_and_lines(people: People) -> None:
    issued = people.certificate("alice")
    words = ["localhost:1", "--cert", str(issued.crt), "--key", str(issued.key), "--plain"]
    with pytest.raises(ConfigError, match="cannot hold both"):
        join.run(options(*words, "--passphrase-file", "-"))


def test_rooms_can_be_several() -> None:
    assert options("localhost", "--room", "a", "--room", "b").room == ["a", "b"]
    assert options("localhost").room == []


def test_help_and_its_examples_fit_a_screen() -> None:
    assert all(len(line) <= 80 for line in join.EPILOG.split("\n"))
    assert join.SUMMARY[0].islower()
    assert not join.SUMMARY.endswith(".")
