"""`trio_chat.server.revocation`: the list beside the CA, as it is now."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect
from tests.people import People
from trio_chat.errors import ConfigError, CrlUnusable, Revoked
from trio_chat.identity import client_identity
from trio_chat.pki.revocations import sign_crl
from trio_chat.server.revocation import Revocations

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.WATCH", 0.01)


def expired_list(people: People) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    authority = people.authority
    old = NOW - dt.timedelta(days=365)
    crl = sign_crl(authority.certificate, authority.key, [], number=99, now=old)
    return crl.public_bytes(Encoding.PEM)


def loaded(people: People) -> Revocations:
    found = Revocations(people.folder / "ca.crl", people.ca)
    found.load(seen=False)
    return found


async def test_a_revoked_certificate_is_refused_in_words(
    own_people: People, run_server: Serve, dial: Connect
) -> None:
    own_people.revoke("mallory")
    server = await run_server(ca=own_people.ca)
    mallory = await dial(server, "mallory", of=own_people)
    (frame,) = await mallory.rest()
    assert (frame["type"], frame["code"]) == ("error", "revoked")
    alice = await dial(server, "alice", of=own_people)
    await alice.hello()


async def test_a_live_connection_ends_when_its_certificate_is_revoked(
    own_people: People, run_server: Serve, enter: Connect
) -> None:
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    mallory = await enter(server, "mallory", of=own_people)
    await alice.expect("entered", count=2)
    own_people.revoke("mallory")
    assert (await mallory.rest())[-1] == {"type": "closing", "reason": "revoked"}
    await alice.expect("crl-changed")
    await alice.expect("left", count=1)
    await alice.quiet()


async def test_who_is_revoked_between_handshake_and_hello_does_not_get_in(
    own_people: People, run_server: Serve, dial: Connect
) -> None:
    server = await run_server(ca=own_people.ca)
    mallory = await dial(server, "mallory", of=own_people)
    while not any(each.identity for each in waiting(server) if hasattr(each, "identity")):
        await trio.sleep(0.001)
    own_people.revoke("mallory")
    while not server.revocations.revokes(
        client_identity(own_people.certificate("mallory").certificate)
    ):
        await trio.sleep(0.001)
    await mallory.say("hello", protocol=1, client="test")
    (frame,) = await mallory.rest()
    assert (frame["type"], frame["code"]) == ("error", "revoked")


def waiting(server: object) -> list[object]:
    applicants = server.admission.waiting.values()  # type: ignore[attr-defined]
    return [each for same in applicants for each in same]


@pytest.mark.parametrize("broken", ["missing", "garbage", "empty", "foreign", "expired"])
async def test_a_list_that_cannot_be_used_lets_nobody_new_in_until_it_is_mended(
    own_people: People,
    people: People,
    run_server: Serve,
    dial: Connect,
    enter: Connect,
    broken: str,
) -> None:
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    crl = own_people.folder / "ca.crl"
    good = crl.read_bytes()
    match broken:
        case "missing":
            crl.unlink()
        case "garbage":
            crl.write_bytes(b"\x00\xff -----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        case "empty":
            crl.write_bytes(b"")
        case "foreign":
            crl.write_bytes((people.folder / "ca.crl").read_bytes())
        case "expired":
            crl.write_bytes(expired_list(own_people))
    while True:  # until the server has looked
        bob = await dial(server, "bob", of=own_people)
        await bob.say("hello", protocol=1, client="test")
        frame = await bob.read()
        if frame["type"] == "error":
            break
        await bob.close()
    assert frame["code"] == "crl"
    assert "pki crl" in frame["text"]
    await alice.say("ping")
    await alice.until("pong")  # who is in stays in
    crl.write_bytes(good)
    while True:
        bob = await dial(server, "bob", of=own_people)
        await bob.say("hello", protocol=1, client="test")
        if (await bob.read())["type"] == "welcome":
            break
        await bob.close()


async def test_without_any_list_nobody_is_revoked(
    own_people: People, run_server: Serve, dial: Connect
) -> None:
    (own_people.folder / "ca.crl").unlink()
    server = await run_server(ca=own_people.ca)
    alice = await dial(server, "alice", of=own_people)
    await alice.hello()


async def test_a_server_that_had_a_list_does_not_start_without_it(
    own_people: People, run_server: Serve
) -> None:
    server = await run_server(ca=own_people.ca)
    server.drain()
    (own_people.folder / "ca.crl").unlink()
    with pytest.raises(ConfigError, match="missing"):
        await run_server(ca=own_people.ca)


def test_an_unusable_list_at_the_start_is_an_error_with_a_remedy(own_people: People) -> None:
    (own_people.folder / "ca.crl").write_text("nonsense")
    with pytest.raises(ConfigError) as caught:
        loaded(own_people)
    assert "pki crl" in caught.value.hint


def test_the_old_list_counts_while_the_new_one_is_unusable(own_people: People) -> None:
    own_people.revoke("mallory")
    revocations = loaded(own_people)
    mallory = client_identity(own_people.certificate("mallory").certificate)
    alice = client_identity(own_people.certificate("alice").certificate)
    (own_people.folder / "ca.crl").write_text("nonsense")
    assert not revocations.refresh()
    with pytest.raises(Revoked):
        revocations.check(mallory, NOW.timestamp())
    with pytest.raises(CrlUnusable):
        revocations.check(alice, NOW.timestamp())


def test_a_serial_number_counts_for_its_issuer_only(own_people: People, people: People) -> None:
    own_people.revoke("mallory")
    revocations = loaded(own_people)
    mallory = client_identity(own_people.certificate("mallory").certificate)
    other = client_identity(people.certificate("mallory").certificate)
    assert revocations.revokes(mallory)
    import attrs

    assert not revocations.revokes(attrs.evolve(other, serial=mallory.serial))


def test_one_file_may_hold_the_lists_of_several_issuers(own_people: People, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = People.create(tmp_path / "other")
    own_people.revoke("mallory")
    other.revoke("eve")
    both, crl = tmp_path / "both.crt", tmp_path / "both.crl"
    both.write_bytes(own_people.ca.read_bytes() + other.ca.read_bytes())
    crl.write_bytes(
        (own_people.folder / "ca.crl").read_bytes() + (other.folder / "ca.crl").read_bytes()
    )
    revocations = Revocations(crl, both)
    revocations.load(seen=False)
    for name, at in (("mallory", own_people), ("eve", other)):
        assert revocations.revokes(client_identity(at.certificate(name).certificate))
    assert not revocations.revokes(client_identity(other.certificate("mallory").certificate))


def test_an_unchanged_file_is_not_read_again(
    own_people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    revocations = loaded(own_people)
    monkeypatch.setattr(
        "trio_chat.server.revocation._read", lambda *_: pytest.fail("was read again")
    )
    assert not revocations.refresh()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_list_is_a_problem(own_people: People) -> None:
    revocations = loaded(own_people)
    crl = own_people.folder / "ca.crl"
    crl.touch()
    crl.chmod(0)
    revocations.refresh()
    assert revocations.problem(0.0) is not None
