"""The client library against a real server: what it promises, over real sockets and real TLS."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, and the seed is printed
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import Serve, plain_direct
from tests.people import People
from trio_chat import Client, Message, connect
from trio_chat.client import Offline, connecting
from trio_chat.client.backoff import Backoff
from trio_chat.errors import CertificateRefused, Disconnected, NotTrusted, Revoked
from trio_chat.server import Server

Join = Callable[..., AbstractAsyncContextManager[Client]]
SEED = 7
COUNT = 150


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def client(people: People) -> Join:
    """Connect as somebody: `async with client(server.port, "alice") as alice`."""

    def start(port: int, name: str, *, of: People | None = None, **options: Any) -> Any:
        issued = (of or people).certificate(name)
        assert issued.key is not None
        options.setdefault("ca", people.ca)
        return connect(f"localhost:{port}", cert=issued.crt, key=issued.key, **options)

    return start


async def next_message(client: Client) -> Message:
    async for event in client:
        if isinstance(event, Message):
            return event
    raise AssertionError("the client has ended")


async def test_two_people_talk_and_a_third_reads_history(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice, client(server.port, "bob") as bob:
        theirs = await bob.join("lobby")
        ours = await alice.join("lobby")
        sent = await ours.send("hello")
        assert await next_message(bob) == sent
        answer = await theirs.send("hello yourself", form="action")
        assert (answer.sender, answer.seq, answer.form) == ("bob", 2, "action")
    async with client(server.port, "carol") as carol:
        room = await carol.join("lobby")
        assert await room.history() == [sent, answer]


async def test_two_terminals_with_one_certificate_live_side_by_side(
    server: Server, client: Join
) -> None:
    async with client(server.port, "alice") as one, client(server.port, "alice") as other:
        assert one.user == other.user
        assert one.device != other.device
        room = await one.join("lobby")
        await other.join("lobby")
        sent = await room.send("to myself")
        assert await next_message(other) == sent


async def test_who_takes_a_device_over_ends_the_older_client_for_good(
    server: Server, client: Join
) -> None:
    join = partial(client, server.port, "alice", device="x")
    async with join() as older, join():
        with pytest.raises(Disconnected, match="took over"):
            await next_message(older)


async def test_a_private_message_reaches_who_was_away(server: Server, client: Join) -> None:
    await plain_direct(server, "alice", "bob")
    async with client(server.port, "bob") as bob:
        cursors, log = bob.cursors(), bob.log
    async with client(server.port, "alice") as alice:
        sent = await (await alice.join("@alice+bob")).send("for later")
    async with client(server.port, "bob", cursors={**cursors, sent.room: 0}, log=log) as bob:
        assert await next_message(bob) == sent


async def test_a_certificate_of_another_ca_is_refused_in_plain_words(
    server: Server, client: Join, own_people: People
) -> None:
    with pytest.raises(CertificateRefused, match=r"does not know|unknown|authority"):
        async with client(server.port, "mallory", of=own_people):
            pass


async def test_a_members_certificate_posing_as_the_server_is_refused(
    people: People, client: Join, nursery: trio.Nursery
) -> None:
    issued = people.certificate("mallory")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.crt, issued.key)
    context.set_alpn_protocols(["trio-chat/1"])

    async def pose(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()

    listeners = await nursery.start(
        partial(trio.serve_ssl_over_tcp, pose, 0, context, host="127.0.0.1")
    )
    port = listeners[0].transport_listener.socket.getsockname()[1]
    with pytest.raises(NotTrusted, match=r"posing|unsuitable certificate purpose"):
        async with client(port, "alice"):
            pass


async def test_a_pin_takes_the_place_of_name_and_ca(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice:
        pin = alice.server_fingerprint
    async with client(server.port, "alice", ca=None, pin=pin) as alice:
        assert alice.online
    with pytest.raises(NotTrusted, match="not the pinned one"):
        async with client(server.port, "alice", pin="00" * 32):
            pass


async def test_a_revoked_person_is_put_out_for_good(
    run_server: Serve, client: Join, own_people: People
) -> None:
    server = await run_server(ca=own_people.ca)
    join = partial(client, server.port, of=own_people, ca=own_people.ca)
    async with join("bob") as bob, join("alice") as alice:
        room = await alice.join("lobby")
        own_people.revoke("bob")
        with trio.fail_after(2), pytest.raises(Disconnected, match="revoked"):
            await next_message(bob)
        await room.send("still here")
    with pytest.raises(Revoked, match="revoked"):
        async with join("bob"):
            pass


async def test_a_restarted_server_is_found_again_and_nothing_is_lost_or_doubled(
    run_server: Serve, client: Join, people: People, nursery: trio.Nursery
) -> None:
    server = await run_server()
    carry = await nursery.start(_tunnel, lambda: server.port, lambda: 1 << 40)
    async with client(carry, "alice") as alice, client(carry, "bob") as bob:
        ours = await alice.join("lobby")
        await bob.join("lobby")
        first = await ours.send("before")
        server.drain()
        server = await run_server()
        second = await ours.send("after")
        assert [await next_message(bob), await next_message(bob)] == [first, second]


async def test_exactly_once_through_a_line_that_breaks_all_the_time(
    server: Server, client: Join, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "Backoff", partial(Backoff, longest=0.02))
    rng = random.Random(SEED)
    carry = await nursery.start(_tunnel, lambda: server.port, lambda: rng.randrange(9000, 40_000))
    seen: list[Message] = []
    acknowledged: list[Message] = []
    breaks = 0

    async def read(bob: Client) -> None:
        nonlocal breaks
        async for event in bob:
            match event:
                case Message():
                    seen.append(event)
                    if len(seen) == COUNT:
                        return
                case Offline():
                    breaks += 1

    async def say(ours: Any, number: int) -> None:
        acknowledged.append(await ours.send(f"{number} {'x' * 200}"))

    async with client(carry, "alice") as alice, client(carry, "bob") as bob:
        await bob.join("lobby")
        ours = await alice.join("lobby")
        async with trio.open_nursery() as talk:
            talk.start_soon(read, bob)
            for number in range(COUNT):
                talk.start_soon(say, ours, number)
    print(f"seed {SEED}, {breaks} breaks")
    assert breaks > 1
    assert [each.seq for each in seen] == list(range(1, COUNT + 1))
    assert {each.n for each in seen} == set(range(1, COUNT + 1))
    assert sorted(acknowledged, key=lambda each: each.seq) == seen


async def _tunnel(
    port: Callable[[], int],
    life: Callable[[], int],
    *,
    task_status: trio.TaskStatus[int],
) -> None:
    """Carry connections to `port()`, each for `life()` bytes."""

    async def carry(near: trio.SocketStream) -> None:
        left = life()
        try:
            far = await trio.open_tcp_stream("127.0.0.1", port())
        except OSError:
            return  # the server is just away

        async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            nonlocal left
            try:
                while left > 0 and (data := await source.receive_some()):
                    data = data[:left]
                    left -= len(data)
                    await sink.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            both.cancel_scope.cancel()

        async with far, trio.open_nursery() as both:
            both.start_soon(pump, near, far)
            both.start_soon(pump, far, near)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, carry, 0, host="127.0.0.1")
        )
        task_status.started(listeners[0].socket.getsockname()[1])
