"""Garbage by the hundred, readers that stop: a conversation beside them does not notice."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.daemon import Daemon, StartDaemon
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.tls import stranger_context

MB = 1024 * 1024
RESET = (trio.BrokenResourceError, trio.ClosedResourceError, OSError, EOFError)

Attack = Callable[[Daemon, People], Awaitable[None]]


async def listen_to_the_end(stream: trio.abc.ReceiveStream) -> None:
    with trio.fail_after(30):
        while await stream.receive_some(65_536):
            pass


async def raw(daemon: Daemon, data: bytes, *, cut: bool = False) -> None:
    """Send bytes to the bare port; then go, or wait for the server to end it."""
    async with await trio.open_tcp_stream("127.0.0.1", daemon.port) as stream:
        try:
            await stream.send_all(data)
            if not cut:
                await listen_to_the_end(stream)
        except RESET:
            pass


async def plain_http(daemon: Daemon, people: People) -> None:
    await raw(daemon, b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n")


async def random_bytes(daemon: Daemon, people: People) -> None:
    await raw(daemon, os.urandom(5000))


async def half_a_handshake(daemon: Daemon, people: People) -> None:
    await raw(daemon, bytes.fromhex("16030100c8010000c40303") + bytes(100), cut=True)


async def nothing_at_all(daemon: Daemon, people: People) -> None:
    await raw(daemon, b"")


async def slow_loris(daemon: Daemon, people: People) -> None:
    """A handshake that drips in, byte by byte, until the server has had enough."""
    async with await trio.open_tcp_stream("127.0.0.1", daemon.port) as stream:
        try:
            for byte in bytes.fromhex("16030100c8010000c40303") + bytes(100):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.02)
        except RESET:
            pass


async def member(daemon: Daemon, people: People, *lines: bytes, hello: bool = True) -> None:
    """A valid certificate that behaves badly."""
    peer = await Peer.connect(daemon.port, people.context("mallory"))
    try:
        if hello:
            await peer.say("hello", protocol=1, client="x", device=f"d{next(_numbers)}")
        for line in lines:
            await peer.write(line)
        with trio.fail_after(30):
            while await peer.stream.receive_some():
                pass
    except RESET:
        pass
    finally:
        peer.drop()


_numbers = itertools.count()


async def endless_line(daemon: Daemon, people: People) -> None:
    await member(daemon, people, *[b"x" * 65_536] * 8)


async def endless_line_before_hello(daemon: Daemon, people: People) -> None:
    await member(daemon, people, b"x" * 65_536, hello=False)


async def invalid_utf8(daemon: Daemon, people: People) -> None:
    await member(daemon, people, b'{"type":"chat","text":"\xff\xfe"}\n' * 5)


async def deep_json(daemon: Daemon, people: People) -> None:
    await member(daemon, people, (b"[" * 100_000 + b"\n") * 5)


async def huge_numbers(daemon: Daemon, people: People) -> None:
    await member(daemon, people, b'{"type":"send","room":"lobby","n":%s}\n' % (b"9" * 5000) * 5)


async def reset_after_handshake(daemon: Daemon, people: People) -> None:
    peer = await Peer.connect(daemon.port, people.context("mallory"))
    peer.reset()


async def stranger(daemon: Daemon, line: bytes) -> None:
    """No certificate, and the same line again and again."""
    peer = await Peer.connect(daemon.port, stranger_context(None))
    try:
        for _ in range(100):
            await peer.write(line * 10)
        await listen_to_the_end(peer.stream)
    except RESET:
        pass
    finally:
        peer.drop()


async def stranger_says_hello(daemon: Daemon, people: People) -> None:
    await stranger(daemon, b'{"type":"hello","protocol":1,"client":"x"}\n')


async def stranger_asks_for_the_authority(daemon: Daemon, people: People) -> None:
    """And reads nothing of what comes until all is said."""
    await stranger(daemon, b'{"type":"ca"}\n')


async def stranger_guesses(daemon: Daemon, people: People) -> None:
    await stranger(daemon, b'{"type":"enrol","secret":"%s","csr":"x"}\n' % (b"A" * 27))


ATTACKS: list[Attack] = [
    stranger_says_hello,
    stranger_asks_for_the_authority,
    stranger_guesses,
    plain_http,
    random_bytes,
    half_a_handshake,
    nothing_at_all,
    slow_loris,
    endless_line,
    endless_line_before_hello,
    invalid_utf8,
    deep_json,
    huge_numbers,
    reset_after_handshake,
]


async def converse(peers: list[Peer], stop: trio.Event) -> int:
    """Everybody says something and reads what all say, round after round."""
    rounds = 0
    while not stop.is_set():
        for peer in peers:
            await peer.post("lobby", f"{peer.name} {rounds}")
        for peer in peers:
            for _ in peers:
                frame = await peer.expect("message", n=rounds + 1)
                assert frame["text"] == f"{frame['from']} {rounds}"
        rounds += 1
        await trio.sleep(0.005)  # a conversation, no load test
    return rounds


async def bombard(
    running: Daemon, people: People, enter: Connect, *, count: int, at_once: int
) -> None:
    peers = [await enter(running, name) for name in ("alice", "bob", "carol")]
    for position, peer in enumerate(peers):
        if position < len(peers) - 1:
            await peer.until("entered", count=len(peers))
    before = running.resident
    stop = trio.Event()
    slots = trio.CapacityLimiter(at_once)
    rounds = 0

    async def talk() -> None:
        nonlocal rounds
        rounds = await converse(peers, stop)

    async def attack(chosen: Attack) -> None:
        async with slots:
            await chosen(running, people)

    async with trio.open_nursery() as outer:
        outer.start_soon(talk)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(attack, ATTACKS[number % len(ATTACKS)])
        stop.set()
    assert rounds > 10
    assert running.resident - before < 64 * MB
    assert not [line for line in running.log if "Traceback" in line or " ERROR " in line]
    for peer in peers:
        await peer.quiet()


LIMITS = {
    "handshake_timeout": 0.5,
    "hello_timeout": 0.5,
    "connections_per_identity": 1000,
    "connections_per_address": 1000,
}


async def test_a_conversation_does_not_notice_200_garbage_connections(
    daemon: StartDaemon, people: People, enter: Connect
) -> None:
    running = await daemon(limits=LIMITS)
    await bombard(running, people, enter, count=200, at_once=50)


@pytest.mark.stress
async def test_a_conversation_does_not_notice_1000_garbage_connections(
    daemon: StartDaemon, people: People, enter: Connect
) -> None:
    running = await daemon(limits=LIMITS)
    await bombard(running, people, enter, count=1000, at_once=200)


async def test_over_the_limit_the_oldest_stranger_makes_room(
    daemon: StartDaemon, enter: Connect
) -> None:
    running = await daemon(limits={"unauthenticated": 20})
    alice = await enter(running, "alice")
    strangers = [await trio.open_tcp_stream("127.0.0.1", running.port) for _ in range(30)]
    await enter(running, "bob")  # gets in all the same
    await alice.until("entered", count=2)
    for stranger in strangers[:10]:
        with trio.fail_after(5):
            assert await stranger.receive_some() == b""
    for stranger in strangers:
        await stranger.aclose()


# --- a reader that stops -------------------------------------------------------------------


async def stop_reading(
    daemon: StartDaemon, people: People, enter: Connect, *, enough: Callable[[int, float], bool]
) -> None:
    """`slow` reads nothing until `enough(messages, seconds)`; the others talk on."""
    running = await daemon(limits={"heartbeat_interval": 600})  # these peers answer no ping
    alice, bob = await enter(running, "alice"), await enter(running, "bob")
    await alice.until("entered", count=2)
    text = "x" * 60_000

    async def talk(n: int) -> None:
        await alice.post("lobby", text)
        await alice.expect("message", n=n)
        await bob.expect("message", n=n)

    for number in range(1, 301):
        await talk(number)
    late = await enter(running, "late", after=0)  # now the database's caches have their size
    for number in range(1, 301):
        await late.until("message", n=number)
    late.drop()
    await alice.until("left")
    await bob.until("left")

    slow = await enter(running, "slow", receive_buffer=4096)
    await alice.until("entered", count=3)
    await bob.until("entered", count=3)
    before = running.resident
    said, started = 300, trio.current_time()
    while not enough(said - 300, trio.current_time() - started):
        said += 1
        await talk(said)
    assert running.resident - before < 8 * MB
    for number in range(301, said + 1):
        await slow.expect("message", seq=number, n=number)
    await slow.quiet()
    await bob.quiet()
    assert running.resident - before < 8 * MB


async def test_who_stops_reading_gets_everything_later_and_costs_no_memory(
    daemon: StartDaemon, people: People, enter: Connect
) -> None:
    await stop_reading(daemon, people, enter, enough=lambda said, _: said >= 600)  # 36 MB


@pytest.mark.stress
async def test_who_stops_reading_for_a_minute_gets_everything_later(
    daemon: StartDaemon, people: People, enter: Connect
) -> None:
    await stop_reading(daemon, people, enter, enough=lambda _, seconds: seconds >= 60)
