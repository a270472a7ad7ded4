"""What `async for event in client` gives: frames of the server, and news of the connection.

May know the frames and nothing else.
"""

from __future__ import annotations

import attrs

from trio_chat.client.news import (
    ComparisonAsked,
    ComparisonDone,
    ComparisonFailed,
    ComparisonShown,
    Excluded,
    KeyChanged,
    MembersChanged,
    News,
    Readable,
    Unreadable,
)
from trio_chat.protocol.frames import (
    AwayChanged,
    Closing,
    Count,
    Entered,
    Invited,
    Kicked,
    Left,
    Message,
    ModeChanged,
    NickChanged,
    Relayed,
    RoleChanged,
    Server,
    Topic,
    TypingNow,
)

__all__ = ["ClientEvent", "Connected", "Gap", "Offline", "RoomClosed", "RoomReset"]


@attrs.frozen
class Connected:
    """The connection stands; rooms joined before are being read on from where they were."""


@attrs.frozen
class Offline:
    """The connection is lost, or another attempt failed; the client tries again by itself.

    `reason` is a sentence for people, `retry_in` the seconds until the next attempt.
    """

    reason: str
    retry_in: float


@attrs.frozen
class Gap:
    """The messages `first` to `last` of a room are no longer kept, so they never come."""

    room: str
    first: int
    last: int


@attrs.frozen
class RoomReset:
    """The room has another history now (a restored database): what was shown is not in it.

    Its entries after `seq` come as events.
    """

    room: str
    seq: int


@attrs.frozen
class RoomClosed:
    """The server did not let the client back into a room after a reconnect."""

    room: str
    reason: str


ClientEvent = (
    Message
    | Topic
    | Entered
    | Left
    | Count
    | AwayChanged
    | NickChanged
    | TypingNow
    | Invited
    | Relayed
    | Server
    | Closing
    | Connected
    | Offline
    | Gap
    | RoomReset
    | RoomClosed
    | Readable
    | Unreadable
    | MembersChanged
    | Excluded
    | KeyChanged
    | News
    | ComparisonAsked
    | ComparisonShown
    | ComparisonDone
    | ComparisonFailed
    | Kicked
    | RoleChanged
    | ModeChanged
)
