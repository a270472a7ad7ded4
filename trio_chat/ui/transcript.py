"""What is shown of the rooms: each entry once, in order, whatever comes when.

It turns the client's events into lines, fetches what was said before one came, counts people
rather than devices, and keeps the cursors. May know the client's public API, no commands and
no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import attrs
import trio

from trio_chat import names
from trio_chat.client import Client, Connected, Gap, Offline, Room, RoomReset, Unreadable
from trio_chat.errors import ChatError
from trio_chat.protocol.frames import (
    Acted,
    AwayChanged,
    Entered,
    Kicked,
    Left,
    Member,
    Message,
    ModeChanged,
    NickChanged,
    RoleChanged,
    Topic,
)
from trio_chat.ui import announce, render
from trio_chat.ui.state import Cursors

__all__ = ["Transcript"]

FIRST_LINES = 20  # entries shown of a room that was never open here
CATCH_UP = 200  # entries shown at most of one that was
SCREEN_TIMEOUT = 1.0  # seconds for the screen to take what is left to show

Entry = Message | Topic | Acted | Unreadable


@attrs.define
class _View:
    """One room as it is shown.

    `held` collects entries while older ones are being fetched, so that all appear in order
    and once; None when they are shown as they come. `here` is who is there, by device;
    `stale` since a reconnect, for the client knows better then.
    """

    name: str
    shown: int = 0
    held: list[Entry] | None = None
    here: dict[names.Key, set[str]] = attrs.field(factory=dict)
    stale: bool = False


@attrs.define(eq=False, kw_only=True)
class Transcript:
    """What one user sees of all rooms.

    Attributes:
        show: Shows lines, in order.
        reader: Who reads, and in which room.
        offline: Why there is no connection now, if there is none.
        unread: Private messages that came since somebody last set this to 0.
    """

    client: Client
    cursors: Cursors
    show: Callable[..., Awaitable[None]]
    reader: render.Reader
    offline: Offline | None = None
    unread: int = 0
    _views: dict[names.Key, _View] = attrs.field(factory=dict)
    _known: dict[tuple[names.Key, type], str | None] = attrs.field(factory=dict)
    _day: str = attrs.field(init=False)
    _progress: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self._day = self.reader.day(time.time())

    async def catch_up(
        self,
        name: str,
        join: Callable[[], Awaitable[Room]],
        announce: Callable[[Room], Awaitable[None]] | None = None,
    ) -> None:
        """Join a room and show what was said before, then what came in the meantime.

        Args:
            name: The room's name.
            join: Joins it.
            announce: Awaited between the two, before anything of the room is shown.
        """
        fresh = names.key(name) not in self._views
        view = self._view(name)
        view.held = view.held if view.held is not None else []
        try:
            room = await join()
            self._seat(view, room)
            if announce is not None:
                await announce(room)
            await self._show_past(view, room)
            await self._show_held(view)
        except ChatError:
            if fresh:
                self._views.pop(names.key(name), None)
            raise
        finally:
            # What came in the meantime is shown also when the fetching was given up: short,
            # because it only waits for the screen.
            with trio.move_on_after(SCREEN_TIMEOUT, shield=True):
                await self._show_held(view)
            view.held = None

    async def take(self, event: object) -> None:
        """Show one event of the client."""
        match event:
            case Kicked() | RoleChanged() | ModeChanged() if self._is_encrypted(event.room):
                await self._show_event(event)  # what has to be decrypted comes later
            case (
                Message(room=room)
                | Topic(room=room)
                | Kicked(room=room)
                | RoleChanged(room=room)
                | ModeChanged(room=room)
                | Unreadable(room=room)
            ):
                view = self._view(room)
                if view.held is not None:
                    view.held.append(event)
                else:
                    await self._show_entry(view, event)
            case Entered(room=room) | Left(room=room) if names.is_direct(room):
                self._changes(event)  # two people come and go in their other rooms
            case Entered() | Left():
                await self._show_event(attrs.evolve(event, members=self._changes(event)))
            case AwayChanged(user=user, text=said) | NickChanged(user=user, nick=said):
                # It comes once for each device and each room that is shared.
                known = (names.key(user), type(event))
                if self._known.get(known) != said and not self.reader.is_me(user):
                    await self._show_event(event)
                self._known[known] = said
            case RoomReset(room=room, seq=seq):
                self.cursors.forget(room)
                self._view(room).shown = seq
                await self._show_event(event)
            case Offline():
                first, self.offline = self.offline is None, event
                if first:
                    await self._show_event(event)
            case Connected():
                for view in self._views.values():
                    view.stale = True
                if self.offline is not None:
                    self.offline = None
                    await self._show_event(event)
            case _:
                await self._show_event(event)

    async def reached(self, room: str, seq: int) -> None:
        """Wait until a room is shown up to `seq`."""
        await trio.lowlevel.checkpoint()
        while (self.cursors.get(room) or 0) < seq:
            await self._progress.wait()

    def forget(self, room: str) -> None:
        """Drop a room that was left."""
        self._views.pop(names.key(room), None)

    async def _show_past(self, view: _View, room: Room) -> None:
        """Show the entries up to now that were not shown before, or the last few."""
        newest = room.seq
        cursor = self.cursors.get(room.name)
        if cursor is not None and cursor > newest:  # another history under the same id
            cursor = None
        view.shown = cursor or 0
        if newest <= view.shown and not room.encrypted:
            view.shown = newest
            return
        if cursor is None:
            past = await room.history(before=newest + 1, limit=FIRST_LINES)
        elif newest - cursor <= CATCH_UP:
            past = await room.history(after=cursor, limit=CATCH_UP)
        else:
            past = await room.history(before=newest + 1, limit=CATCH_UP)
            more = newest - cursor - CATCH_UP
            await self.show(*render.notice(f"{more} older messages of {room.name} are not shown"))
            cursor = None
        if cursor is not None and not room.encrypted and (not past or past[0].seq > cursor + 1):
            last = past[0].seq - 1 if past else newest
            await self._show_event(Gap(room=room.name, first=cursor + 1, last=last))
        for entry in past:
            await self._show_entry(view, entry, past=True)
        if room.encrypted:  # the newest may not be decrypted yet: it comes as an event
            return
        view.shown = max(view.shown, newest)
        self.cursors.set(room.name, view.shown)

    async def _show_held(self, view: _View) -> None:
        while view.held:
            await self._show_entry(view, view.held.pop(0))

    def _is_encrypted(self, name: str) -> bool:
        room = self.client.rooms.get(names.key(name))
        return room is not None and room.mode == "encrypted"

    def _view(self, name: str) -> _View:
        key = names.key(name)
        if key not in self._views:
            self._views[key] = _View(name, shown=self.cursors.get(name) or 0)
        return self._views[key]

    async def _show_event(self, event: object) -> None:
        found = render.render(event, self.reader) or announce.lines(event, self.reader)
        await self.show(*found)

    async def _show_entry(self, view: _View, entry: Entry, *, past: bool = False) -> None:
        """Show one entry of a room's log, once."""
        if entry.seq <= view.shown:
            return
        view.shown = entry.seq
        date = self.reader.day(entry.time)
        if date != self._day and date:
            self._day = date
            await self.show(*render.day(date))
        if isinstance(entry, Message) and names.is_direct(entry.room) and not past:
            self.unread += not self.reader.is_me(entry.sender)
        await self._show_event(entry)
        self.cursors.set(entry.room, entry.seq)
        self._progress.set()
        self._progress = trio.Event()

    def _seat(self, view: _View, room: Room) -> None:
        """Take who is in a room from the client, without a word."""
        view.here, view.stale = {}, False
        for member in room.members.values():
            view.here.setdefault(names.key(member.user), set()).add(member.device)

    def _changes(self, event: Entered | Left) -> list[Member]:
        """Note which devices came or went; return those that were a person's first, or last."""
        view, entered = self._view(event.room), isinstance(event, Entered)
        if view.stale:
            room = self.client.rooms.get(names.key(event.room))
            if room is not None:
                self._seat(view, room)
                for member in event.members:  # as it was before this event
                    self._move(view, member, here=not entered)
        moved = [m for m in event.members if self._move(view, m, here=entered)]
        return [member for member in moved if not self.reader.is_me(member.user)]

    def _move(self, view: _View, member: Member, *, here: bool) -> bool:
        """Note that a device came or went; was it a person's first, or the last?"""
        devices = view.here.setdefault(names.key(member.user), set())
        before = bool(devices)
        if here:
            devices.add(member.device)
        else:
            devices.discard(member.device)
        return before != bool(devices)
