"""A room's group as this device lives through it: what it can read, and who else can.

It judges each commit by the policy of the epoch that this ends, and remembers the group when it
is lost, so that what takes its place can be held against it. What is to be sent when, is
`conversation`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

import attrs
import msgspec

from trio_chat import names
from trio_chat.e2ee import policy as rules
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.changes import Changes
from trio_chat.e2ee.delivery import ByCommit, LogEntry, Said, Unreadable
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.payload import decode_payload, gap_of
from trio_chat.e2ee.place import Former, Place
from trio_chat.e2ee.policy import RoomPolicy
from trio_chat.e2ee.turning import policy_of
from trio_chat.mls import (
    Change,
    Group,
    Member,
    MLSError,
    NewMemberCommit,
    PrivateMessage,
    Proposed,
    ProtocolError,
    PublicMessage,
    Received,
    Remove,
    decode_message,
)

__all__ = ["Membership", "may_be_removed", "told", "unreadable"]

MAX_PENDING = 8  # proposals of one sender in an epoch: they are written down time and again
LARGEST = 32 * 1024  # bytes of a proposal
MINUTE = 60.0  # seconds; how often is looked whose certificate is over
_CONTENT = {"message": 1, "proposal": 2, "commit": 3}  # RFC 9420, section 6


class Membership:
    """What is known of one room's group.

    Attributes:
        group: The group, or None while we are not in it.
        epoch: The room's epoch, as far as the log was followed.
        members: Who is in the group, by leaf.
        policy: What its members have agreed on.
        former: The group as it was when we were last in it.
        missed: How many messages of the sender's should have come before the one read last.
    """

    def __init__(self, account: Account, place: Place) -> None:
        self.account = account
        self.place = place
        self.group: Group | None = None
        self.epoch = 0
        self.members: dict[int, DeviceIdentity] = {}
        self.policy: RoomPolicy | None = None
        self.former: Former | None = None
        self.missed = 0
        self._void: tuple[object, set[int]] = (None, set())
        self._load()

    def _load(self) -> None:
        store, room = self.account.store, self.place.name
        kept = store.kept(_FORMER + room)
        if kept is not None:
            kind = tuple[bytes, bytes, int, int, bool]
            group_id, policy, self.epoch, *rest = msgspec.msgpack.decode(kept, type=kind)
            known = RoomPolicy.decode(policy), store.members(room)
            self.former = Former(group_id, *known, *rest)
        found = store.group(room, self.account.services)
        if found is not None:
            self._set(*found)

    def _set(self, group: Group, epoch: int) -> None:
        self.group, self.epoch = group, epoch
        self.members, self.policy = self.account.members(group), policy_of(group)

    @property
    def users(self) -> set[names.Key]:
        """Who is in the group, by key."""
        return {one.key for one in self.members.values()}

    # Changes

    def enter(self, changes: Changes, group: Group, epoch: int) -> None:
        """Go on with this group, from the room's epoch on that it is in."""
        self._set(group, epoch)
        self._remember(changes)

    def lose(self, changes: Changes) -> None:
        """Be in the group no longer; what it was like is remembered."""
        if self.group is not None:
            self.group = None
            changes.drop_group(self.place.name)

    @property
    def poisoned(self) -> bool:
        """Has somebody brought the group to where its own rules do not allow?"""
        return self.former is not None and self.former.poisoned

    def poison(self, changes: Changes) -> None:
        """Remember that of the group in which we were."""
        if self.former is not None:
            self.former = attrs.evolve(self.former, poisoned=True)
            self._keep(changes, self.former)

    def forget(self, changes: Changes) -> None:
        """Leave for good: what comes next is held against nothing."""
        self.lose(changes)
        self.former = None
        changes.unkeep(_FORMER + self.place.name)

    def _remember(self, changes: Changes) -> None:
        assert self.group is not None
        assert self.policy is not None
        at = self.group.context
        self.former = Former.of(at.group_id, self.policy, self.members.values(), at.epoch)
        self._keep(changes, self.former)

    def _keep(self, changes: Changes, former: Former) -> None:
        room = self.place.name
        kept = former.group_id, former.policy.encode(), self.epoch, former.epoch, former.poisoned
        changes.keep(_FORMER + room, msgspec.msgpack.encode(kept))
        changes.keep_members(room, former.members)

    # Reading

    def read(self, entry: LogEntry) -> Said | Unreadable:
        """Read a message of somebody else's; see `missed` then."""
        self.missed = 0
        if self.group is None:
            return unreadable(entry, "it was said before this device could read here")
        try:
            received = self._receive(self.group, entry)
            if not isinstance(received, Received):
                raise ProtocolError("it is no message")
            who = self.members[received.sender]
            if who.key != names.key(entry.user):
                raise ProtocolError(
                    f"the server says that {entry.user} sent it, but the keys are {who.user}'s"
                )
            if received.ahead < 0:
                raise ProtocolError("the server has given it later than it was said")
            self.missed = max(0, received.ahead - gap_of(received.authenticated_data))
            payload = decode_payload(received.data)
        except MLSError as error:
            return unreadable(entry, str(error))
        return Said(
            seq=entry.seq,
            time=entry.time,
            user=who.user,
            device=entry.device,
            n=entry.n,
            payload=payload,
            by=who,
        )

    def propose(self, entry: LogEntry) -> None:
        """Take a proposal; one that cannot be used is as good as none.

        All members must have the same ones, so what is too much is not a matter of taste.
        """
        group = self.group
        if group is None:
            return
        with contextlib.suppress(MLSError):
            taken = self._receive(group, entry)
            if isinstance(taken, Proposed) and taken.reference is not None:
                waiting = [each for each in group.pending.values() if each.sender == taken.sender]
                if len(waiting) > MAX_PENDING or len(entry.body) > LARGEST:
                    del group.pending[taken.reference]

    def follow(self, entry: LogEntry, now: float) -> Group:
        """Return where a commit of somebody else's leads.

        Raises:
            Removed: It takes us out.
            NotAllowed: The room's policy does not allow it.
            MLSError: It cannot be followed.
        """
        assert self.group is not None
        assert self.policy is not None
        policy, group = self.policy, self.group

        def judge(followed: Group) -> None:
            if followed.change is None:
                raise ProtocolError("it is no commit")
            after = self.account.members(followed)
            void = self.account.void(group, now) if followed.change.removed else ()
            rules.check(policy, followed.change, self.members, after, void=void)

        followed = self._receive(group, entry, judge)
        if not isinstance(followed, Group):
            raise ProtocolError("it is no commit")
        return followed

    def void(self, now: float) -> set[int]:
        """Return the leaves, but ours, that must go before anything is encrypted."""
        group = self.group
        assert group is not None
        asked = group.tree, self.account.authenticator, now // MINUTE
        known, found = self._void
        if known != asked:
            found = set(self.account.faults(group, now)) - {group.index}
            self._void = asked, found
        return found

    def _receive(
        self, group: Group, entry: LogEntry, judge: Callable[[Group], object] | None = None
    ) -> object:
        if entry.epoch != self.epoch:
            raise ProtocolError("it is of another epoch than the room is in")
        message = decode_message(entry.body)
        match message:
            case PrivateMessage(content_type=kind) if kind == _CONTENT.get(entry.kind):
                return group.receive(message, judge=judge)
            case PublicMessage() if entry.kind == "commit" and isinstance(
                message.content.sender, NewMemberCommit
            ):
                return group.receive(message, judge=judge)
        raise ProtocolError("it is not what the server says it is")


_FORMER = "former group of "  # and a room: a name to keep something under


def unreadable(entry: LogEntry, reason: str) -> Unreadable:
    """Return that an entry cannot be read, and why."""
    return Unreadable(
        seq=entry.seq, time=entry.time, user=entry.user, device=entry.device, reason=reason
    )


def may_be_removed(membership: Membership, change: Change, now: float) -> str | None:
    """Return who takes this device out by a commit, or None if they may not."""
    group, policy, members = membership.group, membership.policy, membership.members
    assert group is not None
    assert policy is not None
    me = members[group.index]
    for proposed in change.proposals:
        match proposed:
            case Proposed(sender=Member(leaf_index=index), proposal=Remove(removed=gone)) if (
                gone == group.index
            ):
                actor = members[index]
                void = group.index in membership.account.void(group, now)
                if void or actor.key == me.key or policy.allows(policy.remove, actor):
                    return actor.user
            case Proposed(sender=NewMemberCommit(), proposal=Remove(removed=gone)) if (
                gone == group.index
            ):
                return me.user  # in our place, which `authenticate` has judged
    return None


def told(
    seq: int,
    actor: str,
    before: Mapping[int, DeviceIdentity],
    after: Mapping[int, DeviceIdentity],
    done: Collection[int] = (),
) -> ByCommit:
    """Return what a commit has changed, as people would say it."""
    old: dict[str, dict[bytes, DeviceIdentity]] = {}
    new: dict[str, dict[bytes, DeviceIdentity]] = {}
    for found, members in ((old, before), (new, after)):
        for one in members.values():
            found.setdefault(one.key, {})[one.device_id] = one
    fresh = [
        (one.user, one.device_name)
        for key, devices in new.items()
        if key in old
        for device, one in devices.items()
        if device not in old[key]
    ]
    return ByCommit(
        seq=seq,
        actor=actor,
        added=tuple(_spelt(devices) for key, devices in new.items() if key not in old),
        removed=tuple(_spelt(devices) for key, devices in old.items() if key not in new),
        devices=tuple(fresh),
        done=tuple(done),
    )


def _spelt(devices: Mapping[bytes, DeviceIdentity]) -> str:
    return next(iter(devices.values())).user
