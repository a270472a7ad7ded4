"""`trio-chat pki`, typed."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trio_chat.cli import pki
from trio_chat.errors import BadName, ConfigError
from trio_chat.files import create_private
from trio_chat.identity import client_identity
from trio_chat.pki import Invite, Invites, Place, read_certificate, serial_text
from trio_chat.pki.keys import is_encrypted, load_key

COMMANDS = ("init", "issue", "request", "sign", "renew", "revoke", "crl", "list", "show")
Type = Callable[[str], tuple[list[str], str]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-chat pki",
        description=pki.SUMMARY,
        epilog=pki.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    pki.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


@pytest.fixture
def type_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """Run one command line in an empty folder; return its results and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[list[str], str]:
        assert pki.run(_parser().parse_args(shlex.split(line))) == 0
        captured = capsys.readouterr()
        return captured.out.splitlines(), captured.err

    return run


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_terminal_and_ends_with_examples(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit):
        _parser().parse_args([*command.split(), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith("  trio-chat pki") or lines[-1].startswith("  openssl")
    assert "examples:" in lines


def test_each_command_says_what_it_made_and_what_comes_next(type_in: Type) -> None:
    files, said = type_in("init")
    assert files == ["pki/ca.crt", "pki/ca.key", "pki/ca.crl"]
    assert said.endswith("next: trio-chat pki issue --server\n")
    files, said = type_in("issue --server --public-name chat.example.org")
    assert files == ["pki/server.crt", "pki/server.key"]
    assert "chat.example.org" in said
    assert said.endswith("next: trio-chat serve --ca pki/ca.crt\n")
    files, said = type_in("issue bob --device laptop")
    assert files == ["pki/bob-laptop.crt", "pki/bob-laptop.key"]
    assert said.endswith(
        "next: trio-chat join localhost:8443 --cert pki/bob-laptop.crt --key pki/bob-laptop.key\n"
    )


def test_files_go_where_they_are_wanted(type_in: Type, tmp_path: Path) -> None:
    type_in("init --ca lab/ca.crt")
    files, said = type_in("issue bob --ca lab/ca.crt --out for/bob")
    assert files == ["for/bob/bob.crt", "for/bob/bob.key"]
    assert said.endswith("--ca lab/ca.crt\n")
    assert not (tmp_path / "lab/bob.crt").exists()


def test_a_certificate_that_is_there_is_renewed_not_made_again(type_in: Type) -> None:
    type_in("init")
    type_in("issue bob")
    with pytest.raises(ConfigError, match=r"pki/bob\.crt is there already") as caught:
        type_in("issue bob")
    assert caught.value.hint.startswith("trio-chat pki renew pki/bob.crt; ")
    files, said = type_in("renew pki/bob.crt --days 3")
    assert files == ["pki/bob.crt"]
    assert said.startswith("good until ")


def test_without_a_file_the_servers_certificate_is_renewed(type_in: Type) -> None:
    type_in("init")
    type_in("issue --server")
    old = read_certificate(Path("pki/server.crt"))
    assert type_in("renew")[0] == ["pki/server.crt"]
    assert read_certificate(Path("pki/server.crt")) != old


def test_a_request_is_signed_for_the_name_given(
    type_in: Type, openssl: Callable[..., str], tmp_path: Path
) -> None:
    type_in("init")
    openssl(
        *("req", "-new", "-newkey", "ed25519", "-noenc", "-subj", "/CN=god"),
        *("-keyout", tmp_path / "bob.key", "-out", tmp_path / "bob.csr"),
    )
    files, said = type_in("sign bob.csr bob --bot --out .")
    assert files == ["bob.crt"]
    assert "everything else in it was ignored" in said
    identity = client_identity(read_certificate(Path("bob.crt")))
    assert (identity.user, identity.roles) == ("bob", frozenset({"bot"}))
    assert "a key of type Ed25519" in type_in("show bob.csr")[0][0]


def test_revoking_a_name_says_which_certificates_ended(type_in: Type) -> None:
    type_in("init")
    type_in("issue bob")
    serial = serial_text(read_certificate(Path("pki/bob.crt")).serial_number)
    results, said = type_in("revoke bob")
    assert results == [f"0x{serial}"]
    assert said.startswith("revoked 1 certificate\n")
    assert "revoked 0 certificates, 1 were already" in type_in("revoke bob")[1]
    with pytest.raises(ConfigError, match="no certificate was issued to carol"):
        type_in("revoke carol")


def test_the_list_is_a_table_or_json(type_in: Type) -> None:
    type_in("init")
    type_in("issue --server")
    type_in("issue José --device laptop --admin")
    type_in("revoke josé")
    table, _ = type_in("list")
    assert table[0].split() == ["NAME", "DEVICE", "ROLES", "STATE", "UNTIL", "SERIAL"]
    cells = {tuple(line.split()[:4]) for line in table[1:]}
    assert cells == {("(server)", "-", "-", "valid"), ("José", "laptop", "admin", "revoked")}
    rows = {row["kind"]: row for row in json.loads("\n".join(type_in("list --json")[0]))}
    assert rows["client"]["state"] == "revoked"
    assert rows["client"]["roles"] == ["admin"]
    assert rows["server"]["revoked"] is None


def test_an_empty_list_tells_how_to_begin(type_in: Type) -> None:
    type_in("init")
    assert type_in("list")[1] == "next: trio-chat pki issue NAME\n"
    assert type_in("list --json") == (["[]"], "")


def test_showing_a_certificate_tells_whether_it_is_good(type_in: Type) -> None:
    type_in("init")
    type_in("issue bob --device laptop")
    shown, _ = type_in("show pki/bob-laptop.crt")
    assert "client bob" in shown[0]
    assert shown[-1].split() == ["state", "valid"]
    type_in("revoke bob")
    assert type_in("show pki/bob-laptop.crt")[0][-1].split() == ["state", "revoked"]
    assert any("revoked" in line for line in type_in("show pki/ca.crl")[0])


def test_a_certificate_of_another_ca_is_not_called_valid(type_in: Type) -> None:
    type_in("init")
    type_in("init --ca lab/ca.crt")
    type_in("issue bob --ca lab/ca.crt")
    for line in ("show lab/bob.crt", "show lab/bob.crt --ca none/ca.crt"):
        assert "not issued by" in type_in(line)[0][-1]


def test_what_is_revoked_is_made_anew_as_the_hints_say(type_in: Type) -> None:
    """The hint of `issue` was `renew`, and that of `renew` was `issue`."""
    type_in("init")
    type_in("issue bob")
    type_in("revoke bob")
    with pytest.raises(ConfigError) as caught:
        type_in("issue bob")
    assert "--out" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        type_in("renew pki/bob.crt")
    assert "move it and its key away" in caught.value.hint
    assert type_in("issue bob --out new")[0] == ["new/bob.crt", "new/bob.key"]


def test_a_request_for_a_name_that_has_a_certificate_is_no_renewal(
    type_in: Type, openssl: Callable[..., str], tmp_path: Path
) -> None:
    type_in("init")
    type_in("issue bob")
    openssl(
        *("req", "-new", "-newkey", "ed25519", "-noenc", "-subj", "/"),
        *("-keyout", tmp_path / "bob.key", "-out", tmp_path / "bob.csr"),
    )
    with pytest.raises(ConfigError, match="is there already") as caught:
        type_in("sign bob.csr bob")
    assert "renew" not in caught.value.hint


def test_the_command_that_comes_next_can_be_typed(type_in: Type) -> None:
    type_in("init")
    assert type_in("issue --server --out 'the host'")[1].endswith(
        "next: trio-chat serve --ca pki/ca.crt"
        " --cert 'the host/server.crt' --key 'the host/server.key'\n"
    )


def test_a_private_key_is_not_shown(type_in: Type) -> None:
    type_in("init")
    with pytest.raises(ConfigError, match="is a private key"):
        type_in("show pki/ca.key")


def test_hostile_text_in_a_certificate_cannot_reach_the_terminal(
    type_in: Type, openssl: Callable[..., str], tmp_path: Path
) -> None:
    openssl(
        *("req", "-x509", "-newkey", "ed25519", "-noenc", "-subj", "/CN=a\x1b[2Jb"),
        *("-keyout", tmp_path / "x.key", "-out", tmp_path / "x.crt"),
    )
    assert "\x1b" not in "\n".join(type_in("show x.crt")[0])


def test_an_encrypted_ca_opens_with_a_passphrase_file(type_in: Type, tmp_path: Path) -> None:
    create_private(tmp_path / "phrase", b"correct horse\n")
    type_in("init --encrypt --passphrase-file phrase")
    assert is_encrypted(Path("pki/ca.key").read_bytes())
    type_in("issue bob --passphrase-file phrase")
    load_key(Path("pki/bob.key"))
    type_in("crl --passphrase-file phrase")


@pytest.mark.parametrize(
    "line",
    [
        "issue",
        "issue bob --server",
        "issue --server --admin",
        "issue bob --public-name a.example",
        "issue bob --days 0",
        "issue bob --days x",
        "issue bob --key-type dsa",
        "sign bob.csr",
        "",
    ],
)
def test_wrong_usage_ends_with_status_two(type_in: Type, line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        type_in(line)
    assert caught.value.code == 2


def test_without_a_ca_the_hint_is_to_make_one(type_in: Type) -> None:
    for line in ("issue bob", "revoke bob", "crl", "renew", "list"):
        with pytest.raises(ConfigError, match="there is no CA at") as caught:
            type_in(line)
        assert caught.value.hint == "trio-chat pki init"


def test_a_reserved_name_is_refused_before_anything_is_made(type_in: Type) -> None:
    type_in("init")
    with pytest.raises(BadName, match="reserved"):
        type_in("issue god --out somewhere")
    assert not Path("somewhere").exists()


def test_a_second_ca_is_not_made_over_the_first(type_in: Type) -> None:
    type_in("init")
    before = Path("pki/ca.crt").read_bytes()
    with pytest.raises(ConfigError, match=r"pki/ca\.crt is there already"):
        type_in("init")
    assert Path("pki/ca.crt").read_bytes() == before
    Path("pki/ca.crt").rename("ca.crt")
    with pytest.raises(ConfigError, match=r"pki/ca\.key is there already"):
        type_in("init --encrypt")  # and asks for no passphrase


def test_revoking_a_name_withdraws_its_invites(type_in: Type) -> None:
    type_in("init")
    now = datetime.now(UTC)
    invites = Invites(Place(Path("pki/ca.crt")))
    for name in ("bob", "nora"):
        invites.add(Invite(name=name, expires=now + timedelta(days=1)), now)
    results, told = type_in("revoke nora")  # who has no certificate yet
    assert results == []
    assert "withdrew 1 open invite\n" in told
    type_in("issue bob")
    results, told = type_in("revoke bob")
    assert len(results) == 1
    assert "withdrew 1 open invite\nrevoked 1 certificate" in told
    with pytest.raises(ConfigError, match="no certificate was issued to nora"):
        type_in("revoke nora")


def test_a_request_is_made_and_signed_and_nothing_is_overwritten(type_in: Type) -> None:
    type_in("init")
    made, told = type_in("request bob")
    assert made == ["bob.csr", "bob.key"]
    assert "trio-chat pki sign bob.csr bob" in told
    assert Path("bob.key").stat().st_mode & 0o777 == 0o600
    before = Path("bob.key").read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        type_in("request bob")
    Path("bob.csr").unlink()
    with pytest.raises(ConfigError, match="is there already"):
        type_in("request bob")
    assert Path("bob.key").read_bytes() == before
    for name in ("god", "../bob", ""):
        with pytest.raises(BadName):
            type_in(f"request {shlex.quote(name)}")


def test_an_intermediate_is_made_with_the_ca_or_after_it(type_in: Type) -> None:
    made, told = type_in("init --intermediate")
    assert made == [f"pki/{n}" for n in ("ca.crt", "ca.key", "ca.crl")] + [
        f"pki/intermediate.{n}" for n in ("crt", "key")
    ]
    assert told.endswith("next: trio-chat invite NAME\n")
    type_in("init --ca other/ca.crt")
    assert type_in("init --intermediate --ca other/ca.crt")[0] == [
        f"other/intermediate.{n}" for n in ("crt", "key")
    ]
    with pytest.raises(ConfigError, match="is there already"):
        type_in("init --intermediate --ca other/ca.crt")


def test_where_the_root_s_key_was_taken_away_the_intermediate_signs(type_in: Type) -> None:
    type_in("init --intermediate")
    type_in("issue alice")
    key = Path("pki/ca.key").read_bytes()
    Path("pki/ca.key").unlink()
    type_in("issue bob")
    assert Path("pki/bob.crt").read_text().count("BEGIN CERTIFICATE") == 2
    type_in("renew pki/bob.crt")
    assert Path("pki/bob.crt").read_text().count("BEGIN CERTIFICATE") == 2
    type_in("revoke bob")
    type_in("crl")
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        type_in("revoke alice")
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        type_in("init --intermediate")
    create_private(Path("pki/ca.key"), key)
    type_in("revoke alice")
    type_in("renew pki/intermediate.crt --days 100")
    states = {e["name"]: e["state"] for e in json.loads("\n".join(type_in("list --json")[0]))}
    assert (states["alice"], states["bob"]) == ("revoked", "revoked")
    type_in("revoke pki/intermediate.crt")
