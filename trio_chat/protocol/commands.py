"""The frames from client to server, in the order of docs/protocol.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import attrs
import msgspec

from trio_chat.protocol.fields import Counter, Form, Id, Number

__all__ = [
    "Administer",
    "Away",
    "Chat",
    "Create",
    "Hello",
    "History",
    "Join",
    "Leave",
    "List",
    "ListRooms",
    "Nick",
    "Ping",
    "Pong",
    "Relay",
    "Send",
    "SetTopic",
    "Typing",
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
    password: str | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen
class Leave:
    """Leave a room."""

    type: ClassVar[str] = "leave"
    room: str
    id: Id | None = None


@attrs.frozen
class Create:
    """Make a room."""

    type: ClassVar[str] = "create"
    room: str
    id: Id | None = None


@attrs.frozen
class Send:
    """Say something in a room; `n` counts up by one per device and room."""

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
    """Ask which rooms there are: the public ones, and one's own two-person rooms."""

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
class Administer:
    """Give the server an order; only for admins."""

    type: ClassVar[str] = "admin"
    command: Annotated[str, msgspec.Meta(max_length=64)]
    arguments: dict[str, Any] | None = attrs.field(default=None, repr=False)
    id: Id | None = None
