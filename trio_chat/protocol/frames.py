"""The frames: one attrs class each, in the order of docs/protocol.md.

A class's `type` is the wire's; its fields are the wire's, in order, but for `sender`, which
the wire spells `from`. An absent field is None. `id` is chosen by the client and repeated in
the reply. May know names and nothing else: no bytes, no sockets, no clock.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs
from attrs import validators

__all__ = [
    "COMMANDS",
    "EVENTS",
    "PROTOCOL",
    "Away",
    "AwayChanged",
    "Chat",
    "Closing",
    "Command",
    "Count",
    "Create",
    "Direct",
    "Entered",
    "Error",
    "Event",
    "Hello",
    "History",
    "InputLimit",
    "Join",
    "Joined",
    "Leave",
    "Left",
    "List",
    "ListRooms",
    "Member",
    "Message",
    "Nick",
    "NickChanged",
    "Ok",
    "Page",
    "Person",
    "Ping",
    "Pong",
    "Relay",
    "Relayed",
    "RoomInfo",
    "Rooms",
    "Send",
    "Server",
    "SetTopic",
    "Topic",
    "Typing",
    "TypingNow",
    "Users",
    "Welcome",
    "Whois",
]

PROTOCOL = 1
"""The version of the protocol that `hello` names."""

Form = Literal["action", "notice"]
"""How a message is meant: `/me`, or a notice that no bot answers."""

_ID = validators.optional(validators.max_len(64))
_COUNTER = validators.and_(validators.ge(1), validators.le(2**53 - 1))
_NUMBER = validators.optional(validators.and_(validators.ge(0), validators.le(2**53 - 1)))


def _id() -> Any:
    return attrs.field(default=None, validator=_ID)


# --- from client to server -------------------------------------------------------------


@attrs.frozen
class Hello:
    """The first frame: who speaks, and in which version."""

    type: ClassVar[str] = "hello"
    protocol: int
    client: str = attrs.field(validator=validators.max_len(128))
    device: str | None = attrs.field(
        default=None, validator=validators.optional(validators.max_len(32))
    )


@attrs.frozen
class Join:
    """Enter a room; with `after`, read on from that sequence number."""

    type: ClassVar[str] = "join"
    room: str
    after: int | None = attrs.field(default=None, validator=_NUMBER)
    password: str | None = attrs.field(default=None, repr=False)
    id: str | None = _id()


@attrs.frozen
class Leave:
    """Leave a room."""

    type: ClassVar[str] = "leave"
    room: str
    id: str | None = _id()


@attrs.frozen
class Create:
    """Make a room."""

    type: ClassVar[str] = "create"
    room: str
    id: str | None = _id()


@attrs.frozen
class Send:
    """Say something in a room; `n` counts up by one per device and room."""

    type: ClassVar[str] = "send"
    room: str
    n: int = attrs.field(validator=_COUNTER)
    text: str
    form: Form | None = None


@attrs.frozen
class History:
    """Ask for a page: the entries just before `before`, or just after `after`."""

    type: ClassVar[str] = "history"
    room: str
    before: int | None = attrs.field(default=None, validator=_NUMBER)
    after: int | None = attrs.field(default=None, validator=_NUMBER)
    limit: int | None = attrs.field(default=None, validator=validators.optional(_COUNTER))
    id: str | None = _id()


@attrs.frozen
class List:
    """Ask who is in a room, or, without one, on the server. `after` pages."""

    type: ClassVar[str] = "list"
    room: str | None = None
    after: str | None = None
    id: str | None = _id()


@attrs.frozen
class ListRooms:
    """Ask which rooms there are: the public ones, and one's own two-person rooms."""

    type: ClassVar[str] = "list-rooms"
    after: str | None = None
    id: str | None = _id()


@attrs.frozen
class SetTopic:
    """Set a room's topic."""

    type: ClassVar[str] = "topic"
    room: str
    text: str
    id: str | None = _id()


@attrs.frozen
class Typing:
    """Say that one is typing in a room."""

    type: ClassVar[str] = "typing"
    room: str
    id: str | None = _id()


@attrs.frozen
class Away:
    """Be away, for the reason in `text`; without it, be back."""

    type: ClassVar[str] = "away"
    text: str | None = None
    id: str | None = _id()


@attrs.frozen
class Nick:
    """Bear a display name beside one's own; without `nick`, none."""

    type: ClassVar[str] = "nick"
    nick: str | None = None
    id: str | None = _id()


@attrs.frozen
class Whois:
    """Ask who somebody is."""

    type: ClassVar[str] = "whois"
    user: str
    id: str | None = _id()


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


# --- from server to client -------------------------------------------------------------


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
    seq: int | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class Error:
    """Not done, and why: `code` for programs, `text` for people."""

    type: ClassVar[str] = "error"
    code: str
    text: str
    room: str | None = None
    n: int | None = None
    expected: int | None = None
    last: int | None = None
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
    mode: str  # "plain": the server can read it
    topic: str
    role: str  # "member"
    log: str
    first: int  # the oldest sequence number kept; seq + 1 when nothing is
    seq: int  # the newest
    n: int  # the last counter taken from this device
    count: int  # connections in the room
    members: list[Member] | None = None  # None: too many; page them with `list`
    id: str | None = None


@attrs.frozen(kw_only=True)
class Message:
    """Somebody said something: an entry of the room's log."""

    type: ClassVar[str] = "message"
    room: str
    seq: int
    time: float
    sender: str = ""  # absent in an erased entry, as is the rest
    device: str = ""
    n: int = 0
    text: str = ""
    form: Form | None = None
    erased: bool = False


@attrs.frozen(kw_only=True)
class Topic:
    """Somebody set the topic: an entry of the room's log."""

    type: ClassVar[str] = "topic"
    room: str
    seq: int
    time: float
    sender: str
    device: str
    text: str


@attrs.frozen(kw_only=True)
class Entered:
    """These came, in one wake-up of the room."""

    type: ClassVar[str] = "entered"
    room: str
    count: int
    members: list[Member]


@attrs.frozen(kw_only=True)
class Left:
    """These went, in one wake-up of the room."""

    type: ClassVar[str] = "left"
    room: str
    count: int
    members: list[Member]


@attrs.frozen(kw_only=True)
class Count:
    """How many are in a room too large for `entered` and `left`."""

    type: ClassVar[str] = "count"
    room: str
    count: int


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
    seq: int


@attrs.frozen(kw_only=True)
class Page:
    """The answer to `history`: `entries` are log entries as they were sent live.

    `first` and `seq` are those of the room; a page is complete when `entries` reaches
    one of them, however short it is.
    """

    type: ClassVar[str] = "page"
    room: str
    first: int
    seq: int
    entries: list[Any]
    id: str | None = None


@attrs.frozen(kw_only=True)
class Users:
    """The answer to `list`. `next` is the `after` of the next page, if there is one."""

    type: ClassVar[str] = "users"
    room: str | None = None
    count: int
    users: list[Member]
    next: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True)
class RoomInfo:
    """One room of a list; `user` is the other person of a two-person room."""

    room: str
    mode: str
    topic: str
    count: int
    seq: int
    user: str | None = None


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


Command = (
    Hello
    | Join
    | Leave
    | Create
    | Send
    | History
    | List
    | ListRooms
    | SetTopic
    | Typing
    | Away
    | Nick
    | Whois
    | Chat
    | Relay
    | Ping
    | Pong
)
Event = (
    Welcome
    | Ok
    | Error
    | Joined
    | Message
    | Topic
    | Entered
    | Left
    | Count
    | AwayChanged
    | NickChanged
    | TypingNow
    | Direct
    | Page
    | Users
    | Rooms
    | Person
    | Server
    | Relayed
    | Ping
    | Pong
    | Closing
)

COMMANDS: dict[str, type[Command]] = {kind.type: kind for kind in Command.__args__}
EVENTS: dict[str, type[Event]] = {kind.type: kind for kind in Event.__args__}
