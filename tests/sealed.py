"""Real clients for encrypted rooms: each with a disk of its own, as if on its own machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from tests.people import People
from trio_chat import Client, Message, connect
from trio_chat.client.encryption import Encryption
from trio_chat.client.events import ClientEvent
from trio_chat.client.sealed import SealedRoom
from trio_chat.errors import Disconnected
from trio_chat.protocol.frames import KeyPackages, PublishPackages

__all__ = ["Disks", "Taker", "Using", "encryption_of", "published", "sealed_room", "texts", "until"]

T = TypeVar("T")
Using = Callable[..., AbstractAsyncContextManager[Client]]
"""`async with use(server.port, "alice", "laptop") as client`: what `Disks.use` is."""

PATIENCE = 20.0  # s after which a test has failed rather than waits


@attrs.define
class Disks:
    """A folder for each device, which stays when its client ends."""

    people: People
    folder: Path

    def of(self, name: str, device: str = "laptop") -> Path:
        return self.folder / f"{name}-{device}"

    def store(self, name: str, device: str = "laptop") -> Path:
        (found,) = self.of(name, device).glob("devices/*/*.store")
        return found

    @asynccontextmanager
    async def use(
        self,
        port: int,
        name: str,
        device: str = "laptop",
        *,
        of: People | None = None,
        **options: Any,
    ) -> AsyncIterator[Client]:
        people = of or self.people
        issued = people.certificate(name)
        options = {
            "cert": issued.crt,
            "key": issued.key,
            "ca": people.ca,
            "device": device,
            "data": self.of(name, device),
            **options,
        }
        async with connect(f"localhost:{port}", **options) as client:
            yield client


class Taker:
    """Takes all events of a client, and lets tests wait for what has come."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.events: list[ClientEvent] = []
        self._more = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[Taker] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started(self)
        try:
            async for event in self.client:
                self.events.append(event)
                self._more.set()
        except Disconnected:
            pass

    async def wait(self, found: Callable[[], T | None]) -> T:
        """Wait until `found()` is true, and return that."""
        with trio.fail_after(PATIENCE):
            while not (result := found()):
                self._more = trio.Event()
                await self._more.wait()
        return result

    def all(self, kind: type[T]) -> list[T]:
        return [each for each in self.events if isinstance(each, kind)]

    def texts(self, room: str | None = None) -> list[str]:
        return texts(self.events, room)

    async def text(self, text: str) -> Message:
        """Wait for a message with this text."""
        return await self.wait(lambda: next((e for e in self.all(Message) if e.text == text), None))


def texts(events: Any, room: str | None = None) -> list[str]:
    """The texts of the messages among these, in order."""
    found = (each for each in events if isinstance(each, Message))
    return [each.text or "" for each in found if room is None or each.room == room]


def encryption_of(client: Client) -> Encryption:
    assert client._encryption is not None
    return client._encryption


def sealed_room(client: Client, room: str) -> SealedRoom:
    found = encryption_of(client).room(client.rooms[room]._state.key)
    assert found is not None
    return found


async def published(*clients: Client) -> None:
    """Wait until others can let these in."""
    with trio.fail_after(PATIENCE):
        for client in clients:
            encryption = encryption_of(client)
            await encryption.opened.wait()
            while True:
                reply = await encryption.ask(PublishPackages([]))
                assert isinstance(reply, KeyPackages)
                if reply.count >= 50:
                    break
                await trio.sleep(0.01)


async def until(client: Client, wanted: Callable[[ClientEvent], bool]) -> ClientEvent:
    """Take events until one is wanted, and return that."""
    with trio.fail_after(PATIENCE):
        async for event in client:
            if wanted(event):
                return event
    raise AssertionError("the client has ended")


async def together(*functions: Callable[[], Awaitable[object]]) -> None:
    """Call these at once, and return when all have."""
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(partial(function))
