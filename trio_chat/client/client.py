"""The client: one session kept alive over as many connections as it takes.

The supervising task connects again; everything that the program calls talks to the session,
which outlives the connections, and waits for its tickets. What frames mean is not known here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from trio_chat import names
from trio_chat.address import Address
from trio_chat.client.backoff import Backoff
from trio_chat.client.connection import Connection, Ending, Incoming, check_line
from trio_chat.client.encryption import Encryption, Opener
from trio_chat.client.events import ClientEvent, Offline
from trio_chat.client.inbox import Inbox
from trio_chat.client.requests import Asking, Ticket
from trio_chat.client.room import Room
from trio_chat.client.session import Session
from trio_chat.client.state import RoomState
from trio_chat.errors import ChatError, ConfigError, Disconnected, Refused, Unreachable
from trio_chat.protocol.fields import Mode
from trio_chat.protocol.frames import (
    Away,
    Chat,
    Command,
    Create,
    Event,
    Join,
    List,
    ListRooms,
    Member,
    Nick,
    Person,
    RoomInfo,
    Rooms,
    Users,
    Whois,
)

__all__ = ["Client"]

EVENT_LIMIT = 1000  # events that may wait before nothing more is read
_STOOD = 10.0  # seconds after which a connection counts as a success

_log = logging.getLogger("trio_chat.client")
T = TypeVar("T")


class Client:
    """A person's presence on a server. No public constructor: see `connect`.

    Iterate over it for the events (`trio_chat.client.events`); each goes to one taker. It
    reconnects by itself. What has no side effects waits for the next connection and is
    repeated on it; the rest raises `Unreachable` when the connection is lost.

    While 1000 events wait untaken, nothing more is read from the server, unless a task
    waits for an answer: so one may call anything here from inside `async for`, but a program
    that takes no events and asks nothing stands still, and costs the server nothing.
    """

    def __init__(
        self,
        address: Address,
        session: Session,
        connection: Connection,
        again: Callable[[], Awaitable[Connection]] | None,
        backoff: Backoff,
        event_limit: int = EVENT_LIMIT,
        opener: Opener | None = None,
    ) -> None:
        self.address = address
        self.trusted: tuple[Path | None, str | None] | None = None  # CA and pin, for `get_account`
        self._session = session
        self._connection = connection
        self._again = again  # None: the first connection is the only one
        self._backoff = backoff
        self._inbox = Inbox(event_limit)
        self._faces: dict[RoomState, Room] = {}
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        self._end: Callable[[], ChatError] | None = None
        self._encryption: Encryption | None = None
        if opener is not None:
            encryption = self._encryption = session.sealer = Encryption(self, opener)
            self._inbox.held = lambda: encryption.waiting
        self._begin(connection)

    def __repr__(self) -> str:
        return f"<Client {self.user} at {self.address}>"

    # --- who and where -----------------------------------------------------------------

    @property
    def user(self) -> str:
        """Who one is, as the certificate says."""
        return self._connection.welcome.user

    @property
    def device(self) -> str:
        """The wire's id of this installation."""
        return self._connection.welcome.device

    @property
    def roles(self) -> list[str]:
        """`admin`, `bot`, as the certificate says."""
        return list(self._connection.welcome.roles)

    @property
    def log(self) -> str:
        """The id of the server's history; sequence numbers count in it."""
        return self._connection.welcome.log

    @property
    def server_fingerprint(self) -> str:
        """SHA-256 of the server's SubjectPublicKeyInfo, in hexadecimal."""
        return self._connection.fingerprint

    @property
    def online(self) -> bool:
        """Is there a connection now?"""
        return self._session.online

    @property
    def latency(self) -> float | None:
        """Seconds of the last round trip, None before the first."""
        return self._connection.latency

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The joined rooms by canonical name (`names.key`)."""
        return {key: self._face(state) for key, state in self._session.rooms.items()}

    def cursors(self) -> dict[str, int]:
        """Return room -> the last sequence number taken from the events.

        Kept together with `log` and given to the next `connect`, they make reading go on
        where it ended.
        """
        return self._session.cursors()

    # --- rooms -------------------------------------------------------------------------

    async def join(self, room: str, *, after: int | None = None) -> Room:
        """Enter a room, and stay in it over reconnects.

        Args:
            room: Its name. One that is joined already is just returned.
            after: Read on from this sequence number; if left out, from the cursor given to
                `connect`, or else only what is said from now on.

        Raises:
            NoRoom: there is none of that name.
            Refused: the server says no.
            Disconnected: the client has ended.

        *Cancellation*: the room is left again if it was entered.
        """
        check_line(Join(room))
        await trio.lowlevel.checkpoint()
        while True:  # nothing is awaited between being let in and returning
            self._check_open()
            state = self._session.rooms.get(names.key(room))
            if state is None:
                await self._wait(self._session.join(room, after))
            elif not state.encrypted or await self._settled(state):
                return self._face(state)

    async def _settled(self, state: RoomState) -> bool:
        """Wait until it is known whether we can read an encrypted room; are we still in it?"""
        encryption = self._encryption
        if encryption is not None:
            with self._inbox:
                await encryption.opened.wait()
                room = encryption.room(state.key)
                if room is not None:
                    await room.settled.wait()
        self._check_open()
        if encryption is None or encryption.problem is not None:
            await self._leave(state)
            raise (encryption and encryption.problem) or ConfigError(
                f"{state.name} is encrypted, and this client has no store to keep keys in"
            )
        return self._session.rooms.get(state.key) is state

    async def create(self, room: str, *, mode: Mode = "encrypted") -> None:
        """Make a room: an encrypted one for oneself and whom one invites, or a plain one for all.

        Raises `RoomExists`, `BadName`, or as `Room.set_topic`.
        """
        await self._ask(Create(room, mode=mode), repeat=False)

    async def direct(self, user: str) -> Room:
        """Return the two-person room with `user`, joined; raises as `join`, and `NoUser`."""
        return await self.join(names.direct_room(self.user, user))

    async def list_rooms(self) -> list[RoomInfo]:
        """Return the rooms there are: the open ones, and those one is on the list of."""
        found: list[RoomInfo] = []
        after: str | None = None
        while True:
            reply = await self._ask(ListRooms(after=after), repeat=True)
            assert isinstance(reply, Rooms)
            found += reply.rooms
            after = reply.next
            if after is None or not reply.rooms:
                return found

    # --- people ------------------------------------------------------------------------

    async def users(self, room: str | None = None) -> list[Member]:
        """Return who is in a room, or, without one, on the server.

        Raises:
            NotMember: of a room that is not joined.
        """
        found: list[Member] = []
        after: str | None = None
        while True:
            reply = await self._ask(List(room=room, after=after), repeat=True)
            assert isinstance(reply, Users)
            found += reply.users
            after = reply.next
            if after is None or not reply.users:
                return found

    async def whois(self, user: str) -> Person:
        """Return who somebody is, and their devices that are here; raises `NoUser`."""
        reply = await self._ask(Whois(user), repeat=True)
        assert isinstance(reply, Person)
        return reply

    async def set_away(self, text: str | None) -> None:
        """Be away for a reason, or, with None, back; said again on each connection."""
        before, self._session.away = self._session.away, text
        try:
            await self._ask(Away(text), repeat=True)
        except Refused:
            self._session.away = before
            raise

    async def set_nick(self, nick: str | None) -> None:
        """Bear a display name, or, with None, none; said again on each connection."""
        before, self._session.nick = self._session.nick, nick
        try:
            await self._ask(Nick(nick), repeat=True)
        except Refused:
            self._session.nick = before
            raise

    async def ask_server(self, text: str) -> str:
        """Talk to the server itself, which can read it; return its answer.

        Raises:
            Unreachable: no connection now, or it was lost before the answer.
        """
        self._check_open()
        check_line(Chat(text))
        return await self._wait(self._session.chat(text))

    # --- events and the end ------------------------------------------------------------

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> ClientEvent:
        """Return the next event.

        Raises:
            Disconnected: the client has ended for good; the text says why.
        """
        event = await self._inbox.take()
        room = getattr(event, "room", None)
        if isinstance(room, str):
            state = self._session.rooms.get(names.key(room))
            if state is not None:
                state.taken(event)
        return event

    async def aclose(self) -> None:
        """End the connection; iteration ends, and what waits raises `Disconnected`."""
        self._stop(_closed)
        self._inbox.end(None)
        self._scope.cancel()
        if self._encryption is not None:
            self._encryption.scope.cancel()
        with trio.CancelScope(shield=True):  # bounded: a goodbye takes a second at most
            await self._stopped.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    # --- for `connect` and `Room` ------------------------------------------------------

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
            self._stop(_closed)
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

    def _relieve(self) -> None:
        self._inbox.relieve()

    def _stop(self, error: Callable[[], ChatError]) -> None:
        """End for good, once: everything that waits raises `error`."""
        if self._end is None:
            self._end = error
            self._session.ended(error)
            self._inbox.end(error)

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

    async def _leave(self, state: RoomState) -> None:
        state.leaving = True
        try:
            for pending in state.outbox.pending:
                with contextlib.suppress(ChatError):  # its sender learns it
                    await self._wait(pending)
        except trio.Cancelled:
            state.leaving = False
            raise
        self._check_open()
        self._faces.pop(state, None)
        if state.closed:
            return  # meanwhile the server has put us out
        request = self._session.leave(state)
        if request is not None:
            with contextlib.suppress(Unreachable):  # the next connection has not joined it
                await self._wait(request)

    def _face(self, state: RoomState) -> Room:
        if state not in self._faces:
            self._faces = {s: f for s, f in self._faces.items() if not s.closed}
            self._faces[state] = Room(self, state)
        return self._faces[state]


def _closed() -> ChatError:
    return Disconnected("the client is closed")
