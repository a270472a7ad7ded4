"""An encrypted room's task: between the session, which has its frames, and its conversation.

The conversation decides; it works in a thread, one call at a time for the whole client, for it
writes to the disk before it tells anything. What it wants asked of the server is asked here, and
what it has to say is handed on as the client's events.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import trio

from trio_chat import names
from trio_chat.client.arrivals import Arrivals
from trio_chat.client.blobs import encode, upload
from trio_chat.client.entries import Frame, as_entry, as_paged
from trio_chat.client.events import ClientEvent
from trio_chat.client.fetching import claim, fetch_info, fetch_welcome
from trio_chat.client.news import News, as_comparison, as_event
from trio_chat.client.requests import Asking, Ticket
from trio_chat.client.state import Notice, RoomState
from trio_chat.client.trusting import stand_by_own_key
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.comparing import Comparing, Happening
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import (
    ByCommit,
    Claim,
    Entered,
    Event,
    FetchInfo,
    FetchList,
    FetchWelcome,
    LogEntry,
    NotSent,
    Parcel,
    Said,
    Send,
    Step,
    Unreadable,
    Wait,
)
from trio_chat.e2ee.following import Door
from trio_chat.e2ee.history import last_topic
from trio_chat.e2ee.payload import Payload
from trio_chat.e2ee.place import Place
from trio_chat.errors import (
    ChatError,
    Disconnected,
    NotMember,
    ProtocolError,
    Refused,
    Unreachable,
    Unsent,
)
from trio_chat.protocol import frames

if TYPE_CHECKING:
    from trio_chat.client.encryption import Encryption

__all__ = ["SealedRoom"]

BATCH = 500  # entries dealt with in one go
PAGE = 200  # entries asked for at once
RETRY = 5.0  # seconds after which is asked again what the server would not answer

Order = Callable[[Conversation], None]
T = TypeVar("T")


class SealedRoom:
    """One encrypted room of a client.

    Attributes:
        state: The room as the session has it.
        queue: Entries of its log that are not dealt with.
        conversation: None until the store is open.
        comparing: In a two-person room, the comparison of keys.
        settled: Set once it is known whether this device can read and write here.
    """

    def __init__(self, encryption: Encryption, state: RoomState, place: Place) -> None:
        self.state = state
        self.queue: deque[LogEntry] = deque()
        self.conversation: Conversation | None = None
        self.comparing: Comparing | None = None
        self.settled = trio.Event()
        self.scope = trio.CancelScope()
        self._encryption = encryption
        self._place = place
        self._orders: list[Order] = []
        self._tickets: dict[int, Ticket[frames.Message | frames.Topic]] = {}
        self._done: dict[int, Ticket[None]] = {}
        self._wake = trio.Event()
        self._life = 0  # which connection it is
        self._shown = 0  # nothing up to there is told to the program
        self._arrivals = Arrivals()
        self._returning = True  # until it is known whether we are still in the group
        self._entered = 0  # the entry with which we came in: with it everybody is new

    # What the session has for it: synchronous, in order

    def joined(self, frame: frames.Joined, after: int | None) -> None:
        """The room is joined; `after` is what the program wanted to read on from, if it said."""
        if self._life == 0:
            self._shown = frame.seq if after is None else after
        self._life += 1
        log, n, seq, epoch = frame.log, frame.n, frame.seq, frame.epoch or 0
        self._order(lambda c: c.resumed(log=log, n=n, seq=seq, epoch=epoch, now=time.time()))

    def lost(self) -> None:
        """The connection is gone."""
        self._life += 1
        self._order(Conversation.offline)

    def entry(self, frame: Frame) -> None:
        """An entry of the log has come."""
        self.queue.append(as_entry(frame))
        self._wake.set()

    def noticed(self, frame: Notice) -> bool:
        """Somebody has come or gone; return whether it is told when they can read."""
        self._wake.set()
        return self._arrivals.add(frame, trio.current_time())

    def refused(self, n: int, error: Refused) -> None:
        """The server has not taken a parcel."""
        epoch, wait = error.epoch or 0, error.retry_after or 0.0
        code, why = error.code, str(error)
        self._order(lambda c: c.refused(n, code, why, time.time(), epoch=epoch, wait=wait))

    # What the program wants

    def say(self, payload: Payload) -> Ticket[frames.Message | frames.Topic]:
        """Say something; the ticket is settled by its echo."""
        ticket: Ticket[frames.Message | frames.Topic] = Ticket()

        def order(conversation: Conversation) -> None:
            self._tickets[conversation.say(payload)] = ticket

        self._order(order)
        return ticket

    def want(self, order: Callable[[Conversation], int]) -> Ticket[None]:
        """Want something of the group; `order` returns the id by which its fate is told."""
        ticket: Ticket[None] = Ticket()

        def wrapped(conversation: Conversation) -> None:
            self._done[order(conversation)] = ticket

        self._order(wrapped)
        return ticket

    def fail(self, error: Callable[[], ChatError]) -> None:
        """Nothing comes of what is under way."""
        tickets: list[Ticket[Any]] = [*self._tickets.values(), *self._done.values()]
        for ticket in tickets:
            ticket.fail(error())
        self._tickets, self._done = {}, {}
        self.settled.set()

    def _order(self, order: Order) -> None:
        self._orders.append(order)
        self._wake.set()

    # The task

    async def run(self) -> None:
        """Live through the room until it is left."""
        encryption = self._encryption
        with self.scope:
            self.conversation = await encryption.work(self._open, encryption.account)
            await self._recall(self.conversation)
            while True:
                self._wake = trio.Event()
                life, step = await self._turn()
                try:
                    await self._follow(step, life)
                except (Refused, ProtocolError, Unreachable) as error:
                    if isinstance(error, NotMember):
                        return  # the room was left meanwhile
                    encryption.tell([News(self.state.name, str(error))])
                    await trio.sleep(getattr(error, "retry_after", None) or RETRY)
                except Disconnected:
                    return

    def _open(self, account: Account) -> Conversation:
        conversation = Conversation(account, self._place)
        if len(self._place.people) == 2:
            self.comparing = Comparing(conversation)
        self.state.topic = last_topic(account.store, self.state.key)
        return conversation

    async def inquire(self, function: Callable[[Conversation], T]) -> T:
        """Ask the conversation something, in its thread; it may have something to send after it."""
        if self.conversation is None:
            raise Unsent("this room's keys are not at hand yet", hint="try again in a moment")
        found = await self._encryption.work(function, self.conversation)
        self._wake.set()
        return found

    async def _recall(self, conversation: Conversation) -> None:
        """Tell the program what it wants to read on from, as far as that is here already."""
        cursor = conversation.cursor
        if cursor is not None and cursor.log == self.state.log:
            find = self._encryption.history
            while self._shown < cursor.seq:
                found = await find(self.state, before=None, after=self._shown, limit=PAGE)
                self._encryption.tell([each for each in found if each.seq <= cursor.seq])
                self._shown = found[-1].seq if found else cursor.seq

    async def _turn(self) -> tuple[int, Step]:
        """Let the conversation take what has come, and say what to do next."""
        conversation = self.conversation
        assert conversation is not None
        await self._fill(conversation)
        await self._encryption.list_known()
        orders, self._orders = self._orders, []
        life = self._life

        def work() -> tuple[int, Step, list[Event], list[Happening]]:
            now = time.time()
            for order in orders:
                order(conversation)
            taken = 0
            if conversation.cursor is not None and entries:
                taken = conversation.feed(entries, now)
            if self._returning and conversation.door is Door.OUT:
                conversation.come_back()  # somebody may have let us in again after that
            happened = self._look_on(conversation.events, now)
            seen = len(conversation.events)
            step = conversation.next(now)
            events, conversation.events = conversation.events, []
            happened += self._look_on(events[seen:], now)
            return taken, step, events, happened

        entries = self._next_entries(conversation)
        taken, step, events, happened = await self._encryption.work(work)
        for _ in range(taken):
            self.queue.popleft()
        if conversation.settled and isinstance(step, Wait) and not (self.queue or self._orders):
            self._returning = False
            self.settled.set()
        self._tell(events, happened)
        readers = conversation.membership.users
        self._encryption.tell(self._arrivals.ready(readers, trio.current_time()))
        if taken:
            self._wake.set()
            self._encryption.relieve()
        return life, step

    def _look_on(self, events: Sequence[Event], now: float) -> list[Happening]:
        """See what the conversation's events mean for keys; in its thread."""
        if any(isinstance(event, Entered) for event in events):
            stand_by_own_key(self._encryption.account)
        if self.comparing is None:
            return []
        self.comparing.process(events, now)
        happened, self.comparing.events = self.comparing.events, []
        return happened

    def _next_entries(self, conversation: Conversation) -> list[LogEntry]:
        """Return what follows the cursor, as far as it is here without a gap."""
        cursor = conversation.cursor
        if cursor is None or not self.queue or self.queue[0].seq > cursor.seq + 1:
            return []
        found = [self.queue[at] for at in range(min(BATCH, len(self.queue)))]
        if self._returning:  # what comes after a commit that takes us out may be for us again
            turns = (at for at, entry in enumerate(found) if entry.kind in ("commit", "create"))
            return found[: next(turns, BATCH) + 1]
        return found

    async def _fill(self, conversation: Conversation) -> None:
        """Fetch what was said before what is here, and is not dealt with."""
        while conversation.cursor is not None and conversation.door is not Door.WELCOME:
            after = conversation.cursor.seq
            end = self.queue[0].seq if self.queue else self.state.cursor + 1
            if end <= after + 1 or self._orders:
                return
            reply = await self._ask(frames.History(self.state.name, after=after, limit=PAGE))
            assert isinstance(reply, frames.Page)
            found = [e for e in map(as_paged, reply.entries) if after < e.seq < end]
            if reply.first > after + 1:
                skip = partial(conversation.skipped, reply.first - 1, time.time())
                await self._encryption.work(skip)
            self.queue.extendleft(reversed(found))
            return

    async def _follow(self, step: Step, life: int) -> None:
        """Do what the conversation wants done."""
        conversation = self.conversation
        assert conversation is not None
        work = self._encryption.work
        match step:
            case Send(parcels):
                await self._send(parcels, life)
            case FetchWelcome():
                found = await fetch_welcome(self._ask, self.state.name)
                await work(lambda: conversation.welcomed(found, time.time()))
            case FetchInfo():
                info = await fetch_info(self._ask, self.state.name)
                await work(lambda: conversation.informed(info, time.time()))
            case FetchList():
                await self._encryption.fetch_list()
                conversation.listed()
            case Claim(users):
                offers = {user: await claim(self._ask, user) for user in users}
                await work(lambda: conversation.claimed(offers, time.time()))
            case Wait(until):
                left = float("inf") if until is None else max(0.0, until - time.time())
                left = min(left, self._arrivals.left(trio.current_time()))
                with trio.move_on_after(left):
                    await self._wake.wait()
            case _:
                assert_never(step)

    async def _ask(self, frame: Asking) -> frames.Event:
        return await self._encryption.ask(frame)

    async def _send(self, parcels: Sequence[Parcel], life: int) -> None:
        """Write parcels, on the connection that they were made for."""
        room = self.state.name
        for parcel in parcels:
            tree = None
            if parcel.tree is not None:
                try:
                    tree = await upload(self._encryption.ask_once, room, parcel.tree)
                except Unreachable:
                    return  # with the connection, all this is over
            if self._life != life:
                return
            welcomes = [frames.WelcomeFor(list(to), encode(body)) for to, body in parcel.welcomes]
            self._encryption.write(
                frames.SendSealed(
                    room=room,
                    n=parcel.n,
                    epoch=parcel.epoch,
                    kind=parcel.kind,  # type: ignore[arg-type]  # never `other`
                    body=encode(parcel.body),
                    welcomes=welcomes or None,
                    info=None if parcel.info is None else encode(parcel.info),
                    tree=tree,
                )
            )

    # What the program learns

    def _tell(self, events: Sequence[Event], happened: Sequence[Happening]) -> None:
        told: list[ClientEvent] = []
        for event in events:
            found = as_event(self.state.name, event)
            match event:
                case Entered(seq=seq):
                    self._entered = seq
                case Said(id=token) if token is not None:
                    ticket = self._tickets.pop(token, None)
                    if ticket is not None and isinstance(found, frames.Message | frames.Topic):
                        ticket.resolve(found)
                case NotSent(id=token, reason=reason):
                    self._not_done(token, reason)
                case _:
                    pass
            if isinstance(found, frames.Topic):
                self.state.topic = found.text
            for token in getattr(event, "done", ()):
                if (done := self._done.pop(token, None)) is not None:
                    done.resolve(None)
            old = isinstance(event, Said | Unreadable) and event.seq <= self._shown
            ours = isinstance(event, ByCommit) and event.seq == self._entered
            if found is not None and not old and not ours:
                told.append(found)
        peer = names.peer_of(self.state.key, self._place.me) or ""
        told += [as_comparison(self.state.name, peer, each) for each in happened]
        self._encryption.tell(told)

    def _not_done(self, token: int, reason: str) -> None:
        tables: tuple[dict[int, Any], ...] = (self._tickets, self._done)
        for table in tables:
            if token in table:
                table.pop(token).fail(Unsent(reason))
