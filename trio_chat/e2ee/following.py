"""The inward half of a conversation: the room's log, entry by entry.

What is read and what it changes are written down together with how far the log is dealt with.
`conversation` has the other half, and says how to use both.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

from trio_chat.e2ee.account import Account
from trio_chat.e2ee.changes import Changes, Cursor, Outgoing
from trio_chat.e2ee.delivery import (
    Began,
    Entered,
    Event,
    Left,
    LogEntry,
    Said,
    Trouble,
    Unreadable,
)
from trio_chat.e2ee.history import to_entry
from trio_chat.e2ee.membership import Membership, may_be_removed, told, unreadable
from trio_chat.e2ee.outbox import MESSAGE, Outbox
from trio_chat.e2ee.payload import decode_payload
from trio_chat.e2ee.place import Place
from trio_chat.e2ee.policy import NotAllowed
from trio_chat.e2ee.wishes import RANK, RANKS, Wishes
from trio_chat.mls import MLSError, Removed

__all__ = ["Door", "Follower"]

LOST = 5.0  # seconds, the longest pause after a lost race
PATIENCE = 60.0  # seconds between two attempts to get in where that was refused


class Door(enum.Enum):
    """Where this device is: in the group, or how it wants to get in."""

    INSIDE = "inside"
    WELCOME = "look for a Welcome"
    INFO = "join by oneself"
    BEGIN = "begin the group"
    KNOCKING = "a commit to get in is in flight"
    WAITING = "try again later, or when the group changes"
    OUT = "left, or taken out"


class Follower:
    """A room's log, followed; no public constructor, see `Conversation`.

    Attributes:
        place: What kind of room it is.
        membership: Its group.
        cursor: How far its log is dealt with; None until `resumed`.
        wishes: What we want of the group.
        door: Where we are.
        events: What has happened, oldest first; the owner takes them out.
    """

    def __init__(self, account: Account, place: Place) -> None:
        store, room = account.store, place.name
        self.place = place
        self.membership = Membership(account, place)
        self.cursor: Cursor | None = store.cursor(room)
        self.wishes = Wishes(store, room, account.uniform)
        self.events: list[Event] = []
        self._account = account
        self._store = store
        self._outbox = Outbox(store, room)
        found = store.group(room, account.services, pending=True)
        self._ahead = found  # where a commit of ours leads, and the room's epoch that it begins
        outside = Door.KNOCKING if found else Door.WELCOME
        self.door = Door.INSIDE if self.membership.group else outside
        self._online = False
        self._goal: tuple[int, int] | None = None  # (seq, epoch) of the room, until we are there
        self._begin_at = 0.0  # (not) before that
        self._lost = 0  # races in a row
        self._unsure = False  # does it depend on the newest list what to make of a commit?
        self._sure = 0  # which one that was, once the list is here
        self._trouble = ""  # what was told last
        self._fed = False  # was anything taken since the cursor was set?

    @property
    def settled(self) -> bool:
        """Is this device in the group, or does it depend on others, or on us, to get in?"""
        if self.door is Door.BEGIN:
            return bool(self.place.people)  # once there is something to say
        return self.caught_up and self.door in (Door.INSIDE, Door.OUT, Door.WAITING)

    @property
    def caught_up(self) -> bool:
        """Is all dealt with that was said before the room was joined?"""
        return self._goal is None

    # The connection

    def resumed(self, *, log: str, n: int, seq: int, epoch: int, now: float) -> None:
        """Go on: the room is joined.

        Args:
            log: The id of the server's history.
            n: The last counter that it has taken from this device.
            seq: The room's newest entry.
            epoch: The room's epoch.
            now: The time.
        """
        with self._store.event() as changes:
            cursor = self.cursor
            same = cursor is not None and cursor.log == log and cursor.seq <= seq
            self._drop(self._outbox.resumed(changes, n), changes, now)
            self._online = True
            self._goal = seq, epoch
            self.wishes.resumed(now)
            if not same:
                if cursor is not None:
                    self._forget_ahead(changes)
                    self._lose(changes, "the server has another history now", now)
                self.cursor, self._fed = Cursor(seq, log), False
                self.membership.epoch = epoch
                changes.set_cursor(self.place.name, self.cursor)
            if self.door is Door.KNOCKING and self._ahead is None:
                self.door = Door.WELCOME
            if epoch == 0 and self.door is not Door.OUT:
                self._no_group(now)
            self._arrive(changes, now)

    def offline(self) -> None:
        """The connection is lost."""
        self._online = False

    # The log

    def feed(self, entries: Sequence[LogEntry], now: float) -> int:
        """Take entries of the log; those that are known already are passed over.

        Returns:
            How many were taken: fewer than there are when something is to be asked first.
        """
        taken = 0
        with self._store.event() as changes:
            assert self.cursor is not None
            for entry in entries:
                if self._online and (self.door is Door.WELCOME or self._unsure):
                    break
                if entry.seq > self.cursor.seq + 1:
                    raise ValueError("an entry of the log is missing")
                if entry.seq == self.cursor.seq + 1:
                    self._take(entry, changes, now)
                    if self._unsure:
                        break
                taken += 1
                if entry.seq <= self.cursor.seq:
                    continue
                self._fed = True
                self.cursor = Cursor(entry.seq, self.cursor.log)
                if self.cursor.seq == (self._goal or (0,))[0]:
                    self._arrive(changes, now)
            changes.set_cursor(self.place.name, self.cursor)
            self._save(changes, now)
            self._drop(self._outbox.made_anew(changes) or (), changes, now)
        return taken

    def skipped(self, seq: int, now: float) -> None:
        """The log is no longer kept up to `seq`."""
        assert self.cursor is not None
        if seq <= self.cursor.seq:
            return
        with self._store.event() as changes:
            self.cursor = Cursor(seq, self.cursor.log)
            changes.set_cursor(self.place.name, self.cursor)
            if self.membership.group is not None:
                self._lose(changes, "what this device had not read is no longer kept", now)
            if self._goal is not None:
                self._arrive(changes, now)

    def _save(self, changes: Changes, now: float) -> None:
        group, epoch = self.membership.group, self.membership.epoch
        if group is not None:
            changes.save_group(self.place.name, group, epoch)
        self.wishes.save(changes, now)

    def _arrive(self, changes: Changes, now: float) -> None:
        """See, once all that was said before the room was joined is dealt with, if it fits."""
        assert self.cursor is not None
        assert self._goal is not None
        seq, epoch = self._goal
        if self.cursor.seq < seq:
            return
        self._goal = None
        late = self._outbox.overdue()
        for row in late:  # in the log, but in a part that is no longer kept
            token = self._outbox.settle(changes, row)
            if row.kind == MESSAGE:
                self.events.append(self._said(None, row, token, now))
        ended, self.membership.epoch = self.membership.epoch != epoch, epoch
        if ended and self.membership.group is not None:
            why = "a part of the log that this device had not read is no longer kept"
            self._lose(changes, why, now)
        if any(row.kind not in (MESSAGE, "proposal") for row in late):
            self._forget_ahead(changes, epoch)

    def _take(self, entry: LogEntry, changes: Changes, now: float) -> None:
        if entry.device == self._account.wire:
            row = self._outbox.echo(entry.n)
            if row is not None:
                token = self._outbox.settle(changes, row)
                if row.sealed == entry.body:
                    self._echo(entry, row, token, changes, now)
                    return
            self._not_ours(entry, row, changes, now)
            return
        match entry.kind:
            case "message":
                self._tell(self.membership.read(entry), changes)
            case "proposal":
                self.membership.propose(entry)
            case "create":
                self._begun(entry, changes, now)
            case "commit":
                self._turned(entry, changes, now)

    def _tell(self, event: Said | Unreadable, changes: Changes) -> None:
        """Record something that was said, and tell it."""
        assert self.cursor is not None
        self.events.append(event)
        changes.record(to_entry(event, room=self.place.name, log=self.cursor.log))

    # Ours

    def _echo(
        self, entry: LogEntry, row: Outgoing, token: int | None, changes: Changes, now: float
    ) -> None:
        """Take what we have sent ourselves."""
        if row.kind == MESSAGE:
            self.wishes.said()
            self._tell(self._said(entry, row, token, now), changes)
        elif row.kind == "proposal":
            if self.wishes.leaving:
                self.wishes.take_back()
                self.membership.forget(changes)
                self._forget_ahead(changes, entry.epoch)
                self.door = Door.OUT
                self.events.append(Left(entry.seq, self._account.identity.user))
        else:
            self._won(entry, changes, now)

    def _said(self, entry: LogEntry | None, row: Outgoing, token: int | None, now: float) -> Said:
        return Said(
            seq=entry.seq if entry else 0,
            time=entry.time if entry else now,
            user=self._account.identity.user,
            device=self._account.wire,
            n=row.n or 0,
            payload=decode_payload(row.payload),
            id=token,
        )

    def _won(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Our commit has ended the epoch: go on where it leads."""
        ahead, self._ahead, self._lost, self._begin_at = self._ahead, None, 0, 0.0
        membership = self.membership
        if ahead is None or ahead[1] != entry.epoch + 1:
            membership.epoch = entry.epoch + 1
            self._lose(changes, "this device has lost what it needs to read on", now)
            return
        before, was_inside = membership.members, self.door is Door.INSIDE
        changes.accept(self.place.name)
        membership.enter(changes, *ahead)
        self.door = Door.INSIDE
        done = self.wishes.turned(membership.users, now, ours=True)
        self._meet(changes)
        if not was_inside:
            self.events.append(Entered(entry.seq))
        me = self._account.identity.user
        self.events.append(told(entry.seq, me, before, membership.members, done))

    def _not_ours(
        self, entry: LogEntry, row: Outgoing | None, changes: Changes, now: float
    ) -> None:
        """Something came under our name that is not what this device has sent."""
        why = "this device sent it, and has lost its memory since"
        if row is not None:
            why = "the server has changed what this device sent"
        if entry.kind == "message":
            self._tell(unreadable(entry, why), changes)
        elif entry.kind != "proposal":
            self.membership.epoch = entry.epoch + 1
            self._forget_ahead(changes, entry.epoch)
            self._lose(changes, why, now)

    # Others'

    def _turned(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Somebody else has ended the epoch."""
        membership, before = self.membership, self.membership.members
        self._forget_ahead(changes, entry.epoch)
        if membership.group is None:
            membership.epoch = entry.epoch + 1
            if self.door is Door.WAITING:
                self.door = Door.WELCOME
            return
        try:
            group = membership.follow(entry, now)
        except Removed as error:
            membership.epoch = entry.epoch + 1
            by = may_be_removed(membership, error.change, now)
            if by is None:
                why = f"{entry.user} has taken this device out, which the room does not allow"
                self._lose(changes, why, now, poisoned=True)
                return
            membership.lose(changes)
            self.door = Door.OUT
            self.events.append(Left(entry.seq, by))
            return
        except NotAllowed as error:
            self._unsure = self._sure != entry.seq
            self._sure = entry.seq
            if not self._unsure:
                membership.epoch = entry.epoch + 1
                why = f"a change by {entry.user} is refused: {error}"
                self._lose(changes, why, now, poisoned=True)
            return
        except MLSError as error:
            membership.epoch = entry.epoch + 1
            why = f"a change by {entry.user} cannot be followed: {error}"
            self._lose(changes, why, now)
            return
        assert group.change is not None
        after = self._account.members(group)
        actor = (after if group.change.external else before)[group.change.committer]
        membership.enter(changes, group, entry.epoch + 1)
        done = self.wishes.turned(membership.users, now, ours=False)
        self._meet(changes)
        self.events.append(told(entry.seq, actor.user, before, after, done))

    def _begun(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Somebody else has begun the group, or begun it anew."""
        self._forget_ahead(changes, entry.epoch)
        self.membership.lose(changes)
        self.membership.epoch = entry.epoch + 1
        if self.door is not Door.OUT and self._ahead is None:
            self.door = Door.WELCOME
        self.events.append(Began(entry.seq, entry.user))

    def _meet(self, changes: Changes) -> None:
        """Look at who is in the group now: their keys may be other than those we know."""
        people = self._account.people
        self.events += people.sight(self.membership.members.values())
        for user, pin in people.to_write().items():
            changes.pin(user, pin)

    # What goes wrong

    def _lose(self, changes: Changes, why: str, now: float, *, poisoned: bool = False) -> None:
        """Be out of a group that cannot be used; get in again, or have it begun anew.

        A group that somebody has brought to where its own rules do not allow is poisoned: we do
        not join it there.
        """
        self.membership.lose(changes)
        former = self.membership.former
        if self.door is Door.OUT or (self.door is Door.KNOCKING and self._ahead):
            return
        if not poisoned:
            self.door, what = Door.INFO, "this device joins anew"
        elif former is not None and former.may_begin_anew(self.place.me):
            self.door, what = Door.BEGIN, "the room's keys are made anew"
            ranks = min(len(former.members), RANKS)
            self._begin_at = now + self._account.uniform(0.0, RANK * ranks)
        else:
            self.door, what = Door.WAITING, "an admin of the room has to make its keys anew"
            self._begin_at = now + PATIENCE
        self._tell_trouble(f"{why}; {what}")

    def _tell_trouble(self, why: str) -> None:
        """Say what is wrong, once."""
        if why != self._trouble:
            self._trouble = why
            self.events.append(Trouble(why))

    def _no_group(self, now: float) -> None:
        """The room has no group yet: begin it, or wait for who may."""
        mine = self.place.open or self.place.owner
        self.door = Door.BEGIN if mine else Door.WAITING
        self._begin_at = self._begin_at if mine else now + PATIENCE

    def _forget_ahead(self, changes: Changes, ended: float = math.inf) -> None:
        """The epoch `ended` is over, or a commit of ours is not sent again: it has lost."""
        if self._ahead is not None and self._ahead[1] <= ended + 1:
            self._ahead = None
            changes.drop_group(self.place.name, pending=True)

    def _drop(self, rows: Sequence[Outgoing], changes: Changes, now: float) -> None:
        """Make anew, later, what the server did not take and is no message."""
        turnings = [row for row in rows if row.kind != "proposal"]
        if turnings:
            self._forget_ahead(changes)
            self._lost += 1
            self._begin_at = now + self._account.uniform(0.0, min(LOST, 0.1 * 2**self._lost))
            if self.door is Door.KNOCKING:
                first = turnings[0].kind == "create"
                self.door = Door.WELCOME if first else Door.INFO
