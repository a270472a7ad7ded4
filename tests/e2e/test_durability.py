"""kill -9 while five people talk: nothing acknowledged is lost, nothing is said twice."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial

import pytest
import trio

from tests.daemon import Daemon, StartDaemon
from tests.peer import Connect, Frame, Peer

PEOPLE = ("alice", "bob", "carol", "dave", "eve")


class Writer:
    """One device that says 1, 2, 3 ... and resumes as the protocol says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next = 1  # the next counter to send
        self.acknowledged: dict[int, int] = {}  # n -> seq
        self.seen = 0  # the last seq read
        self.doubled: list[Frame] = []

    async def run(self, peer: Peer, target: int) -> None:
        """Talk until everything up to `target` is acknowledged, or the server dies."""
        try:
            joined = await peer.enter("lobby", after=self.seen)
            self.next = joined["n"] + 1
            assert joined["n"] >= max(self.acknowledged, default=0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._speak, peer, target)
                for frame in peer.frames:
                    self._take(frame)
                while len(self.acknowledged) < target:
                    self._take(await peer.read())
        except* (EOFError, trio.BrokenResourceError):
            pass  # killed; the next round goes on from here

    async def _speak(self, peer: Peer, target: int) -> None:
        try:
            while self.next <= target:
                n, self.next = self.next, self.next + 1
                await peer.say("send", room="lobby", n=n, text=f"{self.name} {n}")
        except trio.BrokenResourceError:
            return  # the reader finds out too

    def _take(self, frame: Frame) -> None:
        if frame["type"] != "message":
            assert frame["type"] in ("entered", "left", "joined", "pong"), frame
            return
        if frame["seq"] <= self.seen:
            self.doubled.append(frame)
        assert frame["seq"] == self.seen + 1, (frame, self.seen)
        self.seen = frame["seq"]
        if frame["from"] == self.name:
            assert frame["text"] == f"{self.name} {frame['n']}"
            assert frame["n"] not in self.acknowledged
            self.acknowledged[frame["n"]] = frame["seq"]


async def talk_and_kill(
    running: Daemon, dial: Connect, writers: list[Writer], target: int, kill_at: int | None
) -> None:
    async with trio.open_nursery() as nursery:
        for writer in writers:
            peer = await dial(running, writer.name)
            await peer.hello()
            nursery.start_soon(writer.run, peer, target)
        if kill_at is not None:
            while sum(len(writer.acknowledged) for writer in writers) < kill_at:
                await trio.sleep(0.001)
            running.signal(signal.SIGKILL)
            await running.ended()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
@pytest.mark.parametrize("durability", ["full", "process"])
async def test_kill_9_loses_nothing_acknowledged_and_doubles_nothing(
    daemon: StartDaemon, dial: Connect, enter: Connect, durability: str
) -> None:
    await kills(partial(daemon, durability=durability), dial, enter, rounds=2, each=400)


@pytest.mark.stress
async def test_twenty_kills_lose_nothing(
    daemon: StartDaemon, dial: Connect, enter: Connect
) -> None:
    await kills(daemon, dial, enter, rounds=20, each=1000)


async def kills(
    daemon: StartDaemon, dial: Connect, enter: Connect, *, rounds: int, each: int
) -> None:
    writers = [Writer(name) for name in PEOPLE]
    for done in range(rounds):
        running = await daemon()
        kill_at = sum(len(writer.acknowledged) for writer in writers) + each // 2
        target = (done + 1) * each
        await talk_and_kill(running, dial, writers, target, kill_at)
    running = await daemon()
    await talk_and_kill(running, dial, writers, rounds * each, None)

    reader = await enter(running, "reader", after=0)
    total = rounds * each * len(writers)
    log = [await reader.until("message") for _ in range(total)]
    await reader.say("ping")
    await reader.until("pong")
    assert not [frame for frame in reader.frames if frame["type"] == "message"]
    assert [frame["seq"] for frame in log] == list(range(1, total + 1))
    said = Counter((frame["from"], frame["n"]) for frame in log)
    assert set(said.values()) == {1}
    for writer in writers:
        assert [frame["n"] for frame in log if frame["from"] == writer.name] == list(
            range(1, rounds * each + 1)
        )
        for n, seq in writer.acknowledged.items():
            assert (log[seq - 1]["from"], log[seq - 1]["n"]) == (writer.name, n)
        assert not writer.doubled
