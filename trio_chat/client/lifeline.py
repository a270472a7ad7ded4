"""A client's life over its connections: one after the other, and tasks that wait meanwhile.

The session outlives the connections; what happens is handed to the inbox, what is to be written
to the connection there is. What can be asked and done is `client`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from trio_chat.address import Address
from trio_chat.client import failures
from trio_chat.client.backoff import Backoff
from trio_chat.client.connection import Connection, Ending, Incoming, check_line
from trio_chat.client.events import ClientEvent, Offline
from trio_chat.client.inbox import Inbox
from trio_chat.client.requests import Asking, Ticket
from trio_chat.client.session import Session
from trio_chat.errors import ChatError, Disconnected
from trio_chat.protocol.frames import Command, Event

__all__ = ["EVENT_LIMIT", "Lifeline"]

EVENT_LIMIT = 1000  # events that may wait before nothing more is read
_STOOD = 10.0  # seconds after which a connection counts as a success

_log = logging.getLogger("trio_chat.client")
T = TypeVar("T")


class Lifeline:
    """What a client lives on; `connect` runs it."""

    def __init__(
        self,
        address: Address,
        session: Session,
        connection: Connection,
        again: Callable[[], Awaitable[Connection]] | None,
        backoff: Backoff,
        event_limit: int,
    ) -> None:
        self.address = address
        self.trusted: tuple[Path | None, str | None] | None = None  # CA and pin, for `get_account`
        self._session = session
        self._connection = connection
        self._again = again  # None: the first connection is the only one
        self._backoff = backoff
        self._inbox = Inbox(event_limit)
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._end: Callable[[], ChatError] | None = None

    async def _supervise(self) -> None:
        """Serve one connection after the other until the end. `connect` runs it."""
        try:
            with self._scope:
                while True:
                    began = trio.current_time()
                    ending = await self._connection.run(self._take, self._inbox.wait_for_room)
                    self._session.lost()
                    _log.debug("connection to %s lost: %s", self.address, ending.reason)
                    if trio.current_time() - began >= _STOOD:
                        self._backoff.succeeded()
                    if not await self._return(ending):
                        return
        finally:
            self._stop(failures.closed)
            self._stopped.set()

    async def _return(self, ending: Ending) -> bool:
        """Connect again, however long it takes; return False if that is over for good."""
        while not ending.final and self._again is not None:
            delay = self._backoff.delay(ending.retry_after)
            self._say_offline(Offline(ending.reason, delay))
            await trio.sleep(delay)
            try:
                connection = await self._again()
            except ChatError as error:
                ending = Ending.by(error)
            else:
                self._begin(connection)
                return True
        self._pump()
        self._stop(lambda: Disconnected(ending.reason, hint=ending.hint))
        return False

    def _say_offline(self, event: Offline) -> None:
        """Tell the program, but not over and over where it takes no events."""
        if len(self._inbox) < self._inbox.limit + 2:
            self._session.events.append(event)
        self._pump()

    def _begin(self, connection: Connection) -> None:
        self._connection = connection
        self._session.connected(connection.welcome)
        self._pump()

    def _take(self, frame: Incoming) -> None:
        self._session.received(frame)
        self._pump()

    def _pump(self) -> None:
        """Hand on what the session has for the program and for the server."""
        session = self._session
        if session.events:
            events, session.events = session.events, []
            self._inbox.put(events)
        if session.outgoing:
            frames, session.outgoing = session.outgoing, []
            for frame in frames:
                self._connection.write(frame)

    def _write(self, frame: Command) -> None:
        self._connection.write(frame)

    def _tell(self, events: Sequence[ClientEvent]) -> None:
        self._inbox.put(events)

    def _store_opened(self) -> None:
        self._session.meet_strangers()
        self._pump()

    def _stop(self, error: Callable[[], ChatError]) -> None:
        """End for good, once: everything that waits raises `error`."""
        if self._end is None:
            self._end = error
            self._session.ended(error)
            self._inbox.end(error)

    def _end_with(self, error: ChatError) -> None:
        """End for good, since nothing can be kept any more."""
        self._stop(lambda: Disconnected(str(error), hint=error.hint))
        self._scope.cancel()

    def _check_open(self) -> None:
        if self._end is not None:
            raise self._end()

    async def _ask(self, frame: Asking, *, repeat: bool) -> Event:
        self._check_open()
        check_line(frame)
        return await self._wait(self._session.ask(frame, repeat=repeat))

    async def _wait(self, ticket: Ticket[T]) -> T:
        """Wait for a ticket; the last to give up abandons it."""
        self._pump()
        settled = trio.Event()
        ticket.watch(settled.set)
        ticket.waiters += 1
        try:
            with self._inbox:
                await settled.wait()
        finally:
            ticket.waiters -= 1
            if not ticket.done and not ticket.waiters:
                ticket.abandoned()
        return ticket.result()
