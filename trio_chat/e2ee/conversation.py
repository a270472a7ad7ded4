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
from collections.abc import Mapping, Sequence

from trio_chat import names
from trio_chat.e2ee import turning
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.changes import Cursor
from trio_chat.e2ee.delivery import (
    Claim,
    Entered,
    FetchInfo,
    FetchList,
    FetchWelcome,
    Info,
    NotSent,
    Offer,
    Parcel,
    Send,
    Step,
    Wait,
    Welcomed,
)
from trio_chat.e2ee.following import PATIENCE, Door, Follower
from trio_chat.e2ee.outbox import MESSAGE
from trio_chat.e2ee.payload import Payload, encode_payload
from trio_chat.e2ee.place import Place
from trio_chat.e2ee.policy import NotAllowed, RoomPolicy, check_occupants
from trio_chat.e2ee.turning import Draft, Guest
from trio_chat.e2ee.wishes import Wish
from trio_chat.mls import Group, MLSError, ProtocolError, Welcome, decode_message, encode_message

__all__ = ["Conversation"]

WINDOW = 64  # messages in flight at once
MANY = 5  # lost races in a row, after which fresh keys are proposed for others to commit
OVER = frozenset({"text-too-long", "mode", "forbidden", "bad-frame"})  # codes: never again


class Conversation(Follower):
    """One room. What goes wrong with it is told as events, not raised."""

    def __init__(self, account: Account, place: Place) -> None:
        super().__init__(account, place)
        self._ready: list[Parcel] = []
        self._guests: list[Guest] | None = None  # whom to add; None if nobody was asked for yet
        self._least_epoch = 0  # nothing is sent before the log has come to it
        self._asked = 0.0  # when key packages were asked for last

    # What is wanted

    def say(self, payload: Payload) -> int:
        """Queue something to be sent; return an id, for `Said.id` or `NotSent.id`.

        Raises:
            ValueError: It is too large, or such that nobody would take it.
        """
        token = self._outbox.say(encode_payload(payload))
        if self.door is Door.OUT:
            self._give_up_saying("this device is not in the room any more; join it again")
        return token

    def want(self, wish: Wish) -> int:
        """Want something of the group; return an id, for `ByCommit.done` or `NotSent.id`."""
        return self.wishes.add(wish)

    def come_back(self) -> None:
        """Get in again after having left, or having been taken out."""
        if self.door is Door.OUT:
            self.door = Door.WELCOME

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
        return Wait()

    def _act(self, now: float) -> Step | None:
        """Turn the group if that is due, or else say what waits."""
        membership, outbox = self.membership, self._outbox
        group, policy = membership.group, membership.policy
        assert group is not None
        assert policy is not None
        if outbox.turning or membership.epoch < self._least_epoch or not self.caught_up:
            return Wait()
        void = membership.void(now)
        talking = bool(outbox.waiting)
        due, why = self.wishes.due(
            now,
            void=bool(void),
            proposals=bool(turning.acceptable(group, policy, membership.members)),
            renewal=self._account.device.signature_key.public != group.own_leaf.signature_key,
            talking=talking,
            members=len(membership.members),
        )
        due = max(due, self._begin_at) if why else due
        if why and due <= now:
            return Wait() if outbox.flying else self._turn(group, void, now, why == "update")
        if talking and why != "void" and outbox.flying < WINDOW:
            self._seal(group, now)
            return None
        return Wait(None if math.isinf(due) else due)

    def _seal(self, group: Group, now: float) -> None:
        """Encrypt what waits, write it down, and have it ready."""
        outbox, epoch = self._outbox, self.membership.epoch
        blocking = self._account.people.blocking(self.membership.members.values())
        if blocking:
            who = " and ".join(sorted(blocking))
            self._give_up_saying(f"the identity of {who} has changed; nothing was sent")
            return
        with self._store.event() as changes:
            for row in outbox.peek(changes, WINDOW - outbox.flying):
                body = encode_message(group.encrypt(row.payload))
                n = outbox.seal(changes, row, epoch, body)
                self._ready.append(Parcel(n=n, epoch=epoch, kind="message", body=body))
            self._save(changes, now)

    def _turn(self, group: Group, void: set[int], now: float, only_update: bool) -> Step | None:
        """Commit what is wanted of the group."""
        invited = self.wishes.invited
        if invited and self._guests is None:
            return Claim(invited)
        policy = self.membership.policy
        assert policy is not None
        change = turning.Change(
            void=void,
            remove=self.wishes.unwanted,
            guests=self._guests or (),
            proposals=turning.acceptable(group, policy, self.membership.members),
        )
        try:
            if self.wishes.leaving:
                self._propose(turning.leaving(group), now)
            elif only_update and self._lost >= MANY:
                self._lost = 0
                self._propose(turning.update(group), now)
            else:
                draft = turning.turn(self._account, group, change)
                self._knock(draft, self.membership.epoch, now)
        except NotAllowed as error:
            self._guests = None
            ids = self.wishes.take_back()
            self.events += [NotSent(token, str(error)) for token in ids]
            if not ids:
                self._begin_at = now + PATIENCE
                self._tell_trouble(str(error))
        except MLSError as error:
            self._guests = None
            with self._store.event() as changes:
                self._lose(changes, f"the group cannot be changed: {error}", now)
        return None

    def _propose(self, draft: Draft, now: float) -> None:
        with self._store.event() as changes:
            row = self._outbox.write(changes, draft.kind)
            epoch = self.membership.epoch
            n = self._outbox.seal(changes, row, epoch, draft.body)
            self._save(changes, now)
        self._ready.append(draft.parcel(n, epoch))

    def _knock(self, draft: Draft, epoch: int, now: float, kind: str = "commit") -> None:
        """Write down a commit that ends `epoch`, and where it leads, and have it ready."""
        self._ahead = draft.group, epoch + 1
        with self._store.event() as changes:
            row = self._outbox.write(changes, kind)
            n = self._outbox.seal(changes, row, epoch, draft.body)
            changes.save_pending(self.place.name, draft.group, epoch + 1)
            self.wishes.save(changes, now)
        self._ready.append(draft.parcel(n, epoch))

    def listed(self) -> None:
        """The account has the newest revocation list."""
        self._unsure = False

    # Getting in

    def _begin(self, now: float) -> Step | None:
        """Begin the group, once there is a reason, with those in it who belong there."""
        former = self.membership.former
        if self.place.people and not self._outbox.waiting:
            return Wait()
        if self.place.people:
            users: set[str] = set(self.place.people)
        else:
            users = set() if former is None or self.place.open else {*former.members}
        if users and self._guests is None:
            return Claim(tuple(sorted(users)))
        guests, self._guests = self._guests or [], None
        peers = users - {self.place.me}
        if self.place.people and peers and peers.isdisjoint(turning.users_of(guests)):
            self._give_up_saying(f"{' '.join(peers)} has no device yet that can read it")
            self._begin_at = now + (PATIENCE if self._outbox.waiting else 0.0)
            return None
        policy = self._policy()
        draft = turning.begin(self._account, policy, guests, now)
        self.door = Door.KNOCKING
        self._knock(draft, self.membership.epoch, now, "create")
        return None

    def _policy(self) -> RoomPolicy:
        former = self.membership.former
        return self.place.policy() if former is None else former.policy

    def welcomed(self, found: Welcomed | None, now: float) -> None:
        """Take the Welcome for this device, if there is one."""
        if self.door is not Door.WELCOME:
            return
        self.door = Door.INFO
        if found is None or (found.seq < self._seq and self._fed):
            return
        try:
            self._enter(found, now)
        except MLSError as error:
            self._tell_trouble(f"a Welcome is of no use: {error}")

    def _enter(self, found: Welcomed, now: float) -> None:
        message = decode_message(found.body)
        if not isinstance(message, Welcome):
            raise ProtocolError("it is none")
        ours = self._store.bundles()
        reference = next((s.new_member for s in message.secrets if s.new_member in ours), None)
        if reference is None:
            return  # for a key package that is used up: we have been in already
        bundle = self._store.bundle(reference)
        assert bundle is not None
        assert self.cursor is not None
        group = Group.join(
            message,
            bundle,
            ratchet_tree=found.tree or None,
            authenticate=self._account.services.authenticate,
        )
        policy, former = turning.policy_of(group), self.membership.former
        self.place.check(policy)
        members = self._account.members(group)
        assert group.inviter is not None
        inviter = members[group.inviter]
        check_occupants(members, inviter.user)
        if former is not None:
            former.check(group.context.group_id, policy, inviter)
        with self._store.event() as changes:
            changes.use_bundle(reference)
            self.membership.enter(changes, group, found.epoch)
            self.cursor = Cursor(found.seq, self.cursor.log)
            changes.set_cursor(self.place.name, self.cursor)
            self.door, self._begin_at = Door.INSIDE, 0.0
            self.wishes.update(now)
            self._meet(changes)
            self._save(changes, now)
        self.events.append(Entered(found.seq))

    def informed(self, found: Info | None, now: float) -> None:
        """Take the room's GroupInfo and tree, and join by ourselves."""
        if self.door is not Door.INFO:
            return
        if found is None:
            self._no_group(now)
            return
        former = self.membership.former
        try:
            draft = turning.join(self._account, self.place, found, former, now)
        except NotAllowed as error:
            self._wait_outside(str(error), now)
        except MLSError as error:
            if former is not None and former.may_begin_anew(self.place.me):
                with self._store.event() as changes:
                    self._lose(changes, f"the group is broken: {error}", now, poisoned=True)
            else:
                self._wait_outside(str(error), now)
        else:
            self.door = Door.KNOCKING
            self._knock(draft, found.epoch, now)

    def _wait_outside(self, why: str, now: float) -> None:
        self.door, self._begin_at = Door.WAITING, now + PATIENCE
        self._tell_trouble(f"{why}; somebody in the room has to let this device in")

    def claimed(self, offers: Mapping[str, Sequence[Offer]], now: float) -> None:
        """Take the key packages that were claimed, by user; what does not hold is left out."""
        self._guests = []
        for user, found in offers.items():
            for offer in found:
                if offer.device == self._account.wire:
                    continue
                try:
                    package, identity = self._account.judge(offer.package, names.key(user), now)
                except MLSError as error:
                    what = f"the server gave a key for a device of {user} that does not hold"
                    self._tell_trouble(f"{what}: {error}; it is not used")
                else:
                    self._guests.append(Guest(offer.device, package, identity))
        if self.door is Door.INSIDE:
            there = self.membership.users | turning.users_of(self._guests)
            lacking = [user for user in self.wishes.invited if user not in there]
            for token, user in self.wishes.give_up(lacking):
                self.events.append(NotSent(token, f"{user} has no device yet that can be let in"))

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
            if code in OVER:
                token = self._outbox.settle(changes, self._outbox.drop(n))
                if row.kind == MESSAGE:
                    if token is not None:
                        self.events.append(NotSent(token, why))
                else:
                    self._drop([row], changes, now)
                    self._tell_trouble(why)
            gone = self._outbox.made_anew(changes)
            self._drop(gone or (), changes, now)

    def _give_up_saying(self, why: str) -> None:
        self.events += [NotSent(token, why) for token in self._outbox.withdraw()]

    @property
    def _seq(self) -> int:
        return self.cursor.seq if self.cursor is not None else 0
