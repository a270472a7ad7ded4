"""A room's policy, and whether a commit keeps to it.

The policy is an extension of the group's context, so all members have the same one, and each of
them judges each commit by the policy of the epoch that the commit ends. Whatever decides here
must be the same for all of them, or they part ways: no clock, no settings, nothing that the
server says. For the same reason a policy that is not understood wholly is not understood at all.

Who a leaf is, the caller knows; who may what:

                       own devices   people the policy names   others
    add                always        always                    as `add` says
    remove             always        as `remove` says          as `remove` says
    join by oneself    by their key  the first of them         in open rooms
    change the policy  admins, unless nobody may be added

Who joins a closed room by themselves and is there already has to have the key of a certificate
that is there: or else the CA, which can make another of that name, could let itself in. A new
machine with a certificate of its own is added by a member, be it its owner's other machine.

A proposal is its proposer's deed, whoever commits it: so one can ask to be taken out. Leaves
whose certificate is revoked or over may be taken out by everybody; that is the one judgement
which a clock and a list take part in, so who looks on is to be more lenient than who acts
(`Authenticator.void`), and to get the newest list before saying no.

Nobody mixes in a pre-shared key: those who came later lack those of past epochs, and would be
out without having been removed.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, NoReturn, Protocol

import attrs
import msgspec

from trio_chat.identity import ADMIN
from trio_chat.mls import (
    Add,
    Capabilities,
    Change,
    DecodeError,
    Extension,
    GroupContextExtensions,
    Member,
    MLSError,
    Remove,
    RequiredCapabilities,
    Update,
)
from trio_chat.names import Key

__all__ = [
    "CAPABILITIES",
    "EXTENSION_TYPE",
    "MAX_DEVICES",
    "NotAllowed",
    "Occupant",
    "RoomPolicy",
    "Who",
    "check",
    "check_occupants",
]

EXTENSION_TYPE = 0xF0C1
"""Of the policy in a group context; from the range for private use (RFC 9420, 17.3)."""

MAX_DEVICES = 32
"""Of one user in one room."""

_X509 = 2
_VERSION = 1

CAPABILITIES = Capabilities(extensions=(EXTENSION_TYPE,), credentials=(_X509,))
"""What our leaves support: what `required_capabilities` demands, and nothing else."""

_REQUIRED = RequiredCapabilities((EXTENSION_TYPE,), (), (_X509,)).as_extension()


class NotAllowed(MLSError):
    """A commit is against the room's policy; the text says who did what.

    Attributes:
        user: Whose deed it is.
    """

    def __init__(self, user: str, deed: str) -> None:
        super().__init__(f"{user} {deed}")
        self.user = user


class Occupant(Protocol):
    """Who a leaf is, by its certificates."""

    @property
    def user(self) -> str:
        """The user's name, for people to read."""

    @property
    def key(self) -> Key:
        """The same, folded: who has the same one is the same."""

    @property
    def device_id(self) -> bytes:
        """Which of the user's devices."""

    @property
    def user_key(self) -> bytes:
        """The key of the user's certificate."""

    @property
    def roles(self) -> frozenset[str]:
        """What the user's certificate says of them, as `trio_chat.identity` names it."""


class Who(enum.IntEnum):
    """Who may do something to people other than oneself."""

    NOBODY = 0
    ADMINS = 1
    MEMBERS = 2


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=1000)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
_Encoded = tuple[Literal[1], _Name, _Names, Who, Who, bool, _Seconds | None]


@attrs.frozen(kw_only=True)
class RoomPolicy:
    """What the members of a room have agreed on.

    A private conversation names its two people, and nobody may add anybody else.

    Attributes:
        name: The room's.
        admins: The keys of the users who are admins, sorted, each once. In an open room none:
            there the holders of certificates with the admin role are.
        add, remove: Who may.
        open: Whether whoever can reach the room may join by an external commit.
        retention: Seconds that members keep what was said, or None for ever.

    Raises:
        ValueError: It breaks one of these rules, or a value is out of bounds.
    """

    name: str
    admins: tuple[str, ...] = ()
    add: Who = Who.ADMINS
    remove: Who = Who.ADMINS
    open: bool = False
    retention: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.admins != tuple(sorted(set(self.admins))):
            raise ValueError("admins are sorted, each once")
        if self.open == bool(self.admins):
            raise ValueError("a policy names admins if and only if the room is not open")
        if self.open and self.add is Who.NOBODY:
            raise ValueError("nobody can be kept from joining an open room")
        try:
            msgspec.convert(self._values(), _Encoded)
        except msgspec.ValidationError:
            raise ValueError("a value of the policy is out of bounds") from None

    def _values(self) -> tuple[Any, ...]:
        return _VERSION, *attrs.astuple(self)

    def encode(self) -> bytes:
        """Return its one encoding."""
        return msgspec.msgpack.encode(self._values())

    @classmethod
    def decode(cls, data: bytes) -> RoomPolicy:
        """Return the policy of `encode`.

        Raises:
            DecodeError: It is none of this version, or not in its one encoding.
        """
        try:
            _, *values = msgspec.msgpack.decode(data, type=_Encoded)
            fields = attrs.fields_dict(cls)
            policy = cls(**dict(zip(fields, values, strict=True)))
        except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
            raise DecodeError("the room's policy is malformed, or of a newer version") from None
        if policy.encode() != data:
            raise DecodeError("the room's policy is not in its one encoding")
        return policy

    def as_extensions(self) -> tuple[Extension, ...]:
        """Return all the extensions that the context of the room's group has."""
        return _REQUIRED, Extension(EXTENSION_TYPE, self.encode())

    @classmethod
    def of(cls, extensions: Iterable[Extension]) -> RoomPolicy:
        """Return the policy of a group by its context's extensions.

        Raises:
            DecodeError: There is none, or beside it something else than what we demand.
        """
        match tuple(extensions):
            case (required, Extension(extension_type=kind, extension_data=data)) if (
                required == _REQUIRED and kind == EXTENSION_TYPE
            ):
                return cls.decode(data)
        raise DecodeError("the group's extensions are not those of a room")

    def is_admin(self, who: Occupant) -> bool:
        """Return whether somebody is an admin of the room."""
        return ADMIN in who.roles if self.open else who.key in self.admins

    def allows(self, who: Who, actor: Occupant) -> bool:
        """Return whether `actor` is among those whom `add` or `remove` names."""
        return who is Who.MEMBERS or (who is Who.ADMINS and self.is_admin(actor))


def check(
    policy: RoomPolicy,
    change: Change,
    before: Mapping[int, Occupant],
    after: Mapping[int, Occupant],
    *,
    void: Collection[int] = (),
) -> None:
    """Judge what a commit does; another's before going along, our own before it is sent.

    Args:
        policy: Of the epoch that the commit ends.
        change: What it does.
        before: Who the leaves of that epoch are, by index.
        after: And those of the epoch that it begins; if we are taken out, as far as known.
        void: Leaves of the old epoch with a certificate that is revoked or over.

    Raises:
        NotAllowed: Somebody does what they may not do.
        DecodeError: A policy that it brings is malformed.
    """
    committer = (after if change.external else before)[change.committer].user
    if change.psks:
        _refuse(committer, "mixed in a key that not all have")
    if change.external:
        _check_external(policy, change, before, after[change.committer])
    else:
        _check_proposals(policy, change, before, after, void)
    check_occupants(after, committer)


def check_occupants(occupants: Mapping[int, Occupant], whose: str) -> None:
    """Check that no device has two leaves, and nobody more devices than one could have.

    Users make their devices themselves, as many as they like, and a tree has to fit into a blob.

    Args:
        occupants: Who the leaves are.
        whose: The user who made the group so.

    Raises:
        NotAllowed: It is not so.
    """
    devices: defaultdict[Key, set[bytes]] = defaultdict(set)
    for one in occupants.values():
        found = devices[one.key]
        if one.device_id in found:
            _refuse(whose, f"added a device of {one.user} that is there already")
        found.add(one.device_id)
        if len(found) > MAX_DEVICES:
            _refuse(whose, f"added one of more than {MAX_DEVICES} devices of {one.user}")


def _check_external(
    policy: RoomPolicy, change: Change, before: Mapping[int, Occupant], joiner: Occupant
) -> None:
    own_keys = {one.user_key for one in before.values() if one.key == joiner.key}
    for index in change.removed:
        if before[index].key != joiner.key or before[index].user_key != joiner.user_key:
            _refuse(joiner.user, f"removed {before[index].user} by joining")
    if not (policy.open or own_keys or joiner.key in policy.admins):
        _refuse(joiner.user, "joined uninvited")
    if not policy.open and own_keys and joiner.user_key not in own_keys:
        _refuse(joiner.user, "joined with another key")


def _check_proposals(
    policy: RoomPolicy,
    change: Change,
    before: Mapping[int, Occupant],
    after: Mapping[int, Occupant],
    void: Collection[int],
) -> None:
    added = iter(change.added)  # in the order of the Adds
    for proposed in change.proposals:
        if not isinstance(proposed.sender, Member):
            _refuse(before[change.committer].user, "committed a proposal from outside")
        actor = before[proposed.sender.leaf_index]
        match proposed.proposal:
            case Add():
                who = after[next(added)]
                at_home = who.key == actor.key or who.key in policy.admins
                if not (at_home or policy.allows(policy.add, actor)):
                    _refuse(actor.user, f"added {who.user}")
            case Remove(removed=index):
                who = before[index]
                free = who.key == actor.key or index in void
                if not (free or policy.allows(policy.remove, actor)):
                    _refuse(actor.user, f"removed {who.user}")
            case GroupContextExtensions(extensions=extensions):
                _check_new_policy(policy, RoomPolicy.of(extensions), actor)
            case Update():
                pass
            case _:
                _refuse(actor.user, "ended the group")


def _check_new_policy(policy: RoomPolicy, new: RoomPolicy, actor: Occupant) -> None:
    if policy.add is Who.NOBODY or not policy.is_admin(actor):
        _refuse(actor.user, "changed the room's policy")
    if new.open != policy.open:
        _refuse(actor.user, "opened the room" if new.open else "closed the room")
    if new.add is Who.NOBODY:
        _refuse(actor.user, "made the room a private conversation")


def _refuse(user: str, deed: str) -> NoReturn:
    raise NotAllowed(user, f"{deed}, which the room's policy does not allow")
