from __future__ import annotations

import shlex
import socket
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from trio_chat.errors import ConfigError
from trio_chat.identity import ADMIN, client_identity
from trio_chat.pki import Authority, FirstStart, ensure_pki, server_hosts


def _start(ca: Path, login: str = "ana") -> FirstStart | None:
    return ensure_pki(ca, public_names=["chat.example.org"], login=login)


@pytest.fixture
def made(ca: Path) -> FirstStart:
    made = _start(ca)
    assert made is not None
    return made


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_start_makes_all_that_is_needed(ca: Path, made: FirstStart) -> None:
    assert [path.name for path in made.files] == [
        "ca.crt",
        "ca.key",
        "ca.crl",
        "server.crt",
        "server.key",
        "ana.crt",
        "ana.key",
    ]
    assert all(path.parent == ca.parent and path.exists() for path in made.files)
    identity = client_identity(made.client.certificate)
    assert (identity.user, identity.roles) == ("ana", frozenset({ADMIN}))


def test_a_folder_with_other_things_counts_as_empty(ca: Path) -> None:
    ca.parent.mkdir()
    (ca.parent / "README.md").write_text("hello")
    (ca.parent / "ca.cnf").write_text("[req]")
    assert _start(ca) is not None


def test_the_server_is_certified_for_every_name_it_has(made: FirstStart) -> None:
    assert made.server is not None
    san = made.server.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    names = san.get_values_for_type(x509.DNSName)
    assert {"chat.example.org", "localhost", socket.gethostname().lower()} <= set(names)
    assert [str(a) for a in san.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_host_name_that_no_certificate_can_say_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "ana's laptop")
    assert server_hosts([]) == ["localhost", "127.0.0.1", "::1"]


def test_the_second_start_changes_nothing(ca: Path, made: FirstStart) -> None:
    before = _files(ca.parent)
    assert _start(ca) is None
    assert _files(ca.parent) == before


@pytest.mark.parametrize("login", ["admin", "John Smith", "", "Server"])
def test_a_login_that_cannot_be_a_user_becomes_owner(ca: Path, login: str) -> None:
    made = _start(ca, login)
    assert made is not None
    assert made.user == client_identity(made.client.certificate).user == "owner"


def test_the_join_line_names_the_files(ca: Path, made: FirstStart) -> None:
    folder = ca.parent
    assert shlex.split(made.join_line("localhost:8443")) == [
        *("trio-chat", "join", "localhost:8443"),
        *("--cert", str(folder / "ana.crt"), "--key", str(folder / "ana.key")),
    ]


def test_the_join_line_names_a_ca_that_is_not_where_the_client_looks(tmp_path: Path) -> None:
    made = _start(tmp_path / "our ca.pem")
    assert made is not None
    assert shlex.split(made.join_line("h:1"))[-2:] == ["--ca", str(tmp_path / "our ca.pem")]


def test_a_wrong_public_name_is_seen_before_anything_is_made(ca: Path) -> None:
    with pytest.raises(ConfigError, match="neither a host's name"):
        ensure_pki(ca, public_names=["chat:8443"], login="ana")
    assert not ca.parent.exists()


@pytest.mark.parametrize("name", ["ca.key", "alice.crt", "old.crl", "server.key", "issued/01.crt"])
def test_no_ca_is_made_beside_existing_files(ca: Path, name: str) -> None:
    there = ca.parent / name
    there.parent.mkdir(parents=True)
    there.write_text("precious")
    with pytest.raises(ConfigError, match=r"there is no .*ca\.crt") as caught:
        _start(ca)
    assert Path(name).name in str(caught.value)
    assert "trio-chat serve --ca" in caught.value.hint
    assert _files(ca.parent) == {there: b"precious"}


def test_a_missing_server_certificate_is_mended_by_the_hint(ca: Path) -> None:
    Authority.create(ca)
    with pytest.raises(ConfigError, match=r"no .*server\.crt and no .*server\.key") as caught:
        _start(ca)
    assert caught.value.hint == (
        f"trio-chat pki issue --server --public-name chat.example.org --ca {ca}"
    )


def test_existing_files_are_told_of_in_the_present_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.pem").touch()
    with pytest.raises(ConfigError, match=r"holds other\.pem") as caught:
        _start(Path("ca.crt"))
    assert caught.value.hint.endswith(f"trio-chat serve --ca {tmp_path}-new/ca.crt")


@pytest.mark.parametrize(("missing", "there"), [("key", "crt"), ("crt", "key")])
def test_half_of_the_servers_pair_is_moved_away_by_the_hint(
    ca: Path, made: FirstStart, missing: str, there: str
) -> None:
    (ca.parent / f"server.{missing}").unlink()
    with pytest.raises(ConfigError, match=rf"no .*server\.{missing}") as caught:
        _start(ca)
    old = ca.parent / f"server.{there}"
    assert caught.value.hint == (
        f"mv {old} {old}.old && trio-chat pki issue --server"
        f" --public-name chat.example.org --ca {ca}"
    )


def test_without_the_cas_key_the_server_is_certified_elsewhere(ca: Path) -> None:
    authority = Authority.create(ca)
    authority.place.key.unlink()
    with pytest.raises(ConfigError, match="is missing too") as caught:
        _start(ca)
    assert "where the CA's key is" in caught.value.hint


def test_the_cas_key_may_be_elsewhere(ca: Path, made: FirstStart) -> None:
    made.ca_key.unlink()
    assert _start(ca) is None


def test_a_list_that_was_there_must_be_there(ca: Path, made: FirstStart) -> None:
    made.crl.unlink()
    with pytest.raises(ConfigError, match=r"revocation list .* is missing") as caught:
        _start(ca)
    assert caught.value.hint == f"trio-chat pki crl --ca {ca}"


def test_a_list_must_not_be_older_than_the_last_one(ca: Path, made: FirstStart) -> None:
    older = made.crl.read_bytes()
    Authority.load(ca).revoke([7])
    assert _start(ca) is None
    made.crl.write_bytes(older)
    with pytest.raises(ConfigError, match="lacks what has been revoked since") as caught:
        _start(ca)
    assert caught.value.hint == f"trio-chat pki crl --ca {ca}"
    Authority.load(ca).revoke([])
    assert _start(ca) is None


def test_a_ca_that_never_had_a_list_needs_none(ca: Path, made: FirstStart, tmp_path: Path) -> None:
    assert made.server is not None
    assert made.server.key is not None
    for path in (made.ca, made.server.crt, made.server.key):  # as plain `openssl` leaves them
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert _start(tmp_path / "ca.crt") is None


def test_a_server_certificate_from_elsewhere_needs_none_beside_the_ca(
    ca: Path, tmp_path: Path
) -> None:
    start = partial(
        ensure_pki,
        ca,
        public_names=[],
        login="ana",
        cert=tmp_path / "own.crt",
        key=tmp_path / "own.key",
    )
    made = start()
    assert made is not None
    assert made.server is None
    assert not (ca.parent / "server.crt").exists()
    assert start() is None


def test_a_server_key_from_elsewhere_belongs_to_a_certificate_from_elsewhere(
    ca: Path, tmp_path: Path
) -> None:
    """No hint could make the one beside the CA fit it."""
    made = ensure_pki(ca, public_names=[], login="ana", key=tmp_path / "own.key")
    assert made is not None
    assert made.server is None


def test_naming_the_default_certificate_is_no_difference(ca: Path) -> None:
    cert, key = ca.parent / "server.crt", ca.parent / "server.key"
    made = ensure_pki(ca, public_names=[], login="ana", cert=cert, key=key)
    assert made is not None
    assert made.server is not None


def test_a_folder_is_no_ca(ca: Path, made: FirstStart) -> None:
    with pytest.raises(ConfigError, match="is a folder") as caught:
        _start(ca.parent)
    assert caught.value.hint == f"--ca {ca}"
