"""What happens in an encrypted room, as the program learns it.

The events of `e2ee` know nothing of the wire; these go among the client's others.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from trio_chat.e2ee import comparing, delivery
from trio_chat.e2ee.changes import Entry
from trio_chat.e2ee.history import from_entry
from trio_chat.e2ee.payload import Text, Topic, Unknown, Verify
from trio_chat.e2ee.people import Change
from trio_chat.protocol import frames

__all__ = [
    "Comparison",
    "ComparisonAsked",
    "ComparisonDone",
    "ComparisonFailed",
    "ComparisonShown",
    "Excluded",
    "KeyChanged",
    "MembersChanged",
    "News",
    "Readable",
    "Unreadable",
    "as_comparison",
    "as_event",
    "shown",
]


@attrs.frozen
class Readable:
    """From the entry after `seq` on, this device can read what is said in the room."""

    room: str
    seq: int


@attrs.frozen(kw_only=True)
class Unreadable:
    """Something was said that cannot be read here; `reason` is a sentence."""

    room: str
    seq: int
    time: float
    sender: str
    device: str
    reason: str


@attrs.frozen(kw_only=True)
class MembersChanged:
    """Who can read the room has changed, by `actor`.

    Attributes:
        added, removed: Users who had no device there before, or have none left.
        devices: (user, device name) of new devices of others.
    """

    room: str
    seq: int
    actor: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]


@attrs.frozen
class Excluded:
    """This device is in the room's group no longer, by `actor`: perhaps by ourselves."""

    room: str
    actor: str


@attrs.frozen(kw_only=True)
class KeyChanged:
    """Somebody in the room has a key that is new.

    Attributes:
        user: Who.
        fingerprint: SHA-256 of the key, in hexadecimal.
        devices: The names of the devices with it.
        blocks: Is nothing sent there until that is accepted, since they were verified?
    """

    room: str
    user: str
    fingerprint: str
    devices: tuple[str, ...]
    blocks: bool


@attrs.frozen
class ComparisonAsked:
    """Somebody wants to compare keys, on one of their devices; `Client.verify` agrees."""

    room: str
    user: str
    device: str


@attrs.frozen
class ComparisonShown:
    """Both sides show symbols now; `Client.answer` says whether they are the same.

    Attributes:
        symbols: Seven, each with its name.
    """

    room: str
    user: str
    device: str
    symbols: tuple[tuple[str, str], ...] = attrs.field(repr=False)


@attrs.frozen
class ComparisonDone:
    """That key of somebody is verified."""

    room: str
    user: str
    device: str
    fingerprint: str


@attrs.frozen
class ComparisonFailed:
    """Nothing came of it, and nothing is verified; `reason` is a sentence."""

    room: str
    user: str
    reason: str


Comparison = ComparisonAsked | ComparisonShown | ComparisonDone | ComparisonFailed


@attrs.frozen
class News:
    """Something about a room's encryption, in a sentence."""

    room: str
    text: str


def as_event(
    room: str, event: delivery.Event
) -> (
    frames.Message
    | frames.Topic
    | Readable
    | Unreadable
    | MembersChanged
    | Excluded
    | KeyChanged
    | News
    | None
):
    """Return what the program learns of an event, if anything."""
    match event:
        case delivery.Said():
            return _said(room, event)
        case delivery.Unreadable(seq=seq, time=time, user=user, device=device, reason=reason):
            return Unreadable(
                room=room, seq=seq, time=time, sender=user, device=device, reason=reason
            )
        case delivery.Entered(seq=seq):
            return Readable(room, seq)
        case delivery.ByCommit() if event.added or event.removed or event.devices:
            return MembersChanged(
                room=room,
                seq=event.seq,
                actor=event.actor,
                added=event.added,
                removed=event.removed,
                devices=event.devices,
            )
        case delivery.Began(user=user):
            return News(room, f"{user} has made the room's keys anew")
        case delivery.Left(by=by):
            return Excluded(room, by)
        case delivery.Trouble(reason=reason):
            return News(room, reason)
        case Change():
            return KeyChanged(
                room=room,
                user=event.user,
                fingerprint=event.fingerprint,
                devices=event.devices,
                blocks=event.blocks,
            )
    return None


def as_comparison(room: str, user: str, happening: comparing.Happening) -> Comparison:
    """Return what the program learns of a comparison of keys."""
    match happening:
        case comparing.Asked(device=device):
            return ComparisonAsked(room, user, device)
        case comparing.Symbols(device=device, symbols=symbols):
            return ComparisonShown(room, user, device, symbols)
        case comparing.Compared(device=device, fingerprint=fingerprint):
            return ComparisonDone(room, user, device, fingerprint)
        case comparing.Failed(reason=reason):
            return ComparisonFailed(room, user, reason)


def shown(room: str, entries: Iterable[Entry]) -> list[frames.Message | frames.Topic | Unreadable]:
    """Return what was kept of a room as the program learns it."""
    found = (as_event(room, from_entry(entry)) for entry in entries)
    return [each for each in found if isinstance(each, frames.Message | frames.Topic | Unreadable)]


def _said(room: str, event: delivery.Said) -> frames.Message | frames.Topic | Unreadable | None:
    """Return something that was said, as if the room were plain."""
    match event.payload:
        case Text(text=text, form=form):
            return frames.Message(
                room=room,
                seq=event.seq,
                time=event.time,
                sender=event.user,
                device=event.device,
                n=event.n,
                text=text,
                form=form,
            )
        case Topic(text=text):
            return frames.Topic(
                room=room,
                seq=event.seq,
                time=event.time,
                sender=event.user,
                device=event.device,
                text=text,
            )
        case Unknown(kind=kind):
            return Unreadable(
                room=room,
                seq=event.seq,
                time=event.time,
                sender=event.user,
                device=event.device,
                reason=f"it is of a kind ({kind}) that this version does not know",
            )
        case Verify():
            return None
    return None
