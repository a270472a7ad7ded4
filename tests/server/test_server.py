"""`trio_chat.server.server`: draining, reloading, embedding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import attrs
import pytest
import trio
from cryptography import x509

from tests.conftest import Serve
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.errors import ConfigError
from trio_chat.identity import key_fingerprint
from trio_chat.limits import Limits
from trio_chat.server import Server, ServerConfig, serve
from trio_chat.store import Store


async def test_draining_tells_everybody_and_ends(
    people: People, tmp_path: Path, enter: Connect
) -> None:
    config = ServerConfig(
        ca=people.ca, db=tmp_path / "chat.db", port=0, rooms=("lobby",), mode="plain"
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, config)
        peers = [await enter(server, f"user{number}") for number in range(3)]
        silent = await trio.open_tcp_stream("127.0.0.1", server.port)  # never shakes hands
        while not server.statistics().unauthenticated:
            await trio.sleep(0.001)
        server.drain()
        for peer in peers:
            closing = (await peer.rest())[-1]
            assert (closing["type"], closing["reason"]) == ("closing", "shutdown")
            assert closing["retry_after"] > 0
            peer.drop()
        with trio.fail_after(5):
            assert await silent.receive_some() == b""
        await silent.aclose()
    with pytest.raises(OSError, match="all attempts"):
        await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_what_was_accepted_before_draining_is_in_the_log(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server()
    alice = await enter(server, "alice")
    lines = [
        json.dumps({"type": "send", "room": "lobby", "n": n, "text": f"{n:0500}"}).encode()
        for n in range(1, 401)
    ]
    await alice.write(b"\n".join(lines) + b"\n")
    await alice.expect("message", n=1)
    server.drain()
    frames = await alice.rest()
    alice.drop()
    echoed = [1, *(frame["n"] for frame in frames if frame["type"] == "message")]
    assert echoed == list(range(1, len(echoed) + 1))
    server = await run_server()
    again = await enter(server, "alice", after=0)
    joined = await again.join("lobby")
    assert joined["n"] == joined["seq"] >= len(echoed)


async def test_draining_twice_does_not_wait(people: People, tmp_path: Path, enter: Connect) -> None:
    config = ServerConfig(
        ca=people.ca, db=tmp_path / "chat.db", port=0, rooms=("lobby",), mode="plain"
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, config)
            peer = await enter(server, "alice")
            server.drain()
            server.drain()
            peer.drop()


async def test_reloading_takes_over_certificate_limits_and_rooms(
    own_people: People, run_server: Serve, enter: Connect, dial: Connect, tmp_path: Path
) -> None:
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    new = tmp_path / "new"
    new.mkdir()
    issued = own_people.authority.issue_server(["localhost"], out=new)
    assert issued.key is not None
    shutil.copy(issued.crt, own_people.folder / "server.crt")
    shutil.copy(issued.key, own_people.folder / "server.key")
    limits = attrs.evolve(server.limits, text_size=10)
    await server.reload(attrs.evolve(server.config, limits=limits, rooms=("lobby", "news")))
    bob = await dial(server, "bob", of=own_people)
    shown = bob.stream._ssl_object.getpeercert(binary_form=True)
    assert shown is not None
    assert key_fingerprint(x509.load_der_x509_certificate(shown)) == key_fingerprint(
        issued.certificate
    )
    assert (await bob.hello())["text_size"] == 10
    await bob.enter("news")
    await alice.quiet()  # who is there stays


@pytest.mark.parametrize("bad", ["server.crt", "server.key", "ca.crl"])
async def test_a_reload_that_fails_changes_nothing(
    own_people: People, run_server: Serve, enter: Connect, dial: Connect, bad: str
) -> None:
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    before = server.config, server.context, server.revocations, server.rooms.limits
    (own_people.folder / bad).write_text("nonsense")
    changed = attrs.evolve(server.config, limits=Limits(text_size=10), rooms=("lobby", "news"))
    with pytest.raises(ConfigError):
        await server.reload(changed)
    assert (server.config, server.context, server.revocations, server.rooms.limits) == before
    await alice.quiet()
    assert (await alice.ask("join", room="news"))["code"] == "no-room"
    if bad != "ca.crl":
        bob = await dial(server, "bob", of=own_people)
        await bob.hello()


@pytest.mark.parametrize("field", ["host", "port", "db", "durability"])
async def test_what_needs_a_restart_is_said(server: Server, field: str) -> None:
    value = {"host": "::1", "port": 1, "db": Path("/x"), "durability": "full"}[field]
    with pytest.raises(ConfigError, match=f"`{field}` needs a restart"):
        await server.reload(attrs.evolve(server.config, **{field: value}))  # type: ignore[arg-type]


async def test_a_taken_port_is_an_error_in_words(
    server: Server, people: People, tmp_path: Path
) -> None:
    config = ServerConfig(ca=people.ca, db=tmp_path / "two.db", port=server.port)
    with pytest.raises(ConfigError, match=f"port {server.port}"):
        await serve(config)


async def test_statistics_count_what_there_is(
    server: Server, enter: Connect, dial: Connect
) -> None:
    await enter(server, "alice", device="a")
    await enter(server, "alice", device="b")
    await dial(server, "bob")
    found = server.statistics()
    assert (found.connections, found.people, found.rooms) == (2, 1, 1)
    assert (found.unauthenticated, found.behind) == (1, 0)


async def test_a_room_keeps_the_mode_that_it_was_made_with(
    run_server: Serve, enter: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = await run_server("board", mode="plain")
    alice = await enter(server, "alice", "board")
    assert (await alice.ask("create", room="den"))["type"] == "ok"
    server.drain()
    await alice.rest()
    server = await run_server("board", "ops", "den", mode="encrypted")
    assert server.modes == {"board": "plain", "ops": "encrypted", "den": "encrypted"}
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "room board is open and plain, and stays so",
        "room den is closed and encrypted, and stays so",
    ]
    alice = await enter(server, "alice", "board", "ops", "den")
    assert (await alice.join("board"))["mode"] == "plain"
    assert (await alice.join("ops"))["mode"] == "encrypted"
    bob = await enter(server, "bob", "ops")
    assert (await bob.ask("join", room="den"))["code"] == "no-room"


async def test_a_defect_in_one_connection_ends_it_alone(
    server: Server,
    enter: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from trio_chat.protocol.frames import Whois
    from trio_chat.server.dispatch import HANDLERS

    async def defect(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, Whois, defect)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    await bob.say("whois", user="alice", id="1")
    await bob.rest()
    await alice.expect("left", count=1)
    await alice.quiet()
    assert "ZeroDivisionError" in caplog.text


async def test_cancelling_it_ends_it_at_any_moment(people: People, tmp_path: Path) -> None:
    config = ServerConfig(
        ca=people.ca, db=tmp_path / "chat.db", port=0, rooms=("lobby",), mode="plain"
    )
    for steps in range(0, 48, 4):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, config)
            nursery.start_soon(_talk, server, people)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:  # and the next one finds all in order
        server = await nursery.start(serve, config)
        nursery.start_soon(_talk, server, people)
        while server.statistics().connections == 0:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def _talk(server: Server, people: People) -> None:
    peer = await Peer.connect(server.port, people.context("alice"))
    try:
        await peer.hello()
        await peer.enter("lobby")
        while True:
            await peer.post("lobby", "x")
    finally:
        peer.drop()


async def test_draining_takes_no_longer_than_its_limit(
    people: People, tmp_path: Path, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Store, "append", stuck)
    limits = Limits(drain_timeout=0.1)
    config = ServerConfig(
        ca=people.ca,
        db=tmp_path / "chat.db",
        port=0,
        rooms=("lobby",),
        mode="plain",
        limits=limits,
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, config)
            peer = await enter(server, "alice")
            await peer.post("lobby", "never written")
            while server.rooms.active("lobby")._posted.statistics().current_buffer_used:  # type: ignore[union-attr]
                await trio.lowlevel.checkpoint()
            server.drain()
            peer.drop()
