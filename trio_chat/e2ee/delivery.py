"""What passes between a conversation and the room's log: entries in, parcels and events out.

Values and nothing else; the server's frames look much the same, but are not known here.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.payload import Payload
from trio_chat.e2ee.people import Change

__all__ = [
    "Ask",
    "Began",
    "ByCommit",
    "Claim",
    "Entered",
    "Event",
    "FetchInfo",
    "FetchList",
    "FetchWelcome",
    "Info",
    "Kind",
    "Left",
    "LogEntry",
    "NotSent",
    "Offer",
    "Parcel",
    "Said",
    "Send",
    "Step",
    "Trouble",
    "Unreadable",
    "Wait",
    "Welcomed",
]

Kind = Literal["message", "proposal", "commit", "create", "act", "other"]
"""What an entry is to the server: `commit` and `create` end an epoch of the room, an `act` is
moderation. Of that, and of what this version does not know (`other`), only the place counts."""


@attrs.frozen(kw_only=True)
class LogEntry:
    """One entry of an encrypted room's log.

    Attributes:
        seq: Its place in the log.
        time: When the server took it, in seconds since 1970.
        user, device, n: Who sent it, as the server says, and under which counter.
        epoch: The room's, in which it was sent.
        kind: What it is to the server.
        body: What the server cannot read.
    """

    seq: int
    time: float
    user: str
    device: str
    n: int
    epoch: int
    kind: Kind
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Welcomed:
    """A Welcome for this device: what was said after `seq`, it can read."""

    epoch: int  # which the commit has begun
    seq: int
    body: bytes = attrs.field(repr=False)
    tree: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Info:
    """A room's group as its newest commit left it, for who wants to join."""

    epoch: int
    seq: int
    body: bytes = attrs.field(repr=False)
    tree: bytes = attrs.field(repr=False)


@attrs.frozen
class Offer:
    """A key package, and the wire's id of the device that it adds."""

    device: str
    package: bytes = attrs.field(repr=False)


# What a conversation wants to be done next


@attrs.frozen(kw_only=True)
class Parcel:
    """Something to be sent with the counter `n`, now that it is written down.

    Attributes:
        welcomes: (the devices, the Welcome) for those whom a commit adds.
        info, tree: The group as a commit leaves it, for those who join.
    """

    n: int
    epoch: int
    kind: Kind
    body: bytes = attrs.field(repr=False)
    welcomes: tuple[tuple[tuple[str, ...], bytes], ...] = attrs.field(default=(), repr=False)
    info: bytes | None = attrs.field(default=None, repr=False)
    tree: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Send:
    """Send these, in this order; each is answered by its echo or an error."""

    parcels: tuple[Parcel, ...]


@attrs.frozen
class FetchWelcome:
    """Fetch the Welcome for this device, and tell `welcomed`."""


@attrs.frozen
class FetchInfo:
    """Fetch the room's GroupInfo and tree, and tell `informed`."""


@attrs.frozen
class FetchList:
    """Fetch the newest revocation list, and tell `listed`: what was done depends on it."""


@attrs.frozen
class Claim:
    """Claim a key package of each device of these users, and tell `claimed`."""

    users: tuple[str, ...]


@attrs.frozen
class Wait:
    """Nothing until something happens, or until then, in seconds since 1970."""

    until: float | None = None


Ask: TypeAlias = FetchWelcome | FetchInfo | FetchList | Claim
Step: TypeAlias = Send | Ask | Wait

# What has happened


@attrs.frozen(kw_only=True)
class Said:
    """Somebody said something, and it is they: `user` is whom the keys vouch for.

    Attributes:
        id: Where it is ours: what `say` returned.
        by: The device that the keys vouch for; None where it is this one.
    """

    seq: int
    time: float
    user: str
    device: str
    n: int
    payload: Payload = attrs.field(repr=False)
    id: int | None = None
    by: DeviceIdentity | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Unreadable:
    """Something was said that cannot be read here, and why, in words."""

    seq: int
    time: float
    user: str
    device: str
    reason: str


@attrs.frozen
class NotSent:
    """What `say` or `want` returned this id for has not happened, and why, in words."""

    id: int
    reason: str


@attrs.frozen
class Entered:
    """This device is in the room's group: what is said after `seq`, it can read."""

    seq: int


@attrs.frozen(kw_only=True)
class ByCommit:
    """A commit has changed who can read, or has done what we wanted (`done`)."""

    seq: int
    actor: str
    added: tuple[str, ...] = ()  # users that were not there with any device
    removed: tuple[str, ...] = ()  # users of whom no device is left
    devices: tuple[tuple[str, str], ...] = ()  # (user, device name) beside others of theirs
    done: tuple[int, ...] = ()


@attrs.frozen
class Began:
    """The room's group began anew; `user` is who did that, as the server says."""

    seq: int
    user: str


@attrs.frozen
class Left:
    """This device is no longer in the group; by whom, and why, in words."""

    seq: int
    by: str


@attrs.frozen
class Trouble:
    """The group cannot be used now; why, and what happens next, in words."""

    reason: str


Event: TypeAlias = (
    Said | Unreadable | NotSent | Entered | ByCommit | Began | Left | Trouble | Change
)
