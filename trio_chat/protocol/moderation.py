"""The frames of moderation, both ways: roles, kicks, bans and mutes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import attrs
import msgspec

from trio_chat.protocol.fields import Id, Number

__all__ = [
    "Acted",
    "Ban",
    "Kick",
    "Kicked",
    "ListSanctions",
    "ModeChanged",
    "Mute",
    "Reason",
    "Role",
    "RoleChanged",
    "SanctionInfo",
    "Sanctions",
    "SetRole",
    "Unban",
    "Unmute",
]

Reason = Annotated[str, msgspec.Meta(max_length=256)]
"""Why, for people to read."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=10 * 366 * 86400)]
"""How long something is to hold: to ten years."""

Role = Literal["member", "moderator", "owner"]
"""What a room's list says of somebody."""

# From client to server


@attrs.frozen
class SetRole:
    """Give somebody another role in a room."""

    type: ClassVar[str] = "role"
    room: str
    user: str
    role: Role
    id: Id | None = None


@attrs.frozen
class Kick:
    """Put somebody out of a room; of a closed one, off its list too."""

    type: ClassVar[str] = "kick"
    room: str
    user: str
    reason: Reason | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Ban:
    """Keep somebody out of a room: a person, one of their devices, or an address."""

    type: ClassVar[str] = "ban"
    room: str
    user: str | None = None
    device: str | None = None
    address: str | None = None
    seconds: Seconds | None = None
    reason: Reason | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Unban:
    """End a ban."""

    type: ClassVar[str] = "unban"
    room: str
    user: str | None = None
    device: str | None = None
    address: str | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Mute:
    """Let somebody read in a room and say nothing."""

    type: ClassVar[str] = "mute"
    room: str
    user: str | None = None
    device: str | None = None
    address: str | None = None
    seconds: Seconds | None = None
    reason: Reason | None = None
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Unmute:
    """End a mute."""

    type: ClassVar[str] = "unmute"
    room: str
    user: str | None = None
    device: str | None = None
    address: str | None = None
    id: Id | None = None


@attrs.frozen
class ListSanctions:
    """Ask who is banned from a room, or muted in it."""

    type: ClassVar[str] = "list-sanctions"
    room: str
    id: Id | None = None


# From server to client


@attrs.frozen(kw_only=True)
class Kicked:
    """Somebody was put out: an entry of the room's log."""

    type: ClassVar[str] = "kicked"
    room: str
    seq: Number
    time: float
    sender: str
    device: str | None = None  # the sender's
    user: str
    reason: str | None = None


@attrs.frozen(kw_only=True)
class RoleChanged:
    """Somebody has another role: an entry of the room's log."""

    type: ClassVar[str] = "role"
    room: str
    seq: Number
    time: float
    sender: str
    device: str | None = None
    user: str
    role: str


@attrs.frozen(kw_only=True)
class ModeChanged:
    """Something else about who may do what has changed: an entry of the room's log.

    `change` is `ban`, `unban`, `mute`, `unmute`, `invite`, or `master-key`: an admin came in
    whatever list and password say. Without `user` an address is meant, which is not told.
    """

    type: ClassVar[str] = "mode"
    room: str
    seq: Number
    time: float
    sender: str
    device: str | None = None
    change: str
    user: str | None = None
    whose: str | None = None  # the device that is meant, of `user`
    until: float | None = None  # seconds since 1970; absent: until it is lifted
    reason: str | None = None
    everywhere: bool | None = None  # on the whole server


Acted = Kicked | RoleChanged | ModeChanged
"""What is in a room's log of moderation."""


@attrs.frozen(kw_only=True)
class SanctionInfo:
    """One ban or mute."""

    kind: str
    user: str | None = None
    device: str | None = None
    address: str | None = None
    until: float | None = None
    since: float
    by: str
    reason: str | None = None


@attrs.frozen(kw_only=True)
class Sanctions:
    """The answer to `list-sanctions`."""

    type: ClassVar[str] = "sanctions"
    room: str
    sanctions: list[SanctionInfo]
    id: str | None = None
