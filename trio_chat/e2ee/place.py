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

__all__ = ["Former", "NotTheRoom", "Place", "Unvouched"]


class NotTheRoom(NotAllowed):
    """What somebody shows as a room's group cannot be it."""


class Unvouched(NotAllowed):
    """It may be the room's group, but nobody whom we know from there says so."""


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

    def check(self, policy: RoomPolicy, users: Iterable[str] = ()) -> None:
        """Judge a group that is said to be the room's, by its policy and who is in it.

        Raises:
            NotTheRoom: It is another room's, or one of another kind.
        """
        if policy.name != self.name:
            raise NotTheRoom("somebody", "gave another room's group for this one")
        if self.people:
            fits = attrs.evolve(policy, retention=None) == self.policy()
        else:
            fits = policy.open == self.open and policy.add is not Who.NOBODY
        if not fits:
            raise NotTheRoom("somebody", "made the room's group one of another kind")
        if self.people and not {*users} <= {*self.people}:
            raise NotTheRoom("somebody", "put somebody else into a room of two")


@attrs.frozen
class Former:
    """A room's group as this device last knew it: what one that takes its place is held against.

    Attributes:
        group_id: Its name in MLS.
        policy: What its members had agreed on.
        members: The fingerprints of each user's keys.
        epoch: The last one that we were in, as MLS counts.
        poisoned: Whether somebody has then brought it to where its rules do not allow.
    """

    group_id: bytes
    policy: RoomPolicy
    members: Mapping[str, AbstractSet[str]]
    epoch: int = 0
    poisoned: bool = False

    @classmethod
    def of(
        cls, group_id: bytes, policy: RoomPolicy, members: Iterable[DeviceIdentity], epoch: int
    ) -> Self:
        """Return what is to be remembered of a group."""
        known: dict[str, set[str]] = {}
        for one in members:
            known.setdefault(one.key, set()).add(one.fingerprint)
        return cls(group_id, policy, known, epoch)

    def check(
        self,
        group_id: bytes,
        epoch: int,
        policy: RoomPolicy,
        signer: DeviceIdentity,
        users: AbstractSet[str],
    ) -> None:
        """Judge a group that is said to go on with this one, by who vouches for it.

        What happened in between, nobody here has judged, and everybody can give a group the name
        of another. So in a closed room it has to be shown by somebody who was there, and to be no
        other than they could have made it by the rules that were.

        Args:
            group_id: Its name in MLS.
            epoch: The first one that we would be in.
            policy: Its policy.
            signer: Who shows it.
            users: Who is in it.

        Raises:
            NotTheRoom: It cannot be.
            Unvouched: It cannot be either, unless we have missed what happened in between.
        """
        same = group_id == self.group_id
        if same and epoch <= self.epoch:
            raise NotTheRoom(signer.user, "shows the room's group as it was long ago")
        if self.policy.open:
            return
        if signer.fingerprint not in self.members.get(signer.key, ()):
            kind = Unvouched if same else NotTheRoom
            raise kind(signer.user, "shows the room's group, and was not in it")
        if self.policy.is_admin(signer):
            return
        if same and self.poisoned:
            raise NotTheRoom(signer.user, "went on with a group that broke the room's rules")
        if policy != self.policy:
            raise NotTheRoom(signer.user, "shows the room's group with other rules")
        strangers = users - self.members.keys() - {*self.policy.admins}
        if strangers and not self.policy.allows(self.policy.add, signer):
            kind = Unvouched if same else NotTheRoom
            raise kind(
                signer.user, f"shows the room's group with {' and '.join(sorted(strangers))}"
            )

    def may_begin_anew(self, me: str) -> bool:
        """Return whether the room's group is ours to replace when it cannot be used."""
        return self.policy.open or me in self.policy.admins
