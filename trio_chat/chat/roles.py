"""Who may do what in a room: one table, from what is done to the rank that it takes.

A person's rank is what the room's list says, or what their certificate says where that counts:
admins rank above everybody in plain rooms and in open ones. In a closed encrypted room the list
alone counts, for there the server is not to decide who is one of them. Pure.
"""

from __future__ import annotations

import enum
from typing import Literal, get_args

__all__ = ["DEEDS", "ROLES", "Deed", "Rank", "Role", "may"]

Role = Literal["member", "moderator", "owner"]
"""What a room's list says of somebody."""

ROLES: tuple[Role, ...] = get_args(Role)

Deed = Literal[
    "speak", "topic", "kick", "mute", "unmute", "ban", "unban", "ban address", "invite", "role"
]
"""What somebody does in a room, or to somebody else there."""


class Rank(enum.IntEnum):
    """How much somebody may do; each may do what those before may."""

    STRANGER = 0
    MEMBER = 1
    MODERATOR = 2
    OWNER = 3
    ADMIN = 4
    OPERATOR = 5  # who runs the server

    @classmethod
    def of(cls, role: str | None) -> Rank:
        """Return the rank that goes with a role on a room's list."""
        return _RANKS.get(role or "", cls.STRANGER)


_RANKS = {"member": Rank.MEMBER, "moderator": Rank.MODERATOR, "owner": Rank.OWNER}

DEEDS: dict[Deed, Rank] = {
    "speak": Rank.MEMBER,
    "topic": Rank.MEMBER,
    "kick": Rank.MODERATOR,
    "mute": Rank.MODERATOR,
    "unmute": Rank.MODERATOR,
    "ban": Rank.MODERATOR,
    "unban": Rank.MODERATOR,
    "ban address": Rank.ADMIN,  # nobody else is told addresses
    "invite": Rank.OWNER,
    "role": Rank.OWNER,
}
"""The lowest rank that may."""


def may(deed: Deed, actor: Rank, whom: Rank = Rank.STRANGER) -> bool:
    """May somebody of rank `actor` do that, to somebody of rank `whom`?

    Nobody acts on those of their own rank, or above.
    """
    return actor >= DEEDS[deed] and actor > whom
