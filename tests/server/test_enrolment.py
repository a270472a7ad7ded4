"""`trio_chat.server.enrolment`: what a connection without a certificate can do, and cannot."""

from __future__ import annotations

import datetime as dt
import json
import logging
import ssl
from pathlib import Path

import pytest
import trio
from cryptography import x509

from tests.conftest import Serve
from tests.inviting import invite, new_key, redeem, request, stranger
from tests.peer import Connect, Frame, Peer
from tests.people import People
from tests.test_docs import examples, sections
from trio_chat.errors import ConfigError, NoEnrolment
from trio_chat.files import replace_file
from trio_chat.identity import ADMIN, BOT, client_identity
from trio_chat.invitation import Invitation, encode_secret
from trio_chat.pki import Authority, Enroller, Place
from trio_chat.protocol.frames import COMMANDS

EXAMPLES = {kind: examples(text)[0] for kind, text in sections("4")}
OTHERS = [kind for kind in COMMANDS if kind not in ("ca", "enrol", "register", "login")]


@pytest.fixture
def ca(own_people: People) -> Path:
    """The CA of a server of this test's own."""
    return own_people.ca


def issued(ca: Path) -> list[str]:
    """The users that the CA has certificates of, in its own books."""
    found = []
    for path in Place(ca).issued.glob("*.crt"):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        try:
            found.append(client_identity(certificate).user)
        except Exception:
            continue
    return sorted(found)


def pem(ca: Path) -> str:
    return ca.read_text()


def user(frame: Frame) -> x509.Certificate:
    assert frame["type"] == "enrolled", frame
    return x509.load_pem_x509_certificate(frame["certificate"].encode())


# --- without a certificate ---------------------------------------------------------------


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("kind", OTHERS)
async def test_a_stranger_can_do_nothing_else(
    run_server: Serve, people: People, enter: Connect, kind: str
) -> None:
    server = await run_server()
    alice = await enter(server, "alice")
    peer = await stranger(server)
    line = EXAMPLES[kind]
    await peer.write(line + b"\n" + EXAMPLES["hello"] + b"\n" + line + b"\n")
    (frame,) = await peer.rest()  # one answer, and the connection has ended
    assert (frame["type"], frame["code"]) == ("error", "certificate")
    assert frame.get("id") == json.loads(line).get("id")
    assert "invite" in frame["text"]
    peer.drop()
    assert server.statistics().people == 1
    await alice.quiet()


async def test_a_stranger_remains_one_after_enrolling(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    peer = await stranger(server)
    secret = encode_secret(invite(ca).secret)
    user(await peer.ask("enrol", secret=secret, csr=request(new_key())))
    await peer.say("hello", protocol=1, client="x")
    assert [frame["code"] for frame in await peer.rest()] == ["certificate"]
    peer.drop()


async def test_unknown_types_and_garbage_end_a_stranger_s_connection(run_server: Serve) -> None:
    server = await run_server()
    for line in (b'{"type":"from-the-future"}\n', b"what?\n"):
        peer = await stranger(server)
        await peer.write(line * 100)
        assert [frame["type"] for frame in await peer.rest()] == ["error"] * 5 + ["closing"]
        peer.drop()


async def test_a_stranger_has_the_limits_of_those_who_have_not_said_hello(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca, hello_size=500, hello_timeout=0.2)
    long, silent = await stranger(server), await stranger(server)
    assert server.statistics().unauthenticated == 2
    await long.write(b"x" * 501)
    assert [frame["code"] for frame in await long.rest()] == ["too-long"]
    assert await silent.rest() == []
    for peer in (long, silent):
        peer.drop()
    while server.statistics().unauthenticated:
        await trio.sleep(0.01)
    assert server.admission.failures("127.0.0.1", trio.current_time()) == 2


async def test_a_stranger_who_asks_too_much_waits(run_server: Serve) -> None:
    server = await run_server(input_burst=2, input_rate=0.001, hello_timeout=0.3)
    peer = await stranger(server)
    await peer.write(b'{"type":"ca"}\n' * 10)
    assert [frame["type"] for frame in await peer.rest()] == ["ca", "ca"]
    peer.drop()


async def test_another_ca_s_certificate_is_no_way_to_be_a_stranger(
    run_server: Serve, people: People, own_people: People
) -> None:
    server = await run_server()
    foreign = own_people.context("alice")
    foreign.verify_mode = ssl.CERT_NONE
    peer = await Peer.connect(server.port, foreign)
    with pytest.raises(trio.BrokenResourceError):
        await peer.line()
    peer.drop()


# --- the authority -----------------------------------------------------------------------


async def test_the_authority_s_certificate_is_told_to_anybody(
    run_server: Serve, ca: Path, dial: Connect, own_people: People
) -> None:
    server = await run_server(ca=ca)
    peer = await stranger(server)
    assert await peer.ask("ca") == {"type": "ca", "certificate": pem(ca), "id": "1"}
    member = await dial(server, "alice", of=own_people)
    await member.hello()
    assert (await member.ask("ca"))["certificate"] == pem(ca)
    peer.drop()


async def test_nothing_but_certificates_is_told(run_server: Serve, ca: Path) -> None:
    """Somebody may have put the key into the same file."""
    place, before = Place(ca), pem(ca)
    replace_file(ca, b"# ca\xc3\xb1on\n" + place.key.read_bytes() + before.encode())
    server = await run_server(ca=ca)
    peer = await stranger(server)
    assert (await peer.ask("ca"))["certificate"] == before
    peer.drop()


# --- invites -----------------------------------------------------------------------------


async def test_an_invite_makes_a_certificate_for_the_key_and_takes_nothing_else_from_the_request(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    key = new_key()
    claims = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("trio-chat:alice")])
    reply = await redeem(
        server, invite(ca, "nora", room="ops"), request(key, "god", claims), device="laptop"
    )
    certificate = user(reply)
    identity = client_identity(certificate)
    assert (identity.user, identity.roles, identity.device_name) == ("nora", frozenset(), "laptop")
    assert certificate.public_key() == key.public_key()
    life = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=29) < life <= dt.timedelta(days=30)
    assert (reply["room"], reply["id"]) == ("ops", "1")
    assert issued(ca) == ["nora"]
    assert server.admission.failures("127.0.0.1", trio.current_time()) == 0


async def test_roles_come_from_the_invite(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    for invitation, role in ((invite(ca, admin=True), ADMIN), (invite(ca, bot=True), BOT)):
        certificate = user(await redeem(server, invitation))
        assert client_identity(certificate).roles == {role}


async def test_of_many_redemptions_at_once_one_gets_a_certificate(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    invitation = invite(ca)
    replies: list[Frame] = []

    async def try_it() -> None:
        replies.append(await redeem(server, invitation))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(try_it)
    assert sorted(reply.get("code", "") for reply in replies) == [""] + ["invite"] * 7
    assert issued(ca) == ["nora"]
    assert all("used already" in reply["text"] for reply in replies if "text" in reply)


async def test_who_did_not_get_the_answer_gets_the_same_again(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    invitation, key = invite(ca, room="ops"), new_key()
    first = await redeem(server, invitation, request(key))
    again = await redeem(server, invitation, request(key, "another request"))
    assert again == first
    other = await redeem(server, invitation)
    assert other["code"] == "invite"
    assert issued(ca) == ["nora"]


async def test_what_is_not_valid_is_refused_in_words_and_ends_the_connection(
    run_server: Serve, ca: Path, people: People
) -> None:
    server = await run_server(ca=ca)
    expired = invite(ca, hours=-1)
    foreign = Invitation(b"x" * 32, b"y" * 20)
    for invitation, words in ((expired, "expired on"), (foreign, "does not know this invite")):
        peer = await stranger(server)
        secret = encode_secret(invitation.secret)
        await peer.say("enrol", secret=secret, csr=request(new_key()), id="7")
        (frame,) = await peer.rest()
        assert (frame["code"], frame["id"]) == ("invite", "7")
        assert words in frame["text"]
        assert secret not in frame["text"]
        peer.drop()
    assert issued(ca) == []


@pytest.mark.parametrize("secret", ["", "a", "../../ca.key", "é" * 27, "A" * 26, "A" * 28])
async def test_a_secret_that_is_none_is_refused(run_server: Serve, ca: Path, secret: str) -> None:
    server = await run_server(ca=ca)
    peer = await stranger(server)
    reply = await peer.ask("enrol", secret=secret, csr=request(new_key()))
    assert reply["code"] == "invite"
    peer.drop()


async def test_a_request_of_no_use_does_not_spend_the_invite(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    invitation = invite(ca)
    mine, other = request(new_key()), request(new_key())
    lines, others = mine.split("\n"), other.split("\n")
    stolen = "\n".join([*lines[:-4], *others[-4:]])  # somebody else's signature
    for csr in ("", "nonsense", stolen, pem(ca)):
        assert (await redeem(server, invitation, csr or " "))["code"] == "bad-frame"
    reply = await redeem(server, invitation, mine, device="no/name")
    assert reply["code"] == "bad-name"
    user(await redeem(server, invitation, mine))
    assert issued(ca) == ["nora"]


async def test_nobody_signs_for_a_ca_whose_time_is_over_and_the_invite_stays(
    run_server: Serve, ca: Path
) -> None:
    server = await run_server(ca=ca)
    invitation = invite(ca, hours=24 * 365 * 20)
    assert server.enroller is not None
    late = dt.datetime.now(dt.UTC) + dt.timedelta(days=365 * 11)
    with pytest.raises(NoEnrolment, match="certificate has ended"):
        server.enroller.redeem(encode_secret(invitation.secret), request(new_key()), None, late)
    user(await redeem(server, invitation))


async def test_a_disk_that_cannot_be_written_gives_no_certificate_and_says_so(
    run_server: Serve, ca: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await run_server(ca=ca)

    def full(*_given: object, **_named: object) -> None:
        raise ConfigError("cannot write there: No space left on device")

    monkeypatch.setattr(Authority, "sign", full)
    reply = await redeem(server, invite(ca))
    assert reply["code"] == "no-enrolment"
    assert "space" not in reply["text"]
    assert "No space left" in caplog.text


async def test_the_secret_is_in_no_log(
    run_server: Serve, ca: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = await run_server(ca=ca)
    invitation = invite(ca)
    secret = encode_secret(invitation.secret)
    user(await redeem(server, invitation))
    assert (await redeem(server, invitation))["code"] == "invite"
    peer = await stranger(server)
    await peer.say("enrol", secret=secret, csr=7)
    assert secret not in json.dumps(await peer.expect("error", code="bad-frame"))
    peer.drop()
    assert "issued a certificate for nora" in caplog.text
    assert secret not in caplog.text
    assert secret not in repr(invitation)
    kept = b"".join(p.read_bytes() for p in ca.parent.rglob("*") if p.is_file())
    assert secret.encode() not in kept
    assert invitation.secret not in kept


# --- keys --------------------------------------------------------------------------------


async def test_a_server_without_a_key_to_sign_with_says_so(
    run_server: Serve, own_people: People, dial: Connect
) -> None:
    own_people.certificate("alice")
    own_people.authority.place.key.unlink()
    with pytest.raises(ConfigError, match="no key to sign with") as caught:
        Enroller.load(own_people.ca)
    assert "pki request" in caught.value.hint
    server = await run_server(ca=own_people.ca)
    member = await dial(server, "alice", of=own_people)
    await member.hello()
    for kind, fields in (("ca", {}), ("enrol", {"secret": "x", "csr": "y"})):
        assert (await member.ask(kind, **fields))["code"] == "no-enrolment"


async def test_a_reload_takes_the_key_away_and_brings_it_back(run_server: Serve, ca: Path) -> None:
    server = await run_server(ca=ca)
    key = ca.with_suffix(".key")
    pem = key.read_bytes()
    early = await stranger(server)
    key.unlink()
    await server.reload(server.config)
    assert (await early.ask("ca"))["code"] == "no-enrolment"
    late = await stranger(server)
    with pytest.raises(trio.BrokenResourceError):
        await late.line()
    key.write_bytes(pem)
    key.chmod(0o600)
    await server.reload(server.config)
    user(await redeem(server, invite(ca)))
    for peer in (early, late):
        peer.drop()
