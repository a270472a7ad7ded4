"""How a device gets into a room's group: it begins it, is welcomed, or joins by itself.

`footing` says which of them is to be tried; what the server gives for it is judged here. What a
member asks key packages for is here as well, since beginning a group needs them too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from trio_chat import names
from trio_chat.e2ee import turning
from trio_chat.e2ee.changes import Changes, Cursor
from trio_chat.e2ee.delivery import (
    Claim,
    Entered,
    Info,
    NotSent,
    Offer,
    Step,
    Wait,
    Welcomed,
)
from trio_chat.e2ee.following import Follower
from trio_chat.e2ee.footing import PATIENCE, Door
from trio_chat.e2ee.place import NotTheRoom, Unvouched
from trio_chat.e2ee.policy import MAX_DEVICES, NotAllowed, RoomPolicy, check_occupants
from trio_chat.e2ee.turning import Draft, Guest
from trio_chat.mls import Group, MLSError, ProtocolError, Welcome, decode_message

__all__ = ["Entrant"]

FRESH = 600.0  # seconds for which key packages that were claimed are used
MANY = 4096  # Welcomes for a key package of last resort, in one room


class Entrant(Follower):
    """What gets one in; no public constructor, see `Conversation`."""

    def _knock(self, draft: Draft, epoch: int, now: float, kind: str = "commit") -> None:
        """Write down a commit that ends `epoch`, and where it leads, and have it ready."""
        self._ahead = draft.group, epoch + 1
        with self._store.event() as changes:
            row = self._outbox.write(changes, kind)
            n = self._outbox.seal(changes, row, epoch, draft.body)
            self._save(changes, now)  # the key that has encrypted it is used up, win or lose
            changes.save_pending(self.place.name, draft.group, epoch + 1)
        self._ready.append(draft.parcel(n, epoch))

    # Key packages

    def _claim(self, users: Iterable[str], now: float) -> Claim | None:
        """Return what must be asked for before these can be added."""
        if now - self._asked > FRESH:
            self._offers = {}
        lacking = sorted({names.key(user) for user in users} - self._offers.keys())
        return Claim(tuple(lacking)) if lacking else None

    def _guests(self, users: Iterable[str]) -> list[Guest]:
        return [guest for user in users for guest in self._offers.get(names.key(user), ())]

    def claimed(self, offers: Mapping[str, Sequence[Offer]], now: float) -> None:
        """Take the key packages that were claimed, by user; what does not hold is left out."""
        self._asked = now
        for user, found in offers.items():
            self._offers[names.key(user)] = self._judged(user, found, now)
        if self.door is Door.INSIDE:
            known = {user for user, guests in self._offers.items() if not guests}
            self._give_up_inviting(known - self.membership.users)

    def unclaimed(self, why: str, wait: float, now: float) -> None:
        """Learn that the server gives no key packages now, and may after `wait` seconds."""
        found = self.wishes.give_up(set(self.wishes.invited)) if self.door is Door.INSIDE else []
        self.events += [NotSent(token, f"{user} is not let in: {why}") for token, user in found]
        if not found:
            self._begin_at = max(self._begin_at, now + wait)
            self._tell_trouble(f"the room's keys cannot be made now: {why}")

    def _judged(self, user: str, offers: Sequence[Offer], now: float) -> list[Guest]:
        guests: dict[bytes, Guest] = {}
        for offer in offers:
            if offer.device == self._account.wire or len(guests) >= MAX_DEVICES:
                continue
            try:
                package, identity = self._account.judge(offer.package, names.key(user), now)
            except MLSError as error:
                what = f"the server gave a key for a device of {user} that does not hold"
                self._tell_trouble(f"{what}: {error}; it is not used")
            else:
                guests.setdefault(identity.device_id, Guest(offer.device, package, identity))
        return list(guests.values())

    def _give_up_inviting(self, users: Iterable[str]) -> None:
        for token, user in self.wishes.give_up({*users}):
            self.events.append(NotSent(token, f"{user} has no device yet that can be let in"))

    # Beginning

    def _begin(self, now: float) -> Step | None:
        """Begin the group, once there is a reason, with those in it who belong there."""
        former = self.membership.former
        if self.place.people and not self._outbox.waiting:
            return Wait()
        users: set[str] = set()
        if self.place.people:
            users = set(self.place.people)
        elif former is not None and not self.place.open:
            users = {*former.members} - (self._unwelcome - {*former.policy.admins})
        if users and (claim := self._claim(users, now)) is not None:
            return claim
        guests, self._offers = self._guests(sorted(users)), {}
        peers = users - {self.place.me}
        if self.place.people and peers and peers.isdisjoint(turning.users_of(guests)):
            with self._store.event() as changes:
                why = f"{' '.join(peers)} has no device yet that can read it"
                self._give_up_saying(changes, why)
            return None
        policy = self._policy()
        try:
            draft = turning.begin(self._account, policy, guests, now)
        except MLSError as error:
            self._begin_at = now + PATIENCE
            self._tell_trouble(f"the room's keys cannot be made: {error}")
            return Wait(self._begin_at)
        self.door = Door.KNOCKING
        self._knock(draft, self.membership.epoch, now, "create")
        return None

    def _policy(self) -> RoomPolicy:
        former = self.membership.former
        return self.place.policy() if former is None else former.policy

    # Being welcomed

    def welcomed(self, found: Welcomed | None, now: float) -> None:
        """Take the Welcome for this device, if there is one."""
        if self.door is not Door.WELCOME:
            return
        self.door = Door.INFO
        if found is None or found.seq < self._read_up_to():
            return
        try:
            self._enter(found, now)
        except MLSError as error:
            self._tell_trouble(f"a Welcome is of no use: {error}")

    def _read_up_to(self) -> int:
        """Return the last place of the log of which something is kept: there is no way back."""
        assert self.cursor is not None
        last = self._store.history(self.place.name, limit=1)
        return last[0].seq or 0 if last and last[0].log == self.cursor.log else 0

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
        self._judge(group)
        with self._store.event() as changes:
            if ours[reference]:
                self._take_once(group, changes)
            changes.use_bundle(reference)
            self.membership.enter(changes, group, found.epoch)
            self.cursor = Cursor(found.seq, self.cursor.log)
            changes.set_cursor(self.place.name, self.cursor)
            self.door, self._begin_at, self._offers = Door.INSIDE, 0.0, {}
            self.wishes.update(now)
            self._meet(changes)
            self._save(changes, now)
            if self._goal is not None and found.seq >= self._goal[0]:
                self._goal = None  # what came before this, we cannot read and need not
                self._account_for(changes, now)
        self.events.append(Entered(found.seq))

    def _judge(self, group: Group) -> None:
        """Judge a group that we are welcomed to."""
        policy, former = turning.policy_of(group), self.membership.former
        members = self._account.members(group)
        assert group.inviter is not None
        inviter = members[group.inviter]
        users = {one.key for one in members.values()}
        self.place.check(policy, users)
        check_occupants(members, inviter.user)
        me = self._account.identity.key
        at_home = me == inviter.key or me in policy.admins
        if not (at_home or policy.allows(policy.add, inviter)):
            raise NotAllowed(inviter.user, "invited this device, and may not")
        if former is not None:
            at = group.context
            former.check(at.group_id, at.epoch, policy, inviter, users)

    def _take_once(self, group: Group, changes: Changes) -> None:
        """Refuse to join twice by one Welcome: the same keys would be used again.

        Those for other key packages cannot be opened twice; one of last resort is not erased.
        """
        name = f"welcomes of {self.place.name}"
        kept = self._store.kept(name)
        known = msgspec.msgpack.decode(kept, type=list[bytes]) if kept else []
        digest = hashlib.sha256(group.epoch_authenticator).digest()[:16]
        if digest in known or len(known) >= MANY:
            raise ProtocolError("it was used before")
        changes.keep(name, msgspec.msgpack.encode([*known, digest]))

    # Joining

    def informed(self, found: Info | None, now: float) -> None:
        """Take the room's GroupInfo and tree, and join by ourselves."""
        if self.door is not Door.INFO:
            return
        if found is None:
            self._no_group(now)
            return
        try:
            draft = turning.join(self._account, self.place, found, self.membership.former, now)
        except NotAllowed as error:
            known = isinstance(error, Unvouched) and not self._missed
            if isinstance(error, NotTheRoom) or known:
                self._mistrust(str(error), now, _LET_IN)
            else:
                self._stay_outside(now)
                self._tell_trouble(f"{error}; {_LET_IN}")
        except MLSError as error:
            self._mistrust(f"the group is broken: {error}", now, _LET_IN)
        else:
            self.door = Door.KNOCKING
            self._knock(draft, found.epoch, now)


_LET_IN = "somebody in the room has to let this device in"
