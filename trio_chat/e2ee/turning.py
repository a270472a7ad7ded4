"""How a room's group turns: it begins, somebody joins by themselves, members change it.

Each function makes a draft of what to send; nothing has happened before the server has taken it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from trio_chat import names
from trio_chat.e2ee import policy as rules
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.delivery import Info, Kind, Parcel
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.place import Former, Place
from trio_chat.e2ee.policy import RoomPolicy
from trio_chat.mls import (
    Add,
    Group,
    GroupContextExtensions,
    GroupInfo,
    KeyPackage,
    LeafChanges,
    LeafNode,
    Member,
    ProposalRef,
    ProtocolError,
    Remove,
    Update,
    Welcome,
    decode_message,
    encode_message,
)

__all__ = ["Change", "Draft", "Guest", "begin", "join", "policy_of", "turn", "update"]

SMALL_TREE = 32 * 1024  # bytes; a tree up to that travels in the Welcome
GROUP_ID = 32  # bytes


@attrs.frozen
class Guest:
    """A device to be added: its wire id, and the key package that was claimed for it."""

    wire: str
    package: KeyPackage = attrs.field(repr=False)
    identity: DeviceIdentity


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Draft:
    """What to send, and the group that it leads to."""

    kind: Kind
    group: Group
    body: bytes
    welcomes: tuple[tuple[tuple[str, ...], bytes], ...] = ()

    def parcel(self, n: int, epoch: int) -> Parcel:
        """Return it ready to be sent with a counter, in the room's epoch `epoch`."""
        ends_epoch = self.kind in ("commit", "create")
        return Parcel(
            n=n,
            epoch=epoch,
            kind=self.kind,
            body=self.body,
            welcomes=self.welcomes,
            info=info_of(self.group) if ends_epoch else None,
            tree=self.group.ratchet_tree() if ends_epoch else None,
        )


@attrs.frozen(kw_only=True)
class Change:
    """What a commit of ours is to do, beside renewing our keys.

    Attributes:
        void: Leaves with a certificate that is revoked or over; they go.
        remove: Users to take out, with all their devices.
        guests: Devices to add; those that are there already are left out.
        policy: The room's new policy.
        proposals: Which proposals of others to go along with, by reference.
    """

    void: Collection[int] = ()
    remove: Collection[str] = ()
    guests: Sequence[Guest] = ()
    policy: RoomPolicy | None = None
    proposals: Collection[ProposalRef] = ()


def info_of(group: Group) -> bytes:
    """Return what lets others join; the tree travels apart."""
    return encode_message(group.group_info(external=True))


def policy_of(group: Group) -> RoomPolicy:
    """Return the policy that a group's members have agreed on.

    Raises:
        DecodeError: It has none that we understand.
    """
    return RoomPolicy.of(group.context.extensions)


def begin(account: Account, policy: RoomPolicy, guests: Sequence[Guest], now: float) -> Draft:
    """Begin a group with us and `guests` in it."""
    group = Group.create(
        account.bundle(now),
        secrets.token_bytes(GROUP_ID),
        extensions=policy.as_extensions(),
        authenticate=account.services.authenticate,
    )
    if not guests:
        return Draft(kind="create", group=group, body=info_of(group))
    draft = turn(account, group, Change(guests=guests))
    return attrs.evolve(draft, kind="create", body=info_of(draft.group))


def join(account: Account, place: Place, info: Info, former: Former | None, now: float) -> Draft:
    """Join a group by a commit of our own, in place of an older leaf of this device.

    Raises:
        NotAllowed: The group's policy does not let us, or is not that of the room.
        MLSError: The GroupInfo or the tree breaks a rule.
    """
    message = decode_message(info.body)
    if not isinstance(message, GroupInfo):
        raise ProtocolError("what the server gave is no GroupInfo")
    context = message.group_context
    policy = RoomPolicy.of(context.extensions)
    place.check(policy)
    bundle = account.bundle(now)

    me = account.identity
    before: dict[int, DeviceIdentity] = {}

    def old_leaf(leaves: Mapping[int, LeafNode]) -> int | None:
        before.update((index, account.identify(leaf)) for index, leaf in leaves.items())
        same = (i for i, one in before.items() if _same_device(one, me))
        return next(same, None)

    made = Group.join_external(
        message,
        bundle,
        ratchet_tree=info.tree,
        replace=old_leaf,
        authenticate=account.services.authenticate,
    )
    group = made.group
    if former is not None:
        former.check(context.group_id, policy, before[message.signer])
    assert group.change is not None
    rules.check(policy, group.change, before, account.members(group))
    return Draft(kind="commit", group=group, body=encode_message(made.message))


def turn(account: Account, group: Group, change: Change) -> Draft:
    """Commit a change, as far as it is not the case already; our own keys are fresh after it.

    Raises:
        NotAllowed: The room's policy does not let us.
        MLSError: A rule of MLS is broken.
    """
    policy, before = policy_of(group), account.members(group)
    there = {(one.key, one.device_id) for one in before.values()}
    guests = [
        guest
        for guest in change.guests
        if (guest.identity.key, guest.identity.device_id) not in there
    ]
    gone = {i for i, one in before.items() if i in change.void or one.key in change.remove}
    covered = [
        reference
        for reference in change.proposals
        if not _overlaps(group.pending[reference].proposal, gone)
    ]
    proposals: list[Add | Remove | GroupContextExtensions] = [
        *(Remove(index) for index in sorted(gone - {group.index})),
        *(Add(guest.package) for guest in guests),
    ]
    if change.policy is not None and change.policy != policy:
        proposals.append(GroupContextExtensions(change.policy.as_extensions()))
    device = account.device
    renewed: LeafChanges = {}
    if device.signature_key.public != group.own_leaf.signature_key:
        renewed = {"signature_key": device.signature_key, "credential": device.credential}
    small = len(group.ratchet_tree()) <= SMALL_TREE
    made = group.commit(
        *proposals,
        cover=covered,
        ratchet_tree=small,
        **renewed,
    )
    after = account.members(made.group)
    assert made.group.change is not None
    rules.check(policy, made.group.change, before, after, void=change.void)
    welcomes: tuple[tuple[tuple[str, ...], bytes], ...] = ()
    if isinstance(made.welcome, Welcome):
        to = tuple(guest.wire for guest in guests)
        welcomes = ((to, encode_message(made.welcome)),)
    return Draft(
        kind="commit", group=made.group, body=encode_message(made.message), welcomes=welcomes
    )


def update(group: Group) -> Draft:
    """Propose fresh keys of ours, for others to commit."""
    message = group.propose(group.make_update())
    return Draft(kind="proposal", group=group, body=encode_message(message))


def acceptable(
    group: Group, policy: RoomPolicy, members: Mapping[int, DeviceIdentity]
) -> list[ProposalRef]:
    """Return the proposals of others that a commit of ours may cover, by reference.

    Those who want to go, go; admins take out whom they may; keys are renewed. What else there
    is, nobody has to carry.
    """
    found: list[ProposalRef] = []
    for reference, proposed in group.pending.items():
        if not isinstance(proposed.sender, Member):
            continue
        actor = members[proposed.sender.leaf_index]
        match proposed.proposal:
            case Remove(removed=index) if index != group.index and index in members:
                if members[index].key == actor.key or policy.allows(policy.remove, actor):
                    found.append(reference)
            case Update() if proposed.sender != Member(group.index):
                found.append(reference)
            case _:
                pass
    return found


def leaving(group: Group) -> Draft:
    """Ask to be taken out."""
    message = group.propose(Remove(group.index))
    return Draft(kind="proposal", group=group, body=encode_message(message))


def users_of(guests: Iterable[Guest]) -> set[names.Key]:
    """Return whose devices these are."""
    return {guest.identity.key for guest in guests}


def _same_device(one: DeviceIdentity, other: DeviceIdentity) -> bool:
    return one.key == other.key and one.device_id == other.device_id


def _overlaps(proposal: object, gone: Collection[int]) -> bool:
    return isinstance(proposal, Remove) and proposal.removed in gone
