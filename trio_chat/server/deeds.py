"""Each act of moderation: what it changes, in memory, on disk and for those who are there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trio_chat import names
from trio_chat.chat.roles import Deed, Rank
from trio_chat.chat.sanctions import Kind, Sanction
from trio_chat.errors import Forbidden, NoUser, Refused, TooMany
from trio_chat.protocol.frames import Removed
from trio_chat.server.acts import Moderator, carry_out, objection
from trio_chat.server.targets import Target
from trio_chat.store import Change, LiftSanction, PutSanction, SetRole

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = [
    "ban",
    "enter_as_admin",
    "invite",
    "kick",
    "lift",
    "make_sanction",
    "mute",
    "set_role",
    "shown",
]


async def kick(
    server: Server,
    room: Room,
    who: Moderator,
    target: Target,
    reason: str | None,
    *,
    uninvite: bool = False,
) -> int:
    """Put somebody out; of a closed room off its list, too, or they would be back at once."""
    person = target.person
    assert person is not None
    listed = uninvite or room.house.access == "closed"
    deed: Deed = "invite" if uninvite else "kick"

    def check(now: float) -> Refused | None:
        error = objection(server, room, who, deed, person, now)
        if error is not None:
            return error
        if target.meets(room.cursors) or (listed and person in _list(room)):
            return None
        return NoUser(f"{target} is not in {room.name}")

    def apply() -> None:
        if listed:
            _list(room).pop(person, None)
        _put_out(server, room, who, target, reason)

    changes = (SetRole(room.id, room.key, person, None),) if listed else ()
    fields = {"user": target.user, "reason": reason}
    told = f"{target} from {room.name}{_because(reason)}"
    return await carry_out(room, who, "kicked", fields, check, changes, apply, ("kick", told))


async def ban(
    server: Server,
    room: Room,
    who: Moderator,
    target: Target,
    *,
    seconds: float | None,
    reason: str | None,
) -> int:
    """Keep somebody out: at once, and until then."""
    sanction = make_sanction("ban", who, target, seconds, reason)
    person = target.person
    deed: Deed = "ban" if person is not None else "ban address"

    def check(now: float) -> Refused | None:
        return objection(server, room, who, deed, person, now) or _full(server, room, sanction)

    def apply() -> None:
        room.house.sanctions.put(sanction)
        if person is not None and target.whole:
            _list(room).pop(person, None)
        _put_out(server, room, who, target, reason)

    changes: list[Change] = [PutSanction(room.id, sanction)]
    if person is not None and target.whole:
        changes.append(SetRole(room.id, room.key, person, None))
    return await carry_out(
        room,
        who,
        "mode",
        shown("ban", target, sanction),
        check,
        changes,
        apply,
        ("ban", _told(target, room, seconds, reason)),
    )


async def mute(
    server: Server,
    room: Room,
    who: Moderator,
    target: Target,
    *,
    seconds: float | None,
    reason: str | None,
) -> int:
    """Let somebody read and say nothing."""
    sanction = make_sanction("mute", who, target, seconds, reason)
    deed: Deed = "mute" if target.person is not None else "ban address"

    def check(now: float) -> Refused | None:
        error = objection(server, room, who, deed, target.person, now)
        return error or _full(server, room, sanction)

    return await carry_out(
        room,
        who,
        "mode",
        shown("mute", target, sanction),
        check,
        (PutSanction(room.id, sanction),),
        lambda: room.house.sanctions.put(sanction),
        ("mute", _told(target, room, seconds, reason)),
    )


async def lift(server: Server, room: Room, who: Moderator, kind: Kind, target: Target) -> int:
    """End a ban or a mute of exactly that person, device or address."""
    change: Deed = "unban" if kind == "ban" else "unmute"
    deed: Deed = change if target.person is not None else "ban address"

    def check(now: float) -> Refused | None:
        error = objection(server, room, who, deed, target.person, now)
        if error is None and room.house.sanctions.get(kind, target.subject, now) is None:
            done = "banned from" if kind == "ban" else "muted in"
            return NoUser(f"{target} is not {done} {room.name}")
        return error

    return await carry_out(
        room,
        who,
        "mode",
        shown(change, target, None),
        check,
        (LiftSanction(room.id, kind, target.subject),),
        lambda: room.house.sanctions.lift(kind, target.subject),
        (change, _told(target, room, None, None)),
    )


async def set_role(server: Server, room: Room, who: Moderator, target: Target, role: str) -> int:
    """Give somebody another role; anybody may step down, but for the last owner."""
    person = target.person
    assert person is not None

    def check(now: float) -> Refused | None:
        present = _list(room).get(person)
        steps_down = who.is_(person) and Rank.of(role) < Rank.of(present)
        error = objection(server, room, who, "role", person, now, oneself=steps_down)
        if error is not None:
            return error
        if room.house.access == "closed" and present is None:
            return NoUser(f"{target} is not on the list of {room.name}; invite them first")
        if who.is_(person) and present == "owner" and room.house.owners() == 1:
            return Forbidden("a room's last owner stays; make somebody else one first")
        return None

    # In an open room everybody is a member: a list of them says nothing.
    kept = None if role == "member" and room.house.invites_nobody else role

    def apply() -> None:
        if kept is None:
            _list(room).pop(person, None)
        else:
            _list(room)[person] = kept

    return await carry_out(
        room,
        who,
        "role",
        {"user": target.user, "role": role},
        check,
        (SetRole(room.id, room.key, person, kept),),
        apply,
        ("role", f"{target} in {room.name}: {role}"),
    )


async def invite(server: Server, room: Room, who: Moderator, target: Target) -> int | None:
    """Put somebody on the list; None if they are there already."""
    person = target.person
    assert person is not None

    def check(now: float) -> Refused | None:
        error = objection(server, room, who, "invite", None, now)
        if error is None and room.house.sanctions.get("ban", target.subject, now) is not None:
            return Forbidden(f"{target} is banned from {room.name}; end that first")
        return error

    if (error := check(time.time())) is not None:
        raise error
    if person in _list(room):
        return None
    return await carry_out(
        room,
        who,
        "mode",
        {"change": "invite", "user": target.user},
        check,
        (SetRole(room.id, room.key, person, "member"),),
        lambda: _list(room).__setitem__(person, _list(room).get(person, "member")),
        ("invite", f"{target} to {room.name}"),
    )


async def enter_as_admin(server: Server, room: Room, connection: Connection) -> None:
    """Show and write down that an admin comes in whatever the list and the password say."""
    who = Moderator.of(connection)
    fields = {"change": "master-key", "user": who.name}
    await carry_out(
        room,
        who,
        "mode",
        fields,
        lambda _now: None,
        (),
        lambda: None,
        ("master-key", f"into {room.name}"),
    )


# --- what they have in common ----------------------------------------------------------------


def _full(server: Server, room: Room, sanction: Sanction) -> Refused | None:
    found = room.house.sanctions
    if len(list(found)) < server.limits.sanctions_per_room:
        return None
    if found.get(sanction.kind, sanction.subject, sanction.since) is not None:
        return None
    return TooMany(f"{room.name} has too many bans and mutes; end some first")


def _put_out(
    server: Server, room: Room, who: Moderator, target: Target, reason: str | None
) -> None:
    frame = Removed(room=room.name, sender=who.name, reason=reason)
    for each in target.meets(room.cursors):
        room.put_out(each)
        if not target.whole:
            each.say(frame)
    if target.whole and target.person is not None:
        server.tell(target.person, frame)


def _list(room: Room) -> dict[names.Key, str]:
    return room.house.people


def make_sanction(
    kind: Kind, who: Moderator, target: Target, seconds: float | None, reason: str | None
) -> Sanction:
    """Return a sanction that begins now."""
    now = time.time()
    return Sanction(
        kind=kind,
        subject=target.subject,
        until=None if seconds is None else round(now + seconds, 3),
        actor=who.name,
        reason=reason or "",
        since=round(now, 3),
    )


def shown(change: str, target: Target, sanction: Sanction | None) -> dict[str, object]:
    """Return what the room is told; never an address."""
    return {
        "change": change,
        "user": target.user,
        "whose": target.device,
        "until": None if sanction is None else sanction.until,
        "reason": None if sanction is None else sanction.reason or None,
    }


def _told(target: Target, room: Room, seconds: float | None, reason: str | None) -> str:
    """Return what the audit log is told."""
    length = "" if seconds is None else f" for {seconds:.0f} s"
    return f"{target} in {room.name}{length}{_because(reason)}"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""
