"""`trio_chat.transport`: written without waiting; what TLS itself has to say is never lost."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from tests.people import People
from trio_chat.tls import TappedContext, client_context, server_context
from trio_chat.transport import Wire

MB = 1024 * 1024

Client = trio.SSLStream[trio.SocketStream]


@pytest.fixture(scope="session")
def context(people: People) -> TappedContext:
    folder = people.folder
    return server_context(folder / "server.crt", folder / "server.key", people.ca)


@pytest.fixture
async def accept(
    context: TappedContext, nursery: trio.Nursery
) -> AsyncIterator[Callable[[socket.socket], Wire]]:
    wires: list[Wire] = []

    def make(sock: socket.socket) -> Wire:
        sock.setblocking(False)
        wires.append(Wire(sock, context, trio.Semaphore(1)))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


def tcp_pair(buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """The server's and the client's end; the client's with a small receive buffer."""
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return server, client


async def shaken(
    accept: Callable[[socket.socket], Wire], people: People, *, buffer: int | None = None
) -> tuple[Wire, Client]:
    """A wire and its peer, after the handshake."""
    server, client = tcp_pair(buffer)
    wire = accept(server)
    client.setblocking(False)
    stream = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(client)), people.context("alice")
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.handshake)
        nursery.start_soon(stream.do_handshake)
    return wire, stream


def drop(stream: Client) -> None:
    stream.transport_stream.socket.close()


async def read(stream: Client, count: int) -> bytes:
    data = b""
    with trio.fail_after(20):
        while len(data) < count:
            more = await stream.receive_some()
            assert more
            data += more
    return data


Accept = Callable[[socket.socket], Wire]


async def test_what_is_written_arrives_at_once(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people)
    wire.write(b"one\n")
    wire.write(b"two\n")
    assert not wire.blocked
    assert await read(peer, 8) == b"one\ntwo\n"
    await peer.send_all(b"three\n")
    assert await wire.receive() == b"three\n"
    assert wire.peer_certificate() is not None
    drop(peer)


async def test_a_megabyte_reaches_a_slow_reader_whole(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people, buffer=4096)
    told: list[bool] = []
    wire.on_blocked = lambda: told.append(True)
    data = bytes(range(256)) * (MB * 4 // 256)
    wire.write(data)
    assert told == [True]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.drain)
        assert await read(peer, len(data)) == data
    assert not wire.blocked
    wire.write(b"on")
    assert await read(peer, 2) == b"on"
    drop(peer)


async def test_everything_that_came_is_received_at_once(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people)
    for _ in range(5):
        await peer.send_all(b"x" * 100)
    await trio.testing.wait_all_tasks_blocked()
    assert await wire.receive() == b"x" * 500
    drop(peer)


async def test_a_close_of_the_peer_is_the_empty_string(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.aclose)
        assert await wire.receive() == b""
        nursery.cancel_scope.cancel()


async def test_the_peer_hears_the_last_line_and_the_close(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people)
    await peer.send_all(b"unread input, which would reset the connection\n" * 100)
    wire.write(b"the reason\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.linger, 5)
        assert await read(peer, 11) == b"the reason\n"
        assert await peer.receive_some() == b""  # close_notify: no truncation
        drop(peer)


async def test_lingering_ends_when_the_peer_does_nothing(
    accept: Accept, people: People, autojump_clock: trio.testing.MockClock
) -> None:
    wire, peer = await shaken(accept, people, buffer=4096)
    wire.write(b"x" * MB * 4)
    assert wire.blocked
    started = trio.current_time()
    await wire.linger(7)
    assert trio.current_time() - started == pytest.approx(7)
    assert wire.dead
    drop(peer)


async def test_a_reset_while_writing_goes_nowhere_and_reading_tells(
    accept: Accept, people: People
) -> None:
    wire, peer = await shaken(accept, people)
    sock = peer.transport_stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    drop(peer)
    for _ in range(10):
        wire.write(b"x" * 100_000)
    assert wire.dead
    with pytest.raises(trio.BrokenResourceError):
        await wire.receive()
    await wire.linger(5)


async def test_a_reset_while_waiting_for_the_kernel_is_broken(
    accept: Accept, people: People
) -> None:
    wire, peer = await shaken(accept, people, buffer=4096)
    wire.write(b"x" * MB * 4)
    assert wire.blocked
    sock = peer.transport_stream.socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    drop(peer)
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await wire.drain()


async def test_a_peer_without_tls_gets_an_alert(accept: Accept) -> None:
    server, client = tcp_pair()
    wire = accept(server)
    client.sendall(bytes.fromhex("160301000402000000"))  # a handshake, but from a server
    with pytest.raises(trio.BrokenResourceError):
        await wire.handshake()
    await wire.aclose()
    data = client.recv(100)
    client.close()
    assert data[0] == 21  # an alert (RFC 8446, section 6)
    assert data[5] == 2  # fatal


async def test_a_failed_handshake_is_told_to_the_peer(
    accept: Accept, people: People, own_people: People
) -> None:
    stranger = own_people.certificate("stranger")
    assert stranger.key is not None
    untrusted = client_context(stranger.crt, stranger.key, ca=people.ca)
    server, client = tcp_pair()
    wire = accept(server)
    client.setblocking(False)
    peer = trio.SSLStream(trio.SocketStream(trio.socket.from_stdlib_socket(client)), untrusted)

    async def fail() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await wire.handshake()
        await wire.linger(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await peer.do_handshake()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await peer.receive_some()
        drop(peer)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert caught.value.__cause__.reason == "TLSV1_ALERT_UNKNOWN_CA"


async def test_waiting_for_a_peer_takes_no_place_on_the_cpu(
    context: TappedContext, people: People
) -> None:
    one_place = trio.Semaphore(1)
    stalled_sock, silent = tcp_pair()
    stalled_sock.setblocking(False)
    stalled = Wire(stalled_sock, context, one_place)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stalled.handshake)
        silent.sendall(bytes.fromhex("16030100c8"))  # a beginning, and nothing more
        await trio.testing.wait_all_tasks_blocked()

        def accept(sock: socket.socket) -> Wire:
            sock.setblocking(False)
            return Wire(sock, context, one_place)

        with trio.fail_after(5):
            wire, peer = await shaken(accept, people)
        wire.write(b"in")
        assert await read(peer, 2) == b"in"
        wire.close()
        drop(peer)
        nursery.cancel_scope.cancel()
    assert one_place.value == 1
    silent.close()
    stalled.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
async def test_key_updates_do_not_disturb_the_stream(
    context: TappedContext, people: People
) -> None:
    issued = people.certificate("alice")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}"),
            *("-cert", str(issued.crt), "-key", str(issued.key)),
        ]
        pipe = subprocess.PIPE
        process = await trio.lowlevel.open_process(
            words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
        )
        listener.setblocking(False)
        await trio.lowlevel.wait_readable(listener)
        sock, _ = listener.accept()
    sock.setblocking(False)
    wire = Wire(sock, context, trio.Semaphore(1))
    await wire.handshake()
    assert process.stdin is not None
    output = process.stdout
    assert output is not None
    seen = b""

    async def shown(what: bytes, times: int = 1) -> None:
        nonlocal seen
        with trio.fail_after(20):
            while seen.count(what) < times:
                seen += await output.receive_some()

    for number in range(3):
        await process.stdin.send_all(b"K\n")  # new keys, and asks for ours
        await shown(b"KEYUPDATE", number + 1)
        await process.stdin.send_all(b"line %d\n" % number)
        with trio.fail_after(20):
            assert await wire.receive() == b"line %d\n" % number
        wire.write(b"answer %d\n" % number)
        await shown(b"answer %d\n" % number)
    process.kill()
    await process.wait()
    await process.stdin.aclose()
    await output.aclose()
    wire.close()


async def test_a_closed_wire_leaves_nothing_for_the_cycle_collector(
    accept: Accept, people: People, context: TappedContext
) -> None:
    import gc
    import weakref

    server, client = tcp_pair()
    server.setblocking(False)
    wire = Wire(server, context, trio.Semaphore(1))
    stream = weakref.ref(wire.stream)
    gc.disable()
    try:
        wire.close()
        del wire
        assert stream() is None
    finally:
        gc.enable()
        client.close()


async def test_what_comes_after_the_close_is_not_waited_for(
    accept: Accept, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, peer = await shaken(accept, people)
    calls = 0
    read_on = wire._read

    def counted(size: int) -> bytes:
        nonlocal calls
        calls += 1
        assert calls < 10, "reads on after the end"
        return read_on(size)

    wire._read = counted  # type: ignore[assignment]
    sent: list[bytes] = []

    async def keep(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(bytes(data))

    sock = peer.transport_stream.socket
    with monkeypatch.context() as patched:  # one packet: text, close_notify, garbage
        patched.setattr(peer.transport_stream, "send_all", keep)
        await peer.send_all(b"last words\n")
        with trio.move_on_after(0.05):
            await peer.unwrap()
    await sock.send(b"".join(sent) + b"garbage" * 10)
    with trio.fail_after(5):
        assert await wire.receive() == b"last words\n"
        assert await wire.receive() == b""
    sock.close()


async def test_who_asks_for_new_keys_and_reads_nothing_is_given_up(
    accept: Accept, people: People
) -> None:
    wire, peer = await shaken(accept, people, buffer=4096)
    wire.write(b"x" * MB * 4)
    assert wire.blocked
    for _ in range(3):
        wire._outgoing.write(b"y" * 30_000)  # what TLS would answer
        wire.flush()
    with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
        await wire.receive()
    assert wire.dead
    drop(peer)


async def test_a_long_write_leaves_no_large_buffer_behind(accept: Accept, people: People) -> None:
    wire, peer = await shaken(accept, people)
    largest = 0
    encrypt, *rest = wire._ways

    def watched(data: bytes) -> int:
        nonlocal largest
        written = encrypt(data)
        largest = max(largest, wire._outgoing.pending)
        return written

    wire._ways = (watched, *rest)  # type: ignore[assignment]
    data = bytes(range(256)) * 1024
    wire.write(data)
    assert largest < 20_000  # the memory of a BIO only ever grows
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.drain)
        assert await read(peer, len(data)) == data
    drop(peer)
