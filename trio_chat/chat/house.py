"""The house rules of one room: who may come in, who may speak, and who ranks how.

Holds what the room's list, its password and its bans say. Pure: no clock, and nobody is put out
here; the room does that.
"""

from __future__ import annotations

import attrs

from trio_chat import names
from trio_chat.chat.roles import Rank
from trio_chat.chat.sanctions import Sanction, Sanctions, Suspect
from trio_chat.errors import Banned, Muted, NoRoom, Refused, WrongPassword

__all__ = ["House", "banned", "muted", "no_room"]


@attrs.define(eq=False)
class House:
    """One room's rules.

    Attributes:
        mode, access: As of the room.
        direct: Is it a room of two people?
        people: Person -> role, of those on the room's list.
        password: What to compare a password with; None where none is asked for.
        sanctions: Who is banned from the room, or muted in it.
    """

    room: str
    mode: str
    access: str
    people: dict[names.Key, str]
    password: str | None = attrs.field(default=None, repr=False)
    sanctions: Sanctions = attrs.field(factory=Sanctions)
    direct: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.direct = names.is_direct(self.room)

    @property
    def ruled_by_admins(self) -> bool:
        """Do admins rank above everybody here?"""
        return not self.direct and (self.mode == "plain" or self.access == "open")

    @property
    def invites_nobody(self) -> bool:
        """Is there no list to be on, since everybody may come in?"""
        return self.access == "open" and self.password is None

    def rank(self, person: names.Key, *, admin: bool) -> Rank:
        """Return what somebody is here, whose certificate says whether they are an admin."""
        if admin and self.ruled_by_admins:
            return Rank.ADMIN
        listed = Rank.of(self.people.get(person))
        return max(listed, Rank.MEMBER) if self.access == "open" else listed

    def role(self, person: names.Key, *, admin: bool) -> str:
        """Return the same in a word, for those who are in."""
        role = self.people.get(person, "member")
        rank = self.rank(person, admin=admin)
        return "admin" if rank is Rank.ADMIN and role != "owner" else role

    def has_master_key(self, *, admin: bool) -> bool:
        """Does somebody come in whatever the list and the password say?

        Only where the server can read what is said anyway.
        """
        return admin and self.mode == "plain" and not self.direct

    def invited(self, person: names.Key) -> bool:
        """May somebody come in without a password, but for bans?"""
        return self.invites_nobody or person in self.people

    def door(self, who: Suspect, now: float, *, admin: bool, proven: bool) -> Refused | None:
        """Say why somebody may not come in, or None if they may.

        `proven` says that they have given the right password.
        """
        if self.has_master_key(admin=admin):
            return None
        if self.access == "closed" and who.user not in self.people and not proven:
            return no_room(names.key(self.room))
        if not (admin and self.ruled_by_admins):
            ban = self.sanctions.against("ban", who, now)
            if ban is not None:
                return banned(ban, f"from {self.room}", now)
        if proven or self.invited(who.user):
            return None
        return WrongPassword(f"{self.room} wants a password: `/join {self.room} PASSWORD`")

    def silence(self, who: Suspect, now: float, *, admin: bool) -> Sanction | None:
        """Return why somebody may say nothing here, if so."""
        if admin and self.ruled_by_admins:
            return None
        return self.sanctions.against("mute", who, now)

    def owners(self) -> int:
        """Count the owners."""
        return sum(role == "owner" for role in self.people.values())


def no_room(key: names.Key) -> NoRoom:
    """Say that there is no room of that name, or none for whoever asks: in the same words."""
    if names.is_direct(key):
        return NoRoom("there is no such room; `/rooms` lists those there are")
    return NoRoom(f"there is no room {key}; `/create {key}` makes it, `/rooms` lists all")


def banned(ban: Sanction, where: str, now: float) -> Banned:
    """Say that somebody is banned, and for how long yet."""
    return Banned(f"you are banned {where}{_why(ban)}", retry_after=_left(ban, now))


def muted(
    mute: Sanction, where: str, now: float, *, room: str | None = None, n: int | None = None
) -> Muted:
    """Say that somebody may say nothing, and for how long yet."""
    text = f"you are muted {where}{_why(mute)}"
    return Muted(text, room=room, n=n, retry_after=_left(mute, now))


def _why(sanction: Sanction) -> str:
    return f": {sanction.reason}" if sanction.reason else ""


def _left(sanction: Sanction, now: float) -> float | None:
    return None if sanction.until is None else round(max(1.0, sanction.until - now), 1)
