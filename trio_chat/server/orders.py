"""What an admin can ask of a server: one class an order, with what it needs.

Whatever brings an order, the socket or a connection of an admin, it becomes one of these.
Those that change something are `audited`. Knows shapes; does nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import attrs
import msgspec

from trio_chat.errors import BadFrame, UnknownType

__all__ = [
    "ORDERS",
    "Announce",
    "Audit",
    "Backup",
    "Ban",
    "Bans",
    "Drain",
    "Kick",
    "Lockdown",
    "Mute",
    "Order",
    "Reload",
    "Revoke",
    "RevokeDevice",
    "Rooms",
    "Status",
    "Tree",
    "Unban",
    "Unlock",
    "Unmute",
    "Users",
    "VerifyAudit",
    "read_order",
]

PAGE = 1000  # rooms, or entries of the audit log, in one answer

_Page = Annotated[int, msgspec.Meta(ge=1, le=PAGE)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=30 * 86400)]
_Reason = Annotated[str, msgspec.Meta(max_length=256)]


@attrs.frozen
class Order:
    """The base of all orders."""

    name: ClassVar[str]
    audited: ClassVar[bool] = False

    @property
    def target(self) -> str:
        """What it is done to, for the audit log."""
        return ""


@attrs.frozen
class Status(Order):
    """How is the server?"""

    name: ClassVar[str] = "status"


@attrs.frozen
class Tree(Order):
    """Which tasks are running?"""

    name: ClassVar[str] = "tree"


@attrs.frozen
class Rooms(Order):
    """Which rooms are there, after that name?"""

    name: ClassVar[str] = "rooms"
    after: str = ""
    limit: _Page = PAGE


@attrs.frozen
class Users(Order):
    """Who is connected?"""

    name: ClassVar[str] = "users"


@attrs.frozen
class Kick(Order):
    """End the connections of `who`: USER or USER/DEVICE."""

    name: ClassVar[str] = "kick"
    audited: ClassVar[bool] = True
    who: str
    reason: _Reason | None = None

    @property
    def target(self) -> str:
        """The user, or the device."""
        return self.who if self.reason is None else f"{self.who}: {self.reason}"


@attrs.frozen(kw_only=True)
class _Judgement(Order):
    """The base of what is done to USER, USER/DEVICE or `address:` and an address.

    In a room, or without one on the whole server.
    """

    audited: ClassVar[bool] = True
    who: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    room: str | None = None

    @property
    def target(self) -> str:
        """Who, and where."""
        return f"{self.who} in {self.room}" if self.room is not None else f"{self.who} everywhere"


@attrs.frozen(kw_only=True)
class _Sentence(_Judgement):
    seconds: Annotated[float, msgspec.Meta(gt=0, le=10 * 366 * 86400)] | None = None
    reason: _Reason | None = None

    @property
    def target(self) -> str:
        """Who, where, how long and why."""
        told = super().target
        told += "" if self.seconds is None else f" for {self.seconds:.0f} s"
        return told if self.reason is None else f"{told}: {self.reason}"


@attrs.frozen(kw_only=True)
class Ban(_Sentence):
    """Keep somebody out."""

    name: ClassVar[str] = "ban"


@attrs.frozen(kw_only=True)
class Mute(_Sentence):
    """Let somebody read and say nothing."""

    name: ClassVar[str] = "mute"


@attrs.frozen(kw_only=True)
class Unban(_Judgement):
    """End a ban."""

    name: ClassVar[str] = "unban"


@attrs.frozen(kw_only=True)
class Unmute(_Judgement):
    """End a mute."""

    name: ClassVar[str] = "unmute"


@attrs.frozen
class Bans(Order):
    """Who is banned or muted, in a room or on the whole server?"""

    name: ClassVar[str] = "bans"
    room: str | None = None


@attrs.frozen
class Announce(Order):
    """Say something to everybody, as the server."""

    name: ClassVar[str] = "announce"
    audited: ClassVar[bool] = True
    text: str

    @property
    def target(self) -> str:
        """What is said: everybody hears it anyway."""
        return self.text[:200]


@attrs.frozen
class Drain(Order):
    """Stop the server, in `delay` seconds."""

    name: ClassVar[str] = "drain"
    audited: ClassVar[bool] = True
    delay: _Seconds = 0.0

    @property
    def target(self) -> str:
        """When."""
        return f"in {self.delay:g} s"


@attrs.frozen
class Reload(Order):
    """Read certificates, revocation list and configuration anew."""

    name: ClassVar[str] = "reload"
    audited: ClassVar[bool] = True


@attrs.frozen
class Revoke(Order):
    """Revoke what `what` stands for, or, if it is given, `certificate`, which is PEM."""

    name: ClassVar[str] = "revoke"
    audited: ClassVar[bool] = True
    what: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    certificate: str | None = attrs.field(default=None, repr=False)

    @property
    def target(self) -> str:
        """Whose, or which, as it was asked for."""
        return self.what


@attrs.frozen
class RevokeDevice(Revoke):
    """The same by a person, for a device of their own: not among the orders of admins."""

    shown: str = ""

    @property
    def target(self) -> str:
        """Whose and which."""
        return self.shown


@attrs.frozen
class Backup(Order):
    """Copy the database to a file of the server's machine."""

    name: ClassVar[str] = "backup"
    audited: ClassVar[bool] = True
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]

    @property
    def target(self) -> str:
        """The file."""
        return self.path


@attrs.frozen
class Lockdown(Order):
    """Let in only devices that were here before, and enrol nobody, until `unlock`."""

    name: ClassVar[str] = "lockdown"
    audited: ClassVar[bool] = True


@attrs.frozen
class Unlock(Order):
    """End a lockdown."""

    name: ClassVar[str] = "unlock"
    audited: ClassVar[bool] = True


@attrs.frozen
class Audit(Order):
    """Read the audit log after an entry's number; without one, its end."""

    name: ClassVar[str] = "audit"
    after: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None
    limit: _Page = 50


@attrs.frozen
class VerifyAudit(Order):
    """Follow the audit log's hashes from its beginning."""

    name: ClassVar[str] = "verify-audit"


ORDERS: dict[str, type[Order]] = {
    kind.name: kind
    for kind in (
        Status,
        Tree,
        Rooms,
        Users,
        Kick,
        Ban,
        Unban,
        Mute,
        Unmute,
        Bans,
        Announce,
        Drain,
        Reload,
        Revoke,
        Backup,
        Lockdown,
        Unlock,
        Audit,
        VerifyAudit,
    )
}
"""Name -> class."""


def read_order(name: Any, arguments: Any) -> Order:
    """Return the order of that name with these arguments, which came from outside.

    Raises:
        UnknownType: there is no such order.
        BadFrame: the arguments are not what it needs.
    """
    kind = ORDERS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UnknownType("there is no such command for admins")
    try:
        order = msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise BadFrame(f"{kind.name}: {error}") from None
    if unknown := set(arguments) - {field.name for field in attrs.fields(kind)}:
        raise BadFrame(f"{kind.name} does not know {', '.join(sorted(map(str, unknown)))}")
    return order
