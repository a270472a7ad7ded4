"""An encrypted room's task: between the session, which has its frames, and its conversation.

The conversation decides; it works in a thread, one call at a time for the whole client, for it
writes to the disk before it tells anything. What it wants asked of the server is asked here, and
what it has to say is handed on as the client's events.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_chat.client import asking
from trio_chat.client.arrivals import Arrivals
from trio_chat.client.blobs import upload
from trio_chat.client.events import ClientEvent
from trio_chat.client.news import News
from trio_chat.client.onlooker import Onlooker
from trio_chat.client.state import Notice, RoomState
from trio_chat.client.wanted import Wanted
from trio_chat.e2ee.comparing import Happening
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import (
    Claim,
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
from trio_chat.e2ee.payload import Payload
from trio_chat.e2ee.place import Place
from trio_chat.errors import ChatError, Disconnected, ProtocolError, Refused, Unreachable, Unsent
from trio_chat.protocol import frames

if TYPE_CHECKING:
    from trio_chat.client.encryption import Encryption

__all__ = ["SealedRoom"]

BATCH = 500  # entries dealt with in one go
RETRY = 5.0  # seconds after which is asked again what the server would not answer

Order = Callable[[Conversation], object]
T = TypeVar("T")


class SealedRoom:
    """One encrypted room of a client.

    Attributes:
        encryption: The client's.
        state: The room as the session has it.
        queue: Entries of its log that are not dealt with.
        conversation, onlooker: None until the store is open.
        settled: Set once it is known whether this device can read and write here, or that the
            server does not say, or that the program has to take events first.
    """

    def __init__(self, encryption: Encryption, state: RoomState, place: Place) -> None:
        self.encryption = encryption
        self.state = state
        self.queue: deque[LogEntry] = deque()
        self.conversation: Conversation | None = None
        self.onlooker: Onlooker | None = None
        self.settled = trio.Event()
        self.scope = trio.CancelScope()
        self._place = place
        self._orders: list[Order | Wanted] = []
        self._wanted: dict[Wanted, None] = {}  # all that is not settled
        self._told: dict[int, Wanted] = {}  # those that the conversation knows, by token
        self._wake = trio.Event()
        self._life = 0  # which connection it is
        self._log = ""  # of which history `queue` is
        self._shown = 0  # nothing up to there is told to the program
        self._again = 0.0  # when the server may be asked again (Trio's clock)
        self._trouble = ""  # what was told last
        self._arrivals = Arrivals()
        self._returning = True  # until it is known whether we are still in the group

    # What the session has for it: synchronous, in order

    def joined(self, frame: frames.Joined, after: int | None) -> None:
        """The room is joined; `after` is what the program wanted to read on from, if it said."""
        if self._life == 0:
            shown = frame.seq if after is None else min(after, frame.seq)
            self._shown = self.state.delivered = shown
        elif frame.log != self._log or frame.seq < self._shown:
            self._shown = self.state.cursor
        if frame.log != self._log or (self.queue and self.queue[-1].seq > frame.seq):
            self.queue.clear()  # it is of a history that is no more
        self._log = frame.log
        self._life += 1
        self._again = 0.0
        log, n, seq, epoch = frame.log, frame.n, frame.seq, frame.epoch or 0
        now = self.encryption.clock
        self._order(lambda c: c.resumed(log=log, n=n, seq=seq, epoch=epoch, now=now()))

    def lost(self) -> None:
        """The connection is gone."""
        self._life += 1
        self._order(Conversation.offline)

    def entry(self, frame: asking.Frame) -> None:
        """An entry of the log has come."""
        self.queue.append(asking.log_entry(frame))
        self._wake.set()

    def noticed(self, frame: Notice) -> bool:
        """Somebody has come or gone; return whether it is told when they can read."""
        self._wake.set()
        return self._arrivals.add(frame, trio.current_time())

    def refused(self, n: int, error: Refused) -> None:
        """The server has not taken a parcel."""
        epoch, code, why, now = error.epoch or 0, error.code, str(error), self.encryption.clock
        wait = 0.0 if code == "muted" else error.retry_after or 0.0  # the group is not muted
        self._order(lambda c: c.refused(n, code, why, now(), epoch=epoch, wait=wait))

    # What the program wants

    def say(self, payload: Payload) -> Wanted:
        """Say something; the ticket is settled by its echo."""
        return self.want(lambda conversation: conversation.say(payload))

    def want(self, order: Callable[[Conversation], int]) -> Wanted:
        """Want something of the group; `order` returns the id by which its fate is told."""
        wanted = Wanted(order=order, take_back=self.take_back)
        self._wanted[wanted] = None
        self._order(wanted)
        return wanted

    def take_back(self, wanted: Wanted) -> None:
        """Nobody waits for this any more."""
        self._wanted.pop(wanted, None)
        if wanted in self._orders:
            self._orders.remove(wanted)
        elif (token := wanted.token) is not None:
            self._told.pop(token, None)
            self._order(lambda conversation: conversation.take_back(token))

    @property
    def pending(self) -> tuple[Wanted, ...]:
        """What the program wants and has not happened."""
        return tuple(self._wanted)

    def fail(self, error: Callable[[], ChatError]) -> None:
        """Nothing comes of what is under way."""
        for each in self._wanted:
            each.fail(error())
        self._wanted = {}
        self.settled.set()

    def _order(self, order: Order | Wanted) -> None:
        self._orders.append(order)
        self._wake.set()

    # The task

    async def run(self) -> None:
        """Live through the room until it is left; raises `StoreError`."""
        encryption = self.encryption
        with self.scope:
            conversation = await encryption.work(self._open)
            await self._recall(conversation)
            while True:
                self._wake = trio.Event()
                try:
                    await self._fill(conversation)
                    life, step = await self._turn(conversation)
                    await self._follow(conversation, step, life)
                except Disconnected:
                    return
                except (Refused, ProtocolError, Unreachable) as error:
                    self._put_off(error)

    def _open(self) -> Conversation:
        conversation = Conversation(self.encryption.account, self._place)
        self.onlooker = Onlooker(self.state, self._place, conversation)
        self.conversation = conversation
        return conversation

    async def inquire(self, function: Callable[[Conversation], T]) -> T:
        """Ask the conversation something, in its thread; it may have something to send after it."""
        if self.conversation is None:
            raise Unsent("this room's keys are not at hand yet", hint="try again in a moment")
        found = await self.encryption.work(function, self.conversation)
        self._wake.set()
        return found

    def _put_off(self, error: ChatError) -> None:
        """Go on without what the server would not answer, and ask again later."""
        retry_after = error.retry_after if isinstance(error, Refused) else None
        self._again = trio.current_time() + (retry_after or RETRY)
        if self._trouble != str(error):  # once
            self._trouble = str(error)
            self.encryption.tell([News(self.state.name, self._trouble)])
        self.settled.set()

    async def _recall(self, conversation: Conversation) -> None:
        """Tell the program what it wants to read on from, as far as that is here already."""
        cursor = conversation.cursor
        if cursor is not None and cursor.log == self.state.log:
            find = self.encryption.history
            while self._shown < cursor.seq:
                await self.encryption.room_for_more()
                found = await find(self.state, before=None, after=self._shown, limit=asking.PAGE)
                self.encryption.tell([each for each in found if each.seq <= cursor.seq])
                if self.encryption.crowded:
                    self.settled.set()
                self._shown = found[-1].seq if found else cursor.seq

    async def _turn(self, conversation: Conversation) -> tuple[int, Step]:
        """Let the conversation take what has come, and say what to do next."""
        await self.encryption.list_known()
        orders, self._orders = self._orders, []
        life, log = self._life, self._log
        entries = asking.next_entries(self.queue, BATCH, careful=self._returning)
        clock, onlooker = self.encryption.clock, self.onlooker
        assert onlooker is not None

        def work() -> tuple[list[tuple[Wanted, int]], Step, list[Event], list[Happening]]:
            now = clock()
            told: list[tuple[Wanted, int]] = []
            for order in orders:
                if isinstance(order, Wanted):
                    told.append((order, order.order(conversation)))
                else:
                    order(conversation)
            following = asking.following(entries, conversation.cursor)
            if following:
                conversation.feed(following, now)
            if self._returning and conversation.door is Door.OUT:
                conversation.come_back()  # somebody may have let us in again after that
            happened = onlooker.look_on(conversation.events, now)
            seen = len(conversation.events)
            step = conversation.next(now)
            events, conversation.events = conversation.events, []
            happened += onlooker.look_on(events[seen:], now)
            return told, step, events, happened

        told, step, events, happened = await self.encryption.work(work)
        for wanted, token in told:
            wanted.token = token
            if wanted in self._wanted:
                self._told[token] = wanted
            elif not wanted.done:  # abandoned meanwhile
                self.take_back(wanted)
        taken = self._log == log and self._drop_dealt_with(conversation)
        if conversation.settled and isinstance(step, Wait) and not (self.queue or self._orders):
            self._returning = False
            self.settled.set()
        self._tell(onlooker, events, happened)
        here = self._arrivals.ready(conversation.membership.users, trio.current_time())
        self.encryption.tell(here)
        if taken:
            self._wake.set()
            self.encryption.relieve()
        return life, step

    def _drop_dealt_with(self, conversation: Conversation) -> bool:
        before, cursor = len(self.queue), conversation.cursor
        while cursor is not None and self.queue and self.queue[0].seq <= cursor.seq:
            self.queue.popleft()
        return len(self.queue) < before

    def _missing(self, conversation: Conversation) -> tuple[int, int] | None:
        """Return after and before which entries of the log must be asked for, if any must."""
        cursor = conversation.cursor
        if cursor is None or cursor.log != self._log or conversation.door is Door.WELCOME:
            return None
        end = self.queue[0].seq if self.queue else self.state.cursor + 1
        return None if end <= cursor.seq + 1 else (cursor.seq, end)

    async def _fill(self, conversation: Conversation) -> None:
        """Fetch what was said before what is here, and is not dealt with."""
        missing = self._missing(conversation)
        if missing is None or self._orders or trio.current_time() < self._again:
            return
        await self.encryption.room_for_more()
        log, name = self._log, self.state.name
        found, before = await asking.page(self.encryption.ask, name, *missing)
        if self._log != log or self._orders:
            return  # then it may be of another history; it is asked for again
        if before > missing[0]:
            skip = partial(conversation.skipped, before, self.encryption.clock())
            await self.encryption.work(skip)
        if self._log == log:
            self.queue.extendleft(reversed(found))

    async def _follow(self, conversation: Conversation, step: Step, life: int) -> None:
        """Do what the conversation wants done."""
        ask, room, work = self.encryption.ask, self.state.name, self.encryption.work
        clock = self.encryption.clock
        match step:
            case Send(parcels):
                await self._send(conversation, parcels, life)
            case Wait(until):
                await self._sleep(conversation, math.inf if until is None else until - clock())
            case _ if trio.current_time() < self._again:
                await self._sleep(conversation, self._again - trio.current_time())
            case FetchWelcome():
                found = await asking.fetch_welcome(ask, room)
                await work(lambda: conversation.welcomed(found, clock()))
            case FetchInfo():
                info = await asking.fetch_info(ask, room)
                await work(lambda: conversation.informed(info, clock()))
            case FetchList():
                await self.encryption.fetch_list()
                await work(conversation.listed)
            case Claim(users):
                await self._claim(conversation, users)

    async def _sleep(self, conversation: Conversation, seconds: float) -> None:
        if self._missing(conversation) is not None:
            seconds = min(seconds, self._again - trio.current_time())
        seconds = min(seconds, self._arrivals.left(trio.current_time()))
        with trio.move_on_after(max(0.0, seconds)):
            await self._wake.wait()

    async def _claim(self, conversation: Conversation, users: Sequence[str]) -> None:
        clock, work = self.encryption.clock, self.encryption.work
        offers, refused = await asking.claim(self.encryption.ask, users)
        await work(lambda: conversation.claimed(offers, clock()))
        if refused is not None:
            wait = refused.retry_after or RETRY
            await work(conversation.unclaimed, str(refused), wait, clock())

    async def _send(self, conversation: Conversation, parcels: Sequence[Parcel], life: int) -> None:
        """Write parcels, on the connection that they were made for."""
        for number, parcel in enumerate(parcels):
            tree = None
            if parcel.tree is not None:
                try:
                    tree = await upload(self.encryption.ask_once, self.state.name, parcel.tree)
                except Refused as error:
                    if self._life == life:
                        rest = parcels[number:]
                        await self.encryption.work(self._not_taken, conversation, rest, error)
                    raise
                except Unreachable:
                    return  # with the connection, all this is over
            if self._life != life:
                return
            self.encryption.write(asking.sent(self.state.name, parcel, tree))

    def _not_taken(
        self, conversation: Conversation, parcels: Sequence[Parcel], error: Refused
    ) -> None:
        """Have parcels made anew, for they were never written."""
        now, wait = self.encryption.clock(), error.retry_after or RETRY
        for each in parcels:
            conversation.refused(each.n, error.code, str(error), now, wait=wait)

    # What the program learns

    def _tell(
        self, onlooker: Onlooker, events: Sequence[Event], happened: Sequence[Happening]
    ) -> None:
        told: list[ClientEvent] = []
        for event in events:
            found = onlooker.told(event)
            match event:
                case Said(id=token) if token is not None:
                    self._done(token, found)
                case NotSent(id=token, reason=reason):
                    wanted = self._told.pop(token, None)
                    if wanted is not None:
                        self._wanted.pop(wanted, None)
                        wanted.fail(Unsent(reason))
                case _:
                    for token in getattr(event, "done", ()):
                        self._done(token, None)
            old = isinstance(event, Said | Unreadable) and 0 < event.seq <= self._shown
            if found is not None and not old:
                told.append(found)
        self.encryption.tell([*told, *onlooker.compared(happened)])
        if self.encryption.crowded:
            self.settled.set()  # the program has enough to read before it need know

    def _done(self, token: int, value: object) -> None:
        wanted = self._told.pop(token, None)
        if wanted is not None:
            self._wanted.pop(wanted, None)
            wanted.resolve(value)
