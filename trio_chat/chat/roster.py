"""Who is in a room: its members by device, and what changed since it was last told."""

from __future__ import annotations

import attrs

from trio_chat.protocol.frames import Count, Entered, Left, Member

__all__ = ["Roster"]


@attrs.define
class Roster:
    """The members of one room, one a device.

    Attributes:
        limit: Above so many members nobody is named; `count` is told instead.
    """

    room: str
    limit: int
    members: dict[str, Member] = attrs.field(factory=dict)
    count_due: bool = False
    _entered: dict[str, Member] = attrs.field(factory=dict)
    _left: dict[str, Member] = attrs.field(factory=dict)

    @property
    def large(self) -> bool:
        """Are there too many to name?"""
        return len(self.members) > self.limit

    @property
    def changed(self) -> bool:
        """Is there something that members have not been told?"""
        return bool(self._entered or self._left)

    def enter(self, member: Member) -> None:
        """A device came."""
        self.members[member.device] = member
        if self._left.pop(member.device, None) is None:
            self._entered[member.device] = member

    def leave(self, device: str) -> None:
        """A device went."""
        member = self.members.pop(device)
        if self._entered.pop(device, None) is None:
            self._left[device] = member

    def update(self, device: str, **changes: str | None) -> None:
        """Something about a device changed: `nick` or `away`."""
        member = attrs.evolve(self.members[device], **changes)  # type: ignore[arg-type]  # of Member's own fields
        self.members[device] = member
        if device in self._entered:  # and the others are to be told of it as it is now
            self._entered[device] = member

    def tell(self) -> list[Entered | Left]:
        """Return what changed since the last call; in a large room only note that it did."""
        entered, left = list(self._entered.values()), list(self._left.values())
        self._entered.clear()
        self._left.clear()
        if self.large or len(self.members) + len(left) > self.limit:
            self.count_due = True
            return []
        count = len(self.members)
        frames: list[Entered | Left] = []
        if left:
            gone = [Member(user=member.user, device=member.device) for member in left]
            frames.append(Left(room=self.room, count=count, members=gone))
        if entered:
            frames.append(Entered(room=self.room, count=count, members=entered))
        return frames

    def tell_count(self) -> Count | None:
        """Return the count of a large room, if it has changed since it was last told."""
        due, self.count_due = self.count_due, False
        return Count(room=self.room, count=len(self.members)) if due else None

    def page(self, after: str | None, size: int) -> tuple[list[Member], str | None]:
        """Return up to `size` members in the order of their devices, and where to go on."""
        devices = sorted(device for device in self.members if after is None or device > after)
        chosen = devices[:size]
        more = chosen[-1] if len(devices) > size else None
        return [self.members[device] for device in chosen], more
