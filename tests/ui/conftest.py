"""A client that records what it is asked, and a face that records what it is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, cast

import attrs
import pytest
import trio

from trio_chat import names
from trio_chat.client import Client, Number, RoomReader
from trio_chat.errors import ChatError, NoRoom, WrongPassword
from trio_chat.protocol.frames import (
    Devices,
    Entered,
    ListDevices,
    Member,
    Message,
    OwnDevice,
    Person,
    RoomInfo,
    SanctionInfo,
    Topic,
)
from trio_chat.ui import render
from trio_chat.ui.core import Core
from trio_chat.ui.state import Cursors

Entry = Message | Topic


def member(user: str, device: str = "", **more: Any) -> Member:
    return Member(user=user, device=device or f"key.{user}1", **more)


@attrs.define(eq=False)
class FakeRoom:
    client: FakeClient
    name: str
    topic: str = ""
    mode: str = "plain"
    log: list[Entry] = attrs.field(factory=list)
    members: dict[str, Member] = attrs.field(factory=dict)
    count: int = 0
    peer: str | None = None
    sent: list[tuple[str, str | None]] = attrs.field(factory=list)
    refuse: ChatError | None = None
    gate: trio.Event | None = None  # sending waits for it
    history_gate: trio.Event | None = None
    asked: list[dict[str, Any]] = attrs.field(factory=list)
    access: str = "open"
    reading: list[RoomReader] = attrs.field(factory=list)
    done: list[tuple[str, str]] = attrs.field(factory=list)

    @property
    def encrypted(self) -> bool:
        return self.mode == "encrypted"

    async def readers(self) -> list[RoomReader]:
        await trio.lowlevel.checkpoint()
        return self.reading

    async def check_words(self) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return ("Dog", "Cat", "Lion", "Horse", "Unicorn", "Pig", "Elephant", "Rabbit")

    async def invite(self, user: str) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(("invite", user))

    async def kick(self, user: str) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(("kick", user))

    async def search(self, words: str) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        return [e for e in self.log if isinstance(e, Message) and words in e.text]

    @property
    def seq(self) -> int:
        return self.log[-1].seq if self.log else 0

    def said(self, sender: str, text: str, **more: Any) -> Message:
        """Append a message to the log, without a word to anybody."""
        entry = Message(
            room=self.name,
            seq=self.seq + 1,
            time=0.0,
            sender=sender,
            device="key.1",
            n=1,
            text=text,
            **more,
        )
        self.log.append(entry)
        return entry

    async def send(self, text: str, *, form: Any = None) -> Message:
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse is not None:
            raise self.refuse
        self.sent.append((text, form))
        message = self.said(self.client.user, text, form=form)
        self.client.happen(message)
        return message

    async def history(
        self, *, before: int | None = None, after: int | None = None, limit: int = 100
    ) -> list[Entry]:
        await trio.lowlevel.checkpoint()
        self.asked.append({"before": before, "after": after, "limit": limit})
        if self.history_gate is not None:
            await self.history_gate.wait()
        if after is not None:
            return [entry for entry in self.log if entry.seq > after][:limit]
        return [entry for entry in self.log if before is None or entry.seq < before][-limit:]

    async def set_topic(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.topic = text

    async def leave(self) -> None:
        await trio.lowlevel.checkpoint()
        del self.client.rooms[names.key(self.name)]


@attrs.define(eq=False)
class FakeClient:
    user: str = "alice"
    address: str = "localhost:8443"
    online: bool = True
    server_fingerprint: str = "cd" * 32
    rooms: dict[str, FakeRoom] = attrs.field(factory=dict)
    there: dict[str, FakeRoom] = attrs.field(factory=dict)  # on the server
    calls: list[tuple[Any, ...]] = attrs.field(factory=list)
    stuck: trio.Event | None = None  # requests wait for it
    held: list[object] | None = None  # events on their way, when there are such
    persons: dict[str, Person] = attrs.field(factory=dict)
    refused: dict[str, ChatError] = attrs.field(factory=dict)  # a room, or `kick` -> why not
    server_says: str = ""  # in place of the echo
    numbers: list[Number] = attrs.field(factory=list)
    own: list[RoomReader] = attrs.field(factory=list)
    certified: list[OwnDevice] = attrs.field(factory=list)
    passwords: dict[str, str] = attrs.field(factory=dict)
    banned: list[SanctionInfo] = attrs.field(factory=list)
    _events: Any = attrs.field(factory=lambda: trio.open_memory_channel[object](10_000))

    def room(self, name: str, *people: str, **more: Any) -> FakeRoom:
        """Make a room on the server."""
        room = FakeRoom(self, name, **more)
        room.members = {m.device: m for m in map(member, people)}
        room.count = len(people)
        self.there[names.key(name)] = room
        return room

    def happen(self, event: object) -> None:
        if self.held is not None:
            self.held.append(event)
        else:
            self._events[0].send_nowait(event)

    def end(self, error: ChatError | None = None) -> None:
        self._events[0].send_nowait(error) if error else self._events[0].close()

    def __aiter__(self) -> FakeClient:
        return self

    async def __anext__(self) -> object:
        try:
            event = await self._events[1].receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        if isinstance(event, ChatError):
            raise event
        return event

    async def _ask(self, *call: Any, repeat: bool = False) -> object:
        await trio.lowlevel.checkpoint()
        self.calls.append(call)
        if self.stuck is not None:
            await self.stuck.wait()
        if isinstance(call[0], ListDevices):
            return Devices(user=call[0].user or self.user, devices=self.certified)
        return None

    async def join(
        self, name: str, *, after: int | None = None, password: str | None = None
    ) -> FakeRoom:
        await self._ask("join", name, *([password] if password else []))
        if self.passwords.get(names.key(name), password) != password:
            raise WrongPassword("it wants a password")
        if name in self.refused:
            raise self.refused[name]
        room = self.there.get(names.key(name))
        if room is None:
            raise NoRoom(f"there is no room {name}")
        self.rooms[names.key(name)] = room
        return room

    async def create(self, name: str, *, mode: str = "encrypted", **options: Any) -> None:
        await self._ask("create", name, mode, *([options] if options else []))
        self.room(name, self.user, mode=mode, access="closed" if mode == "encrypted" else "open")

    async def safety_numbers(self, user: str) -> list[Number]:
        await self._ask("safety_numbers", user)
        return self.numbers

    async def accept(self, user: str, fingerprints: Collection[str]) -> list[str]:
        await self._ask("accept", user)
        return sorted({n.person.fingerprint for n in self.numbers} & {*fingerprints})

    async def verify(self, user: str, device: str) -> None:
        await self._ask("verify", user, device)

    async def answer(self, user: str, same: bool) -> None:
        await self._ask("answer", user, same)

    async def devices(self) -> list[RoomReader]:
        await self._ask("devices")
        return self.own

    async def set_role(self, room: str, user: str, role: str) -> None:
        await self._ask("set_role", room, user, role)

    async def invite(self, room: str, user: str) -> None:
        await self._ask("invite", room, user)

    async def kick(self, room: str, user: str, reason: str | None = None) -> None:
        await self._ask("kick", room, user, reason)
        if "kick" in self.refused:
            raise self.refused["kick"]

    async def ban(self, room: str, **about: Any) -> None:
        await self._ask("ban", room, about)

    async def unban(self, room: str, **about: Any) -> None:
        await self._ask("unban", room, about)

    async def mute(self, room: str, **about: Any) -> None:
        await self._ask("mute", room, about)

    async def unmute(self, room: str, **about: Any) -> None:
        await self._ask("unmute", room, about)

    async def sanctions(self, room: str) -> list[SanctionInfo]:
        await self._ask("sanctions", room)
        return self.banned

    async def direct(self, user: str) -> FakeRoom:
        await self._ask("direct", user)
        name = names.direct_room(self.user, user)
        room = self.there.get(name) or self.room(name, self.user, user, peer=user)
        self.rooms[name] = room
        return room

    async def users(self, room: str | None = None) -> list[Member]:
        await self._ask("users", room)
        rooms = [self.there[names.key(room)]] if room else self.there.values()
        return [m for r in rooms for m in r.members.values()]

    async def list_rooms(self) -> list[RoomInfo]:
        await self._ask("list_rooms")
        return [
            RoomInfo(
                room=room.name,
                mode=room.mode,
                topic=room.topic,
                count=room.count,
                seq=room.seq,
                user=room.peer,
            )
            for room in self.there.values()
        ]

    async def whois(self, user: str) -> Person:
        await self._ask("whois", user)
        return self.persons[user]

    async def ask_server(self, text: str) -> str:
        await self._ask("ask_server", text)
        return self.server_says or f"echo: {text}"

    async def set_away(self, text: str | None) -> None:
        await self._ask("set_away", text)

    async def set_nick(self, nick: str | None) -> None:
        await self._ask("set_nick", nick)


@attrs.define
class FakeFace:
    lines: list[render.Line] = attrs.field(factory=list)
    cleared: int = 0
    questions: list[str] = attrs.field(factory=list)
    secrets: list[str] = attrs.field(factory=list)

    @property
    def screen(self) -> str:
        return "\n".join(line.text for line in self.lines)

    async def show(self, *lines: render.Line) -> None:
        await trio.lowlevel.checkpoint()
        self.lines += lines

    def refresh(self) -> None:
        pass

    def clear(self) -> None:
        self.cleared += 1

    async def secret(self, question: str) -> str | None:
        await trio.lowlevel.checkpoint()
        self.questions.append(question)
        return self.secrets.pop(0) if self.secrets else None


@attrs.define
class Stage:
    """A core between its fakes."""

    client: FakeClient
    face: FakeFace
    core: Core
    nursery: trio.Nursery

    @property
    def screen(self) -> str:
        return self.face.screen

    async def start(self, rooms: Sequence[str] = ()) -> None:
        await self.core.start(rooms)
        self.nursery.start_soon(self.core.run)
        await self.settle()

    async def type(self, *lines: str) -> None:
        for line in lines:
            await self.core.handle(line)
        await self.settle()

    async def happen(self, *events: object) -> None:
        for event in events:
            self.client.happen(event)
        await self.settle()

    async def settle(self) -> None:
        from trio.testing import wait_all_tasks_blocked

        await wait_all_tasks_blocked()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def face() -> FakeFace:
    return FakeFace()


@pytest.fixture
async def stage(client: FakeClient, face: FakeFace) -> AsyncIterator[Stage]:
    core = Core(client=cast("Client", client), face=face, cursors=Cursors(None, "log", "alice"))
    async with trio.open_nursery() as nursery:
        yield Stage(client, face, core, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def entered() -> Callable[..., Entered]:
    def make(room: str, *members: Member) -> Entered:
        return Entered(room=room, count=9, members=list(members))

    return make


@pytest.fixture
def one() -> Callable[..., Member]:
    return member
