"""Where a device stands with a room: inside of its group, or how it gets in, and what goes wrong.

The innermost part of a conversation: what all the others read and change.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

from trio_chat import names
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.changes import Changes, Cursor, Outgoing
from trio_chat.e2ee.delivery import Event, NotSent, Parcel, Trouble
from trio_chat.e2ee.membership import Membership
from trio_chat.e2ee.outbox import Outbox
from trio_chat.e2ee.place import Place
from trio_chat.e2ee.turning import Guest
from trio_chat.e2ee.wishes import RANK, RANKS, Wishes

__all__ = ["PATIENCE", "Door", "Footing"]

LOST = 5.0  # seconds, the longest pause after a lost race
PATIENCE = 60.0  # seconds between two attempts to get in where that was refused
FORGIVE = 3600.0  # seconds without a wrong group, after which the next is the first again
WRONGS = 6  # doublings of the pause before the group is begun anew once more


class Door(enum.Enum):
    """Where this device is: in the group, or how it wants to get in."""

    INSIDE = "inside"
    WELCOME = "look for a Welcome"
    INFO = "join by oneself"
    BEGIN = "begin the group"
    KNOCKING = "a commit to get in is in flight"
    WAITING = "try again later, or when the group changes"
    OUT = "left, or taken out"


class Footing:
    """How one device stands with one room; no public constructor, see `Conversation`.

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
        self._offers: dict[names.Key, list[Guest]] = {}  # key packages that were claimed, by user
        self._asked = 0.0  # when
        self._ready: list[Parcel] = []  # to be sent
        self._online = False
        self._goal: tuple[int, int] | None = None  # (seq, epoch) of the room, until we are there
        self._least_epoch = 0  # nothing is sent before the log has come to it
        self._begin_at = 0.0  # (not) before that
        self._missed = True  # may there have been commits that this device has not seen?
        self._waits = 0  # how often we were not let in
        self._lost = 0  # races in a row
        self._unsure = False  # does it depend on the newest list what to make of a commit?
        self._sure = 0  # which one that was, once the list is here
        self._trouble = ""  # what was told last
        self._wrongs = 0  # how often the room's group was a wrong one
        self._wrong_at = -math.inf  # when last
        self._unwelcome: set[names.Key] = set()  # who has broken the room's rules

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

    @property
    def _seq(self) -> int:
        return self.cursor.seq if self.cursor is not None else 0

    def _save(self, changes: Changes, now: float) -> None:
        group, epoch = self.membership.group, self.membership.epoch
        if group is not None:
            changes.save_group(self.place.name, group, epoch)
        self.wishes.save(changes, now)

    def _meet(self, changes: Changes) -> None:
        """Look at who is in the group now: their keys may be other than those we know."""
        self._trouble, self._waits = "", 0
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
        if poisoned:
            self.membership.poison(changes)
        self.membership.lose(changes)
        if self.door is Door.OUT or (self.door is Door.KNOCKING and self._ahead):
            return
        if poisoned:
            self._mistrust(why, now, "an admin of the room has to make its keys anew")
        else:
            self.door = Door.INFO
            self._tell_trouble(f"{why}; this device joins anew")

    def _mistrust(self, why: str, now: float, otherwise: str) -> None:
        """Do not join a group that is a wrong one: begin it anew, or wait for who may.

        Who makes us do so again and again has to wait longer and longer for the next time.
        """
        former = self.membership.former
        self._wrongs = 0 if now - self._wrong_at > FORGIVE else self._wrongs + 1
        self._wrong_at = now
        if former is None:  # who was never in it, waits a while for those who were
            mine = self.place.open and self._wrongs >= WRONGS // 2
        else:
            mine = former.may_begin_anew(self.place.me)
        pause = PATIENCE * (2 ** min(self._wrongs, WRONGS) - 1)
        if mine:
            ranks = min(len(former.members), RANKS) if former else RANKS
            self.door, what = Door.BEGIN, "the room's keys are made anew"
            self._begin_at = now + self._account.uniform(pause / 2, RANK * ranks + pause)
        else:
            what = otherwise
            self._stay_outside(now)
        self._tell_trouble(f"{why}; {what}")

    def _stay_outside(self, now: float) -> None:
        """Try again when the group changes, or after a while, each time a longer one."""
        self.door = Door.WAITING
        self._begin_at = now + PATIENCE * 2 ** min(self._waits, WRONGS)
        self._waits += 1

    def _tell_trouble(self, why: str) -> None:
        """Say what is wrong, once."""
        if why != self._trouble:
            self._trouble = why
            self.events.append(Trouble(why))

    def _give_up_saying(self, changes: Changes, why: str) -> None:
        tokens, unknown = self._outbox.withdraw(changes)
        for _ in range(len(tokens) + unknown):
            self.wishes.skipped()
        self.events += [NotSent(token, why) for token in tokens]
        if unknown:
            self.events.append(Trouble(f"{unknown} earlier message(s) not sent: {why}"))

    def _give_up(self, changes: Changes, why: str) -> None:
        """Neither say nor want anything any more."""
        self._give_up_saying(changes, why)
        self.events += [NotSent(token, why) for token in self.wishes.take_back()]

    def _no_group(self, now: float) -> None:
        """The room has no group yet: begin it, or wait for who may."""
        mine = self.place.open or self.place.owner
        if mine:
            self.door = Door.BEGIN
        else:
            self._stay_outside(now)

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
            longest = min(LOST, 0.1 * 2 ** min(self._lost, 10))
            self._begin_at = max(self._begin_at, now + self._account.uniform(0.0, longest))
            if self.door is Door.KNOCKING:
                first = turnings[0].kind == "create"
                self.door = Door.WELCOME if first else Door.INFO
