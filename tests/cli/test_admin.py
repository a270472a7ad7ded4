"""`trio-chat admin`, the program, with a real server."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.daemon import PROGRAM, Daemon, StartDaemon, run_daemon
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.cli import admin_client
from trio_chat.cli.admin import _ACTIONS
from trio_chat.pki import Authority

PATIENCE = 30.0  # s


@attrs.frozen
class Told:
    """What a command has said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Admin = Callable[..., Awaitable[Told]]


@pytest.fixture
def admin(own_people: People) -> Admin:
    """Run `trio-chat admin` for the server of this test's CA."""

    async def run(command: str, *words: str, ca: Path | None = None, stdin: bytes = b"") -> Told:
        line = [*PROGRAM, "admin", command, "--ca", str(ca or own_people.ca), *words]
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                line, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
            )
        return Told(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
async def running(daemon: StartDaemon, own_people: People) -> Daemon:
    return await daemon(ca=own_people.ca)


# --- reaching it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in ("status", "tree", "rooms", "users", "drain", "reload", "audit")),
        *(["lockdown"], ["unlock"]),
        *(["kick", "bob"], ["announce", "hi"], ["revoke", "bob"], ["backup", "b"]),
    ],
    ids=" ".join,
)
async def test_without_a_server_each_command_says_so_with_a_hint(
    admin: Admin, words: list[str]
) -> None:
    told = await admin(*words)
    assert told.status == 69
    assert told.out == ""
    assert told.err.startswith("trio-chat: error: no server answers at ")
    assert "trio-chat: hint: start it with trio-chat serve" in told.err


async def test_a_killed_server_is_none_and_the_next_one_takes_its_place(
    admin: Admin, running: Daemon, daemon: StartDaemon, own_people: People
) -> None:
    running.signal(signal.SIGKILL)
    await running.ended()
    told = await admin("status")
    assert (told.status, "Connection refused" in told.err) == (69, True)
    await daemon(ca=own_people.ca)
    assert (await admin("status")).status == 0


async def test_a_second_server_with_the_same_ca_leaves_the_socket_to_the_first(
    running: Daemon, nursery: trio.Nursery, own_people: People, tmp_path: Path, admin: Admin
) -> None:
    second: Daemon = await nursery.start(run_daemon, own_people.ca, tmp_path / "other.db")
    await second.logged("runs without `trio-chat admin`: another server listens at")
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0
    assert (await admin("status", "--json")).json["pid"] == running.process.pid


async def test_the_socket_is_private_and_gone_afterwards(
    running: Daemon, own_people: People
) -> None:
    path = own_people.folder / "admin.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    running.signal(signal.SIGTERM)
    assert await running.ended() == 0
    assert not path.exists()


def test_a_refusal_by_the_server_has_its_own_status() -> None:
    with pytest.raises(admin_client.NotPermitted) as caught:
        admin_client._result({"ok": False, "code": "forbidden", "text": "no"})
    assert caught.value.exit_status == 77


def test_a_server_that_is_stuck_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(admin_client, "_PATIENCE", 0.01)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "admin.sock"))
        sock.listen()
        with (
            admin_client.Talk(tmp_path / "ca.crt") as talk,
            pytest.raises(admin_client.NotRunning, match="has not answered"),
        ):
            talk.ask("status")


def test_a_system_without_unix_sockets_is_told_so_with_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("socket.AF_UNIX")
    with pytest.raises(admin_client.NotRunning, match="no unix sockets") as caught:
        admin_client.Talk(tmp_path / "ca.crt")
    assert "pki revoke" in caught.value.hint


async def test_from_afar_with_an_admin_s_certificate_and_with_no_other(
    running: Daemon, admin: Admin, own_people: People, tmp_path: Path
) -> None:
    root = own_people.authority.issue_client("root", admin=True)
    alice = own_people.authority.issue_client("alice")
    where = ("--at", f"localhost:{running.port}")
    line = [*PROGRAM, "admin", "status", *where, "--cert", str(root.crt), "--key", str(root.key)]
    done = await trio.run_process(line, capture_stdout=True)  # the CA is beside the certificate
    assert b"durability full" in done.stdout
    own, others = (("--cert", str(who.crt), "--key", str(who.key)) for who in (root, alice))
    told = await admin("status", *where, *own, "--json")
    assert (told.status, told.json["pid"]) == (0, running.process.pid), told.err
    told = await admin("status", *where, *others)
    assert (told.status, "only certificates with the admin role" in told.err) == (77, True)
    told = await admin("revoke", str(alice.crt), *where, *own)
    assert (told.status, told.err) == (0, "revoked; ended 0 connections\n")
    told = await admin("backup", str(tmp_path / "copy.db"), *where, *own)
    assert (told.status, told.out) == (0, f"{tmp_path / 'copy.db'}\n")
    told = await admin("drain", *where, *own)
    assert (told.status, told.err) == (0, "draining\n")
    assert await running.ended() == 0
    told = await admin("status", *where, *own)
    assert told.status == 69
    told = await admin("status", *where)
    assert (told.status, "--cert is missing" in told.err) == (1, True)


@pytest.mark.parametrize("role", ["member", "bot"])
async def test_from_afar_whoever_is_no_admin_is_forbidden_every_command(
    running: Daemon, admin: Admin, own_people: People, tmp_path: Path, role: str
) -> None:
    who = own_people.authority.issue_client("mallory", bot=role == "bot")
    where = ("--at", f"localhost:{running.port}", "--cert", str(who.crt), "--key", str(who.key))
    words = {
        **dict.fromkeys(("kick", "ban", "unban", "mute", "unmute"), ("mallory",)),
        "announce": ("hello",),
        "revoke": ("mallory",),
        "backup": (str(tmp_path / "copy.db"),),
    }
    commands = set(_ACTIONS) - {"check"}  # that one asks no server
    for command in sorted(commands):
        told = await admin(command, *words.get(command, ()), *where)
        assert (told.status, "only certificates with the admin role" in told.err) == (77, True)
    told = await admin("audit", "verify", *where)
    assert told.status == 77
    assert not (tmp_path / "copy.db").exists()
    assert (await admin("audit", "--json")).json == []


# --- looking --------------------------------------------------------------------------------


async def test_status_as_text_and_as_json(running: Daemon, admin: Admin, dial: Connect) -> None:
    told = await admin("status")
    assert told.status == 0
    labels = [line.split()[0] for line in told.out.splitlines()]
    assert labels == [
        *("server", "state", "connections", "rooms", "memory", "database", "commits"),
        *("certificate", "CA", "list"),
    ]
    found = (await admin("status", "--json")).json
    assert (found["pid"], found["connections"]) == (running.process.pid, 0)
    assert found["addresses"] == [["127.0.0.1", running.port]]


@pytest.mark.parametrize("as_json", [False, True])
async def test_watching_goes_on_until_ctrl_c_which_is_no_error(
    running: Daemon, own_people: People, as_json: bool
) -> None:
    words = ["admin", "status", "--ca", str(own_people.ca), "--watch", *["--json"] * as_json]
    process = await trio.lowlevel.open_process([*PROGRAM, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = b""
    wanted = b'"pid"' if as_json else b" server  "
    with trio.fail_after(PATIENCE):
        while seen.count(wanted) < 2:
            seen += await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert b"Traceback" not in seen
    assert b"\x1b" not in seen  # no terminal
    await process.stdout.aclose()


async def test_tree_rooms_and_users_show_who_is_where(
    running: Daemon, admin: Admin, enter: Connect, own_people: People
) -> None:
    alice = await enter(running, "alice", device="x", of=own_people)
    await alice.ask("away", text="\x1b[2J lunch")
    tree = (await admin("tree")).out
    assert "room lobby" in tree
    assert "members 1, queue 0" in tree
    rooms = (await admin("rooms")).out.splitlines()
    assert rooms[0].split()[:4] == ["ROOM", "MODE", "MEMBERS", "QUEUE"]
    assert rooms[1].split()[:4] == ["lobby", "plain", "1", "0"]
    users = (await admin("users")).out.splitlines()
    assert users[1].split()[0] == "alice"
    assert "127.0.0.1" in users[1]
    assert "\x1b" not in users[1]
    assert (await admin("rooms", "--json")).json[0]["room"] == "lobby"
    assert (await admin("users", "--json")).json[0]["device"] == alice.device
    assert (await admin("tree", "--json")).json[0]["depth"] == 0


# --- acting ---------------------------------------------------------------------------------


async def test_announce_and_kick(
    running: Daemon, admin: Admin, enter: Connect, own_people: People
) -> None:
    alice = await enter(running, "alice", of=own_people)
    assert (await admin("announce", "-", stdin=b"tea\n")).err == "told 1 connection\n"
    await alice.expect("server", text="tea")
    told = await admin("kick", "alice", "--reason", "go home")
    assert (told.status, told.err) == (0, "ended 1 connection\n")
    assert (await alice.rest())[-1]["reason"] == "kicked"
    told = await admin("kick", "alice")
    assert (told.status, told.err.startswith("trio-chat: error: alice is not here")) == (1, True)


async def test_drain_waits_for_the_end(
    running: Daemon, admin: Admin, enter: Connect, own_people: People, tmp_path: Path
) -> None:
    alice = await enter(running, "alice", of=own_people)
    told = await admin("drain")
    assert (told.status, told.err) == (0, "draining\nthe server has ended\n")
    wal = tmp_path / "chat.db-wal"
    assert not wal.exists()
    assert (await alice.rest())[-1]["reason"] == "shutdown"
    assert await running.ended() == 0


async def test_reload_prints_the_difference_and_its_status_tells_whether_it_was_taken(
    running: Daemon, admin: Admin, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    text = config.read_text()
    assert (await admin("reload")).err == "reloaded; nothing had changed\n"
    config.write_text(text + "\nretention = 7200\n")
    told = await admin("reload")
    assert (told.status, told.err) == (0, "reloaded\n")
    assert told.out == "limits.retention: 2592000.0 -> 7200\n"
    config.write_text(text + "\nretentoin = 7200\n")
    told = await admin("reload")
    assert (told.status, told.out) == (1, "")
    assert "unknown key `retentoin`" in told.err
    assert "did you mean `retention`" in told.err
    config.write_text(text + "\nretention = 7200\n")
    assert (await admin("reload")).err == "reloaded; nothing had changed\n"
    running.signal(signal.SIGHUP)
    await running.logged("reloaded certificates")
    actors = [each["actor"] for each in (await admin("audit", "--json")).json]
    assert actors[-1] == "signal HUP"


@pytest.mark.parametrize("how", ["name", "device", "serial", "file"])
async def test_revoking_ends_a_live_connection_within_a_second_and_refuses_new_ones(
    running: Daemon,
    admin: Admin,
    dial: Connect,
    enter: Connect,
    own_people: People,
    how: str,
) -> None:
    issued = own_people.authority.issue_client("mallory", device="laptop")
    own_people._issued["mallory"] = issued
    alice = await enter(running, "alice", of=own_people)
    mallory = await enter(running, "mallory", of=own_people)
    serial = f"0x{issued.certificate.serial_number:X}"
    what = {"name": "mallory", "device": "mallory/laptop", "serial": serial, "file": issued.crt}
    told = await admin("revoke", str(what[how]))
    answered = time.monotonic()
    assert (told.status, told.err) == (0, "revoked; ended 1 connection\n")
    assert int(told.out, 16) == issued.certificate.serial_number
    assert (await mallory.rest())[-1]["reason"] == "revoked"
    assert time.monotonic() - answered < 1
    again = await dial(running, "mallory", of=own_people)
    assert [frame["code"] for frame in await again.rest()] == ["revoked"]
    await alice.until("left", count=1)
    await alice.quiet()


async def test_what_was_revoked_is_told_in_words_if_it_is_nothing(
    running: Daemon, admin: Admin, people: People
) -> None:
    foreign = people.certificate("foreign").crt
    for what, said in (
        ("nobody", "no certificate was issued to nobody"),
        (str(foreign), "was not issued by"),
        ("nothing.crt", "there is no file nothing.crt"),
    ):
        told = await admin("revoke", what)
        assert (told.status, said in told.err) == (1, True), told.err


async def test_without_the_ca_s_key_it_says_what_to_do_instead(
    running: Daemon, admin: Admin, own_people: People
) -> None:
    own_people.certificate("alice")
    (own_people.folder / "ca.key").rename(own_people.folder / "away")
    told = await admin("revoke", "alice")
    assert told.status == 1
    assert "is not on this machine" in told.err
    assert "trio-chat pki revoke alice, then copy ca.crl to" in told.err


async def test_with_a_passphrase_it_says_what_to_do_instead(
    daemon: StartDaemon, admin: Admin, tmp_path: Path
) -> None:
    ca = tmp_path / "locked" / "ca.crt"
    authority = Authority.create(ca, passphrase=b"open")
    authority.issue_server(["localhost"])
    authority.issue_client("alice")
    await daemon(ca=ca)
    told = await admin("revoke", "alice", ca=ca)
    assert told.status == 1
    assert f"trio-chat pki revoke alice --ca {ca} asks for it" in told.err


# --- the audit log --------------------------------------------------------------------------


async def test_the_audit_log_survives_and_tells_of_a_change(
    running: Daemon, admin: Admin, daemon: StartDaemon, own_people: People, tmp_path: Path
) -> None:
    await admin("announce", "one")
    await admin("kick", "nobody")
    running.signal(signal.SIGKILL)
    await running.ended()
    running = await daemon(ca=own_people.ca)
    table = (await admin("audit")).out.splitlines()
    assert len(table) == 5
    assert "failed: nobody is not here" in table[-1]
    told = await admin("audit", "verify")
    assert (told.status, told.out[:16]) == (0, "whole: 4 entries")
    await admin("drain")
    tamper(tmp_path / "chat.db")
    await daemon(ca=own_people.ca)
    told = await admin("audit", "verify")
    assert told.status == 1
    assert told.out.startswith("broken: entry 2 was changed")
    told = await admin("check", "--db", str(tmp_path / "chat.db"))
    assert (told.status, "the audit log is broken: entry 2" in told.out) == (1, True)


def tamper(path: Path) -> None:
    import apsw

    from trio_chat.store import load_or_make_key
    from trio_chat.store.database import unlock

    db = apsw.Connection(str(path))
    unlock(load_or_make_key(path), db)
    db.execute("DROP TRIGGER audit_unchanged")
    db.execute("UPDATE audit SET line = CAST(replace(line, 'one', 'two') AS BLOB) WHERE n = 2")
    db.close()


# --- backup ---------------------------------------------------------------------------------


class Writer:
    """Says 1, 2, 3 ... and counts what was acknowledged."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.acknowledged = 0  # the newest sequence number seen

    async def speak(self) -> None:
        while True:
            await self.peer.post("lobby", f"{self.peer.name} {self.peer.said['lobby']}")

    async def listen(self) -> None:
        while True:
            frame = await self.peer.read()
            if frame["type"] == "message":
                assert frame["seq"] == self.acknowledged + 1
                self.acknowledged = frame["seq"]


async def test_a_backup_under_load_restores_to_exactly_a_prefix_of_what_was_acknowledged(
    running: Daemon,
    admin: Admin,
    daemon: StartDaemon,
    enter: Connect,
    own_people: People,
    tmp_path: Path,
) -> None:
    target = tmp_path / "copy.db"
    names = ("alice", "bob", "carol")
    writers = [Writer(await enter(running, name, of=own_people)) for name in names]
    async with trio.open_nursery() as nursery:
        for writer in writers:
            nursery.start_soon(writer.speak)
            nursery.start_soon(writer.listen)
        with trio.fail_after(PATIENCE):
            while writers[0].acknowledged < 1000:
                await trio.sleep(0.001)
        before = max(writer.acknowledged for writer in writers)
        told = await admin("backup", str(target))
        assert (told.status, told.out) == (0, f"{target}\n"), told.err
        after = max(writer.acknowledged for writer in writers)
        with trio.fail_after(PATIENCE):  # and it goes on
            while writers[0].acknowledged < after + 100:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    again = await admin("backup", str(target))
    assert (again.status, "is there already" in again.err) == (1, True)
    for writer in writers:
        writer.peer.drop()
    await admin("drain")
    whole = await log_of(daemon, enter, own_people)
    await admin("drain")
    shutil.copy(target, tmp_path / "chat.db")
    restored = await log_of(daemon, enter, own_people)
    assert restored == whole[: len(restored)]
    assert before <= len(restored) < len(whole)
    audit = (await admin("audit", "--json")).json
    assert [(each["action"], each["outcome"]) for each in audit] == [("backup", "begun")]


async def log_of(daemon: StartDaemon, enter: Connect, people: People) -> list[Any]:
    running = await daemon(ca=people.ca)
    reader = await enter(running, "reader", after=0, of=people)
    (room,) = (await reader.ask("list-rooms"))["rooms"]
    found = [frame for frame in reader.frames if frame["type"] == "message"]
    while len(found) < room["seq"]:
        frame = await reader.read()
        if frame["type"] == "message":
            found.append(frame)
    assert [frame["seq"] for frame in found] == list(range(1, len(found) + 1))
    reader.drop()
    return found


async def test_a_lockdown_outlives_kill_9_and_is_in_the_audit_log(
    running: Daemon, admin: Admin, daemon: StartDaemon, own_people: People, dial: Connect
) -> None:
    known = await dial(running, "bob", of=own_people)
    await known.hello()
    told = await admin("lockdown")
    assert (told.status, "only devices that were here before" in told.err) == (0, True)
    assert "locked down" in (await admin("status")).out
    running.process.kill()
    await running.ended()
    again = await daemon(ca=own_people.ca)
    stranger = await dial(again, "carol", of=own_people)
    await stranger.say("hello", protocol=1, client="x")
    assert [frame["code"] for frame in await stranger.rest()] == ["forbidden"]
    entries = (await admin("audit", "--json")).json
    found = [(each["action"], each["outcome"]) for each in entries]
    assert found == [("lockdown", "begun"), ("lockdown", "done")]
    assert (await admin("unlock")).err == "open again\n"
    assert (await admin("unlock")).err == "it was not locked\n"
    assert "locked down" not in (await admin("status")).out
    welcome = await dial(again, "carol", of=own_people)
    await welcome.hello()
