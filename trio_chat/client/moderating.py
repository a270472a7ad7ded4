"""What a client can do about people in a room: roles, kicks, bans and mutes, as far as it may.

Half of `Client`. Rooms are named, and need not be joined. In an encrypted room this says who
gets the log; who can read what was said is its group's affair.
"""

from __future__ import annotations

from trio_chat.client.lifeline import Lifeline
from trio_chat.protocol.frames import (
    Ban,
    Invite,
    Kick,
    ListSanctions,
    Mute,
    SanctionInfo,
    Sanctions,
    SetRole,
    Unban,
    Unmute,
)
from trio_chat.protocol.moderation import Role

__all__ = ["Moderating"]


class Moderating(Lifeline):
    """All of it raises `Forbidden` where one may not, `NoUser` where nobody is meant, and as
    `Room.set_topic`.
    """

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Make somebody `owner`, `moderator` or `member`."""
        await self._ask(SetRole(room, user, role), repeat=False)

    async def invite(self, room: str, user: str) -> None:
        """Put somebody on the list of a room where not everybody may come in."""
        await self._ask(Invite(room, user), repeat=False)

    async def kick(self, room: str, user: str, reason: str | None = None) -> None:
        """Put somebody out of a room; of a closed one, off its list too."""
        await self._ask(Kick(room, user, reason), repeat=False)

    async def ban(
        self,
        room: str,
        user: str | None = None,
        *,
        device: str | None = None,
        address: str | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Keep a person, a device of a person, or an address out of a room.

        Args:
            room: The room.
            user: Who.
            device: Only that one of theirs: its name, or its id on the wire.
            address: Instead of `user`; for admins.
            seconds: How long; if left out, until it is lifted.
            reason: Why, for all to read.
        """
        asked = Ban(
            room=room, user=user, device=device, address=address, seconds=seconds, reason=reason
        )
        await self._ask(asked, repeat=False)

    async def unban(
        self,
        room: str,
        user: str | None = None,
        *,
        device: str | None = None,
        address: str | None = None,
    ) -> None:
        """End a ban, named as it was made."""
        await self._ask(Unban(room=room, user=user, device=device, address=address), repeat=False)

    async def mute(
        self,
        room: str,
        user: str | None = None,
        *,
        device: str | None = None,
        address: str | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Let somebody read in a room and say nothing; arguments as of `ban`."""
        asked = Mute(
            room=room, user=user, device=device, address=address, seconds=seconds, reason=reason
        )
        await self._ask(asked, repeat=False)

    async def unmute(
        self,
        room: str,
        user: str | None = None,
        *,
        device: str | None = None,
        address: str | None = None,
    ) -> None:
        """End a mute, named as it was made."""
        await self._ask(Unmute(room=room, user=user, device=device, address=address), repeat=False)

    async def sanctions(self, room: str) -> list[SanctionInfo]:
        """Return who is banned from a room and muted in it; for moderators."""
        reply = await self._ask(ListSanctions(room), repeat=True)
        assert isinstance(reply, Sanctions)
        return reply.sanctions
