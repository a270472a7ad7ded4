"""The rooms in memory: each has its broadcaster, and is dropped when nobody is in it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import trio

from trio_chat import names
from trio_chat.chat.house import no_room
from trio_chat.errors import RoomExists
from trio_chat.limits import Limits
from trio_chat.server.config import ServerConfig
from trio_chat.server.room import Audience, Room
from trio_chat.store import RoomRow, Store

__all__ = ["Rooms", "ensure_room", "have_rooms"]

log = logging.getLogger("trio_chat.server")


class Rooms:
    """Finds rooms by name and starts their broadcasters in `nursery`."""

    def __init__(
        self, store: Store, limits: Limits, audience: Audience, nursery: trio.Nursery
    ) -> None:
        self.limits = limits
        self._store = store
        self._audience = audience
        self._nursery = nursery
        self._active: dict[names.Key, Room] = {}
        self._loading = trio.Lock()

    def __iter__(self) -> Iterator[Room]:
        return iter(list(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    def active(self, name: str) -> Room | None:
        """Return a room that somebody is in."""
        return self._active.get(names.key(name))

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Room]:
        """Give a room and keep it in memory inside the block.

        Raises:
            NoRoom: there is none of that name.
        """
        key = names.key(name)
        room = self._active.get(key)
        if room is None:
            async with self._loading:
                room = self._active.get(key) or await self._load(key)
                room.pin()
        else:
            room.pin()
        try:
            yield room
        finally:
            room.unpin()

    async def _load(self, key: names.Key) -> Room:
        row = await self._store.find_room(key)
        if row is None:
            raise no_room(key)
        state = await self._store.load_room(row.id)
        room = Room(row, state, self._store, self.limits, self._audience)
        self._active[key] = room
        self._nursery.start_soon(room.broadcast, self._forget, name=f"room {room.name}")
        return room

    def _forget(self, room: Room) -> None:
        del self._active[room.key]


async def ensure_room(
    store: Store,
    name: str,
    now: float,
    *,
    mode: str,
    people: tuple[names.Key, ...] = (),
) -> RoomRow:
    """Return an open room, or with `people` the closed one that they own; make it if need be.

    One that is there already stays what it is.
    """
    access = "closed" if people else "open"
    while (row := await store.find_room(names.key(name))) is None:
        with suppress(RoomExists):  # somebody else was faster, which is as good
            return await store.create_room(
                name, mode=mode, now=now, people=people, access=access, role="owner"
            )
    return row


async def have_rooms(store: Store, config: ServerConfig) -> dict[str, str]:
    """Make the rooms of `config` that are not there; log which are others than it says.

    Return their modes.
    """
    modes = {}
    for name in config.rooms:
        row = await ensure_room(store, name, time.time(), mode=config.mode)
        if (row.mode, row.access) != (config.mode, "open"):
            log.warning("room %s is %s and %s, and stays so", row.name, row.access, row.mode)
        modes[row.name] = row.mode
    return modes
