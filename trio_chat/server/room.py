"""A room: one broadcaster task that takes what waits, logs it, and pushes it to everyone.

The broadcaster is the room's order: no locks, no second path. It takes everything that
waits in its channel, appends it to the log in one transaction, and hands the same bytes to
every member's wire. Pushing never awaits.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import attrs
import trio

from trio_chat import names
from trio_chat.chat.house import House, muted
from trio_chat.chat.ledger import Entry, Ledger, Numbered, first_chunk
from trio_chat.chat.roster import Roster
from trio_chat.chat.sanctions import Sanctions
from trio_chat.errors import NotMember, Refused, Stale, StoreError, StoreUnavailable
from trio_chat.limits import Limits
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import Event, Joined, Member, Users
from trio_chat.server.cursor import Cursor
from trio_chat.server.tail import Tail
from trio_chat.store import Batch, RoomRow, RoomState, Store, Turns
from trio_chat.transport import cut

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection

__all__ = ["Arrival", "Audience", "Receipt", "Room"]

log = logging.getLogger("trio_chat.server")

ROW_SIZE = 256 * 1024  # bytes of lines in one row of the log
FAIRNESS = 200  # members pushed to before other tasks get a turn
ARRIVALS = 20  # members admitted likewise


class Receipt(Protocol):
    """Who wants to know what became of an entry."""

    def accepted(self, seq: int) -> None:
        """It is in the log, with this number; not asked of mere messages."""

    def refused(self, error: Refused) -> None:
        """It is not, and never will be."""


@attrs.define(eq=False)
class Arrival:
    """A connection that wants in; it gets in after what waits in the inbox with it."""

    cursor: Cursor
    after: int | None
    id: str | None
    done: trio.Event = attrs.field(factory=trio.Event)
    cancelled: bool = False
    proven: bool = False  # it has given the room's password
    refused: Refused | None = None  # why it did not get in


Item = list[Entry] | Arrival | None
"""What is posted to a room. None is nothing, but a reason to look."""

Audience = Callable[["Room"], None]
"""Called after each batch of a room, for whoever is no member and wants to know of it."""


class Room:
    """A room that somebody is in.

    Attributes:
        pins: What keeps it in memory: members, and tasks about to post here.
        house: Who may come in and speak. Only acts change it, each together with the log.
        expelled: Who was put out: what they said that is still waiting is not heard.
        inbox: Where entries and arrivals are posted, those of one reader that came together
            as one item; senders wait when it is full.
    """

    def __init__(
        self, row: RoomRow, state: RoomState, store: Store, limits: Limits, audience: Audience
    ) -> None:
        self.id = row.id
        self.name = row.name
        self.key = names.key(row.name)
        self.mode = row.mode
        self.access = row.access
        self.house = House(
            room=row.name,
            mode=row.mode,
            access=row.access,
            people=dict(state.people),
            password=state.password,
            sanctions=Sanctions(state.sanctions),
        )
        self.expelled: WeakSet[Connection] = WeakSet()
        self.first = state.first
        counters = dict(state.counters)
        self.ledger = Ledger(row.name, state.seq, counters, state.topic, state.epoch, state.trees)
        self.roster = Roster(row.name, limits.roster_size)
        self.cursors: dict[Connection, Cursor] = {}
        self.pins = 0
        self.touched = 0.0  # trio's clock at the last batch
        self._store = store
        self._audience = audience
        self._tail = Tail(limits.tail_size)
        self.inbox, self._posted = trio.open_memory_channel[Item](limits.room_queue)

    # --- the broadcaster ---------------------------------------------------------------

    async def broadcast(self, forget: Callable[[Room], None]) -> None:
        """Run the room until nobody is in it and nothing waits; then `forget` it."""
        with self._posted:
            while True:
                await self._step(await self._take())
                if not self.pins and not self._posted.statistics().current_buffer_used:
                    forget(self)
                    return

    async def _take(self) -> list[Item]:
        items = [await self._posted.receive()]
        with contextlib.suppress(trio.WouldBlock):
            while True:
                items.append(self._posted.receive_nowait())
        return items

    async def _step(self, items: list[Item]) -> None:
        entries = [entry for item in items if isinstance(item, list) for entry in item]
        while entries:
            chunk = first_chunk(entries, ROW_SIZE)
            await self._append(chunk)
            del entries[: len(chunk)]
        arrivals = [item for item in items if isinstance(item, Arrival)]
        for number, arrival in enumerate(arrivals, 1):
            self._admit(arrival)
            if number % ARRIVALS == 0:
                await trio.lowlevel.checkpoint()
        if self.roster.changed:
            self.cast(*self.roster.tell())

    async def _append(self, entries: list[Entry]) -> None:
        """Number, log, and only then push and acknowledge."""
        now = time.time()
        draft = self.ledger.draft(self._judge(entries, now), now)
        batch = draft.batch
        later: list[tuple[Entry, Refused]] = []
        if draft.refused:
            # Who is told to read on must find in the log what it is to read.
            if batch is not None and any(isinstance(why, Stale) for _, why in draft.refused):
                later = draft.refused
            else:
                _refuse(draft.refused)
        if batch is None:
            return
        try:
            trees = await self._store.append(
                Batch(
                    room=self.id,
                    first=batch.first,
                    last=batch.last,
                    time=now,
                    body=batch.body,
                    counters=batch.counters,
                    topic=batch.topic,
                    turns=_turns(self.ledger.epoch, batch) if batch.commits else None,
                    changes=[change for act in batch.acts for change in act.changes],
                )
            )
        except StoreError as error:
            log.error("room %s: cannot write the log: %s", self.name, error)
            _refuse([(entry, self._unavailable(entry)) for entry in batch.entries])
            for entry, why in later:
                why = self._unavailable(entry) if isinstance(why, Stale) else why
                _receipt(entry).refused(why)
            return
        if trees is not None:
            self.ledger.trees = trees
        await self._publish(batch)
        for act in batch.acts:
            act.apply()
        _refuse(later)

    def _judge(self, entries: list[Entry], now: float) -> list[Entry]:
        """Refuse what may not be, as the house's rules are now; return the rest.

        An act is the last of its chunk, so what came after it is judged by what it did.
        """
        if entries[-1].act is None and not self.house.sanctions and not self.expelled:
            return entries
        found = [(entry, self._objection(entry, now)) for entry in entries]
        _refuse([(entry, error) for entry, error in found if error is not None])
        return [entry for entry, error in found if error is None]

    def _objection(self, entry: Entry, now: float) -> Refused | None:
        if entry.act is not None:
            return entry.act.check(now)
        connection = _speaker(entry)
        if connection in self.expelled:
            return NotMember("you were put out of the room", room=self.name, n=entry.n)
        if entry.sealed is not None and entry.sealed.kind != "message":
            return None  # says nothing to anybody, and the group needs it
        return self.unheard(connection, now, entry.n)

    def _unavailable(self, entry: Entry) -> StoreUnavailable:
        text = "the server cannot write its log now; nothing was said, try again later"
        return StoreUnavailable(text, room=self.name, n=entry.n, retry_after=5.0)

    async def _publish(self, batch: Numbered) -> None:
        self.ledger.commit(batch)
        self.touched = trio.current_time()
        self._tail.remember(batch)
        before, last, records = batch.first - 1, batch.last, cut(batch.body)
        cursors = list(self.cursors.values())
        for start in range(0, len(cursors), FAIRNESS):
            for cursor in cursors[start : start + FAIRNESS]:
                wire = cursor.wire
                if cursor.seq == before and not wire.blocked:
                    cursor.seq = last
                    wire.push(records)
            if start + FAIRNESS < len(cursors):
                await trio.lowlevel.checkpoint()
        for seq, entry in enumerate(batch.entries, batch.first):
            if entry.n is None:  # a message's echo is its receipt
                _receipt(entry).accepted(seq)
        for seq, entry in batch.commits:
            _receipt(entry).accepted(seq)
        self._audience(self)

    def _admit(self, arrival: Arrival) -> None:
        """Make the arrival a member: `joined`, then the log after its cursor, then live."""
        arrival.done.set()
        if arrival.cancelled:
            return
        cursor = arrival.cursor
        connection = cursor.connection
        who, admin = connection.suspect, connection.is_admin
        now = time.time()
        arrival.refused = self.house.door(who, now, admin=admin, proven=arrival.proven)
        if arrival.refused is not None:
            return
        self.expelled.discard(connection)
        role = self.house.role(who.user, admin=admin)
        seq = self.ledger.seq
        self.cursors[connection] = connection.cursors[self.key] = cursor
        if self.name in connection.noticed:
            connection.noticed -= {self.name}
        self.pins += 1
        self.roster.enter(self._shown(connection, now))
        self._say_joined(cursor, arrival.id, role)
        if arrival.after is None or arrival.after > seq:
            cursor.seq = seq
        else:
            cursor.seq = arrival.after
            if cursor.lags:
                connection.catch_up()

    def _say_joined(self, cursor: Cursor, ident: str | None, role: str) -> None:
        roster = self.roster
        cursor.connection.say(
            Joined(
                room=self.name,
                mode=self.mode,
                access=self.access,
                epoch=None if self.mode == "plain" else self.ledger.epoch,
                topic=self.ledger.topic,
                role=role,
                log=self._store.log_id,
                first=self.first,
                seq=self.ledger.seq,
                n=self.ledger.counters.get(cursor.connection.device, 0),
                count=len(roster.members),
                members=None if roster.large else list(roster.members.values()),
                id=ident,
            )
        )

    # --- what members and the server do, synchronously ----------------------------------

    def unheard(self, connection: Connection, now: float, n: int | None = None) -> Refused | None:
        """Say why somebody may say nothing here, or None if they may."""
        if not self.house.sanctions:
            return None
        mute = self.house.silence(connection.suspect, now, admin=connection.is_admin)
        if mute is None:
            return None
        error = muted(mute, f"in {self.name}", now)
        error.room, error.n = self.name, n
        return error

    def _shown(self, connection: Connection, now: float) -> Member:
        """Return somebody as the roster shows them: who is muted has no words of their own."""
        member = connection.member()
        if self.unheard(connection, now) is not None:
            return attrs.evolve(member, nick=None, away=None)
        return member

    def put_out(self, connection: Connection) -> None:
        """Take a connection out, and hear nothing more of what it said."""
        self.expelled.add(connection)
        self.leave(connection)

    def leave(self, connection: Connection) -> None:
        """Take a connection out; the others are told in the broadcaster's next step."""
        cursor = self.cursors.pop(connection, None)
        if cursor is not None:
            cursor.retire()
            del connection.cursors[self.key]
            self.roster.leave(connection.device)
            self.unpin()

    def pin(self) -> None:
        """Keep the room in memory until `unpin`."""
        self.pins += 1

    def unpin(self) -> None:
        """Let it go again; the broadcaster looks whether it is still needed."""
        self.pins -= 1
        self.wake()

    def wake(self) -> None:
        """Have the broadcaster take a step."""
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            self.inbox.send_nowait(None)  # a full inbox wakes it anyway

    def cast(self, *frames: Event, but: Connection | None = None) -> None:
        """Tell the members something that is not kept; who is behind misses it."""
        if not frames:
            return
        records = cut(b"".join(map(encode, frames)))
        for connection, cursor in self.cursors.items():
            if connection is but:
                continue
            if cursor.wire.blocked:
                cursor.stale = True
            else:
                cursor.wire.push(records)

    def roster_now(self) -> Users:
        """Return the roster for somebody who missed some of it."""
        roster = self.roster
        members = [] if roster.large else list(roster.members.values())
        return Users(room=self.name, count=len(roster.members), users=members)

    # --- the log, read back -------------------------------------------------------------

    async def read_on(self, after: int) -> tuple[int, bytes]:
        """Return what follows `after`, up to a chunk, and the number it ends with.

        From memory where it is there still, else from the log. Where retention has taken
        everything, the number is that of the newest entry and the bytes are none.
        """
        found = self._tail.recall(after, ROW_SIZE)
        if found is not None:
            return found
        newest = self.ledger.seq
        rows = await self._store.read_after(self.id, after, ROW_SIZE)
        if not rows:
            return newest, b""
        return rows[-1].last, b"".join(row.body for row in rows)

    def drop_tail(self) -> None:
        """Forget the batches kept in memory; the log has them."""
        self._tail.clear()


def _receipt(entry: Entry) -> Receipt:
    receipt: Receipt = entry.ticket  # type: ignore[assignment]  # the ledger does not care what it is
    return receipt


def _speaker(entry: Entry) -> Connection:
    """Return whose words these are; a ticket of any kind knows."""
    speaker: Connection = getattr(entry.ticket, "connection", None) or entry.ticket  # type: ignore[assignment]  # else it is one
    return speaker


def _refuse(refused: Sequence[tuple[Entry, Refused]]) -> None:
    for entry, error in refused:
        _receipt(entry).refused(error)


def _turns(epoch: int, batch: Numbered) -> Turns | None:
    """Return what the log has to know of a batch's commits."""
    found = [(seq, entry.sealed.commit) for seq, entry in batch.commits if entry.sealed]
    commits = [(seq, commit) for seq, commit in found if commit is not None]
    return Turns(epoch, commits) if commits else None
