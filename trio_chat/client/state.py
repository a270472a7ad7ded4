"""One joined room: how far its log has been read, who is there, what waits to go out.

Pure objects: no Trio, no clock, no bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_chat import names
from trio_chat.client.events import ClientEvent, Gap, RoomClosed, RoomReset
from trio_chat.client.news import Unreadable
from trio_chat.client.outbox import Outbox
from trio_chat.client.roster import Roster
from trio_chat.errors import ChatError, NotMember, ProtocolError
from trio_chat.protocol.frames import (
    Acted,
    AwayChanged,
    Count,
    Entered,
    Joined,
    Kicked,
    Left,
    Message,
    ModeChanged,
    NickChanged,
    Removed,
    RoleChanged,
    Topic,
    TypingNow,
)

if TYPE_CHECKING:
    from trio_chat.client.sealer import Sealer

__all__ = ["Notice", "RoomState", "UnknownEntry"]

Notice = Entered | Left | Count | AwayChanged | NickChanged | TypingNow


@attrs.frozen
class UnknownEntry:
    """A log entry of a type that this version does not know; only its place counts."""

    room: str
    seq: int
    time: float = 0.0


class RoomState:
    """A room that the client has joined and joins again on each connection.

    Attributes:
        log: The id of the history that `cursor` counts in.
        cursor: The last sequence number read; what comes must be the next one.
        delivered: The last one that the program has taken.
        seq: The newest one known.
        role: What we are there.
        password: The one that let us in.
        leaving, closed: No more messages are taken; nothing more comes.
    """

    def __init__(self, name: str, log: str) -> None:
        self.name = name
        self.key = names.key(name)
        self.log = log
        self.mode = ""
        self.topic = ""
        self.role = ""
        self.access = ""
        self.password: str | None = None
        self.cursor = 0
        self.delivered = 0
        self.seq = 0
        self.leaving = False
        self.closed = False
        self.roster = Roster()
        self.outbox = Outbox(name)
        self._new = True
        self._taken: tuple[int, int, Message] | None = None

    @property
    def encrypted(self) -> bool:
        """Is what is said here for its members alone?"""
        return self.mode == "encrypted"

    def joined(self, frame: Joined, after: int | None, placeholder: Message) -> list[ClientEvent]:
        """Take the answer to `join {after}`; its entries and then live ones follow.

        Returns what the program must learn: that messages are missing, or all is new.
        """
        events: list[ClientEvent] = []
        start = frame.seq if after is None else after
        if after is not None and (frame.log != self.log or after > frame.seq):
            start = min(max(after, frame.first - 1), frame.seq)
            events.append(RoomReset(frame.room, start))
            self.outbox.reset(frame.n)
        else:
            if start < frame.first - 1:
                events.append(Gap(frame.room, start + 1, frame.first - 1))
                start = frame.first - 1
            self.outbox.resume(frame.n)
        if self._new:
            self._new = False
            self.delivered = start if after is None else after
        self.name, self.mode, self.role = frame.room, frame.mode, frame.role
        self.access, self.log = frame.access, frame.log
        if not self.encrypted:
            self.topic = frame.topic
        self.cursor, self.seq = start, frame.seq
        self.roster.joined(frame)
        self._taken = (frame.seq, frame.n, placeholder)
        self._caught_up()
        return events

    def entry(self, frame: Message | Topic | Acted | UnknownEntry, device: str) -> bool:
        """Take one entry of the log; return whether it is new.

        Raises:
            ProtocolError: one was left out; joining again brings it.
        """
        if frame.seq <= self.cursor:
            return False
        if frame.seq != self.cursor + 1:
            raise ProtocolError("the server left out an entry of a room's log")
        self.cursor = frame.seq
        self.seq = max(self.seq, frame.seq)
        if self.encrypted:
            return True
        if isinstance(frame, Topic):
            self.topic = frame.text
        elif isinstance(frame, Message) and frame.device == device:
            self.outbox.echo(frame)
        self._caught_up()
        return True

    def take(
        self,
        frame: Message | Topic | Acted | UnknownEntry,
        device: str,
        user: str,
        sealer: Sealer | None,
    ) -> list[ClientEvent]:
        """Take one entry, of an encrypted room for the sealer; return what the program learns.

        Raises as `entry`.
        """
        if not self.entry(frame, device):
            return []
        if isinstance(frame, Acted):
            self._acted(frame, user)
        if self.encrypted and sealer is not None:
            sealer.entry(frame)
        shown = isinstance(frame, Acted) or not self.encrypted
        return [frame] if shown and not isinstance(frame, UnknownEntry) else []

    def _acted(self, frame: Acted, user: str) -> None:
        """Take an entry of moderation: it may be about `user`, who we are."""
        mine = isinstance(frame, RoleChanged) and names.key(frame.user) == names.key(user)
        if isinstance(frame, RoleChanged) and mine and self.role != "admin":
            self.role = frame.role

    def put_out(self, frame: Removed) -> RoomClosed:
        """Somebody has put us out."""
        why = f": {frame.reason}" if frame.reason else ""
        return self.close(NotMember(f"{frame.sender} has put you out of it{why}"))

    def noticed(self, frame: Notice) -> None:
        """Take one change of the roster."""
        match frame:
            case Entered():
                self.roster.entered(frame)
            case Left():
                self.roster.left(frame)
            case Count():
                self.roster.counted(frame)
            case AwayChanged():
                self.roster.away(frame)
            case NickChanged():
                self.roster.nick(frame)
            case TypingNow():
                pass

    def taken(self, event: ClientEvent) -> None:
        """Note that the program has taken an event of this room."""
        match event:
            case RoomReset():
                self.delivered = event.seq
            case Kicked() | RoleChanged() | ModeChanged() if self.encrypted:
                pass  # it overtakes what has to be decrypted first
            case Message() | Topic() | Unreadable() | Kicked() | RoleChanged() | ModeChanged():
                # perhaps from before the room was left and joined again
                self.delivered = max(self.delivered, event.seq)
            case Gap():
                self.delivered = max(self.delivered, event.last)
            case _:
                pass

    def close(self, error: ChatError) -> RoomClosed:
        """The server does not let us in again: nothing waits here any longer."""
        self.outbox.lost()
        self.outbox.fail(lambda: NotMember(str(error), room=self.name))
        return RoomClosed(self.name, str(error))

    def _caught_up(self) -> None:
        """Once the replay is over, what was taken before it and not echoed never will be."""
        if self._taken is not None and self.cursor >= self._taken[0]:
            _, taken, placeholder = self._taken
            self._taken = None
            self.outbox.settle(taken, placeholder)
