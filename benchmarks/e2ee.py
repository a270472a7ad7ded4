"""What encryption costs people: `python benchmarks/e2ee.py [--messages N] [--join N ...]`.

One server process, two clients in this one, over loopback and TLS. Plain and encrypted messages
take turns, one of each at a time, so both see the same machine. A message's time is from
`Room.send` being called (Enter) to the other client's event (what is put on the other screen).
Then somebody joins a group of `--join` devices (100 and 500 by default), until they can read.
`--stages` adds where the time of an encrypted message goes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import attrs
import trio
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trio_chat import Client, Message, connect, names
from trio_chat.client import sealed
from trio_chat.e2ee.account import at
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.device import issue_device
from trio_chat.e2ee.entering import Entrant
from trio_chat.e2ee.store import SealedStore
from trio_chat.e2ee.turning import Guest
from trio_chat.e2ee.wishes import Invite
from trio_chat.pki import Authority

PLAIN, SEALED = "plain", "lobby"
TEXT = "x" * 80
STAGES: dict[str, list[float]] = {}


def timed(owner: Any, name: str, label: str) -> None:
    inner = getattr(owner, name)

    def outer(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return inner(*args, **options)
        finally:
            STAGES.setdefault(label, []).append(time.perf_counter() - start)

    setattr(owner, name, outer)


def watch_stages() -> None:
    timed(Conversation, "_seal", "encrypt and write down (thread)")
    timed(Conversation, "feed", "read and write down (thread)")
    timed(SealedStore, "_rows", "a read of the store")
    work = sealed.SealedRoom._turn

    async def turn(*args: Any) -> Any:
        start = time.perf_counter()
        try:
            return await work(*args)
        finally:
            STAGES.setdefault("a turn of a room, with going to the thread and back", []).append(
                time.perf_counter() - start
            )

    sealed.SealedRoom._turn = turn  # type: ignore[method-assign]


@contextlib.contextmanager
def running(folder: Path, rooms: list[str]) -> Iterator[int]:
    config = folder / "server.toml"
    config.write_text("[limits]\ninput_burst = 100000\ninput_rate = 1000000\n")
    words = ["serve", "--ca", str(folder / "ca.crt"), "--db", str(folder / "chat.db")]
    words += ["--port", "0", "--config", str(config)]
    words += [word for room in rooms for word in ("--room", room)]
    root = Path(__file__).resolve().parents[1]
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "trio_chat", *words],
            stderr=file, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
    try:
        while not (found := re.search(rb"listening on .*:(\d+)\n", log.read_bytes())):
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.01)
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(20)


@attrs.define
class Listener:
    """Notes when each text came."""

    client: Client
    came: dict[str, float] = attrs.field(factory=dict)
    more: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        async for event in self.client:
            if isinstance(event, Message):
                self.came[event.text] = time.perf_counter()
                self.more.set()
                self.more = trio.Event()

    async def wait(self, text: str) -> float:
        while text not in self.came:
            await self.more.wait()
        return self.came[text]


async def talk(alice: Client, bob: Client, count: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {PLAIN: [], SEALED: []}
    listener = Listener(bob)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.run)
        await alice.create(PLAIN, mode="plain")
        for name in found:
            await alice.join(name)
            await bob.join(name)
        for number in range(-50, count):  # the first ones warm up
            for name in found:
                text = f"{name} {number} {TEXT}"
                start = time.perf_counter()
                await alice.rooms[name].send(text)
                if number >= 0:
                    found[name].append(await listener.wait(text) - start)
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    return found


@attrs.define
class Counted:
    """A line buffer that counts bytes."""

    lines: Any
    taken: int = 0

    def feed(self, data: bytes) -> Any:
        self.taken += len(data)
        return self.lines.feed(data)

    @property
    def too_long(self) -> bool:
        return bool(self.lines.too_long)


async def crowd(
    alice: Client, bob: Client, authority: Authority, folder: Path, count: int
) -> tuple[float, int]:
    """Begin a group of so many devices, and let one join; return the seconds and the bytes."""
    room = f"crowd{count}"
    found = await trio.to_thread.run_sync(guests, alice, authority, folder, count - 1)
    await alice.join(room)
    assert alice._encryption is not None
    begun = alice._encryption.room(names.key(room))
    assert begun is not None
    assert begun.conversation is not None
    whom, claim = Entrant._guests, Entrant._claim
    Entrant._guests = lambda _self, users: [  # type: ignore[method-assign]
        each for each in found if each.identity.key in users
    ]
    Entrant._claim = lambda *_: None  # type: ignore[method-assign]
    users = sorted({each.identity.key for each in found})
    async with trio.open_nursery() as nursery:
        for user in users:
            wanted = begun.want(partial(invite, user))
            nursery.start_soon(alice._wait, wanted)
    Entrant._guests, Entrant._claim = whom, claim  # type: ignore[method-assign]
    counted: Any = Counted(bob._connection._lines)
    bob._connection._lines = counted
    start = time.perf_counter()
    await bob.join(room)
    spent = time.perf_counter() - start
    bob._connection._lines = counted.lines
    conversation = bob._encryption.room(names.key(room)).conversation  # type: ignore[union-attr]
    assert conversation is not None
    assert len(conversation.membership.members) == count + 1
    return spent, counted.taken


def invite(user: str, conversation: Conversation) -> int:
    return conversation.want(Invite(user))


def guests(alice: Client, authority: Authority, folder: Path, count: int) -> list[Guest]:
    """Make devices of people who are not there, two a person."""
    assert alice._encryption is not None
    account, now, found = alice._encryption.account, time.time(), []
    for number in range(count):
        if number % 2 == 0:
            issued = authority.issue_client(f"person{count}x{number}", out=folder)
            assert issued.key is not None
            key: Any = load_pem_private_key(issued.key.read_bytes(), None)
        device = issue_device(
            issued.certificate, key, f"d{number}", authority=authority.certificate, now=at(now)
        )
        other = attrs.evolve(account, device=device)
        found.append(Guest(f"{number:032x}", other.bundle(now).key_package, other.identity))
    return found


def row(name: str, times: list[float]) -> str:
    cuts = quantiles(times, n=100)
    return f"{name:<12}{cuts[49] * 1e3:>10.2f}{cuts[98] * 1e3:>10.2f}{max(times) * 1e3:>10.2f}"


async def main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        authority = Authority.create(folder / "ca.crt")
        authority.issue_server(["localhost"])
        options = {}
        for name in ("alice", "bob"):
            issued = authority.issue_client(name)
            options[name] = {
                "cert": issued.crt, "key": issued.key, "ca": folder / "ca.crt",
                "data": (given.data or folder) / name, "device": "laptop",
            }  # fmt: skip
        joins: list[tuple[int, float, int]] = []
        if given.stages:
            watch_stages()
        rooms = [SEALED, *(f"crowd{count}" for count in given.join)]
        with running(folder, rooms) as port:
            where = f"localhost:{port}"
            async with (
                connect(where, **options["alice"]) as alice,
                connect(where, **options["bob"]) as bob,
            ):
                found = await talk(alice, bob, given.messages)
                people = folder / "people"
                people.mkdir()
                for count in given.join:
                    measured = await crowd(alice, bob, authority, people, count)
                    joins.append((count, *measured))
        print(f"{'room':<12}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
        for name, times in found.items():
            print(row("encrypted" if name == SEALED else name, times))
        for count, spent, size in joins:
            print(f"join of {count} devices: {spent * 1e3:.0f} ms, {size / 1e6:.2f} MB read")
        for label, times in STAGES.items():
            middle = sorted(times)[len(times) // 2]
            print(f"{label:<52}{len(times):>7} times, {middle * 1e3:.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--join", type=int, nargs="*", default=[100, 500])
    parser.add_argument("--data", type=Path, help="where the clients' stores lie")
    parser.add_argument("--stages", action="store_true")
    trio.run(main, parser.parse_args())
