"""What most tests need: a throw-away CA, a server in the test's nursery, raw peers, the program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio

from tests.daemon import Daemon, StartDaemon, run_daemon
from tests.peer import Connect, Peer
from tests.people import People
from tests.sealed import Disks
from tests.villain import Villain
from trio_chat import names
from trio_chat.limits import Limits
from trio_chat.protocol.fields import Mode
from trio_chat.server import Server, ServerConfig, serve

Serve = Callable[..., Awaitable[Server]]
"""What the fixture `run_server` is."""


# What is slow here is the machine: speed is measured by benchmarks, not by tests.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stress", action="store_true", help="run the tests marked `stress` as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--stress"):
        return
    chosen = [item for item in items if item.get_closest_marker("stress") is None]
    if dropped := [item for item in items if item.get_closest_marker("stress") is not None]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = chosen


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """A CA that all tests share; nobody of it is ever revoked."""
    return People.create(tmp_path_factory.mktemp("people"))


@pytest.fixture
def own_people(tmp_path: Path) -> People:
    """A CA of this test's own, to revoke and break things."""
    folder = tmp_path / "pki"
    folder.mkdir()
    return People.create(folder)


@pytest.fixture
async def run_server(nursery: trio.Nursery, people: People, tmp_path: Path) -> Serve:
    """Start a server on a free port: `await run_server(rooms=("lobby",), **limits)`.

    The database is `chat.db` of the test's folder: a second server, after the first one has
    been drained, finds what that has left. `ca` may be given; everything else is a limit.
    """
    servers: list[Server] = []

    async def start(
        *rooms: str, ca: Path | None = None, mode: Mode = "plain", **limits: Any
    ) -> Server:
        config = ServerConfig(
            ca=ca or people.ca,
            db=tmp_path / "chat.db",
            port=0,
            rooms=rooms or ("lobby",),
            mode=mode,
            limits=Limits(**{"input_burst": 100_000, "input_rate": 1e6, **limits}),
            durability="process",
        )
        with trio.fail_after(5):
            for earlier in servers:
                await earlier.stopped.wait()  # its database is the next one's
        servers.append(await nursery.start(serve, config))
        return servers[-1]

    return start


async def plain_direct(server: Server, one: str, other: str) -> str:
    """Have a plain two-person room, as earlier versions made them; return its name."""
    people = tuple(sorted({names.key(one), names.key(other)}))
    name = "@" + "+".join((people[0], people[-1]))
    await server.store.create_room(name, mode="plain", now=0.0, people=people, access="closed")
    return name


@pytest.fixture
async def server(run_server: Serve) -> Server:
    """A server with the room `lobby`."""
    return await run_server()


@pytest.fixture
async def dial(people: People) -> AsyncIterator[Connect]:
    """Connect as somebody, without a `hello`: `await dial(server, "alice")`."""
    peers: list[Peer] = []

    async def start(
        server: Server | Daemon, name: str, *, of: People | None = None, **options: Any
    ) -> Peer:
        peer = await Peer.connect(server.port, (of or people).context(name), name, **options)
        peers.append(peer)
        return peer

    yield start
    for peer in peers:
        peer.drop()


@pytest.fixture
async def enter(dial: Connect) -> Connect:
    """Connect, say hello and join: `await enter(server, "alice", "lobby")`."""

    async def start(
        server: Server | Daemon,
        name: str,
        *rooms: str,
        device: str | None = None,
        after: int | None = None,
        **options: Any,
    ) -> Peer:
        peer = await dial(server, name, **options)
        await peer.hello(device)
        for room in rooms or ("lobby",):
            await peer.enter(room, after)
        return peer

    return start


@pytest.fixture
def disks(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disks:
    """Folders for clients with encrypted rooms: `async with disks.use(server.port, "alice")`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Disks(people, tmp_path / "disks")


@pytest.fixture
async def villain(nursery: trio.Nursery, people: People, run_server: Serve) -> Villain:
    """Stand between clients and a server whose room `lobby` is encrypted."""
    server = await run_server(mode="encrypted")
    running: Villain = await nursery.start(Villain(people, lambda: server.port).run)
    return running


@pytest.fixture
async def daemon(nursery: trio.Nursery, people: People, tmp_path: Path) -> StartDaemon:
    """Run the program: `await daemon("--room", "ops", ca=..., limits={...})`."""

    async def start(
        *options: str,
        ca: Path | None = None,
        limits: dict[str, Any] | None = None,
        durability: str = "full",
    ) -> Daemon:
        table = {"input_burst": 100_000, "input_rate": 1_000_000, **(limits or {})}
        config = tmp_path / "server.toml"
        lines = [f'durability = "{durability}"', "[limits]"]
        lines += (f"{name} = {value}" for name, value in table.items())
        config.write_text("\n".join(lines))
        words = ["--room", "lobby", "--plain", "--config", str(config), *options]
        run = partial(run_daemon, ca or people.ca, tmp_path / "chat.db", *words)
        running: Daemon = await nursery.start(run)
        return running

    return start
