"""`admin.sock`: who may open it, what a dead server leaves, and whatever is written into it."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.peer import Connect
from trio_chat.server import Server, admin_socket, desk, open_admin_socket, serve_admin
from trio_chat.server.desk import Desk, Tools
from trio_chat.server.orders import Status

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")

Raw = Callable[[bytes], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
async def running(server: Server, path: Path, nursery: trio.Nursery) -> AsyncIterator[Desk]:
    """A server that takes orders."""
    tools = Tools(configure=lambda: server.config, revoke=lambda _what, _pem: [])
    where = Desk(server, tools, nursery)
    with open_admin_socket(path) as sock:
        assert sock is not None
        await nursery.start(serve_admin, where, sock)
        yield where


@pytest.fixture
def say(running: Desk, path: Path) -> Raw:
    """Write some bytes, close that side, and return every answer until the end."""

    async def ask(data: bytes) -> list[dict[str, Any]]:
        with trio.fail_after(5):
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(data)
                await stream.send_eof()
                found = b"".join([bytes(part) async for part in stream])
        return [json.loads(line) for line in found.splitlines()]

    return ask


def order(command: str, **arguments: Any) -> bytes:
    return json.dumps({"admin": 1, "command": command, "arguments": arguments}).encode() + b"\n"


# --- the file --------------------------------------------------------------------------------


def test_only_its_owner_can_open_it_and_it_is_gone_afterwards(path: Path) -> None:
    with open_admin_socket(path):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_what_a_dead_server_left_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    old = path.stat().st_ino
    with open_admin_socket(path) as sock:
        assert sock is not None
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        client.close()
    assert old
    assert not path.exists()


def test_that_of_a_live_server_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_admin_socket(path):
        before = path.stat().st_ino
        with open_admin_socket(path) as second:
            assert second is None
        assert path.stat().st_ino == before
        assert "without `trio-chat admin`: another server listens at" in caplog.text
    with open_admin_socket(path) as sock:
        assert sock is not None


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(
    path: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
    with open_admin_socket(path) as sock:
        assert sock is None
    assert "is no socket" in caplog.text
    assert os.path.lexists(path)


def test_where_it_cannot_be_made_there_is_none_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_admin_socket(tmp_path / "no" / "admin.sock") as sock:
        assert sock is None
    assert "No such file or directory" in caplog.text


def test_a_long_path_is_reached_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with open_admin_socket(folder / "admin.sock") as sock:
        assert sock is None
    assert "File name too long" in caplog.text
    monkeypatch.chdir(folder)
    with open_admin_socket(folder / "admin.sock") as sock:
        assert sock is not None
        assert (folder / "admin.sock").is_socket()


def test_a_system_without_unix_sockets_has_none(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with open_admin_socket(path) as sock:
        assert sock is None
    assert "no unix sockets" in caplog.text


# --- what is said over it --------------------------------------------------------------------


async def test_each_order_has_its_answer_in_turn(say: Raw) -> None:
    first, second, third = await say(
        order("announce", text="hi") + order("kick", who="nobody") + order("audit")
    )
    assert first == {"admin": 1, "ok": True, "result": {"told": 0}}
    assert second["ok"] is False
    assert (second["code"], second["hint"]) == ("no-user", "")
    assert [each["actor"] for each in third["result"]["entries"]] == [f"uid {os.geteuid()}"] * 4


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", "bad-frame"),
        (b"status\n", "bad-frame"),
        (b"[1]\n", "bad-frame"),
        (b"\xff\xfe\n", "bad-frame"),
        (b"[" * 100_000 + b"\n", "bad-frame"),
        (b"{}\n", "protocol"),
        (b'{"admin":2,"command":"status"}\n', "protocol"),
        (b'{"admin":1}\n', "unknown-type"),
        (b'{"admin":1,"command":["a"]}\n', "unknown-type"),
        (b'{"admin":1,"command":"kick","arguments":[]}\n', "bad-frame"),
        (b'{"admin":1,"command":"kick","arguments":{"who":"\\ud800"}}\n', "bad-frame"),
    ],
)
async def test_what_is_no_order_is_refused_and_the_next_one_is_heard(
    say: Raw, line: bytes, code: str
) -> None:
    refused, told = await say(line + order("status"))
    assert (refused["ok"], refused["code"]) == (False, code)
    assert told["ok"]


async def test_a_line_that_never_ends_is_refused(say: Raw) -> None:
    (refused,) = await say(b" " * (256 * 1024 + 1))
    assert "may have 262144 bytes" in refused["text"]


async def test_another_user_is_refused(
    say: Raw, running: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.desk.Desk.do", pytest.fail)
    monkeypatch.setattr(admin_socket, "_peer_uid", lambda _sock: os.geteuid() + 4711)
    (refused,) = await say(b"")
    assert (refused["ok"], refused["code"]) == (False, "forbidden")


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not tell")
def test_whose_the_other_end_is_comes_from_the_system() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        found = admin_socket._peer_uid(trio.socket.from_stdlib_socket(one))
    assert found == os.geteuid()


async def test_a_defect_ends_nothing_but_its_connection(
    say: Raw, running: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setitem(desk.HANDLERS, Status, broken)
        (answer,) = await say(order("status"))
    assert (answer["ok"], answer["text"]) == (False, "internal error")
    assert "ZeroDivisionError" in caplog.text
    (answer,) = await say(order("status"))
    assert answer["ok"]


async def test_what_was_ordered_happens_though_nobody_waits_for_the_answer(
    running: Desk, path: Path, enter: Connect
) -> None:
    alice = await enter(running.server, "alice")
    stream = await trio.open_unix_socket(path)
    await stream.send_all(order("drain"))
    await stream.aclose()
    assert (await alice.rest())[-1]["reason"] == "shutdown"
    with trio.fail_after(5):
        await running.server.stopped.wait()


async def test_one_who_says_nothing_holds_up_nobody(running: Desk, path: Path, say: Raw) -> None:
    async with await trio.open_unix_socket(path), await trio.open_unix_socket(path) as half:
        await half.send_all(b'{"admin":1,')
        (answer,) = await say(order("status"))
        assert answer["ok"]
