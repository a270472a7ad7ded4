"""The frames from client to server, in the order of docs/protocol.md."""

from __future__ import annotations

from typing import Annotated, ClassVar

import attrs
import msgspec

from trio_chat.protocol.fields import (
    Access,
    Base64,
    Counter,
    Device,
    Digest,
    Form,
    Id,
    Kind,
    Mode,
    Number,
    Password,
)

__all__ = [
    "Away",
    "Ca",
    "Chat",
    "Create",
    "Enrol",
    "Hello",
    "History",
    "Invite",
    "Join",
    "Leave",
    "List",
    "ListRooms",
    "Nick",
    "Ping",
    "Pong",
    "Relay",
    "Renew",
    "Send",
    "SendSealed",
    "SetTopic",
    "Typing",
    "Uninvite",
    "WelcomeFor",
    "Whois",
]


@attrs.frozen
class Hello:
    """The first frame: who speaks, and in which version."""

    type: ClassVar[str] = "hello"
    protocol: int
    client: Annotated[str, msgspec.Meta(max_length=128)]
    device: str | None = None


@attrs.frozen
class Join:
    """Enter a room; with `after`, read on from that sequence number."""

    type: ClassVar[str] = "join"
    room: str
    after: Number | None = None
    password: Password | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen
class Leave:
    """Leave a room."""

    type: ClassVar[str] = "leave"
    room: str
    id: Id | None = None


@attrs.frozen
class Create:
    """Make a room; without `mode` an encrypted one."""

    type: ClassVar[str] = "create"
    room: str
    mode: Mode | None = None
    access: Access | None = None
    password: Password | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen
class Send:
    """Say something in a plain room; `n` counts up by one per device and room."""

    type: ClassVar[str] = "send"
    room: str
    n: Counter
    text: str
    form: Form | None = None


@attrs.frozen
class History:
    """Ask for a page: the entries just before `before`, or just after `after`."""

    type: ClassVar[str] = "history"
    room: str
    before: Number | None = None
    after: Number | None = None
    limit: Counter | None = None
    id: Id | None = None


@attrs.frozen
class List:
    """Ask who is in a room, or, without one, on the server. `after` pages."""

    type: ClassVar[str] = "list"
    room: str | None = None
    after: str | None = None
    id: Id | None = None


@attrs.frozen
class ListRooms:
    """Ask which rooms there are: the open ones, and those one is on the list of."""

    type: ClassVar[str] = "list-rooms"
    after: str | None = None
    id: Id | None = None


@attrs.frozen
class SetTopic:
    """Set a room's topic."""

    type: ClassVar[str] = "topic"
    room: str
    text: str
    id: Id | None = None


@attrs.frozen
class Typing:
    """Say that one is typing in a room."""

    type: ClassVar[str] = "typing"
    room: str
    id: Id | None = None


@attrs.frozen
class Away:
    """Be away, for the reason in `text`; without it, be back."""

    type: ClassVar[str] = "away"
    text: str | None = None
    id: Id | None = None


@attrs.frozen
class Nick:
    """Bear a display name beside one's own; without `nick`, none."""

    type: ClassVar[str] = "nick"
    nick: str | None = None
    id: Id | None = None


@attrs.frozen
class Whois:
    """Ask who somebody is."""

    type: ClassVar[str] = "whois"
    user: str
    id: Id | None = None


@attrs.frozen
class Chat:
    """Talk to the server itself."""

    type: ClassVar[str] = "chat"
    text: str


@attrs.frozen
class Relay:
    """Pass something opaque on to a person, verbatim."""

    type: ClassVar[str] = "relay"
    to: str
    alg: str
    nonce: str
    cipher: str


@attrs.frozen
class Ping:
    """Are you there? Both ways."""

    type: ClassVar[str] = "ping"


@attrs.frozen
class Pong:
    """I am. Both ways."""

    type: ClassVar[str] = "pong"


@attrs.frozen
class WelcomeFor:
    """What some devices need to enter the epoch that a commit begins."""

    to: Annotated[list[Device], msgspec.Meta(min_length=1)]
    body: Base64 = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class SendSealed:
    """Say something in an encrypted room: on the wire `send` too, of another shape.

    It is one class more because a plain message, of which there are many, is decoded in a
    third of the time without these fields.
    """

    type: ClassVar[str] = "send"
    room: str
    n: Counter
    epoch: Number  # the room's, as one knows it
    kind: Kind
    body: Base64 = attrs.field(repr=False)
    welcomes: list[WelcomeFor] | None = attrs.field(default=None, repr=False)
    info: Base64 | None = attrs.field(default=None, repr=False)
    tree: Digest | None = None  # the blob that goes with `info`


@attrs.frozen
class Invite:
    """Put a person on a closed room's list."""

    type: ClassVar[str] = "invite"
    room: str
    user: str
    id: Id | None = None


@attrs.frozen
class Uninvite:
    """Take a person off a closed room's list, and out of the room."""

    type: ClassVar[str] = "uninvite"
    room: str
    user: str
    id: Id | None = None


@attrs.frozen
class Ca:
    """Ask for the certificate of the server's authority. Needs no certificate of one's own."""

    type: ClassVar[str] = "ca"
    id: Id | None = None


@attrs.frozen
class Enrol:
    """Have a key certified, with an invite. Needs no certificate of one's own."""

    type: ClassVar[str] = "enrol"
    secret: str = attrs.field(repr=False)  # of the invite, base64url without padding
    csr: str = attrs.field(repr=False)  # PEM; only the key is taken from it
    device: str | None = None  # a name for the machine
    id: Id | None = None


@attrs.frozen
class Renew:
    """Have one's own certificate issued again, for the same key."""

    type: ClassVar[str] = "renew"
    id: Id | None = None
