"""The installed program: bans, mutes, roles and passwords are there after kill -9, at once."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.daemon import PROGRAM, StartDaemon
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat import Client, Message, connect
from trio_chat.client import Connected, Offline, RoomClosed
from trio_chat.errors import Banned, Forbidden, Muted, NotMember, NoUser, WrongPassword
from trio_chat.protocol.frames import ModeChanged, RoleChanged
from trio_chat.server import Server

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")


async def admin(people: People, *words: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [*PROGRAM, "admin", *words, "--ca", str(people.ca)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def entries(peer: Peer, room: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await peer.ask("history", room=room, limit=200))["entries"]
    return found


async def test_what_was_decided_in_rooms_survives_kill_9(
    daemon: StartDaemon, enter: Connect, dial: Connect, people: People
) -> None:
    running = await daemon("--verbose")
    alice = await enter(running, "alice")
    bob, carol, dave = [await enter(running, name) for name in ("bob", "carol", "dave")]
    await alice.ask("create", room="plaza", mode="plain")
    await alice.ask("create", room="vault", mode="plain", password="opensesame77")
    for peer in (alice, bob, carol, dave):
        await peer.enter("plaza")
    for deed, fields in (
        ("role", {"user": "dave", "role": "moderator"}),
        ("ban", {"user": "bob", "seconds": 3600.0}),
        ("mute", {"user": "carol"}),
    ):
        reply = await alice.ask(deed, room="plaza", **fields)
        assert reply["type"] == "ok", reply
    # What has been acknowledged is on the disk: nothing is waited for.
    running.signal(signal.SIGKILL)
    await running.ended()
    assert "opensesame" not in "\n".join(running.log)

    running = await daemon()
    alice = await enter(running, "alice", "plaza")
    bob, carol, dave = [await enter(running, name) for name in ("bob", "carol", "dave")]
    assert (await bob.ask("join", room="plaza", after=0))["code"] == "banned"
    assert (await dave.join("plaza"))["role"] == "moderator"
    await carol.enter("plaza")
    await carol.post("plaza", "hello")
    await carol.until("error", code="muted")
    assert (await carol.ask("kick", room="plaza", user="alice"))["code"] == "forbidden"
    assert (await bob.ask("join", room="vault"))["code"] == "password"
    assert (await bob.ask("join", room="vault", password="opensesame77"))["type"] == "joined"
    told = [(e["type"], e.get("change"), e["user"]) for e in await entries(alice, "plaza")]
    assert told == [("role", None, "dave"), ("mode", "ban", "bob"), ("mode", "mute", "carol")]
    assert (await dave.ask("unban", room="plaza", user="bob"))["type"] == "ok"
    await bob.enter("plaza")


async def test_an_act_is_whole_or_not_there_whenever_the_server_is_killed(
    daemon: StartDaemon, enter: Connect
) -> None:
    """Killed in the middle of many: what the log says and what is in force agree."""
    running = await daemon()
    alice, bob = await enter(running, "alice"), await enter(running, "bob")
    await alice.ask("create", room="plaza", mode="plain")
    await alice.enter("plaza")
    for round_ in range(2):
        for number in range(200):
            deed = "mute" if number % 2 else "unmute"
            await alice.say(deed, room="plaza", user="bob", id=f"{round_}-{number}")
        await alice.until("ok", id=f"{round_}-{5 + 20 * round_}")
        running.signal(signal.SIGKILL)
        await running.ended()
        running = await daemon()
        alice, bob = await enter(running, "alice", "plaza"), await enter(running, "bob", "plaza")
        log = await entries(alice, "plaza")
        changes = [entry["change"] for entry in log if entry["type"] == "mode"]
        found = (await alice.ask("list-sanctions", room="plaza"))["sanctions"]
        assert bool(found) == (changes[-1] == "mute")
        await bob.post("plaza", "hello")
        if changes[-1] == "mute":
            await bob.until("error", code="muted")
        else:
            await bob.until("message", text="hello")
            await alice.ask("mute", room="plaza", user="bob")


async def test_the_whole_server_s_bans_are_given_by_admin_and_survive_kill_9(
    own_people: People, daemon: StartDaemon, dial: Connect
) -> None:
    running = await daemon(ca=own_people.ca)
    bob = await dial(running, "bob", of=own_people)
    await bob.hello()
    await bob.join("lobby")
    done = await admin(own_people, "ban", "bob", "--for", "2h", "--reason", "spam")
    assert done.returncode == 0, done.stderr
    assert b"banned bob everywhere for 2 hours; that is 1 connection now" in done.stderr
    assert (await bob.rest())[-1]["reason"] == "banned"
    done = await admin(own_people, "mute", "bob", "--room", "lobby")
    assert b"muted bob in lobby; that is 0 connections now" in done.stderr
    running.signal(signal.SIGKILL)
    await running.ended()

    running = await daemon(ca=own_people.ca)
    again = await dial(running, "bob", of=own_people)
    await again.say("hello", protocol=1, client="test")
    (frame,) = await again.rest()
    assert (frame["code"], 7000 < frame["retry_after"] <= 7200) == ("banned", True)
    found = json.loads((await admin(own_people, "bans", "--json")).stdout)
    assert [(each["kind"], each["user"], each["reason"]) for each in found] == [
        ("ban", "bob", "spam")
    ]
    shown = (await admin(own_people, "bans", "--room", "lobby")).stdout.decode()
    assert "mute  bob" in shown
    done = await admin(own_people, "unban", "bob")
    assert b"ended the ban of bob everywhere" in done.stderr
    back = await dial(running, "bob", of=own_people)
    await back.hello()
    done = await admin(own_people, "unban", "bob")
    assert done.returncode == 1
    assert b"bob is not banned from this server" in done.stderr
    assert (await admin(own_people, "ban", "bob", "--for", "soon")).returncode == 2
    assert (await admin(own_people, "audit", "verify")).returncode == 0


async def test_the_client_program_enters_with_a_password_and_keeps_it_nowhere(
    own_people: People,
    daemon: StartDaemon,
    dial: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    running = await daemon("--verbose", ca=own_people.ca)
    alice = own_people.certificate("alice")
    words = [
        *("join", f"localhost:{running.port}", "--plain", "--cert", str(alice.crt)),
        *("--key", str(alice.key), "--ca", str(own_people.ca)),
    ]
    lines = "/create vault --plain opensesame77\n/leave vault\n/join vault opensesame77\nhello\n"
    done = await trio.run_process(
        [*PROGRAM, *words],
        stdin=lines.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"<alice> hello" in done.stdout
    bob = await dial(running, "bob", of=own_people)
    await bob.hello()
    assert (await bob.ask("join", room="vault"))["code"] == "password"
    running.signal(signal.SIGTERM)
    await running.ended()
    written = [done.stdout, done.stderr, "\n".join(running.log).encode()]
    written += await trio.to_thread.run_sync(contents, tmp_path)
    assert not [each for each in written if b"opensesame" in each]


# --- through the client library ------------------------------------------------------------


@pytest.fixture
def client(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[Client]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def start(server: Server, name: str) -> AbstractAsyncContextManager[Client]:
        issued = people.certificate(name)
        assert issued.key is not None
        where = f"localhost:{server.port}"
        return connect(where, cert=issued.crt, key=issued.key, ca=people.ca)

    return start


async def next_of(client: Client, kind: type[Any]) -> Any:
    with trio.fail_after(10):
        async for event in client:
            if isinstance(event, kind):
                return event
    raise AssertionError("the client has ended")


async def test_a_client_moderates_and_another_is_moderated(
    server: Server, client: Callable[..., AbstractAsyncContextManager[Client]]
) -> None:
    async with client(server, "alice") as alice, client(server, "bob") as bob:
        await alice.create("vault", mode="plain", password="sesame")
        with pytest.raises(WrongPassword):
            await bob.join("vault")
        theirs = await bob.join("vault", password="sesame")
        ours = await alice.join("vault")
        assert (ours.role, theirs.role) == ("owner", "member")

        await alice.set_role("vault", "bob", "moderator")
        assert (await next_of(bob, RoleChanged)).role == theirs.role == "moderator"
        await alice.mute("vault", "bob", seconds=600, reason="hush")
        with pytest.raises(Muted) as muted:
            await theirs.send("hello")
        assert muted.value.retry_after is not None
        assert [each.kind for each in await alice.sanctions("vault")] == ["mute"]
        await alice.unmute("vault", "bob")
        await theirs.send("hello")

        await alice.ban("vault", "bob", reason="spam")
        closed = await next_of(bob, RoomClosed)
        assert (closed.room, closed.reason) == ("vault", "alice has put you out of it: spam")
        with pytest.raises(NotMember):
            await theirs.send("hello?")
        with pytest.raises(Banned):
            await bob.join("vault", password="sesame")
        with pytest.raises(NoUser):
            await alice.unban("vault", "carol")
        with pytest.raises(Forbidden):
            await bob.unban("vault", "bob")
        kinds = [type(entry) for entry in await ours.history()]
        assert kinds == [RoleChanged, ModeChanged, ModeChanged, Message, ModeChanged]


async def test_a_client_comes_back_into_a_room_with_a_password(
    run_server: Serve, client: Callable[..., AbstractAsyncContextManager[Client]]
) -> None:
    server = await run_server()
    async with client(server, "alice") as alice, client(server, "bob") as bob:
        await alice.create("vault", mode="plain", password="sesame")
        ours = await alice.join("vault")
        theirs = await bob.join("vault", password="sesame")
        for connection in list(server.connections):
            connection.scope.cancel()
        await next_of(bob, Offline)
        await next_of(bob, Connected)
        said = await ours.send("still there?")
        assert await next_of(bob, Message) == said
        assert theirs.name in {room.name for room in bob.rooms.values()}
