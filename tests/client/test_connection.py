"""What may come in place of `welcome`, and what a server that says nothing gets."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.client.connection import Connection, open_connection
from trio_chat.client.dialling import Dialled
from trio_chat.errors import Refused, Unreachable
from trio_chat.protocol.frames import Whois


async def greeted_with(data: bytes, nursery: trio.Nursery) -> Connection:
    client_side, server_side = trio.testing.memory_stream_pair()

    async def dial() -> Dialled:
        await trio.lowlevel.checkpoint()
        return Dialled(client_side, "")

    async def serve() -> None:
        await server_side.receive_some()
        await server_side.send_all(data)
        await server_side.send_eof()

    nursery.start_soon(serve)
    return await open_connection(dial, program="test", device="d")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "closed the connection without a word"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol"),
        (b'{"type":"ok"}\n', "does not say `welcome`"),
        (b'{"type":"weather"}\n', "does not say `welcome`"),
        (b"\xff\xfe\n", "does not speak the protocol"),
    ],
)
async def test_what_is_no_welcome_is_no_server(
    data: bytes, words: str, nursery: trio.Nursery
) -> None:
    with pytest.raises(Unreachable, match=words):
        await greeted_with(data, nursery)


async def test_a_server_that_is_closing_says_when_to_come_back(nursery: trio.Nursery) -> None:
    with pytest.raises(Refused, match="shutdown") as caught:
        await greeted_with(b'{"type":"closing","reason":"shutdown","retry_after":7.0}\n', nursery)
    assert caught.value.retry_after == 7.0


async def test_the_welcome_may_come_byte_by_byte(server: Any) -> None:
    dialled = await server.dial()
    stream = dialled.stream.receive_stream

    async def one_byte(max_bytes: int | None = None) -> bytes:
        return bytes(await type(stream).receive_some(stream, 1))

    stream.receive_some = one_byte

    async def dial() -> Dialled:
        await trio.lowlevel.checkpoint()
        return Dialled(dialled.stream, "")

    connection = await open_connection(dial, program="test", device=None)
    assert connection.welcome.user == "alice"


async def test_a_server_that_says_nothing_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client_side, _server_side = trio.testing.memory_stream_pair()

    async def dial() -> Dialled:
        await trio.lowlevel.checkpoint()
        return Dialled(client_side, "")

    with pytest.raises(Unreachable, match="no answer within 20 s"):
        await open_connection(dial, program="test", device=None)
    assert trio.current_time() == pytest.approx(20)


async def test_a_failed_greeting_closes_the_stream(nursery: trio.Nursery) -> None:
    client_side, server_side = trio.testing.memory_stream_pair()
    await server_side.send_all(b"nonsense\n")

    async def dial() -> Dialled:
        await trio.lowlevel.checkpoint()
        return Dialled(client_side, "")

    with pytest.raises(Unreachable):
        await open_connection(dial, program="test", device=None)
    with pytest.raises(trio.ClosedResourceError):
        await client_side.send_all(b"x")


async def test_what_is_written_goes_out_in_short_pieces_and_in_order(server: Any) -> None:
    sizes: list[int] = []
    dialled = await server.dial()
    stream = dialled.stream.send_stream
    whole = stream.send_all

    async def send_all(data: bytes) -> None:
        sizes.append(len(data))
        await whole(data)

    stream.send_all = send_all

    async def dial() -> Dialled:
        await trio.lowlevel.checkpoint()
        return dialled  # type: ignore[no-any-return]  # the fake server's

    async def nothing() -> None:
        await trio.lowlevel.checkpoint()

    connection = await open_connection(dial, program="test", device=None)
    users = [f"user-{number}" for number in range(200)]
    for user in users:
        connection.write(Whois(user))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, lambda frame: None, nothing)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert max(sizes) <= 2048
    assert [frame.user for frame in server.heard if isinstance(frame, Whois)] == users
