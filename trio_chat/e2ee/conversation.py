"""A conversation: one encrypted room as one device lives through it. Sans-IO.

    conversation.resumed(...)         the room is joined; its log follows
    taken = conversation.feed(...)    entries of the log, in order
    id = conversation.say(payload)    to be sent when that is possible
    step = conversation.next(now)     what to do now: send parcels, ask something, or wait
    conversation.refused(n, ...)      the server did not take a parcel
    conversation.events               what has happened

What is answered to a step comes back by `welcomed`, `informed` or `claimed`. Everything is written
into the store before it is told: keys that were used, before what they encrypted leaves; what was
read, together with how far the log is dealt with. So it may end between any two calls, and a new
one over the same store goes on.

The server lets each epoch of a room end once, and takes nothing of an epoch that is over. So no
old epoch is kept, and who loses a race makes what they wanted anew, if it is still wanted.

Synchronous; it writes to the disk, so it belongs in a thread, one call at a time.
"""

from __future__ import annotations

import math

import attrs

from trio_chat import names
from trio_chat.e2ee import turning
from trio_chat.e2ee.delivery import (
    FetchInfo,
    FetchList,
    FetchWelcome,
    NotSent,
    Parcel,
    Send,
    Step,
    Wait,
)
from trio_chat.e2ee.entering import Entrant
from trio_chat.e2ee.footing import PATIENCE, Door
from trio_chat.e2ee.outbox import MESSAGE, new_id
from trio_chat.e2ee.payload import Payload, as_gap, encode_payload
from trio_chat.e2ee.policy import NotAllowed
from trio_chat.e2ee.turning import Draft
from trio_chat.e2ee.wishes import Invite, Kick, Wish
from trio_chat.mls import Group, MLSError, encode_message

__all__ = ["Conversation"]

WINDOW = 64  # messages in flight at once
MANY = 5  # lost races in a row, after which fresh keys are proposed for others to commit
SKIPPED = 24  # proposals and commits not taken in one epoch; more than 32 nobody would follow
OVER = frozenset({"text-too-long", "mode", "forbidden", "muted", "bad-frame"})  # codes: never again
_OUT = "this device is not in the room any more; join it again"


class Conversation(Entrant):
    """One room. What goes wrong with it is told as events, not raised."""

    # What is wanted

    def say(self, payload: Payload) -> int:
        """Queue something to be sent; return an id, for `Said.id` or `NotSent.id`.

        Raises:
            ValueError: It is too large, or such that nobody would take it.
        """
        data = encode_payload(payload)
        if self.door is not Door.OUT:
            return self._outbox.say(data)
        return self._refuse(_OUT)

    def take_back(self, token: int) -> None:
        """Do not send this, unless it may be on its way already."""
        self._outbox.take_back(token)

    def want(self, wish: Wish) -> int:
        """Want something of the group; return an id, for `ByCommit.done` or `NotSent.id`."""
        if self.door is Door.OUT:
            return self._refuse(_OUT)
        if wish == Kick(self.place.me):
            return self._refuse("nobody takes out themselves; leave the room instead")
        if isinstance(wish, Invite):
            self._unwelcome.discard(names.key(wish.user))
        return self.wishes.add(wish)

    def _refuse(self, why: str) -> int:
        token = new_id()
        self.events.append(NotSent(token, why))
        return token

    def come_back(self) -> None:
        """Get in again after having left, or having been taken out."""
        if self.door is Door.OUT:
            self.door, self._begin_at = Door.WELCOME, 0.0

    def offline(self) -> None:
        """The connection is lost, and what was to be sent on it is not sent."""
        super().offline()
        self._ready = []

    # What to do

    def next(self, now: float) -> Step:
        """Return what is to be done now; ask again after it, and whenever something came."""
        if not self._online:
            return Wait()
        if self._unsure:
            return FetchList()
        if self.door is Door.WELCOME:
            return FetchWelcome()
        if not self._ready and not self._outbox.draining:
            step = self._move(now)
            if step is not None:
                return step
        if self._ready:
            parcels, self._ready = tuple(self._ready), []
            return Send(parcels)
        return Wait()

    def _move(self, now: float) -> Step | None:
        if self._outbox.knocked:
            return None  # what it leads to is what we wait for, and there is one such place
        match self.door:
            case Door.INSIDE:
                return self._act(now)
            case Door.INFO if now >= self._begin_at:
                return FetchInfo()
            case Door.BEGIN if now >= self._begin_at:
                return self._begin(now)
            case Door.WAITING if now >= self._begin_at:
                self.door = Door.WELCOME
                return FetchWelcome()
            case Door.INFO | Door.BEGIN | Door.WAITING:
                return Wait(self._begin_at)
        return None

    def _act(self, now: float) -> Step | None:
        """Turn the group if that is due, or else say what waits."""
        membership, outbox = self.membership, self._outbox
        group, policy = membership.group, membership.policy
        assert group is not None
        assert policy is not None
        if group.handshakes > SKIPPED:
            with self._store.event() as changes:
                self._lose(changes, "the server takes no change by this device", now)
            return None
        if membership.epoch < self._least_epoch or not self.caught_up:
            return Wait()
        void = membership.void(now)
        proposals = turning.acceptable(self._account, group, policy, membership.members)
        talking = bool(outbox.waiting)
        due, why = self.wishes.due(
            now,
            void=bool(void),
            proposals=bool(proposals),
            renewal=self._account.device.signature_key.public != group.own_leaf.signature_key,
            talking=talking,
            members=len(membership.members),
        )
        due = max(due, self._begin_at) if why else due
        if why and due <= now:
            change = turning.Change(void=void, proposals=proposals, remove=self.wishes.unwanted)
            return Wait() if outbox.flying else self._turn(group, change, now, why == "update")
        if talking and not void and not proposals and outbox.flying < WINDOW:  # RFC 9420, 12.4
            self._seal(group, now)
            return None
        return Wait(None if math.isinf(due) else due)

    def _seal(self, group: Group, now: float) -> None:
        """Encrypt what waits, write it down, and have it ready."""
        outbox, epoch = self._outbox, self.membership.epoch
        blocking = self._account.people.blocking(self.membership.members.values())
        if blocking:
            who = " and ".join(sorted(blocking))
            with self._store.event() as changes:
                why = f"the identity of {who} has changed; nothing was sent"
                self._give_up_saying(changes, why)
            return
        with self._store.event() as changes:
            for row in outbox.peek(changes, WINDOW - outbox.flying):
                body = row.sealed
                if body is None or not turning.fits(group, body):
                    body = encode_message(group.encrypt(row.payload, as_gap(self.wishes.gap)))
                n = outbox.seal(changes, row, epoch, body)
                self._ready.append(Parcel(n=n, epoch=epoch, kind="message", body=body))
            self._save(changes, now)

    def _turn(
        self, group: Group, change: turning.Change, now: float, only_update: bool
    ) -> Step | None:
        """Commit what is wanted of the group."""
        invited = self.wishes.invited
        if not self.wishes.leaving and (claim := self._claim(invited, now)) is not None:
            return claim
        change = attrs.evolve(change, guests=self._guests(invited))
        try:
            if self.wishes.leaving:
                self._propose(turning.leaving(group), now)
            elif only_update and self._lost >= MANY and not change.void and not change.proposals:
                self._lost = 0
                self._propose(turning.update(group), now)
                self.wishes.proposed(now)
            else:
                draft = turning.turn(self._account, group, change)
                there = {one.key for one in self._account.members(draft.group).values()}
                self._give_up_inviting({*invited} - there - {*draft.later})
                self._knock(draft, self.membership.epoch, now)
        except MLSError as error:
            self._not_turned(error, now)
        return None

    def _not_turned(self, error: MLSError, now: float) -> None:
        """It is our wishes that cannot be; if there are none, it is the group."""
        self._offers = {}
        ids = self.wishes.take_back()
        self.events += [NotSent(token, str(error)) for token in ids]
        if not ids and isinstance(error, NotAllowed):
            self._begin_at = now + PATIENCE
            self._tell_trouble(str(error))
        elif not ids:
            with self._store.event() as changes:
                self._lose(changes, f"the group cannot be changed: {error}", now)

    def _propose(self, draft: Draft, now: float) -> None:
        with self._store.event() as changes:
            row = self._outbox.write(changes, draft.kind)
            epoch = self.membership.epoch
            n = self._outbox.seal(changes, row, epoch, draft.body)
            self._save(changes, now)
        self._ready.append(draft.parcel(n, epoch))

    def listed(self) -> None:
        """The account has the newest revocation list."""
        self._unsure = False

    # What the server says

    def refused(
        self, n: int, code: str, why: str, now: float, *, epoch: int = 0, wait: float = 0.0
    ) -> None:
        """The server has not taken the parcel `n`.

        Args:
            n: Its counter.
            code: The wire code of the error.
            why: The error in words.
            now: The time.
            epoch: The room's, if the parcel was of one that is over.
            wait: Seconds after which it may be tried again.
        """
        row = self._outbox.refused(n)
        if row is None:
            return
        self._least_epoch = max(self._least_epoch, epoch)
        if wait:
            self._begin_at = max(self._begin_at, now + wait)
        with self._store.event() as changes:
            inside = self.membership.group is not None and self.caught_up
            if code == "stale" and inside and epoch < self.membership.epoch:
                self._lose(changes, "the room is not as far as this device thought", now)
            if code in OVER:
                token = self._outbox.settle(changes, self._outbox.drop(n))
                if row.kind == MESSAGE:
                    self.wishes.skipped()
                if row.kind == MESSAGE and token is not None:
                    self.events.append(NotSent(token, why))
                else:
                    self._drop([row] if row.kind != MESSAGE else (), changes, now)
                    self._tell_trouble(why)
            gone = self._outbox.made_anew(changes)
            self._drop(gone or (), changes, now)
