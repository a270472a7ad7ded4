"""What was said, as it is kept in the store, and back."""

from __future__ import annotations

from trio_chat.e2ee.changes import Entry
from trio_chat.e2ee.delivery import Said, Unreadable
from trio_chat.e2ee.payload import Text, Topic, beginning, decode_payload, encode_payload
from trio_chat.e2ee.store import SealedStore

__all__ = ["from_entry", "last_topic", "to_entry"]


def to_entry(event: Said | Unreadable, *, room: str, log: str) -> Entry:
    """Return what is to be kept of something that was said in a room."""
    payload, text, failure = b"", "", ""
    if isinstance(event, Unreadable):
        failure = event.reason
    else:
        payload = encode_payload(event.payload)
        text = event.payload.text if isinstance(event.payload, Text) else ""
    return Entry(
        room=room,
        log=log,
        seq=event.seq or None,
        time=event.time,
        user=event.user,
        device=event.device,
        payload=payload,
        text=text,
        failure=failure,
    )


def from_entry(entry: Entry) -> Said | Unreadable:
    """Return what was said; what is not kept (`n`) is 0."""
    seq = entry.seq or 0
    if entry.failure:
        return Unreadable(
            seq=seq, time=entry.time, user=entry.user, device=entry.device, reason=entry.failure
        )
    return Said(
        seq=seq,
        time=entry.time,
        user=entry.user,
        device=entry.device,
        n=0,
        payload=decode_payload(entry.payload),
    )


def last_topic(store: SealedStore, room: str) -> str:
    """Return what a room is about, as was last said where we could read it."""
    entry = store.last(room, beginning(Topic))
    if entry is None:
        return ""
    payload = decode_payload(entry.payload)
    return payload.text if isinstance(payload, Topic) else ""
