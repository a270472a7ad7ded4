"""Lines about keys: who can read, who they are, and what has changed. As `render`, pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trio_chat import names
from trio_chat.client import (
    ComparisonAsked,
    ComparisonDone,
    ComparisonFailed,
    ComparisonShown,
    Excluded,
    KeyChanged,
    MembersChanged,
    News,
    Number,
    Readable,
    RoomReader,
    Standing,
    Unreadable,
)
from trio_chat.protocol.frames import Invited, Member
from trio_chat.text import SafeText, safe
from trio_chat.ui import render
from trio_chat.ui.render import Line, Reader, Span, happened, where

__all__ = ["devices", "lines", "number", "readers", "waiting"]

STANDING = {
    Standing.VERIFIED: "verified",
    Standing.CERTIFIED: "certified",
    Standing.UNKNOWN: "never met",
    Standing.EXPIRED: "EXPIRED",
    Standing.CHANGED: "KEY CHANGED",
}
"""In a word or two; `certified`: by the CA, and with the same key as at first sight."""


def lines(event: object, reader: Reader) -> list[Line]:
    """Return the lines of an event about keys; none for other events."""
    match event:
        case Unreadable(sender=sender, reason=reason):
            said = f"what {safe(sender, 64)} said" if sender else "something"
            what = f"{said} cannot be read here: {safe(reason, 500)}"
            return [happened(reader, event.room, what, reader.clock(event.time))]
        case Readable(room=room, seq=seq) if seq > 1:
            what = "you can read from here on; what was said before, this device cannot read"
            return [happened(reader, room, what)]
        case MembersChanged():
            return [happened(reader, event.room, what) for what in _changes(event, reader)]
        case Excluded(room=room, actor=actor):
            who = "you have" if reader.is_me(actor) else f"{safe(actor, 64)} has"
            return [happened(reader, room, f"{who} taken this device out: it reads no more here")]
        case KeyChanged():
            return _alarm(event, reader)
        case News(room=room, text=text):
            if not room:
                return render.notice(text)
            return [happened(reader, room, safe(text, 1000))]
        case Invited(room=room, sender=sender):
            return render.notice(f"{sender} has invited you to {room}: /join {room}")
        case ComparisonAsked() | ComparisonShown() | ComparisonDone() | ComparisonFailed():
            return _comparison(event)
        case _:
            return []


def _changes(event: MembersChanged, reader: Reader) -> list[str]:
    actor = safe(event.actor, 64)
    by = "" if event.actor in (*event.added, *event.removed) else f" (by {actor})"
    told = [f"{safe(user, 64)} can read now{by}" for user in event.added]
    told += [f"{safe(user, 64)} can read no more{by}" for user in event.removed]
    for user, device in event.devices:
        whose = "you" if reader.is_me(user) else safe(user, 64)
        told.append(f"another device of {whose} can read now: {safe(device, 64)}{by}")
    return told


def _alarm(event: KeyChanged, reader: Reader) -> list[Line]:
    """Return what nobody should overlook."""
    who = safe(event.user, 64)
    whose = "your own name has" if reader.is_me(event.user) else f"{who} has"
    on = f" (on {safe(', '.join(event.devices), 200)})" if event.devices else ""
    told = [
        f"WARNING: {whose} ANOTHER KEY{on}: a new machine, or somebody who poses as them",
        f"new key: {render.fingerprint(event.fingerprint)}",
    ]
    if event.blocks:
        told.append(f"nothing you say goes where that key can read, until you /accept {who}")
    told.append(f"ask them, not here: /fp {who} has numbers to compare, /verify {who} symbols")
    place = where(reader, event.room) if event.room else []
    return [Line("event", (*place, ("error", SafeText(f"!! {what}")))) for what in told]


def _comparison(
    event: ComparisonAsked | ComparisonShown | ComparisonDone | ComparisonFailed,
) -> list[Line]:
    user = safe(event.user, 64)
    match event:
        case ComparisonAsked(device=device):
            return render.notice(
                f"{user} (on {device}) wants to compare keys with you, face to face or by voice: "
                f"/verify {user} begins, /verify {user} no declines"
            )
        case ComparisonShown(symbols=symbols):
            shown = [f"{at} {symbol} {name}" for at, (symbol, name) in enumerate(symbols, 1)]
            return [
                *render.notice(f"does {user} see the same seven, in this order? ask by voice"),
                *render.result(f"    {'   '.join(shown[:4])}\n    {'   '.join(shown[4:])}"),
                *render.notice(f"/verify {user} yes, or /verify {user} no"),
            ]
        case ComparisonDone(fingerprint=fingerprint):
            return render.notice(f"{user} is verified: key {render.fingerprint(fingerprint)}")
        case ComparisonFailed(reason=reason):
            return render.notice(f"comparing keys with {user} is over: {reason}")


def waiting(user: str) -> list[Line]:
    """Return what to wait for after `/verify`."""
    return render.notice(f"comparing keys with {user}: waiting for the other side")


def number(user: str, found: Number) -> list[Line]:
    """Return one key of somebody and the number to compare."""
    on = f" on {', '.join(found.devices)}" if found.devices else ""
    about = f"{user} ({STANDING[found.standing]}){on}"
    groups = found.digits.split(" ")
    rows = [" ".join(groups[at : at + 6]) for at in range(0, len(groups), 6)]
    return [
        *render.result(safe(f"{about}  {render.fingerprint(found.person.fingerprint)}", 1000)),
        *render.result("  safety number, the same on both screens if nobody sits between:"),
        *(line for row in rows for line in render.result(f"    {row}")),
    ]


def devices(found: Iterable[RoomReader]) -> list[Line]:
    """Return one's own devices."""
    told = []
    for each in found:
        this = ", this one" if each.own else ""
        told.append(safe(f"  {each.device} ({STANDING[each.standing]}{this})", 200))
    return [*render.result("your devices in your encrypted rooms:"), *_all(told)]


def _all(told: Iterable[str]) -> list[Line]:
    return [line for each in told for line in render.result(each)]


def readers(
    here: Iterable[Member], found: Sequence[RoomReader], reader: Reader, place: str
) -> list[Line]:
    """Return who is in an encrypted room, and who can read it, here or not."""
    people: dict[names.Key, list[RoomReader]] = {}
    present: dict[names.Key, list[Member]] = {}
    for each in found:
        people.setdefault(names.key(each.user), []).append(each)
    for member in here:
        present.setdefault(names.key(member.user), []).append(member)
    count = "1 person" if len(present) == 1 else f"{len(present)} people"
    can = "1 device can read it" if len(found) == 1 else f"{len(found)} devices can read it"
    told = render.result(f"{count} {place}; {can}:")
    for key in sorted({*people, *present}):
        reading, members = people.get(key, []), present.get(key, [])
        user = reading[0].user if reading else members[0].user
        own = reader.is_me(user)
        remarks = ["you"] if own else []
        remarks += _reading(reading)
        remarks += render.remarks(members, "here") if members else ["not here"]
        spans: list[Span] = [("", SafeText("  ")), ("own" if own else "name", safe(user, 64))]
        spans.append(("", safe(" (" + "; ".join(dict.fromkeys(remarks)) + ")", 1000)))
        told.append(Line("result", tuple(spans)))
    return told


def _reading(devices: Sequence[RoomReader]) -> list[str]:
    """Return what is known of a person, by the worst of their devices, and where they read."""
    if not devices:
        return ["cannot read yet"]
    order = list(Standing)
    found = {each.standing for each in devices}
    called = [each.device for each in devices]
    if len(found) > 1:
        called = [f"{each.device} [{STANDING[each.standing]}]" for each in devices]
    remarks = [STANDING[max(found, key=order.index)]]
    remarks += ["bot"] if any(each.bot for each in devices) else []
    return [*remarks, "reads on " + ", ".join(called)]
