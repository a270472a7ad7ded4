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
from trio_chat.e2ee.policy import MAX_DEVICES, RoomPolicy
from trio_chat.mls import (
    Add,
    Group,
    GroupContextExtensions,
    GroupInfo,
    KeyPackage,
    LeafChanges,
    LeafNode,
    Member,
    PrivateMessage,
    ProposalRef,
    Proposed,
    ProtocolError,
    Remove,
    Update,
    Welcome,
    choose,
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
        NotTheRoom: It is not the room's group.
        NotAllowed: Its policy does not let us.
        MLSError: The GroupInfo or the tree breaks a rule.
    """
    message = decode_message(info.body)
    if not isinstance(message, GroupInfo):
        raise ProtocolError("what the server gave is no GroupInfo")
    context = message.group_context
    policy = RoomPolicy.of(context.extensions)
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
    users = {one.key for one in before.values()}
    place.check(policy, users)
    if former is not None:
        at = context.epoch + 1
        former.check(context.group_id, at, policy, before[message.signer], users)
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
    gone = {i for i, one in before.items() if i in change.void or one.key in change.remove}
    gone.discard(group.index)
    given: list[Remove | GroupContextExtensions] = [Remove(index) for index in sorted(gone)]
    if change.policy is not None and change.policy != policy:
        given.append(GroupContextExtensions(change.policy.as_extensions()))
    staying = [one for index, one in before.items() if index not in gone]
    guests, covered = _fitting(group, given, _with_room(staying, change.guests), change.proposals)
    device = account.device
    renewed: LeafChanges = {}
    if device.signature_key.public != group.own_leaf.signature_key:
        renewed = {"signature_key": device.signature_key, "credential": device.credential}
    proposals: list[Add | Remove | GroupContextExtensions] = [
        *given,
        *(Add(guest.package) for guest in guests),
    ]
    small = bool(guests) and len(group.ratchet_tree()) <= SMALL_TREE
    made = group.commit(*proposals, cover=covered, ratchet_tree=small, **renewed)
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


def _with_room(there: Iterable[DeviceIdentity], guests: Iterable[Guest]) -> list[Guest]:
    """Leave out the guests that are there already, or are too many of one user."""
    found: list[Guest] = []
    devices = {(one.key, one.device_id) for one in there}
    for guest in guests:
        one = guest.identity
        many = sum(user == one.key for user, _ in devices) >= MAX_DEVICES
        if (one.key, one.device_id) not in devices and not many:
            devices.add((one.key, one.device_id))
            found.append(guest)
    return found


def _fitting(
    group: Group,
    given: Sequence[Remove | GroupContextExtensions],
    guests: Sequence[Guest],
    references: Iterable[ProposalRef],
) -> tuple[list[Guest], list[ProposalRef]]:
    """Return which guests and proposals of others can be in one commit with what is given.

    The rest has keys that are there already, say, or two wishes for one leaf; by such things
    nobody is to keep us from committing.
    """
    adds = {id(guest.package): guest for guest in guests}
    me = Member(group.index)
    candidates = [
        *(Proposed(me, Add(guest.package)) for guest in guests),
        *(group.pending[reference] for reference in references),
    ]
    if not candidates:
        return [], []
    ours = [Proposed(me, proposal) for proposal in given]
    found = choose(candidates, ours, group.index, group.tree, group.context)
    return (
        [adds[id(p.proposal.key_package)] for p in found if isinstance(p.proposal, Add)],
        [each.reference for each in found if each.reference is not None],
    )


def fits(group: Group, sealed: bytes) -> bool:
    """Return whether a message was encrypted in the epoch that the group is in."""
    message, at = decode_message(sealed), group.context
    return (
        isinstance(message, PrivateMessage)
        and message.group_id == at.group_id
        and message.epoch == at.epoch
    )


def update(group: Group) -> Draft:
    """Propose fresh keys of ours, for others to commit."""
    message = group.propose(group.make_update())
    return Draft(kind="proposal", group=group, body=encode_message(message))


def acceptable(
    account: Account, group: Group, policy: RoomPolicy, members: Mapping[int, DeviceIdentity]
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
            case Update(leaf_node=leaf) if proposed.sender != Member(group.index):
                if _same_device(account.identify(leaf), actor):
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
