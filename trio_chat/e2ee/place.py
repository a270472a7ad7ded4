"""What kind of room it is, what its group must be like, and what became of it while we were out.

A client is told by the server whether a room is open, and takes nobody's word for more: a group
whose policy is not that of the room's kind is not the room's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Self

import attrs

from trio_chat import names
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.policy import NotAllowed, RoomPolicy, Who

__all__ = ["Former", "Place"]


@attrs.frozen
class Place:
    """A room, as far as it decides what its group must be like.

    Attributes:
        name: Its key.
        me: Our user's key.
        open: Whether everybody with a certificate may join.
        owner: Whether it is ours to begin, where it is not open.
    """

    name: str = attrs.field(converter=names.key)
    me: names.Key = attrs.field(converter=names.key)
    open: bool = False
    owner: bool = True

    @property
    def people(self) -> tuple[names.Key, ...]:
        """The two of a two-person room, sorted, or one who talks to themselves; else nobody."""
        peer = names.peer_of(self.name, self.me)
        return () if peer is None else tuple(sorted({self.me, peer}))

    def policy(self) -> RoomPolicy:
        """Return the policy of a new group for this room, which is ours to make."""
        if self.people:
            nobody = Who.NOBODY
            return RoomPolicy(name=self.name, admins=self.people, add=nobody, remove=nobody)
        if self.open:
            return RoomPolicy(name=self.name, add=Who.MEMBERS, open=True)
        return RoomPolicy(name=self.name, admins=(self.me,))

    def check(self, policy: RoomPolicy) -> None:
        """Judge the policy of a group that is said to be the room's.

        Raises:
            NotAllowed: It is another room's, or one of another kind.
        """
        if policy.name != self.name:
            raise NotAllowed("somebody", "gave another room's group for this one")
        if self.people:
            fits = attrs.evolve(policy, retention=None) == self.policy()
        else:
            fits = policy.open == self.open and policy.add is not Who.NOBODY
        if not fits:
            raise NotAllowed("somebody", "made the room's group one of another kind")


@attrs.frozen
class Former:
    """A room's group as this device last knew it: what one that takes its place is held against.

    Attributes:
        group_id: Its name in MLS.
        policy: What its members had agreed on.
        members: The fingerprints of each user's keys.
    """

    group_id: bytes
    policy: RoomPolicy
    members: Mapping[str, AbstractSet[str]]

    @classmethod
    def of(cls, group_id: bytes, policy: RoomPolicy, members: Iterable[DeviceIdentity]) -> Self:
        """Return what is to be remembered of a group."""
        known: dict[str, set[str]] = {}
        for one in members:
            known.setdefault(one.key, set()).add(one.fingerprint)
        return cls(group_id, policy, known)

    def check(self, group_id: bytes, policy: RoomPolicy, signer: DeviceIdentity) -> None:
        """Judge a group that is said to go on with this one, by who vouches for it.

        Going on in the same group, after a gap, is as good as having been there. A group that
        began anew must keep to the same admins, and be shown by somebody who was there.

        Raises:
            NotAllowed: It does not.
        """
        if group_id == self.group_id or self.policy.open:
            return
        if policy.admins != self.policy.admins:
            raise NotAllowed(signer.user, "began the room anew with other admins")
        if signer.fingerprint not in self.members.get(signer.key, ()):
            raise NotAllowed(signer.user, "began the room anew, and was not in it")

    def may_begin_anew(self, me: str) -> bool:
        """Return whether the room's group is ours to replace when it cannot be used."""
        return self.policy.open or me in self.policy.admins
