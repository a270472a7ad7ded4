"""Who is in a room, as the server's frames tell. Pure; may know the frames only."""

from __future__ import annotations

import attrs

from trio_chat.protocol.frames import (
    AwayChanged,
    Count,
    Entered,
    Joined,
    Left,
    Member,
    NickChanged,
    Users,
)

__all__ = ["Roster"]


class Roster:
    """The members of one room by device; empty while the room is too large for a list.

    Attributes:
        count: How many connections are in the room.
        members: Device -> `Member`, in the order of entering.
    """

    def __init__(self) -> None:
        self.count = 0
        self.members: dict[str, Member] = {}
        self._listed = False

    def joined(self, frame: Joined) -> None:
        """Start anew with what `joined` says."""
        self._replace(frame.count, frame.members)

    def users(self, frame: Users) -> None:
        """Start anew with a list, if it is whole: not a page, nor left empty in a large room."""
        whole = frame.next is None and len(frame.users) == frame.count
        self._replace(frame.count, frame.users if whole else None)

    def entered(self, frame: Entered) -> None:
        """Add those who came."""
        self.count = frame.count
        if self._listed:
            self.members.update((member.device, member) for member in frame.members)

    def left(self, frame: Left) -> None:
        """Take out those who went."""
        self.count = frame.count
        for member in frame.members:
            self.members.pop(member.device, None)

    def counted(self, frame: Count) -> None:
        """The room is too large for `entered` and `left`: a list would go stale."""
        self._replace(frame.count, None)

    def away(self, frame: AwayChanged) -> None:
        """Note that somebody is away, or back."""
        member = self.members.get(frame.device)
        if member is not None:
            self.members[frame.device] = attrs.evolve(member, away=frame.text)

    def nick(self, frame: NickChanged) -> None:
        """Note somebody's display name."""
        member = self.members.get(frame.device)
        if member is not None:
            self.members[frame.device] = attrs.evolve(member, nick=frame.nick)

    def _replace(self, count: int, members: list[Member] | None) -> None:
        self.count = count
        self._listed = members is not None
        self.members = {member.device: member for member in members or ()}
