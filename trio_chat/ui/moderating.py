"""Commands about people in rooms and about getting in: rows of the table, and what they do.

May know the core and the client's API, no terminal. Passwords pass through here, and stay
nowhere: not in a line that is shown, and not in an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_chat import names
from trio_chat.durations import parse_duration
from trio_chat.errors import WrongPassword
from trio_chat.text import safe
from trio_chat.ui import asking, deeds, keys, render
from trio_chat.ui.errors import UsageError

if TYPE_CHECKING:
    from trio_chat.client import Room
    from trio_chat.ui.core import Core

__all__ = [
    "ban",
    "bans",
    "create",
    "deop",
    "invite",
    "join",
    "kick",
    "mute",
    "op",
    "unban",
    "unmute",
]

ADDRESS = "address:"
_PLAIN, _CLOSED, _PASSWORD = "--plain", "--closed", "--password"


# --- getting in ------------------------------------------------------------------------------


async def create(core: Core, plain: str | None, room: str, rest: str | None) -> None:
    """Make a room and enter it: `[--plain] [--closed] [--password | PASSWORD]`."""
    words = [*([_PLAIN] if plain else []), *(rest or "").split()]
    options, password = _create_options(words)
    if password is None and _PASSWORD in words:
        password = await asking.ask_twice(core, f"a password for {room}")
    if password is not None:
        options["password"] = password
    await core.client.create(room, **options)
    await core.enter(room)


def _create_options(words: list[str]) -> tuple[dict[str, Any], str | None]:
    found: dict[str, Any] = {}
    others = [word for word in words if word not in (_PLAIN, _CLOSED, _PASSWORD)]
    if len(others) > 1 or (others and _PASSWORD in words) or any(w[:2] == "--" for w in others):
        raise UsageError(
            "that is more than a room and a password, which has no blanks",
            hint=f"/create ROOM [{_PLAIN}] [{_CLOSED}] [{_PASSWORD} | PASSWORD]",
        )
    if _PLAIN in words:
        found["mode"] = "plain"
    if _CLOSED in words:
        found["access"] = "closed"
    return found, others[0] if others else None


async def join(core: Core, room: str, password: str | None) -> None:
    """Enter a room; ask for its password where it wants one."""
    try:
        await core.enter(room, password)
    except WrongPassword:
        if password is not None:
            raise
        await core.enter(room, await asking.ask(core, f"the password of {room}: "))


# --- people ----------------------------------------------------------------------------------


async def op(core: Core, user: str, role: str | None) -> None:
    """Make somebody a moderator, or what is said."""
    found = (role or "moderator").casefold()
    if found not in ("moderator", "owner"):
        raise UsageError(f"there is no role {safe(found, 32)}", hint="/op USER [moderator | owner]")
    room = _room(core)
    chosen: Any = found
    await core.client.set_role(room.name, _bare(user), chosen)


async def deop(core: Core, user: str) -> None:
    """Make somebody a member as others are."""
    await core.client.set_role(_room(core).name, _bare(user), "member")


async def invite(core: Core, user: str) -> None:
    """Let somebody into a room where not everybody may come in."""
    room = _room(core)
    if room.encrypted:
        await keys.invite(core, user)
        return
    await core.client.invite(room.name, _bare(user))
    await core.show(*render.notice(f"{safe(_bare(user), 64)} may come into {room.name}"))


async def kick(core: Core, user: str, reason: str | None) -> None:
    """Put somebody out of this room, and in a closed encrypted one from its keys, too."""
    room = _room(core)
    if reason is not None or not _is_sealed(room):
        await core.client.kick(room.name, _bare(user), reason)
    if _is_sealed(room):
        await keys.kick(core, user)


async def ban(core: Core, who: str, time: str | None, reason: str | None) -> None:
    """Keep somebody out of this room."""
    seconds, reason = _time(time, reason)
    room = _room(core)
    target = _target(room, who)
    await core.client.ban(room.name, **target, seconds=seconds, reason=reason)
    if target.keys() == {"user"} and _is_sealed(room) and room.role == "owner":
        await keys.kick(core, target["user"])


async def unban(core: Core, who: str) -> None:
    """Let somebody come back."""
    room = _room(core)
    await core.client.unban(room.name, **_target(room, who))


async def mute(core: Core, who: str, time: str | None, reason: str | None) -> None:
    """Let somebody read and say nothing in this room."""
    seconds, reason = _time(time, reason)
    room = _room(core)
    await core.client.mute(room.name, **_target(room, who), seconds=seconds, reason=reason)


async def unmute(core: Core, who: str) -> None:
    """Let somebody speak again."""
    room = _room(core)
    await core.client.unmute(room.name, **_target(room, who))


async def bans(core: Core) -> None:
    """Show who is banned from this room, and muted in it."""
    room = _room(core)
    await core.show(*deeds.sanctions(await core.client.sanctions(room.name), core.reader))


def _is_sealed(room: Room) -> bool:
    """Is who reads what is said here for its owners to decide?"""
    return room.encrypted and room.access == "closed"


def _room(core: Core) -> Room:
    return core.open_room()


def _bare(user: str) -> str:
    return user.removeprefix("@")


def _time(time: str | None, reason: str | None) -> tuple[int | None, str | None]:
    """Tell the time from the reason, which may come without one."""
    seconds = parse_duration(time) if time else None
    if time is not None and seconds is None:
        return None, f"{time} {reason}" if reason else time
    return seconds, reason


def _target(room: Room, who: str) -> dict[str, str]:
    """Return who is meant by USER, USER/DEVICE or `address:` and an address.

    A device is named as lists show it, which may be a part of its id only.
    """
    if who.startswith(ADDRESS):
        return {"address": who.removeprefix(ADDRESS)}
    user, slash, device = _bare(who).partition("/")
    if not slash:
        return {"user": user}
    for member in room.members.values():
        same = names.key(member.user) == names.key(user)
        if same and member.name is None and render.member_mark(member) == device:
            return {"user": user, "device": member.device}
    return {"user": user, "device": device}
