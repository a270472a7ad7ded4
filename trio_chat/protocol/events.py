"""The frames from server to client, in the order of docs/protocol.md."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from trio_chat.protocol.fields import Form, Number

__all__ = [
    "AwayChanged",
    "CaCertificate",
    "Closing",
    "Count",
    "Direct",
    "Enrolled",
    "Entered",
    "Error",
    "InputLimit",
    "Invited",
    "Joined",
    "Left",
    "Member",
    "Message",
    "NickChanged",
    "Ok",
    "Page",
    "Person",
    "Relayed",
    "Removed",
    "RoomInfo",
    "Rooms",
    "Server",
    "Topic",
    "TypingNow",
    "Users",
    "Welcome",
]


@attrs.frozen
class InputLimit:
    """How much input is taken at once: `burst` frames, then `rate` a second."""

    burst: int
    rate: float


@attrs.frozen(kw_only=True)
class Welcome:
    """The answer to `hello`: who one is, as the certificate says."""

    type: ClassVar[str] = "welcome"
    protocol: int
    server: str  # name and version of its program
    user: str
    device: str
    roles: list[str]
    log: str  # random; another value means another history
    time: float  # of the server's clock, seconds since 1970
    input: InputLimit
    text_size: int  # bytes


@attrs.frozen
class Ok:
    """Done. `seq` is that of the log entry it made, if any."""

    type: ClassVar[str] = "ok"
    seq: Number | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class Error:
    """Not done, and why: `code` for programs, `text` for people."""

    type: ClassVar[str] = "error"
    code: str
    text: str
    room: str | None = None
    n: Number | None = None
    expected: Number | None = None
    last: Number | None = None
    epoch: Number | None = None
    seq: Number | None = None
    retry_after: float | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class Member:
    """One device of a person in a room."""

    user: str
    device: str
    name: str | None = None  # the certificate's name for the device
    nick: str | None = None
    away: str | None = None
    roles: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Joined:
    """The answer to `join`: the room as it is now; its log from `after` follows."""

    type: ClassVar[str] = "joined"
    room: str
    mode: str  # "plain": the server can read it; "encrypted": it cannot
    access: str = "open"  # "closed": only for those on its list
    epoch: Number | None = None  # of an encrypted room: how many commits it has taken
    topic: str
    role: str  # "member", "moderator", "owner"; "admin": by one's certificate
    log: str
    first: Number  # the oldest sequence number kept; seq + 1 when nothing is
    seq: Number  # the newest
    n: Number  # the last counter taken from this device
    count: Number  # connections in the room
    members: list[Member] | None = None  # None: too many; page them with `list`
    id: str | None = None


@attrs.frozen(kw_only=True)
class Message:
    """Somebody said something: an entry of the room's log."""

    type: ClassVar[str] = "message"
    room: str
    seq: Number
    time: float
    sender: str = ""  # absent in an erased entry, as is the rest
    device: str = ""
    n: Number = 0
    text: str = attrs.field(default="", repr=False)  # of a plain room, as is `form`
    form: Form | None = None
    epoch: Number | None = None  # of an encrypted room, as what follows: the one it was sent in
    kind: str | None = None
    body: str | None = attrs.field(default=None, repr=False)
    erased: bool = False


@attrs.frozen(kw_only=True)
class Topic:
    """Somebody set the topic: an entry of the room's log."""

    type: ClassVar[str] = "topic"
    room: str
    seq: Number
    time: float
    sender: str
    device: str
    text: str


@attrs.frozen(kw_only=True)
class Entered:
    """These came, in one wake-up of the room."""

    type: ClassVar[str] = "entered"
    room: str
    count: Number
    members: list[Member]


@attrs.frozen(kw_only=True)
class Left:
    """These went, in one wake-up of the room."""

    type: ClassVar[str] = "left"
    room: str
    count: Number
    members: list[Member]


@attrs.frozen(kw_only=True)
class Count:
    """How many are in a room too large for `entered` and `left`."""

    type: ClassVar[str] = "count"
    room: str
    count: Number


@attrs.frozen(kw_only=True)
class AwayChanged:
    """Somebody is away, or, without `text`, back."""

    type: ClassVar[str] = "away"
    room: str
    user: str
    device: str
    text: str | None = None


@attrs.frozen(kw_only=True)
class NickChanged:
    """Somebody bears another display name, or, without `nick`, none."""

    type: ClassVar[str] = "nick"
    room: str
    user: str
    device: str
    nick: str | None = None


@attrs.frozen(kw_only=True)
class TypingNow:
    """Somebody is typing."""

    type: ClassVar[str] = "typing"
    room: str
    user: str
    device: str


@attrs.frozen(kw_only=True)
class Direct:
    """There is something in a two-person room of yours that this connection has not joined."""

    type: ClassVar[str] = "direct"
    room: str
    user: str  # the other one
    seq: Number


@attrs.frozen(kw_only=True)
class Page:
    """The answer to `history`: `entries` are log entries as they were sent live.

    `first` and `seq` are those of the room; a page is complete when `entries` reaches
    one of them, however short it is.
    """

    type: ClassVar[str] = "page"
    room: str
    first: Number
    seq: Number
    entries: list[Any]
    id: str | None = None


@attrs.frozen(kw_only=True)
class Users:
    """The answer to `list`. `next` is the `after` of the next page, if there is one."""

    type: ClassVar[str] = "users"
    room: str | None = None
    count: Number
    users: list[Member]
    next: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class RoomInfo:
    """One room of a list; `user` is the other person of a two-person room."""

    room: str
    mode: str
    access: str = "open"
    topic: str
    count: Number
    seq: Number
    user: str | None = None
    locked: bool | None = None  # it wants a password


@attrs.frozen(kw_only=True)
class Rooms:
    """The answer to `list-rooms`. `next` is the `after` of the next page, if there is one."""

    type: ClassVar[str] = "rooms"
    rooms: list[RoomInfo]
    next: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class Person:
    """The answer to `whois`: a person and their devices that are here now."""

    type: ClassVar[str] = "person"
    user: str
    here: list[Member]
    fingerprints: list[str]  # SHA-256 of the public keys they are here with, hexadecimal
    id: str | None = None


@attrs.frozen
class Server:
    """The server itself says something."""

    type: ClassVar[str] = "server"
    text: str


@attrs.frozen(kw_only=True)
class Relayed:
    """A `relay`, as it came, with the sender that the server vouches for."""

    type: ClassVar[str] = "relay"
    sender: str
    to: str
    alg: str
    nonce: str
    cipher: str


@attrs.frozen
class Closing:
    """The server ends this connection on purpose.

    `taken-over` is final; after `shutdown` come back in `retry_after` seconds.
    """

    type: ClassVar[str] = "closing"
    reason: str
    retry_after: float | None = None


@attrs.frozen(kw_only=True)
class Invited:
    """Somebody put this person on the list of a closed room."""

    type: ClassVar[str] = "invited"
    room: str
    sender: str


@attrs.frozen(kw_only=True)
class Removed:
    """Somebody put this person out of a room, or took them off its list."""

    type: ClassVar[str] = "removed"
    room: str
    sender: str
    reason: str | None = None


@attrs.frozen
class CaCertificate:
    """The answer to `ca`."""

    type: ClassVar[str] = "ca"
    certificate: str  # PEM; perhaps several
    id: str | None = None


@attrs.frozen
class Enrolled:
    """The answer to `enrol` and `renew`: a certificate, with the intermediate ones it needs."""

    type: ClassVar[str] = "enrolled"
    certificate: str  # PEM, one's own first
    room: str | None = None  # that one was invited to
    id: str | None = None
