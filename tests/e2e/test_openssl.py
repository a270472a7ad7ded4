"""Plain `openssl` and trustme as clients and as makers of certificates."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trio
import trustme

from tests.conftest import Serve
from tests.daemon import StartDaemon
from tests.peer import Connect, Frame, Peer
from tests.people import People
from trio_chat.pki import Authority
from trio_chat.server import Server
from trio_chat.tls import client_context

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


def openssl(*words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout.decode()


def plain_certificate(people: People, folder: Path, subject: str, *options: object) -> Path:
    """What people type: genrsa, req, x509; RSA-2048, no extensions at all."""
    key, csr, crt = folder / "plain.key", folder / "plain.csr", folder / "plain.crt"
    openssl("genrsa", "-out", key, 2048)
    openssl("req", "-new", "-key", key, "-subj", subject, "-out", csr)
    ca = people.ca
    openssl(
        *("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca.with_suffix(".key")),
        *("-CAcreateserial", "-CAserial", folder / "ca.srl", "-out", crt),
        *(options or ("-days", 365)),
    )
    key.chmod(0o600)
    return crt


async def connect(server: Server, people: People, crt: Path) -> Peer:
    return await Peer.connect(
        server.port, client_context(crt, crt.with_suffix(".key"), ca=people.ca)
    )


async def test_a_certificate_of_plain_openssl_commands_joins(
    server: Server, people: People, tmp_path: Path
) -> None:
    crt = plain_certificate(
        people, tmp_path, "/C=ES/ST=Galicia/L=Vigo/O=ChatTerm/OU=ChatTermUnit/CN=uxia"
    )
    peer = await connect(server, people, crt)
    welcome = await peer.hello()
    assert (welcome["user"], welcome["roles"]) == ("uxia", [])
    await peer.enter("lobby")
    await peer.post("lobby", "ola")
    await peer.expect("message", from_="uxia", text="ola")
    peer.drop()


@pytest.mark.parametrize(
    ("subject", "code"),
    [("/CN=god", "bad-name"), ("/O=nobody", "certificate"), ("/CN=a b", "bad-name")],
)
async def test_a_certificate_that_names_nobody_fit_is_refused_in_words(
    server: Server, people: People, tmp_path: Path, subject: str, code: str
) -> None:
    peer = await connect(server, people, plain_certificate(people, tmp_path, subject))
    (frame,) = await peer.rest()
    assert (frame["type"], frame["code"]) == ("error", code)
    peer.drop()


async def test_a_certificate_of_trustme_joins(
    run_server: Serve, tmp_path: Path, own_people: People
) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert(common_name="trusty", key_type=trustme.KeyType.ECDSA)
    crt, key = tmp_path / "t.crt", tmp_path / "t.key"
    cert.cert_chain_pems[0].write_to_path(crt)
    cert.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    both = own_people.folder / "both.crt"
    both.write_bytes(own_people.ca.read_bytes() + ca.cert_pem.bytes())
    server = await run_server(ca=both)
    peer = await connect(server, own_people, crt)
    assert (await peer.hello())["user"] == "trusty"
    peer.drop()


async def refused(server: Server, context: ssl.SSLContext) -> str:
    """Connect with a certificate that fails, and return the alert that the peer gets."""
    peer = await Peer.connect(server.port, context)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await peer.line()
    peer.drop()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    return str(caught.value.__cause__.reason)


async def test_another_cas_certificate_is_refused_with_an_alert(
    server: Server, people: People, own_people: People
) -> None:
    eve = own_people.certificate("alice")
    assert eve.key is not None
    context = client_context(eve.crt, eve.key, ca=people.ca)
    assert await refused(server, context) == "TLSV1_ALERT_UNKNOWN_CA"


async def test_an_expired_certificate_is_refused_with_an_alert(
    run_server: Serve, tmp_path: Path
) -> None:
    then = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)
    authority = Authority.create(tmp_path / "old" / "ca.crt", now=then)
    authority.issue_server(["localhost"])
    old = authority.issue_client("olga", days=1, now=then)
    server = await run_server(ca=authority.place.ca)
    assert old.key is not None
    context = client_context(old.crt, old.key, ca=authority.place.ca)
    assert await refused(server, context) == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


async def test_without_a_certificate_there_is_an_alert_where_nobody_can_enrol(
    run_server: Serve, own_people: People
) -> None:
    own_people.authority.place.key.unlink()
    server = await run_server(ca=own_people.ca)
    context = ssl.create_default_context(cafile=own_people.ca)
    assert await refused(server, context) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


async def test_a_servers_certificate_is_no_clients(server: Server, people: People) -> None:
    folder = people.folder
    context = client_context(folder / "server.crt", folder / "server.key", ca=people.ca)
    assert await refused(server, context) == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"


async def test_tls_1_2_is_refused(server: Server, people: People) -> None:
    issued = people.certificate("alice")
    context = ssl.create_default_context(cafile=people.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert issued.key is not None
    context.load_cert_chain(issued.crt, issued.key)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await Peer.connect(server.port, context)
    assert "PROTOCOL_VERSION" in str(caught.value.__cause__)


class Terminal:
    """`openssl s_client`, typed into and read from."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._part = b""
        self._said = b""

    @classmethod
    async def start(cls, port: int, people: People, name: str, *options: str) -> Terminal:
        issued = people.certificate(name)
        words = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}"),
            *("-CAfile", str(people.ca), "-cert", str(issued.crt), "-key", str(issued.key)),
            *options,
        ]
        pipe = subprocess.PIPE
        return cls(await trio.lowlevel.open_process(words, stdin=pipe, stdout=pipe, stderr=pipe))

    async def type(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def new_keys(self, letter: str) -> None:
        """Update the keys: `k` one's own, `K` both sides'; read what it says about it."""
        await self.type(letter)
        assert self.process.stderr is not None
        with trio.fail_after(20):
            while b"KEYUPDATE" not in self._said:
                self._said += await self.process.stderr.receive_some()
        self._said = b""

    async def frame(self, kind: str) -> Frame:
        """The next frame of that type; what s_client says itself is passed over."""
        assert self.process.stdout is not None
        with trio.fail_after(20):
            while True:
                line, newline, rest = self._part.partition(b"\n")
                if not newline:
                    more = await self.process.stdout.receive_some()
                    assert more, "openssl has ended"
                    self._part += more
                    continue
                self._part = rest
                start = line.find(b'{"type":')
                if start >= 0:
                    found: Frame = json.loads(line[start:])
                    if found["type"] == kind:
                        return found

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            await pipe.aclose()


async def test_s_client_quiet_is_a_client(
    daemon: StartDaemon, people: People, enter: Connect
) -> None:
    running = await daemon()
    bob = await enter(running, "bob")
    typed = await Terminal.start(running.port, people, "alice", "-quiet")
    await typed.type('{"type":"hello","protocol":1,"client":"openssl s_client"}')
    assert (await typed.frame("welcome"))["user"] == "alice"
    await typed.type('{"type":"join","id":"1","room":"lobby"}')
    assert (await typed.frame("joined"))["count"] == 2
    await typed.type('{"type":"send","room":"lobby","n":1,"text":"by hand"}')
    assert (await typed.frame("message"))["text"] == "by hand"
    await bob.until("message", from_="alice", text="by hand")
    await bob.post("lobby", "hello, openssl")
    assert (await typed.frame("message"))["from"] == "bob"
    await typed.end()


async def test_key_updates_between_messages_are_taken_and_given(
    server: Server, people: People, enter: Connect
) -> None:
    bob = await enter(server, "bob")
    typed = await Terminal.start(server.port, people, "alice")
    await typed.type('{"type":"hello","protocol":1,"client":"s_client"}')
    await typed.frame("welcome")
    await typed.type('{"type":"join","id":"1","room":"lobby"}')
    await typed.frame("joined")
    for number in range(1, 4):
        await typed.new_keys("K")
        await typed.type(f'{{"type":"send","room":"lobby","n":{number},"text":"{number}"}}')
        assert (await typed.frame("message"))["n"] == number
        await typed.new_keys("k")
        await bob.until("message", n=number)
        await bob.post("lobby", f"answer {number}")
        assert (await typed.frame("message"))["text"] == f"answer {number}"
    await typed.end()
