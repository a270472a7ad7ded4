"""kill -9 of either side between any two steps: nothing is lost, and nothing is said twice."""

from __future__ import annotations

import json
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import attrs
import pytest
import trio

from tests.conftest import Serve
from tests.people import People
from tests.sealed import Disks, Taker, published, sealed_room
from tests.villain import Villain
from trio_chat.client import connecting
from trio_chat.client.backoff import Backoff
from trio_chat.client.news import Unreadable
from trio_chat.server import Server

ROOT = Path(__file__).parents[2]


@attrs.define
class Wreck:
    """Alice's client, as a process of its own."""

    server: Server
    disks: Disks

    async def run(
        self, texts: list[str], step: str | None = None, kind: str = "", times: int = 1, **more: Any
    ) -> tuple[int, list[Any]]:
        """Run it; return its exit status, and what it has printed."""
        issued = self.disks.people.certificate("alice")
        assert issued.key is not None
        given = {
            "port": self.server.port,
            "folder": str(issued.crt.parent),
            "cert": issued.crt.name,
            "key": issued.key.name,
            "ca": str(self.disks.people.ca),
            "data": str(self.disks.of("alice")),
            "room": "lobby",
            "texts": texts,
            "step": step,
            "kind": kind,
            "times": times,
            **more,
        }
        with trio.fail_after(20):
            done = await trio.run_process(
                [sys.executable, "-m", "tests.e2e.wrecks", json.dumps(given)],
                cwd=ROOT,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        if done.returncode not in (0, -signal.SIGKILL):
            raise AssertionError(done.stderr.decode())
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
async def wreck(run_server: Serve, disks: Disks) -> Wreck:
    return Wreck(await run_server(mode="encrypted"), disks)


@pytest.mark.parametrize(
    ("step", "arrives"),
    [
        ("sealed_not_written", False),
        ("written_not_sent", True),
        ("sent_not_echoed", True),
        ("echoed_not_dealt_with", True),
        ("dealt_with_not_told", True),
    ],
)
async def test_a_client_killed_while_it_says_something(
    wreck: Wreck, disks: Disks, nursery: trio.Nursery, step: str, arrives: bool
) -> None:
    async with disks.use(wreck.server.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        await bob.join("lobby")
        status, told = await wreck.run([f"m{n}" for n in range(5)], step, "message", 3)
        assert (status, told) == (-signal.SIGKILL, ["m0", "m1"])
        status, told = await wreck.run(["end"])
        assert status == 0
        await taker.text("end")
        wanted = ["m0", "m1", "m2", "end"] if arrives else ["m0", "m1", "end"]
        assert taker.texts() == told[-1]["history"] == wanted
        assert not taker.all(Unreadable)
        assert not told[-1]["unreadable"]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("sealed_not_written", "commit"),
        ("written_not_sent", "commit"),
        ("uploaded_not_named", "commit"),
        ("sent_not_echoed", "commit"),
        ("echoed_not_dealt_with", "commit"),
        ("dealt_with_not_told", "commit"),
        ("uploaded_not_named", "create"),
        ("sent_not_echoed", "create"),
    ],
)
async def test_a_client_killed_while_it_gets_in(
    wreck: Wreck, disks: Disks, nursery: trio.Nursery, step: str, kind: str
) -> None:
    async with disks.use(wreck.server.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        if kind == "commit":
            await bob.join("lobby")
        status, told = await wreck.run(["not said"], step, kind)
        assert (status, told) == (-signal.SIGKILL, [])
        await bob.join("lobby")
        status, told = await wreck.run(["end"])
        assert status == 0
        await taker.text("end")
        assert taker.texts() == told[-1]["history"] == ["end"]
        conversation = sealed_room(bob, "lobby").conversation
        assert conversation is not None
        members = conversation.membership.members.values()
        assert sorted(one.user for one in members) == ["alice", "bob"]


@pytest.mark.parametrize("step", ["welcome_fetched", "welcome_taken", "packages_made"])
async def test_a_client_killed_while_it_is_let_in(
    wreck: Wreck, disks: Disks, nursery: trio.Nursery, step: str
) -> None:
    async with disks.use(wreck.server.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        if step == "packages_made":
            status, told = await wreck.run([], step)
            assert status == -signal.SIGKILL
        async with disks.use(wreck.server.port, "alice") as alice:
            await published(alice)
        private = await bob.direct("alice")
        await private.send("psst")
        if step != "packages_made":
            status, told = await wreck.run(["no"], step, room=private.name)
            assert (status, told) == (-signal.SIGKILL, [])
        status, told = await wreck.run(["answer"], room=private.name)
        assert status == 0
        await taker.text("answer")
        assert told[-1]["history"] == ["psst", "answer"]
        assert taker.texts() == ["psst", "answer"]
        assert not told[-1]["unreadable"]


@pytest.mark.parametrize(
    ("times", "early"),
    [(1, True), (2, True), (4, True), *((times, False) for times in range(1, 7))],
)
async def test_a_server_killed_at_each_transaction_of_a_conversation(
    people: People,
    disks: Disks,
    nursery: trio.Nursery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    early: bool,
) -> None:
    """Beginning, joining, messages, a Welcome: the server dies once, at one of them."""
    monkeypatch.setattr(connecting, "Backoff", partial(Backoff, longest=0.05))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    deaths = 0

    async def keep_up(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal deaths
        words = ["serve", "--ca", str(people.ca), "--db", str(tmp_path / "chat.db")]
        words += ["--port", str(port), "--room", "lobby"]
        given = {"serve": words, "times": times, "early": early}
        while True:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "tests.e2e.wrecks", json.dumps(given)],
                cwd=ROOT,
                stdin=DEVNULL,
                stderr=PIPE,
            )
            try:
                assert process.stderr is not None
                log = b""
                while b"listening on" not in log:
                    log += await process.stderr.receive_some() or b"listening on"
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                async for _ in process.stderr:
                    pass
                status = await process.wait()
                assert status == -signal.SIGKILL
                deaths += 1
                given["times"] = 0
            finally:
                with trio.CancelScope(shield=True):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
                    if process.stderr is not None:
                        await process.stderr.aclose()

    await nursery.start(keep_up)
    between: Villain = await nursery.start(Villain(people, lambda: port).run)
    async with disks.use(between.port, "alice") as alice, disks.use(between.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        ours = await alice.join("lobby")  # the group begins
        await bob.join("lobby")  # a commit from outside
        await ours.send("one")
        await published(bob)
        private = await alice.direct("bob")
        await private.send("two")  # begins with a Welcome, and is said then
        await taker.text("two")
        await ours.send("three")
        await taker.text("three")
        assert sorted(taker.texts()) == ["one", "three", "two"]
        assert not taker.all(Unreadable)
    assert deaths == 1
