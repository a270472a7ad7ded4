"""The heart of the terminal client, whatever its face: rooms, reading, sending, catching up.

It feeds lines to a `Face` and takes lines from it. Pure Trio: it knows the client's public
API and the command table, and no terminal, no file descriptors, no prompt_toolkit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Literal, Protocol

import attrs
import trio

from trio_chat import names
from trio_chat.client import Client, KeyChanged, Room, RoomClosed
from trio_chat.errors import ChatError, ConfigError, Disconnected
from trio_chat.protocol.frames import RoomInfo
from trio_chat.text import SafeText, safe
from trio_chat.ui import commands, render
from trio_chat.ui.errors import UsageError
from trio_chat.ui.state import Cursors
from trio_chat.ui.transcript import Transcript

__all__ = ["Core", "Face", "Status"]

SAVE_INTERVAL = 30.0  # seconds between two writings of the cursors
ECHO_TIMEOUT = 1.0  # seconds for what is acknowledged to be shown as well, before leaving
DEFAULT_ROOM = "lobby"

Form = Literal["action", "notice"]


class Face(Protocol):
    """What shows lines to a person or a program."""

    async def show(self, *lines: render.Line) -> None:
        """Show lines, in order; waits while the screen is behind."""

    def refresh(self) -> None:
        """Say that `Core.status` has changed."""

    def clear(self) -> None:
        """Clear the screen, if there is one."""

    async def secret(self, question: str) -> str | None:
        """Ask for something that is neither shown nor kept; None if it cannot be asked for."""


@attrs.frozen(kw_only=True)
class Status:
    """What a status line tells."""

    online: bool
    room: SafeText | None
    mode: SafeText
    people: int
    unread: int  # private messages that came since the user last entered a line
    unsent: int  # messages that the server has not acknowledged


@attrs.define(eq=False, kw_only=True)
class Core:
    """One user at one server.

    Attributes:
        patience: Seconds that `/quit` waits for what is not acknowledged yet.
        strict: Is a room that cannot be entered at the start an error that ends us?
        room_name: The open room, where words go; None if there is none.
        started: Set when the first rooms are entered: words have somewhere to go.
        leaving: Set when the user wants to leave: the face ends then.
        shown_keys: The fingerprints of people's keys that were on the screen.
    """

    client: Client
    face: Face
    cursors: Cursors
    fingerprint: str = ""
    patience: float = 2.0
    strict: bool = False
    room_name: str | None = None
    started: trio.Event = attrs.field(factory=trio.Event)
    leaving: trio.Event = attrs.field(factory=trio.Event)
    shown_keys: set[str] = attrs.field(factory=set)
    transcript: Transcript = attrs.field(init=False)
    _listed: tuple[str, ...] = ()
    _unsent: int = 0
    _acknowledged: dict[str, int] = attrs.field(factory=dict)  # room -> our newest entry
    _changed: trio.Event = attrs.field(factory=trio.Event)
    _waiting: trio.CancelScope | None = None
    _outbox: trio.MemorySendChannel[tuple[Room, str, Form | None]] = attrs.field(init=False)
    _to_send: trio.MemoryReceiveChannel[tuple[Room, str, Form | None]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._outbox, self._to_send = trio.open_memory_channel(1000)
        self.transcript = Transcript(
            client=self.client,
            cursors=self.cursors,
            show=self.face.show,
            reader=render.Reader(self.client.user),
        )

    # --- running -----------------------------------------------------------------------

    async def run(self) -> None:
        """Receive, send and keep the cursors until cancelled.

        Raises:
            Disconnected: the connection is over for good.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            nursery.start_soon(self._send)
            nursery.start_soon(self._save_now_and_then)

    async def start(self, rooms: Sequence[str] = ()) -> None:
        """Enter `rooms`, or the only one there is, and show what came in private meanwhile.

        Raises:
            Refused: a room cannot be entered, and the core is strict.
        """
        await self.show(*render.notice(f"connected to {self.client.address} as {self.client.user}"))
        listed = await self.client.list_rooms()
        self.remember_rooms(listed)
        for room in rooms or self._default_rooms():
            await self._try(partial(self.enter, room), "/rooms lists those there are")
        first = self._joined(rooms[0]) if rooms else None
        if first is not None:
            self._open(first.name)
        self.started.set()
        if self.room_name is None:
            await self.show(*render.rooms(listed, self.reader, ()))
            await self.show(*render.notice("you are in no room: /join ROOM enters one"))
        for info in listed:
            if info.user is not None and info.seq > (self.cursors.get(info.room) or 0):
                join = partial(self.client.join, info.room)
                await self._try(partial(self.transcript.catch_up, info.room, join))

    def close(self) -> int:
        """Keep the cursors; return how many messages were not acknowledged.

        Raises:
            ConfigError: the cursors cannot be written.
        """
        self.cursors.save()
        return self._unsent

    async def handle(self, line: str) -> None:
        """Take one line that the user entered; what is wrong with it is shown, not raised."""
        self.transcript.unread = 0
        self.face.refresh()
        if not line.strip():
            return
        try:
            match commands.parse(line):
                case commands.Words(text):
                    await self.say(self.open_room(), text)
                case commands.Call(command, arguments):
                    with trio.CancelScope() as self._waiting:
                        await command.run(self, *arguments)
                    if self._waiting.cancelled_caught:
                        await self.show(*render.notice(f"no longer waiting for {command.name}"))
        except ChatError as problem:
            await self.show(*render.error(problem))
        finally:
            self._waiting = None

    def give_up(self) -> bool:
        """Stop waiting for the command that runs; is there one?"""
        if self._waiting is None:
            return False
        self._waiting.cancel()
        return True

    @property
    def reader(self) -> render.Reader:
        """Who reads."""
        return self.transcript.reader

    # --- for faces ---------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Return what a status line tells."""
        room = self._joined(self.room_name) if self.room_name else None
        people = 0
        if room is not None:
            people = len({names.key(m.user) for m in room.members.values()}) or room.count
        return Status(
            online=self.client.online,
            room=safe(room.name, 64) if room else None,
            mode=safe(room.mode, 16) if room else SafeText(""),
            people=people,
            unread=self.transcript.unread,
            unsent=self._unsent,
        )

    def room_names(self) -> list[SafeText]:
        """Return the rooms to complete: those one is in and those last listed."""
        found = {
            names.key(name): safe(name, 64)
            for name in (*self._listed, *(room.name for room in self.client.rooms.values()))
            if not names.is_direct(name)
        }
        return [name for _, name in sorted(found.items())]

    def people(self) -> list[SafeText]:
        """Return the people to complete: all that are in a room with us, and private peers."""
        found: dict[str, SafeText] = {}
        for room in self.client.rooms.values():
            for member in room.members.values():
                found[names.key(member.user)] = safe(member.user, 64)
            if room.peer is not None:
                found.setdefault(names.key(room.peer), safe(room.peer, 64))
        found.pop(names.key(self.client.user), None)
        return [name for _, name in sorted(found.items())]

    async def flush(self) -> None:
        """Wait until the server has acknowledged all that was said."""
        await trio.lowlevel.checkpoint()
        while self._unsent:
            await self._changed.wait()

    # --- for commands ------------------------------------------------------------------

    async def show(self, *lines: render.Line) -> None:
        """Show lines."""
        await self.face.show(*lines)

    async def clear(self) -> None:
        """Clear the screen."""
        await trio.lowlevel.checkpoint()
        self.face.clear()

    async def quit(self) -> None:
        """Leave the chat, after what was said is acknowledged or `patience` is over."""
        with trio.move_on_after(self.patience):
            await self.flush()
        with trio.move_on_after(ECHO_TIMEOUT):
            for room, seq in self._acknowledged.items():
                await self.transcript.reached(room, seq)
        self.leaving.set()

    def open_room(self) -> Room:
        """Return the open room, or raise `UsageError`."""
        room = self._joined(self.room_name) if self.room_name else None
        if room is None:
            raise UsageError(
                "you are in no room; nothing was sent", hint="/join ROOM; /rooms lists them"
            )
        return room

    def remember_rooms(self, found: Iterable[RoomInfo]) -> None:
        """Keep the names of rooms for completion."""
        self._listed = tuple(info.room for info in found)

    async def say(self, room: Room, text: str, *, form: Form | None = None) -> None:
        """Queue words for a room; they are shown when they come back, acknowledged."""
        self._unsent += 1
        self.face.refresh()
        try:
            await self._outbox.send((room, text, form))
        except trio.Cancelled:
            self._unsent -= 1
            raise

    async def enter(self, name: str, password: str | None = None) -> None:
        """Enter a room and open it; one that is joined already is just opened."""
        room = self._joined(name)
        if room is not None:
            self._open(room.name)
            await self.show(*render.notice(f"you are in {room.name} now"))
            return
        join = partial(self.client.join, name, password=password)
        await self.transcript.catch_up(name, join, self._announce)

    async def leave_room(self, name: str | None) -> None:
        """Leave a room, this one by default, after what was said in it is acknowledged."""
        room = self._joined(name) if name else self.open_room()
        if room is None:
            raise UsageError(f"you are not in {name}", hint="/rooms marks yours with *")
        await self.flush()
        await room.leave()
        self.transcript.forget(room.name)
        await self.show(*render.notice(f"you have left {room.name}"))
        if names.key(room.name) == self._open_key:
            others = [r.name for r in self.client.rooms.values() if r.peer is None and r != room]
            self._open(others[0] if others else None)
            if others:
                await self.show(*render.notice(f"you are in {others[0]} now"))

    # --- inside ------------------------------------------------------------------------

    @property
    def _open_key(self) -> names.Key | None:
        return None if self.room_name is None else names.key(self.room_name)

    def _default_rooms(self) -> list[str]:
        rooms = [room for room in self._listed if not names.is_direct(room)]
        if len(rooms) == 1:
            return rooms
        return [room for room in rooms if names.key(room) == DEFAULT_ROOM]

    def _joined(self, name: str) -> Room | None:
        return self.client.rooms.get(names.key(name))

    async def _try(self, enter: Callable[[], Awaitable[None]], hint: str = "") -> None:
        """Enter a room at the start; the others are entered though one refuses."""
        try:
            await enter()
        except ChatError as problem:
            if self.strict:
                raise
            await self.show(*render.error(problem, hint))

    def _open(self, name: str | None) -> None:
        self.room_name = name
        self.transcript.reader = attrs.evolve(self.reader, room=name)
        self.face.refresh()

    async def _announce(self, room: Room) -> None:
        self._open(room.name)
        await self.show(*render.notice(f"you are in {room.name} now"))
        said = "plain: the server can read it"
        if room.encrypted:
            who = "whom its owner lets in" if room.access == "closed" else "who is in it"
            said = f"encrypted: only {who} can read it, not the server"
        await self.show(*render.notice(f"{room.name} is {said}"))
        if room.topic:
            await self.show(*render.notice(f"topic: {room.topic}"))

    async def _receive(self) -> None:
        async for event in self.client:
            await self.transcript.take(event)
            if isinstance(event, KeyChanged):
                self.shown_keys.add(event.fingerprint)
            if isinstance(event, RoomClosed) and names.key(event.room) == self._open_key:
                self._open(None)
            self.face.refresh()
        raise Disconnected("the connection is closed")

    async def _send(self) -> None:
        async for room, text, form in self._to_send:
            try:
                message = await room.send(text, form=form)
                self._acknowledged[room.name] = message.seq
            except ChatError as problem:
                await self.show(*render.error(f"not sent to {room.name}: {problem}", problem.hint))
            self._unsent -= 1
            self._changed.set()
            self._changed = trio.Event()
            self.face.refresh()

    async def _save_now_and_then(self) -> None:
        while True:
            await trio.sleep(SAVE_INTERVAL)
            try:
                self.cursors.save()
            except ConfigError as problem:  # no reason to end a conversation
                await self.show(*render.error(problem))
