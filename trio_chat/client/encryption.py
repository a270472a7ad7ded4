"""The encrypting half of a client: its store, its key packages, its encrypted rooms.

It is opened beside the connection. Each encrypted room has a task (`sealed`); all of them work in
one thread, since there is one store. A revocation list that may have changed is fetched before
anything more is encrypted. Once the store cannot be written, the client ends: what was done since
could not be known after the next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_chat import names
from trio_chat.client.asking import Frame
from trio_chat.client.events import ClientEvent
from trio_chat.client.news import News, Unreadable, shown
from trio_chat.client.packages import make_packages, packages_due
from trio_chat.client.requests import Asking
from trio_chat.client.sealed import SealedRoom
from trio_chat.client.state import Notice, RoomState
from trio_chat.client.trusting import stand_by_own_key
from trio_chat.client.vault import Vault, renew
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.place import Place
from trio_chat.errors import (
    ChatError,
    ConfigError,
    Disconnected,
    Refused,
    StoreError,
    StoreInUse,
    Unreachable,
)
from trio_chat.protocol import frames

if TYPE_CHECKING:
    from trio_chat.client.client import Client

__all__ = ["Encryption"]

T = TypeVar("T")

AT_ONCE = 20  # key packages in one frame
LET_GO = 10.0  # seconds for another process to close the store
AGAIN = 0.1  # seconds between two attempts to open it
UPKEEP = 3600.0  # seconds between two looks at what is kept on the server
SOON = 60.0  # seconds, if that has failed

Opener = Callable[[str], Vault]


class Encryption:
    """What one client does for its encrypted rooms.

    Attributes:
        opened: Set when the store is open, or cannot be opened.
        problem: Why it cannot.
        published: Set when others can add this device to rooms.
        scope: Ends it.
        clock: Returns the time, in seconds since 1970.
    """

    def __init__(
        self, client: Client, opener: Opener, clock: Callable[[], float] = time.time
    ) -> None:
        self.opened = trio.Event()
        self.published = trio.Event()
        self.problem: ChatError | None = None
        self.scope = trio.CancelScope()
        self.clock = clock
        self._client = client
        self._opener = opener
        self._vault: Vault | None = None
        self._rooms: dict[names.Key, SealedRoom] = {}
        self._limiter = trio.CapacityLimiter(1)
        self._nursery: trio.Nursery | None = None
        self._due = trio.Event()
        self._list = 0  # which revocation list is the newest, counted
        self._list_known = 0  # which one is known, or given up
        self._list_news = trio.Event()
        self._said = ""  # what was told last

    @property
    def account(self) -> Account:
        """Our part; only once it is open."""
        assert self._vault is not None
        return self._vault.account

    async def run(self) -> None:
        """Open the store, look after it and the rooms, and close it, until cancelled."""
        with self.scope:
            await self._run(self._client.device)

    async def _run(self, wire: str) -> None:
        try:
            self._vault = await self._open(wire)
            await self.work(stand_by_own_key, self._vault.account)
        except ChatError as error:
            problem = self.problem = error
            for room in self._rooms.values():
                room.fail(lambda: problem)
            self.opened.set()
            return
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for room in self._rooms.values():
                    self._start(room, nursery)
                self.opened.set()
                self._client._store_opened()
                await self._upkeep(self._vault)
        finally:
            self._nursery = None
            vault, self._vault = self._vault, None
            with trio.CancelScope(shield=True):  # bounded: a thread that reads or writes a file
                await self.work(vault.close)

    def _start(self, room: SealedRoom, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._live, room, name=f"encrypted room {room.state.name}")

    async def _live(self, room: SealedRoom) -> None:
        try:
            await room.run()
        except StoreError as error:
            self._client._end_with(error)

    async def _open(self, wire: str) -> Vault:
        """Open the store; whose device we have taken over may need a moment to let go of it."""
        deadline = trio.current_time() + LET_GO
        while True:
            try:
                return await self.work(self._opener, wire)
            except StoreInUse:
                if trio.current_time() > deadline:
                    raise
                await trio.sleep(AGAIN)

    # The session's frames: synchronous

    def connected(self) -> None:
        """There is a connection: what lies on the server may be old."""
        if self._vault is not None and self._client.device != self.account.wire:
            self._client._end_with(
                ConfigError(
                    "the key of your certificate has changed while this ran",
                    hint="start it again; encrypted rooms take you for another device then",
                )
            )
        self.list_changed()

    def lost(self) -> None:
        """The connection is gone."""
        self._know_list(self._list)  # nothing is sent now; and then it is fetched anew
        for room in self._rooms.values():
            room.lost()

    def list_changed(self) -> None:
        """There is another revocation list."""
        self._list += 1
        self._due.set()

    def _know_list(self, which: int) -> None:
        self._list_known = max(self._list_known, which)
        self._list_news.set()
        self._list_news = trio.Event()

    def joined(self, state: RoomState, frame: frames.Joined, after: int | None) -> None:
        """An encrypted room is joined."""
        room = self._rooms.get(state.key)
        if room is None or room.state is not state:
            place = Place(
                frame.room, self._client.user, frame.access == "open", frame.role == "owner"
            )
            room = self._rooms[state.key] = SealedRoom(self, state, place)
            if self.problem is not None:
                room.settled.set()
            elif self._nursery is not None:
                self._start(room, self._nursery)
        room.joined(frame, after)

    def entry(self, frame: Frame) -> None:
        """An entry of an encrypted room's log has come."""
        room = self._rooms.get(names.key(frame.room))
        if room is None:
            return
        if self.problem is None:
            room.entry(frame)
        elif isinstance(frame, frames.Message) and frame.kind == "message":
            why = str(self.problem)
            self.tell(
                [
                    Unreadable(
                        room=frame.room,
                        seq=frame.seq,
                        time=frame.time,
                        sender=frame.sender,
                        device=frame.device,
                        reason=why,
                    )
                ]
            )

    def noticed(self, frame: Notice) -> bool:
        """Somebody has come or gone; return whether the program learns it later."""
        room = self._rooms.get(names.key(frame.room))
        return room is not None and room.noticed(frame)

    def refused(self, room: str, n: int, error: Refused) -> None:
        """The server has not taken something for an encrypted room."""
        found = self._rooms.get(names.key(room))
        if found is not None:
            found.refused(n, error)

    def room(self, key: names.Key) -> SealedRoom | None:
        """Return an encrypted room that is joined."""
        return self._rooms.get(key)

    def forget(self, key: names.Key, error: Callable[[], ChatError]) -> None:
        """The room was left."""
        room = self._rooms.pop(key, None)
        if room is not None:
            room.scope.cancel()
            room.fail(error)
            if self._vault is not None and room.conversation and room.conversation.cursor:
                self._vault.cursors[key] = room.conversation.cursor
            self.relieve()

    def ended(self, error: Callable[[], ChatError]) -> None:
        """No connection will come any more."""
        for room in self._rooms.values():
            room.fail(error)
        self.opened.set()
        self.scope.cancel()

    @property
    def ready(self) -> bool:
        """Is the store open?"""
        return self._vault is not None

    @property
    def waiting(self) -> int:
        """How many entries of logs wait to be dealt with."""
        return sum(len(room.queue) for room in self._rooms.values())

    def cursor(self, key: names.Key, log: str) -> int | None:
        """Return how far a room's log is dealt with, if it is known here."""
        found = self._vault.cursors.get(key) if self._vault is not None else None
        return found.seq if found is not None and found.log == log else None

    def knows(self, key: names.Key) -> bool:
        """Was this room an encrypted one, so that it can be no other?"""
        private = names.is_direct(key) and not key.startswith(names.PLAIN_DIRECT)
        kept = self._vault is not None and key in self._vault.cursors
        return private or kept or key in self._rooms

    # For rooms

    async def work(self, function: Callable[..., T], *args: object) -> T:
        """Run something in the store's thread."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def ask(self, frame: Asking) -> frames.Event:
        """Ask the server, over reconnects; raises `Refused` and `Disconnected`."""
        return await self._client._ask(frame, repeat=True)

    async def ask_once(self, frame: Asking) -> frames.Event:
        """Ask the server on this connection alone; raises `Unreachable` as well."""
        return await self._client._ask(frame, repeat=False)

    def write(self, frame: frames.SendSealed) -> None:
        """Have a frame written on the present connection."""
        self._client._write(frame)

    def tell(self, events: Sequence[ClientEvent]) -> None:
        """Let the program know of something."""
        self._client._tell(events)

    def relieve(self) -> None:
        """Less waits here than before."""
        self._client._inbox.relieve()

    @property
    def crowded(self) -> bool:
        """Has the program been told as much as it can be without taking any of it?"""
        return self._client._inbox.crowded

    async def room_for_more(self) -> None:
        """Return when the program has taken what it was told."""
        await self._client._inbox.wait_for_taker()

    async def list_known(self) -> None:
        """Return when the newest revocation list is known, or there is no connection."""
        while self._list_known < self._list:
            await self._list_news.wait()

    async def fetch_list(self) -> None:
        """Fetch the newest revocation list, now."""
        vault, which = self._vault, self._list
        assert vault is not None
        reply = await self.ask(frames.GetCrl())
        assert isinstance(reply, frames.Crl)
        older = await self.work(vault.use_lists, reply.crl)
        if older:
            self._say("the server gave an older revocation list than this device has seen")
        self._know_list(which)

    async def inquire(self, function: Callable[[Account, list[Conversation]], T]) -> T:
        """Ask the store and all rooms something, in their thread; raises why it cannot be."""
        await self.opened.wait()
        if self.problem is not None or self._vault is None:
            raise self.problem or Disconnected("the client is closed")
        rooms = [room.conversation for room in self._rooms.values() if room.conversation]
        return await self.work(function, self._vault.account, rooms)

    async def history(
        self, state: RoomState, *, before: int | None, after: int | None, limit: int
    ) -> list[frames.Message | frames.Topic | Unreadable]:
        """Return what was said in a room, as far as it was read here, oldest first."""
        vault = await self._open_vault()
        find = partial(vault.store.history, before=before, after=after, limit=limit)
        return shown(state.name, await self.work(find, state.key))

    async def search(
        self, state: RoomState, words: str, limit: int
    ) -> list[frames.Message | frames.Topic | Unreadable]:
        """Return the last entries of a room with these words, oldest first."""
        vault = await self._open_vault()
        find = partial(vault.store.search, room=state.key, limit=limit)
        return shown(state.name, await self.work(find, words))

    async def _open_vault(self) -> Vault:
        await self.opened.wait()
        if self.problem is not None:
            raise self.problem
        if self._vault is None:
            raise Disconnected("the client is closed")
        return self._vault

    # Upkeep

    async def _upkeep(self, vault: Vault) -> None:
        while True:
            self._due = trio.Event()
            pause, which = UPKEEP, self._list
            try:
                if self._list_known < self._list:
                    await self.fetch_list()
                await self.work(renew, vault, self.clock())
                await self.work(stand_by_own_key, vault.account)
                await self._publish(vault)
                self._said = self._warn(vault)
            except StoreError as error:
                self._client._end_with(error)
                return
            except Disconnected:
                return
            except Unreachable:
                pass  # the next connection begins it again
            except ChatError as error:
                self._say(str(error))
                pause = (error.retry_after if isinstance(error, Refused) else None) or SOON
                self._know_list(which)  # as good as it gets; nobody is to wait for ever
            with trio.move_on_after(min(pause, vault.lists_end(self.clock()))):
                await self._due.wait()

    def _warn(self, vault: Vault) -> str:
        """Say what is wrong with the revocation lists, if anything is."""
        why = vault.stale_list(self.clock())
        if why:
            self._say(why)
        return why

    def _say(self, why: str) -> None:
        if why != self._said:  # once
            self._said = why
            self.tell([News("", why)])

    async def _publish(self, vault: Vault) -> None:
        """Have enough key packages on the server, so that others can add this device."""
        now, make = self.clock(), partial(self.work, make_packages, vault)
        due = await self.work(packages_due, vault, now)
        reply = await self.ask_once(frames.PublishPackages([]))
        assert isinstance(reply, frames.KeyPackages)
        if due.last or not reply.count:
            (last,) = await make(1, now, True)
            await self.ask_once(frames.PublishPackages([], last))
        lacking = due.count if due.anew else due.count - reply.count
        while lacking > 0:  # the server's word is not taken again: it could ask for ever more
            made = await make(min(lacking, AT_ONCE), now, False)
            await self.ask_once(frames.PublishPackages(made))
            lacking -= len(made)
        await self.work(due.done)
        self.published.set()
