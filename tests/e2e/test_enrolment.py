"""Enrolment through the installed program: `invite`, `join --invite`, and what goes wrong."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.daemon import PROGRAM, Daemon, StartDaemon
from tests.inviting import invite, new_key, redeem
from tests.peer import Frame
from tests.people import People
from trio_chat.files import create_private
from trio_chat.identity import client_identity, key_fingerprint
from trio_chat.invitation import Invitation, encode_secret
from trio_chat.pki import Place, list_issued, read_certificate
from trio_chat.pki.keys import dump_key

Type = Callable[..., Awaitable["subprocess.CompletedProcess[bytes]"]]

# A server that dies between spending an invite and signing for it.
DYING = """
import os, signal, sys
from trio_chat.pki import Authority
Authority.sign = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)
from trio_chat.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def type_in(tmp_path: Path) -> Type:
    """Run the program with a home of its own: `await type_in("join", ..., home="bob")`."""

    async def run(
        *words: str, home: str = "home", stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        places = {f"XDG_{kind}_HOME": str(tmp_path / home / kind) for kind in ("DATA", "STATE")}
        with trio.fail_after(30):
            return await trio.run_process(
                [*PROGRAM, *words],
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=cwd,
                env={**os.environ, **places},
            )

    return run


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()


async def ask_for_invite(type_in: Type, ca: Path, *words: str) -> list[str]:
    """Type `invite`, and return the words of the line that it prints."""
    done = await type_in("invite", *words, "--ca", str(ca))
    assert done.returncode == 0, said(done)
    (line,) = done.stdout.decode().splitlines()
    program, *rest = shlex.split(line)
    assert program == "trio-chat"
    assert rest[0] == "join"
    return rest


def people_of(ca: Path) -> list[str]:
    return [entry.name for entry in list_issued(Place(ca)) if entry.kind == "client"]


def kept(tmp_path: Path, name: str, home: str = "home") -> Path:
    (found,) = (tmp_path / home).rglob(name)
    return found


async def test_one_line_invites_and_one_joins_and_then_the_address_is_enough(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    ca = own_people.ca
    server = await daemon("--room", "ops", ca=ca)
    line = await ask_for_invite(type_in, ca, "nora", "--room", "ops")
    assert line[1] == f"localhost:{server.port}"
    done = await type_in(*line, "--plain", stdin=b"hello from nora\n")
    assert done.returncode == 0, said(done)
    assert f"you are nora at localhost:{server.port}" in said(done)
    assert b"hello from nora" in done.stdout
    assert "you are in ops now" in said(done)

    key = kept(tmp_path, "own.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    certificate = read_certificate(key.with_suffix(".crt"))
    assert client_identity(certificate).user == "nora"

    again = await type_in("join", f"localhost:{server.port}", "--room", "ops", "--plain")
    assert again.returncode == 0, said(again)
    sent = await type_in("send", f"localhost:{server.port}", "--room", "ops", "by script")
    assert sent.returncode == 0, said(sent)
    elsewhere = await type_in("join", f"127.0.0.1:{server.port}", "--plain")
    assert elsewhere.returncode == 1
    assert "none is remembered for 127.0.0.1" in said(elsewhere)
    assert people_of(ca) == ["nora"]


async def test_the_token_can_come_on_standard_input_before_the_lines(
    own_people: People, daemon: StartDaemon, type_in: Type
) -> None:
    await daemon(ca=own_people.ca)
    *line, token = await ask_for_invite(type_in, own_people.ca, "nora")
    done = await type_in(*line, "-", "--plain", stdin=f"{token}\nfirst line\n".encode())
    assert done.returncode == 0, said(done)
    assert b"first line" in done.stdout
    assert token.encode() not in done.stdout + done.stderr


async def test_of_two_programs_with_one_invite_one_gets_a_certificate(
    own_people: People, daemon: StartDaemon, type_in: Type
) -> None:
    await daemon(ca=own_people.ca)
    line = await ask_for_invite(type_in, own_people.ca, "nora")
    results: list[subprocess.CompletedProcess[bytes]] = []

    async def join(home: str) -> None:
        results.append(await type_in(*line, "--plain", home=home))

    async with trio.open_nursery() as nursery:
        for home in ("one", "two"):
            nursery.start_soon(join, home)
    winner, loser = sorted(results, key=lambda done: done.returncode)
    assert (winner.returncode, loser.returncode) == (0, 1), said(winner) + said(loser)
    assert "this invite was used already" in said(loser)
    assert people_of(own_people.ca) == ["nora"]


async def test_the_same_line_again_on_the_same_machine_is_no_mistake(
    own_people: People, daemon: StartDaemon, type_in: Type
) -> None:
    await daemon(ca=own_people.ca)
    line = await ask_for_invite(type_in, own_people.ca, "nora")
    for _ in range(2):
        done = await type_in(*line, "--plain")
        assert done.returncode == 0, said(done)
    assert people_of(own_people.ca) == ["nora"]


async def test_who_did_not_get_the_answer_types_the_line_again(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    await daemon(ca=own_people.ca)
    line = await ask_for_invite(type_in, own_people.ca, "nora")
    assert (await type_in(*line, "--plain")).returncode == 0
    certificate = kept(tmp_path, "own.crt")
    before = certificate.read_bytes()
    certificate.unlink()  # as if the connection had broken before it came
    kept(tmp_path, "current").unlink()
    done = await type_in(*line, "--plain")
    assert done.returncode == 0, said(done)
    assert certificate.read_bytes() == before
    assert people_of(own_people.ca) == ["nora"]


async def test_spent_expired_foreign_and_tampered_tokens_are_refused_in_plain_words(
    own_people: People, people: People, daemon: StartDaemon, type_in: Type
) -> None:
    ca = own_people.ca
    server = await daemon(ca=ca)
    join = ("join", f"localhost:{server.port}", "--plain", "--invite")
    spent = invite(ca)
    assert (await redeem(server, spent))["type"] == "enrolled"
    good = invite(ca)
    text = good.encode()
    other = "A" if text[-3] != "A" else "B"
    cases = {
        spent.encode(): "this invite was used already",
        invite(ca, hours=-1).encode(): "this invite expired on ",
        invite(people.ca).encode(): "is not the server that this invite is for",
        f"{text[:-3]}{other}{text[-2:]}": "that is no invite",
        text[:-1]: "that is no invite",
        "": "that is no invite",
        Invitation(good.ca, bytes(20)).encode(): "does not know this invite",
        Invitation(bytes(32), good.secret).encode(): "is not the server that this invite is for",
    }
    for token, words in cases.items():
        done = await type_in(*join, token)
        assert done.returncode == 1
        assert f"trio-chat: error: {words}" in said(done) or words in said(done).split("\n")[0]
        assert "Traceback" not in said(done)
        if token:
            assert token not in said(done)
    assert people_of(ca) == ["nora"]
    done = await type_in(*join, text)  # none of that has spent the good one
    assert done.returncode == 0, said(done)


async def test_a_server_killed_between_spending_and_signing_issues_no_second_certificate(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    ca = own_people.ca
    words = ["serve", "--ca", str(ca), "--db", str(tmp_path / "chat.db"), "--port", "0"]
    dying = await trio.lowlevel.open_process([sys.executable, "-c", DYING, *words], stderr=PIPE)
    running = Daemon(dying)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.collect)
        running.port = int((await running.logged(r"listening on .*:(\d+)$"))[1])
        line = await ask_for_invite(type_in, ca, "nora")
        done = await type_in(*line, "--plain")
        assert done.returncode == 1
        assert await running.ended() == -signal.SIGKILL
    assert people_of(ca) == []
    server = await daemon(ca=ca)
    line[1] = f"localhost:{server.port}"
    done = await type_in(*line, "--plain")
    assert done.returncode == 1
    assert "this invite was used already" in said(done)
    assert people_of(ca) == []


# --- the server is not who it should be --------------------------------------------------


@attrs.frozen
class Impostor:
    """What listens where the server should be, and what it was told."""

    port: int
    heard: list[bytes] = attrs.field(factory=list)

    @property
    def frames(self) -> list[Frame]:
        return [json.loads(line) for line in b"".join(self.heard).splitlines()]


@pytest.fixture
async def impostor(nursery: trio.Nursery) -> Callable[..., Awaitable[Impostor]]:
    """Answer everything with a CA's certificate: `await impostor(cert, key, ca)`."""

    async def start(cert: Path, key: Path, ca: Path) -> Impostor:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["trio-chat/1"])
        context.load_cert_chain(cert, key)
        pem = read_certificate(ca).public_bytes(Encoding.PEM).decode()
        told = json.dumps({"type": "ca", "certificate": pem, "id": "1"})

        async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                async for data in stream:
                    found.heard.append(bytes(data))
                    await stream.send_all(told.encode() + b"\n")

        serve = partial(trio.serve_ssl_over_tcp, answer, 0, context, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        found = Impostor(listener.transport_listener.socket.getsockname()[1])
        return found

    return start


async def test_who_answers_with_another_ca_learns_nothing(
    own_people: People, people: People, type_in: Type, impostor: Callable[..., Awaitable[Impostor]]
) -> None:
    """A man in the middle: he has a CA of his own, and a certificate for the right name."""
    found = await impostor(people.folder / "server.crt", people.folder / "server.key", people.ca)
    token = invite(own_people.ca).encode()
    done = await type_in("join", f"localhost:{found.port}", "--invite", token, "--plain")
    assert done.returncode == 1
    assert "is not the server that this invite is for" in said(done)
    assert "somebody may stand between you and the server" in said(done)
    assert found.frames == [{"type": "ca", "id": "1"}]


async def test_who_passes_the_right_ca_on_without_being_of_it_does_not_get_the_secret(
    own_people: People, people: People, type_in: Type, impostor: Callable[..., Awaitable[Impostor]]
) -> None:
    found = await impostor(
        people.folder / "server.crt", people.folder / "server.key", own_people.ca
    )
    token = invite(own_people.ca).encode()
    done = await type_in("join", f"localhost:{found.port}", "--invite", token, "--plain")
    assert done.returncode == 1
    assert "certificate is not trusted" in said(done)
    assert found.frames == [{"type": "ca", "id": "1"}]


async def test_a_member_s_certificate_does_not_make_a_server_to_enrol_at(
    own_people: People, type_in: Type, impostor: Callable[..., Awaitable[Impostor]]
) -> None:
    """Not even one that OpenSSL would take for a server's: it has no usage at all."""
    mallory = without_usage(own_people)
    found = await impostor(*mallory, own_people.ca)
    token = invite(own_people.ca).encode()
    done = await type_in("join", f"localhost:{found.port}", "--invite", token, "--plain")
    assert done.returncode == 1
    assert "somebody may be posing as the server" in said(done)
    assert found.frames == [{"type": "ca", "id": "1"}]


def without_usage(people: People) -> tuple[Path, Path]:
    """Make a certificate as plain `openssl` does: for anything."""
    key, authority = new_key(), people.authority
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mallory")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    crt = people.folder / "plain.crt"
    crt.write_bytes(certificate.public_bytes(Encoding.PEM))
    create_private(crt.with_suffix(".key"), dump_key(key))
    return crt, crt.with_suffix(".key")


async def test_an_address_that_the_server_does_not_know_of_is_taken_once_and_its_key_pinned(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    ca = own_people.ca
    server = await daemon(ca=ca)
    token = invite(ca).encode()
    where = f"127.1:{server.port}"  # the same address, spelled as no certificate has it
    done = await type_in("join", where, "--invite", token, "--plain")
    assert done.returncode == 0, said(done)
    assert "the server's certificate is not for 127.1; its key is remembered instead" in said(done)
    pin = json.loads(kept(tmp_path, "current").read_bytes())["pin"]
    assert pin == key_fingerprint(read_certificate(own_people.folder / "server.crt"))
    again = await type_in("join", where, "--plain")
    assert again.returncode == 0, said(again)
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0
    for name in ("server.crt", "server.key"):
        (own_people.folder / name).unlink()
    own_people.authority.issue_server(["localhost"])
    server = await daemon("--port", str(server.port), ca=ca)
    changed = await type_in("join", where, "--plain")
    assert changed.returncode == 1
    assert "not the pinned one" in said(changed)


# --- inviting ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["god", "Server", "admin", "CA", "-x", "a b", "", "аlice", "x" * 33, "../bob"]
)
async def test_nobody_is_invited_by_a_reserved_or_a_weak_name(
    own_people: People, type_in: Type, name: str
) -> None:
    done = await type_in("invite", "--ca", str(own_people.ca), "--", name)
    assert done.returncode == 1
    assert "trio-chat: error: " in said(done)
    assert done.stdout == b""
    assert not own_people.authority.place.invites.exists()


async def test_without_a_key_to_sign_with_the_way_by_request_is_shown_and_works(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    place = own_people.authority.place
    key = place.key.read_bytes()
    place.key.unlink()
    done = await type_in("invite", "nora", "--ca", str(place.ca))
    assert done.returncode == 1
    assert "the server has no key to sign with" in said(done)
    assert "trio-chat pki request NAME" in said(done)
    server = await daemon(ca=place.ca)
    place.key.write_bytes(key)  # on another machine, in truth
    place.key.chmod(0o600)
    token = invite(place.ca).encode()
    done = await type_in("join", f"localhost:{server.port}", "--invite", token, "--plain")
    assert done.returncode == 1
    assert "this server issues no certificates by invite" in said(done)
    mine = tmp_path / "mine"
    assert (await type_in("pki", "request", "nora", "--out", str(mine))).returncode == 0
    words = ("pki", "sign", str(mine / "nora.csr"), "nora", "--ca", str(place.ca))
    done = await type_in(*words, "--out", str(mine))
    assert done.returncode == 0, said(done)
    names = {f"--{kind}": mine / f"nora.{end}" for kind, end in (("cert", "crt"), ("key", "key"))}
    pairs = [str(word) for pair in names.items() for word in pair]
    where = f"localhost:{server.port}"
    done = await type_in("join", where, *pairs, "--ca", str(place.ca), "--plain")
    assert done.returncode == 0, said(done)


async def test_with_an_intermediate_the_root_s_key_can_be_elsewhere(
    own_people: People, daemon: StartDaemon, type_in: Type, tmp_path: Path
) -> None:
    place = own_people.authority.place
    done = await type_in("pki", "init", "--intermediate", "--ca", str(place.ca))
    assert done.returncode == 0, said(done)
    place.key.rename(tmp_path / "in-a-safe")
    server = await daemon(ca=place.ca)
    line = await ask_for_invite(type_in, place.ca, "nora", "--bot")
    done = await type_in(*line, "--plain")
    assert done.returncode == 0, said(done)
    assert kept(tmp_path, "own.crt").read_text().count("BEGIN CERTIFICATE") == 2
    done = await type_in("pki", "revoke", "nora", "--ca", str(place.ca))
    assert done.returncode == 0, said(done)
    with trio.fail_after(10):
        while True:
            done = await type_in("join", f"localhost:{server.port}", "--plain")
            if done.returncode:
                break
    assert "this certificate has been revoked" in said(done)


async def test_the_secret_is_in_no_log_and_in_no_file_of_the_server(
    own_people: People, daemon: StartDaemon, type_in: Type
) -> None:
    server = await daemon("--verbose", ca=own_people.ca)
    *line, token = await ask_for_invite(type_in, own_people.ca, "nora")
    secret = Invitation.decode(token).secret
    done = await type_in(*line, token, "--plain", "--debug")
    assert done.returncode == 0, said(done)
    await server.logged("issued a certificate for nora")
    for form in (token, encode_secret(secret), secret.hex()):
        assert form not in "\n".join(server.log) + said(done)
        for path in own_people.folder.rglob("*"):
            assert not path.is_file() or form.encode() not in path.read_bytes()
    assert re.search("you are nora", said(done))
