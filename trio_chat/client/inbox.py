"""Events between the receiving task and the program, with a limit that cannot deadlock.

The rule: while `limit` or more events wait, the receiver reads nothing more, so the pressure
goes back through TCP to the server, which keeps only a cursor for us. But while a task waits
for a reply or an acknowledgement, the receiver goes on all the same, because that task may be
the very consumer, and what it waits for comes behind the events. What is read meanwhile is
kept above the limit; it is what the server had sent before the answer, no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from trio_chat.client.events import ClientEvent
from trio_chat.errors import ChatError

__all__ = ["Inbox"]


class Inbox:
    """A queue of events; many may take, one may pause.

    Attributes:
        limit: How many events may wait before the receiver pauses.
        held: Returns how many more wait elsewhere that will become events.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: Callable[[], int] = int
        self._events: deque[ClientEvent] = deque()
        self._answers = 0
        self._takers = trio.lowlevel.ParkingLot()
        self._paused = trio.lowlevel.ParkingLot()
        self._tellers = trio.lowlevel.ParkingLot()
        self._ended = False
        self._error: Callable[[], ChatError] | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Iterable[ClientEvent]) -> None:
        """Add events; never waits."""
        before = len(self._events)
        self._events.extend(events)
        self._takers.unpark(count=max(1, len(self._events) - before))

    async def take(self) -> ClientEvent:
        """Return the oldest event.

        Raises:
            StopAsyncIteration: it was ended and nothing is left.
            ChatError: as given to `end`, when nothing is left.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._events:
            if self._error is not None:
                raise self._error()
            if self._ended:
                raise StopAsyncIteration
            await self._takers.park()
        event = self._events.popleft()
        self.relieve()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return event

    async def wait_for_room(self) -> None:
        """Return when more may be read: the rule at the top of this module."""
        while self.full:
            await self._paused.park()

    async def wait_for_taker(self) -> None:
        """Return when the program has taken so much that more may be told from elsewhere."""
        while self.crowded and not self._answers:
            await self._tellers.park()

    @property
    def crowded(self) -> bool:
        """Are there as many events as may wait?"""
        return len(self._events) >= self.limit

    @property
    def full(self) -> bool:
        """Would `wait_for_room` wait?"""
        return len(self._events) + self.held() >= self.limit and not self._answers

    def relieve(self) -> None:
        """Less waits than before: the receiver may go on."""
        if len(self._events) < self.limit:
            self._tellers.unpark_all()
            if len(self._events) + self.held() < self.limit:
                self._paused.unpark_all()

    def __enter__(self) -> None:
        """While in here, a task waits for an answer: the receiver may not pause."""
        self._answers += 1
        self._paused.unpark_all()
        self._tellers.unpark_all()

    def __exit__(self, *exc: object) -> None:
        self._answers -= 1

    def end(self, error: Callable[[], ChatError] | None) -> None:
        """Nothing will come any more. Without an error, what is left is dropped."""
        self._ended = True
        self._error = self._error or error
        if error is None:
            self._events.clear()
            self._error = None
        self._takers.unpark_all()
        self._paused.unpark_all()
        self._tellers.unpark_all()
