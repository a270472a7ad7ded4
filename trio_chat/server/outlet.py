"""The writing side of a connection: what is owed to the peer, and its places in rooms' logs.

Writing never waits. Where the kernel takes no more, a frame that must arrive is *owed*, what
is said in rooms stays in their logs, and one task pays and reads on until the peer has
everything. A peer that stops reading costs what the kernel did not take and one task.
"""

from __future__ import annotations

import logging

import trio

from trio_chat import names
from trio_chat.errors import StoreError
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import Event
from trio_chat.server.cursor import Cursor
from trio_chat.transport import Wire, cut

__all__ = ["Outlet"]

log = logging.getLogger("trio_chat.server")

DEBT = 64 * 1024  # bytes of frames owed to a peer, which make it far behind


class Outlet:
    """Everything that is written to one peer.

    Attributes:
        id: A number for the log.
        scope: Cancelling it ends the connection.
        wire: The socket; pushes go straight to it.
        cursors: The rooms the peer is in, by their keys.
        gone: Has it left all rooms, and is its device free?
    """

    __slots__ = (
        "_left",
        "_nursery",
        "_owed",
        "_paid",
        "_pump",
        "cursors",
        "gone",
        "id",
        "scope",
        "wire",
    )

    def __init__(self, number: int, wire: Wire, nursery: trio.Nursery) -> None:
        self.id = number
        self.scope = trio.CancelScope()
        self.wire = wire
        self.cursors: dict[names.Key, Cursor] = {}
        self.gone = False
        self._left: trio.Event | None = None
        self._nursery = nursery
        self._owed: list[bytes] = []
        self._paid: trio.Event | None = None
        self._pump: trio.CancelScope | None = None
        wire.on_blocked = self.catch_up

    def say(self, frame: Event) -> None:
        """Write a frame that must arrive; owed, in order, while the kernel takes no more."""
        self.say_line(encode(frame))

    def say_line(self, line: bytes) -> None:
        """Write an encoded frame as `say` does."""
        if self.wire.blocked or self._owed:
            self._owed.append(line)
        else:
            self.wire.write(line)

    @property
    def debt(self) -> int:
        """How many bytes of frames are owed."""
        return sum(map(len, self._owed))

    @property
    def far_behind(self) -> bool:
        """Is it owed so much, or at its end, that it is told nothing that it can ask for?"""
        return self.scope.cancel_called or self.debt >= DEBT

    @property
    def behind(self) -> bool:
        """Is it being read on to?"""
        return self._pump is not None

    async def settled(self) -> None:
        """Wait until nothing is owed: nothing more is read from a peer before."""
        while self._owed:
            if self._paid is None:
                self._paid = trio.Event()
            await self._paid.wait()

    def catch_up(self) -> None:
        """Start reading on from the log, unless that is going on."""
        if self._pump is None and not self.gone:
            self._pump = trio.CancelScope()
            self._nursery.start_soon(self._read_on, self._pump, name=f"reading on {self.id}")

    async def _read_on(self, scope: trio.CancelScope) -> None:
        """Write what is owed, then what the log has, until the peer has everything."""
        with scope:
            try:
                while True:
                    await self.wire.drain()
                    if self._owed:
                        self._pay()
                    elif not await self._advance():
                        break  # and nothing has happened since it looked
            except trio.BrokenResourceError:
                self.scope.cancel()  # the reader finds out as well; be sure
            except StoreError as error:
                log.error("connection %d: cannot read on: %s", self.id, error)
                self.scope.cancel()  # the peer comes back and resumes where it is now
        self._pump = None

    def _pay(self) -> None:
        owed = b"".join(self._owed)
        self._owed.clear()
        if self._paid is not None:
            self._paid.set()
            self._paid = None
        self.wire.write(owed)

    async def _advance(self) -> bool:
        """Take one room one step on; return whether there was anything to do.

        When the answer is no, nothing was awaited since the last look at any room.
        """
        for key, cursor in self.cursors.items():
            if cursor.lags:
                # It is the last one to be looked at next time: a busy room starves no other.
                self.cursors[key] = self.cursors.pop(key)
                await self._advance_room(cursor)
                return True
        for cursor in self.cursors.values():
            if cursor.stale:
                cursor.stale = False
                self.wire.write(encode(cursor.room.roster_now()))
                return True
        return False

    async def _advance_room(self, cursor: Cursor) -> None:
        after = cursor.seq
        last, body = await cursor.room.read_on(after)
        # Meanwhile the peer may have left, or another write may have filled the kernel.
        if cursor.seq == after and not self.wire.blocked:
            cursor.seq = last
            if body:
                self.wire.push(cut(body))

    async def shut(self, seconds: float) -> None:
        """Stop reading on, say what is still owed if the peer takes it soon, and close."""
        self.stop()
        if self.wire.dead:
            self.wire.close()
        else:
            await self.wire.linger(seconds, b"".join(self._owed))

    def be_gone(self) -> None:
        """Note that it has left everything, and wake who waits for that."""
        self.gone = True
        if self._left is not None:
            self._left.set()

    async def left(self) -> None:
        """Wait until it is gone."""
        while not self.gone:
            if self._left is None:
                self._left = trio.Event()
            await self._left.wait()

    def stop(self) -> None:
        """Read on no more."""
        if self._pump is not None:
            self._pump.cancel()
