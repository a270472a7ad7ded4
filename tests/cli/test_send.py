from __future__ import annotations

import argparse
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.conftest import Serve
from tests.people import People
from trio_chat.cli import send
from trio_chat.client import connect
from trio_chat.errors import ConfigError, Disconnected, NoRoom, TextTooLong
from trio_chat.protocol.frames import Message
from trio_chat.server import Server


class Standard:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def text_of(data: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stdin", Standard(data))
    return send._text("-")


def test_the_text_is_the_argument() -> None:
    assert send._text("hello") == "hello"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\n", "one"),
        (b"one\r\n", "one"),
        (b"one\ntwo\n\n", "one\ntwo\n"),
        (b"\xff\n", "\ufffd"),
        (b"x" * 65536 + b"\n", "x" * 65536),
    ],
)
def test_a_dash_reads_one_message_from_standard_input(
    data: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text_of(data, monkeypatch) == text


@pytest.mark.parametrize("data", [b"x" * 65537, b"x" * 65537 + b"\n", b"x" * 1_000_000])
def test_a_text_over_the_limit_is_refused_and_not_cut(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TextTooLong, match="nothing was sent"):
        text_of(data, monkeypatch)


@pytest.mark.parametrize("data", [b"", b"\n", b"  \n"])
def test_no_text_is_an_error(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError):
        text_of(data, monkeypatch)


def test_address_and_text_may_stand_apart() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    send.add_arguments(parser)
    found = parser.parse_args(["localhost:1", "--room", "ops", "done", "--notice"])
    assert (found.address, found.text, found.notice) == ("localhost:1", "done", True)


def connecting(server: Server, people: People, name: str) -> Any:
    issued = people.certificate(name)
    assert issued.key is not None
    where = f"localhost:{server.port}"
    return connect(where, cert=issued.crt, key=issued.key, ca=people.ca, device=None)


async def test_a_message_is_acknowledged_and_in_the_room(server: Server, people: People) -> None:
    await send._send(connecting(server, people, "bob"), "lobby", "done", True)
    async with connecting(server, people, "alice") as client:
        (entry,) = await (await client.join("lobby")).history()
    assert isinstance(entry, Message)
    assert (entry.sender, entry.text, entry.form) == ("bob", "done", "notice")


async def test_a_script_can_talk_in_an_encrypted_room(run_server: Serve, people: People) -> None:
    server = await run_server("den", mode="encrypted")
    async with connecting(server, people, "alice") as client:
        room = await client.join("den")
        for text in ("one", "two"):  # the second time, it finds its keys on the disk
            await send._send(connecting(server, people, "bob"), "den", text, False)
        with trio.fail_after(20):
            texts = []
            async for event in client:
                if isinstance(event, Message):
                    texts.append(event.text)
                    if len(texts) == 2:
                        break
        assert texts == ["one", "two"]
        assert [reader.user for reader in await room.readers()] == ["alice", "bob"]


async def test_a_room_that_is_missing_is_an_error(server: Server, people: People) -> None:
    with pytest.raises(NoRoom):
        await send._send(connecting(server, people, "bob"), "nowhere", "done", False)


async def test_without_an_acknowledgement_it_ends_and_says_what_is_uncertain(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @asynccontextmanager
    async def never() -> AsyncIterator[Any]:
        await trio.Event().wait()
        yield

    with pytest.raises(Disconnected, match="may have arrived"):
        await send._send(never(), "lobby", "done", False)
    assert trio.current_time() == pytest.approx(send.ACKNOWLEDGE_TIMEOUT)
