"""Accounts by password, through the program: options of `join`, and inside its terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.daemon import PROGRAM, Daemon, StartDaemon
from tests.e2e.test_terminal import Terminal, running
from tests.inviting import invite
from tests.people import People

Type = Callable[..., Awaitable["subprocess.CompletedProcess[bytes]"]]

PASSWORD = "correct horse battery"


def home(tmp_path: Path, name: str) -> dict[str, str]:
    return {f"XDG_{kind}_HOME": str(tmp_path / name / kind) for kind in ("DATA", "STATE")}


@pytest.fixture
def join(tmp_path: Path) -> Type:
    """Run `join` in plain mode with a home of its own; the password comes by standard input."""

    async def run(
        server: Daemon, *words: str, of: str = "home", password: str = PASSWORD, say: str = "hello"
    ) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / of).mkdir(exist_ok=True)
        stdin = f"{password}\n{say}\n" if "--password-file" in words else f"{say}\n"
        with trio.fail_after(30):
            return await trio.run_process(
                [*PROGRAM, "join", f"localhost:{server.port}", *words, "--plain"],
                stdin=stdin.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=tmp_path / of,
                env={**os.environ, **home(tmp_path, of)},
            )

    return run


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode()


async def test_register_with_an_invite_and_log_in_on_another_machine(
    own_people: People, daemon: StartDaemon, join: Type, tmp_path: Path
) -> None:
    ca = own_people.ca
    server = await daemon(ca=ca)
    by_input = ("--password-file", "-")
    done = await join(
        server, "--register", "nora", "--invite", invite(ca, "nora").encode(), *by_input
    )
    assert done.returncode == 0, said(done)
    assert f"you are nora at localhost:{server.port}" in said(done)
    assert b"<nora> hello" in done.stdout
    assert PASSWORD not in done.stdout.decode() + said(done)
    # On another machine: with the CA, and then without anything.
    done = await join(server, "--login", "Nora", "--ca", str(ca), *by_input, of="other")
    assert done.returncode == 0, said(done)
    done = await join(server, of="other", say="again")
    assert (done.returncode, b"<nora> again" in done.stdout) == (0, True), said(done)
    # And what is remembered is enough for another login.
    done = await join(server, "--login", "nora", *by_input, of="other")
    assert done.returncode == 0, said(done)
    assert PASSWORD not in "\n".join(server.log)
    assert await anyone("another", join, server, ca) == 1
    # Another password, by whoever has the certificate and knows the present one.
    files = []
    for n, text in enumerate((PASSWORD, "battery staple")):
        files.append(tmp_path / f"password{n}")
        files[n].write_text(text)
        files[n].chmod(0o600)
    for files_given, status, sentence in (
        ((files[1], files[1]), 1, "the present password is another one"),
        ((files[0], files[1]), 0, "the password is another one now"),
    ):
        where = f"localhost:{server.port}"
        words = ("--password-file", str(files_given[0]), "--new-password-file", str(files_given[1]))
        done = await trio.run_process(
            [*PROGRAM, "passwd", where, *words],
            capture_stderr=True,
            check=False,
            env={**os.environ, **home(tmp_path, "home")},
        )
        assert (done.returncode, sentence in said(done)) == (status, True), said(done)
    assert await anyone(PASSWORD, join, server, ca) == 1


async def anyone(password: str, join: Type, server: Daemon, ca: Path) -> int:
    done = await join(
        server,
        *("--login", "nora", "--ca", str(ca), "--password-file", "-"),
        of="mallory",
        password=password,
    )
    assert "there is no such account, or the password is wrong" in said(done)
    return done.returncode


async def test_a_password_is_said_to_no_server_that_is_not_known(
    own_people: People, people: People, daemon: StartDaemon, join: Type, tmp_path: Path
) -> None:
    server = await daemon("--registration", "open", ca=own_people.ca)
    by_input = ("--password-file", "-")
    for way in ("--login", "--register"):
        done = await join(server, way, "nora", *by_input)
        assert done.returncode == 1
        assert "there is nothing to know the server at" in said(done)
        assert "--ca FILE" in said(done)
        assert "an invite" in said(done)
        done = await join(server, way, "nora", "--ca", str(people.ca), *by_input)
        assert done.returncode == 1
        assert "is not trusted" in said(done)
        foreign = invite(people.ca, "nora").encode()
        if way == "--register":
            done = await join(server, way, "nora", "--invite", foreign, *by_input)
            assert "is not the server that this invite is for" in said(done)
    # The CA where `serve` makes it will do, and is named.
    (tmp_path / "home" / "pki").mkdir()
    (tmp_path / "home" / "pki" / "ca.crt").write_bytes(own_people.ca.read_bytes())
    done = await join(server, "--register", "nora", *by_input)
    assert (done.returncode, "trusting pki/ca.crt" in said(done)) == (0, True), said(done)


async def test_a_server_under_another_name_is_given_no_password(
    own_people: People, daemon: StartDaemon, tmp_path: Path
) -> None:
    """The CA alone is not enough: it may have issued other servers' certificates."""
    ca = own_people.ca
    server = await daemon("--registration", "open", "--host", "127.0.0.1", ca=ca)
    line = [*PROGRAM, "join", f"127.0.0.2:{server.port}", "--login", "nora", "--ca", str(ca)]
    relay = await trio.open_tcp_listeners(server.port, host="127.0.0.2")

    async def pass_on(stream: trio.SocketStream) -> None:
        behind = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream, behind, trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, behind)
            await pump(behind, stream)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, pass_on, relay)
        done = await trio.run_process(
            [*line, "--password-file", "-", "--plain"],
            stdin=b"correct horse battery\n",
            capture_stderr=True,
            check=False,
            env={**os.environ, **home(tmp_path, "home")},
        )
        nursery.cancel_scope.cancel()
    assert done.returncode == 1
    assert "is not for 127.0.0.2" in done.stderr.decode()


async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_no_password_comes_from_an_argument_and_slips_are_said(
    own_people: People, daemon: StartDaemon, join: Type
) -> None:
    server = await daemon(ca=own_people.ca)
    done = await join(server, "--login", "nora", PASSWORD)
    assert done.returncode == 2
    for words, sentence in (
        (("--login", "a", "--register", "b"), "--register and --login at once"),
        (("--password-file", "-"), "--password-file is for"),
        (("--login", "a", "--cert", "x", "--key", "y"), "this gets a certificate"),
        (("--login", "a", "--ca", str(own_people.ca)), "no terminal to ask on"),
    ):
        done = await join(server, *words)
        assert (done.returncode, sentence in said(done)) == (1, True), said(done)


async def test_inside_the_client_one_registers_another_name_and_stays_who_one_is(
    own_people: People, daemon: StartDaemon, join: Type
) -> None:
    server = await daemon("--registration", "open", ca=own_people.ca)
    alice = own_people.certificate("alice")
    own = ("--cert", str(alice.crt), "--key", str(alice.key))
    done = await join(server, *own, say=f"/register alice {PASSWORD}")
    assert "is somebody here already" in said(done)
    done = await join(server, *own, say="/register zoe")
    assert "no password was given; nothing was sent" in said(done)
    done = await join(server, *own, say=f"/register Zoe {PASSWORD}\nstill me")
    assert "you have a certificate for Zoe now, and are still alice here" in said(done)
    assert b"<alice> still me" in done.stdout
    assert PASSWORD not in done.stdout.decode() + said(done) + "\n".join(server.log)
    done = await join(server, say="hello")
    assert b"<Zoe> hello" in done.stdout, said(done)


def test_in_the_terminal_a_password_is_neither_shown_nor_kept(
    own_people: People, tmp_path: Path
) -> None:
    pytest.importorskip("pexpect")
    ca, environment = own_people.ca, {**home(tmp_path, "home"), "NO_COLOR": "1"}
    alice = own_people.certificate("alice")
    with running(own_people, tmp_path, "--plain") as server:
        where = f"localhost:{server.port}"
        words = [*PROGRAM, "join", where, "--invite", invite(ca, "nora").encode()]
        terminal = Terminal.start(*words, "--register", "nora", "--room", "room0", **environment)
        terminal.until("Password of nora:")
        terminal.type(f"{PASSWORD}\r")
        terminal.until("The same again:")
        terminal.type(f"{PASSWORD}\r")
        terminal.until("room0 (plain)")
        assert PASSWORD not in "\n".join(terminal.scrollback)
        terminal.type("/quit\r")
        assert terminal.end() == 0

        words = [*PROGRAM, "join", where, "--cert", str(alice.crt), "--key", str(alice.key)]
        terminal = Terminal.start(*words, "--room", "room0", **environment)
        terminal.until("room0 (plain)")
        terminal.type("/login nora wrong-horse")  # as the ancestor had it
        terminal.until("/login nora ***********")
        terminal.type("\r")
        terminal.until("the password is wrong")
        terminal.type("/login nora\r")
        terminal.until("the password of nora:")
        terminal.type(PASSWORD)
        terminal.until("the password of nora: *****")
        terminal.type("\r")
        terminal.until("you have a certificate for nora now")
        shown = "\n".join(terminal.scrollback)
        terminal.type("/quit\r")
        assert terminal.end() == 0
        assert PASSWORD not in shown
        assert "wrong-horse" not in shown
    history = (tmp_path / "home" / "STATE" / "trio-chat" / "history").read_text()
    assert "/quit" in history
    assert "horse" not in history
