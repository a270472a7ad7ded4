"""A simulated day of a server: what it holds at hour 24 is what it held at hour 2.

The server, its database, TLS and the loopback sockets are real; time is not. Trio's clock stands
still while anything happens, in the database's threads too, and jumps to the next deadline when
nothing has for half a millisecond; what the server takes from the wall clock (the time of a line,
retention) follows it. The pulse and the watch on the revocation list beat every ten seconds
instead of one and a half: an hour is then some thousand jumps, not ten thousand. Retention is half
an hour, so that it is at work all day. Nothing else is changed or shortened.

People come, talk, ask, go, vanish without a word, stop reading for a while or for good; others
knock without a certificate, from many addresses. Two stay all day. At the end of each hour the
others have left, and what is left behind is counted.
"""

from __future__ import annotations

import gc
import random  # noqa: TID251 - the same day each time
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.conftest import Serve
from tests.peer import Peer
from tests.people import People
from trio_chat import names
from trio_chat.chat.roster import Roster
from trio_chat.server import Server
from trio_chat.server.admission import Admission
from trio_chat.store.database import Database

HOUR = 3600.0
BEAT = 10.0  # s
ROOMS = tuple(f"room{number}" for number in range(12))
GUESTS = tuple(f"guest{number}" for number in range(24))
RESIDENT = 16 << 20  # bytes: SQLite's cache of pages fills in the course of the day
SMALL = 64 * 1024  # bytes of the kernel's memory for a slow reader

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc, and from 127.0.0.0/8"),
]


@attrs.define
class Time:
    """Lets time pass, by jumps, while nobody has anything to do."""

    clock: trio.testing.MockClock
    at_work: int = 0  # calls that the database's threads are busy with

    async def go_on(self) -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked(0.0005)
            if not self.at_work:
                left = trio.lowlevel.current_statistics().seconds_to_next_deadline
                self.clock.jump(max(left, 0))


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock()


@pytest.fixture
def simulated(clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> Time:
    """Time that stands still until told to go on; the server's wall clock goes with it."""
    found = Time(clock)
    began, first = time.time(), clock.current_time()
    wall = SimpleNamespace(time=lambda: began + clock.current_time() - first)
    for module in ("room", "pulse", "membership"):
        monkeypatch.setattr(f"trio_chat.server.{module}.time", wall)
    for name in ("TICK", "WATCH"):
        monkeypatch.setattr(f"trio_chat.server.pulse.{name}", BEAT)
    monkeypatch.setattr("tests.peer.PATIENCE", 10 * HOUR)  # in a silent room one waits for long
    run = Database.run

    async def counted(self: Database, function: Any) -> Any:
        found.at_work += 1
        try:
            return await run(self, function)
        finally:
            found.at_work -= 1

    monkeypatch.setattr(Database, "run", counted)
    return found


@attrs.frozen
class Holdings:
    """What is there while only those who stay are connected.

    Attributes:
        objects: Objects of Trio and of the package, by type.
        tables: Entries in what the server keeps by connection, person, room and address.
        tasks: All of Trio's.
        blocks: Python's pieces of memory, of everything in this process.
        resident: Bytes, those that are no Python object's too.
        database: Bytes of the file.
    """

    objects: Counter[str]
    tables: dict[str, int]
    tasks: int
    blocks: int
    resident: int
    database: int

    @classmethod
    def count(cls, server: Server) -> Holdings:
        gc.collect()
        objects = Counter(
            f"{kind.__module__}.{kind.__qualname__}"
            for kind in map(type, gc.get_objects())
            if str(kind.__module__).startswith(("trio_chat.", "trio."))
        )
        admission = server.admission
        tables = {
            "connections": len(server.connections),
            "people": len(server.people),
            "devices": len(server._devices),
            "names": len(server._names),
            "newcomers": len(server._newcomers),
            "rooms": len(server.rooms),
            "cursors": sum(len(room.cursors) for room in server.rooms),
            "members": sum(len(room.roster.members) for room in server.rooms),
            "tails": sum(len(room._tail) for room in server.rooms),
            "waiting": admission.waiting_count,
            "here": len(admission.here),
            "failures": len(admission._failures),
            "single": len(admission._single),
        }
        return cls(
            objects,
            tables,
            trio.lowlevel.current_statistics().tasks_living,
            sys.getallocatedblocks(),
            int(Path("/proc/self/statm").read_text().split()[1]) * 4096,
            server.config.db.stat().st_size,
        )

    def growth(self, later: Holdings) -> list[str]:
        """Name what is more than it was; memory may breathe a little."""
        pairs = [
            *((name, self.objects[name], count, 5) for name, count in later.objects.items()),
            *((name, self.tables[name], count, 5) for name, count in later.tables.items()),
            ("tasks", self.tasks, later.tasks, 0),
            ("blocks", self.blocks, later.blocks, 10_000),
            ("resident", self.resident, later.resident, RESIDENT),
            ("database", self.database, later.database, self.database),
        ]
        return [
            f"{name}: {before} -> {after}"
            for name, before, after, allowed in pairs
            if after > before + allowed
        ]


@attrs.define
class Town:
    """The people, and what they do by chance; the same chance each time."""

    server: Server
    people: People
    chance: random.Random = attrs.field(factory=lambda: random.Random(1))
    said: int = 0
    lags: int = 0  # times that somebody fell behind

    @asynccontextmanager
    async def _here(
        self, name: str, device: str | None = None, **options: Any
    ) -> AsyncIterator[Peer]:
        """Be connected inside the block; leave it without a good-bye, one way or the other."""
        context = self.people.context(name)
        peer = await Peer.connect(self.server.port, context, name, **options)
        try:
            await peer.hello(device)
            yield peer
        finally:
            self.chance.choice((peer.drop, peer.reset))()

    async def stay(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        """Be in the lobby all day, hear everything, say something now and then."""
        async with self._here(name) as peer, trio.open_nursery() as nursery:
            await peer.enter("lobby")
            nursery.start_soon(self._hear, peer)
            task_status.started()
            while True:
                await trio.sleep(self.chance.uniform(100, 500))
                self.said += 1
                await peer.post("lobby", "still here")

    async def hour(self) -> None:
        """Let an hour pass: everybody comes some times; all have left at its end."""
        with trio.move_on_at(trio.current_time() + HOUR - 600):
            async with trio.open_nursery() as nursery:
                for name in GUESTS:
                    nursery.start_soon(self._come_and_go, name)
                nursery.start_soon(self._knock)
        # Long enough for the dead to be given up, and for failures to be forgotten.
        await trio.sleep(600 + 3 * BEAT)

    async def _come_and_go(self, name: str) -> None:
        visits = (self._talk, self._talk, self._talk, self._vanish, self._lag, self._ask)
        while True:
            await trio.sleep(self.chance.uniform(10, 900))
            visit = self.chance.choice(visits)
            slow = SMALL if visit == self._lag else None
            device = self.chance.choice(("phone", "desk"))
            async with self._here(name, device, receive_buffer=slow) as peer:
                for room in self.chance.sample(ROOMS, 3):
                    await peer.join(room, after=self.chance.choice((None, 0)))
                await visit(peer)

    async def _talk(self, peer: Peer) -> None:
        """Talk in all rooms for some minutes, hearing what comes."""
        with trio.move_on_after(self.chance.uniform(60, 1200)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, peer)
                while True:
                    await trio.sleep(self.chance.uniform(1, 60))
                    self.said += 1
                    await peer.post(self.chance.choice(list(peer.said)), "x" * 300)

    async def _vanish(self, peer: Peer) -> None:
        """Hear nothing and answer nothing, until long after the server must have given up."""
        await trio.sleep(300)

    async def _lag(self, peer: Peer) -> None:
        """Read nothing while a room says more than the kernel holds; then sometimes read on."""
        async with self._here("flooder", peer.name) as other, trio.open_nursery() as nursery:
            room = next(iter(peer.said))
            await other.join(room)
            nursery.start_soon(self._hear, other)
            (theirs,) = (it for it in self.server.connections if it.device == peer.device)
            while not theirs.behind:
                await other.post(room, "y" * 60_000)
            self.lags += 1
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        if self.chance.random() < 0.5:
            with trio.move_on_after(60):
                await self._hear(peer)

    async def _ask(self, peer: Peer) -> None:
        """Ask, change names, talk to one person, use the rooms of the directory."""
        room = next(iter(peer.said))
        asked: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: peer.ask("history", room=room, limit=200),
            lambda: peer.ask("list", room=room),
            lambda: peer.ask("rooms"),
            lambda: peer.ask("whois", user="stayer0"),
            lambda: peer.ask("nick", nick="someone else"),
            lambda: peer.ask("away", text="for tea"),
            lambda: peer.ask("topic", room=room, text="tea"),
            lambda: peer.ask("join", room=f"~{min(peer.name, 'stayer0')}+stayer0"),
            lambda: peer.ask("leave", room=room),
            lambda: peer.ask("nonsense"),
        )
        for question in asked:
            await question()
        peer.frames.clear()

    async def _hear(self, peer: Peer) -> None:
        """Read everything and give signs of life."""
        while True:
            frame = await peer.read()
            if frame["type"] == "ping":
                await peer.say("pong")

    async def _knock(self) -> None:
        """Come from many addresses and prove nothing."""
        while True:
            await trio.sleep(self.chance.uniform(1, 30))
            address = f"127.0.{self.chance.randrange(4)}.{self.chance.randrange(1, 250)}"
            stream = await trio.open_tcp_stream(
                "127.0.0.1", self.server.port, local_address=address
            )
            async with stream:
                await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
                await trio.sleep(1)


async def live(
    simulated: Time, run_server: Serve, people: People, hours: int
) -> tuple[Town, dict[int, Holdings]]:
    """Let so many hours pass; return what was held at the end of each."""
    server = await run_server("lobby", *ROOMS, retention=HOUR / 2, connections_per_address=200)
    town = Town(server, people)
    held: dict[int, Holdings] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(simulated.go_on)
        for name in ("stayer0", "stayer1"):
            await nursery.start(town.stay, name)
        for hour in range(1, hours + 1):
            await town.hour()
            await server.store.find_room(names.key("lobby"))  # its thread keeps the last result
            held[hour] = Holdings.count(server)
        nursery.cancel_scope.cancel()
    simulated.clock.rate = 1.0  # what follows may take its time
    return town, held


@pytest.mark.timeout(1800)
async def test_after_a_day_the_server_holds_what_it_held_after_two_hours(
    clock: trio.testing.MockClock, simulated: Time, run_server: Serve, people: People
) -> None:
    town, held = await live(simulated, run_server, people, 24)
    for hour, each in held.items():
        print(hour, each.tasks, each.blocks, each.resident >> 10, each.database >> 10, each.tables)
    assert held[2].growth(held[24]) == []
    assert held[24].tables["connections"] == held[24].tables["cursors"] == 2
    assert town.said > 10_000
    assert town.lags > 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("leak", "seen"), [("rosters", "Roster"), ("failures", "failures"), ("bytes", "resident")]
)
async def test_a_leak_would_be_seen(
    clock: trio.testing.MockClock,
    simulated: Time,
    run_server: Serve,
    people: People,
    monkeypatch: pytest.MonkeyPatch,
    leak: str,
    seen: str,
) -> None:
    kept: list[object] = []
    leave = Roster.leave

    def leave_and_stay(roster: Roster, device: str) -> None:
        kept.append(roster)
        leave(roster, device)

    def cut_and_keep(data: bytes) -> list[bytes]:
        kept.append(data)
        return [data]

    if leak == "failures":
        monkeypatch.setattr(Admission, "forget", lambda self, now: None)
    elif leak == "rosters":
        monkeypatch.setattr(Roster, "leave", leave_and_stay)
    else:
        monkeypatch.setattr("trio_chat.server.room.cut", cut_and_keep)
    _, held = await live(simulated, run_server, people, 4)
    grown = held[2].growth(held[4])
    assert [each for each in grown if seen in each.partition(":")[0]]
