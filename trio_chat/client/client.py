"""The client: one session kept alive over as many connections as it takes.

The supervising task connects again; everything that the program calls talks to the session,
which outlives the connections, and waits for its tickets. What frames mean is not known here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import trio

from trio_chat import names
from trio_chat.address import Address
from trio_chat.client import failures
from trio_chat.client.backoff import Backoff
from trio_chat.client.connection import Connection, check_line
from trio_chat.client.encryption import Encryption, Opener
from trio_chat.client.events import ClientEvent
from trio_chat.client.lifeline import EVENT_LIMIT
from trio_chat.client.moderating import Moderating
from trio_chat.client.requests import Ticket
from trio_chat.client.room import Room
from trio_chat.client.session import Session
from trio_chat.client.state import RoomState
from trio_chat.client.trusting import RoomReader, accept, numbers, own_devices, standing
from trio_chat.e2ee.people import Number, Standing
from trio_chat.errors import ChatError, ConfigError, Refused, Unreachable, Unsent
from trio_chat.protocol.fields import Access, Mode
from trio_chat.protocol.frames import (
    Away,
    Chat,
    Create,
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


class Client(Moderating):
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
        super().__init__(address, session, connection, again, backoff, event_limit)
        self._faces: dict[RoomState, Room] = {}
        self._made: dict[names.Key, str] = {}  # encrypted rooms, by us; open or closed
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

    async def join(
        self, room: str, *, after: int | None = None, password: str | None = None
    ) -> Room:
        """Enter a room, and stay in it over reconnects.

        Args:
            room: Its name. One that is joined already is just returned.
            password: The room's, where it wants one; kept in memory to come back with.
            after: Read on from this sequence number; if left out, from the cursor given to
                `connect`, or else only what is said from now on.

        Raises:
            NoRoom: there is none of that name.
            WrongPassword: it wants a password, or another one.
            Refused: the server says no.
            Disconnected: the client has ended.

        *Cancellation*: the room is left again if it was entered.
        """
        check_line(Join(room, password=password))
        await trio.lowlevel.checkpoint()
        if self._encryption is not None:  # whether it was encrypted must be known before
            with self._inbox:
                await self._encryption.opened.wait()
        while True:  # nothing is awaited between being let in and returning
            self._check_open()
            state = self._session.rooms.get(names.key(room))
            if state is None:
                await self._wait(self._session.join(room, after, password))
            elif await self._settled(state):
                return self._face(state)

    async def _settled(self, state: RoomState) -> bool:
        """Wait until it is known whether we can read an encrypted room; are we still in it?"""
        access = self._made.get(state.key)
        if access is not None and (state.mode, state.access) != ("encrypted", access):
            await self._leave(state)
            raise failures.not_as_made(state.name, access)
        if not state.encrypted:
            return True
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

    async def create(
        self,
        room: str,
        *,
        mode: Mode = "encrypted",
        access: Access | None = None,
        password: str | None = None,
    ) -> None:
        """Make a room: an encrypted one for oneself and whom one invites, or a plain one for all.

        `access` says otherwise; with a password it is for those who know it. Raises
        `RoomExists`, `BadName`, or as `Room.set_topic`.
        """
        await self._ask(Create(room, mode, access, password), repeat=False)
        if mode == "encrypted":
            self._made[names.key(room)] = access or ("open" if password else "closed")

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

    # --- keys --------------------------------------------------------------------------

    async def standing(self, user: str) -> Standing:
        """Return what we know of somebody: verified, certified, changed, or never met.

        Raises:
            ConfigError, StoreError: as `connect` says of `data`.
        """
        return await self._keys().inquire(lambda account, _: standing(account, user))

    async def devices(self) -> list[RoomReader]:
        """Return our own devices, as far as they are in rooms with this one; this one first."""
        return await self._keys().inquire(
            lambda account, rooms: own_devices(account, rooms, time.time())
        )

    async def safety_numbers(self, user: str) -> list[Number]:
        """Return a safety number for each key of somebody in the rooms that we share.

        It is that of two machines, and equal on the screens of both.
        """
        return await self._keys().inquire(lambda account, rooms: numbers(account, rooms, user))

    async def accept(self, user: str, fingerprints: Collection[str] | None = None) -> list[str]:
        """Go on with somebody's new keys, which are not verified by that; return which.

        Args:
            user: Whose.
            fingerprints: Only these, of what people have seen; all that are new if left out.
        """
        return await self._keys().inquire(
            lambda account, rooms: accept(account, rooms, user, fingerprints)
        )

    async def verify(self, user: str, device: str = "") -> None:
        """Ask somebody to compare keys, or agree to it after `ComparisonAsked`.

        The two-person room is joined for it. `ComparisonShown` and `ComparisonFailed` say what
        comes of it; where another side has several keys, `device` names one of their devices.

        Raises:
            Unsent: it cannot be; the text says why.
            Refused, Disconnected: as `direct`.
        """
        if names.key(user) == names.key(self.user):
            raise Unsent("that is you; the machines of one person are told apart by /fp")
        room = await self.direct(user)
        await room._compare(lambda comparing: comparing.begin(time.time(), device))

    async def answer(self, user: str, same: bool) -> None:
        """Say whether two people see the same symbols; a no before there are any ends it.

        Raises:
            Unsent: there is no comparison.
        """
        room = await self.direct(user)
        await room._compare(lambda comparing: comparing.answer(same))

    def _keys(self) -> Encryption:
        if self._encryption is None:
            raise ConfigError("this client has no store to keep keys in")
        return self._encryption

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
        self._stop(failures.closed)
        self._inbox.end(None)
        self._scope.cancel()
        if self._encryption is not None:
            self._encryption.scope.cancel()
        with trio.CancelScope(shield=True):  # bounded: a goodbye takes a second at most
            await self._stopped.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    # --- for `connect` and `Room` ------------------------------------------------------

    async def _leave(self, state: RoomState) -> None:
        state.leaving = True
        try:
            for pending in self._pending(state):
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

    def _pending(self, state: RoomState) -> Sequence[Ticket[Any]]:
        """Return what the program wants said and is not acknowledged."""
        room = self._encryption.room(state.key) if self._encryption is not None else None
        return state.outbox.pending if room is None else room.pending

    def _face(self, state: RoomState) -> Room:
        if state not in self._faces:
            self._faces = {s: f for s, f in self._faces.items() if not s.closed}
            self._faces[state] = Room(self, state)
        return self._faces[state]
