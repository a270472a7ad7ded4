"""The server's frames of an encrypted room's log, as a conversation takes them."""

from __future__ import annotations

from trio_chat.client.blobs import decode
from trio_chat.client.state import UnknownEntry
from trio_chat.e2ee.delivery import LogEntry
from trio_chat.errors import ProtocolError
from trio_chat.protocol import frames
from trio_chat.protocol.codec import decode_event_object

__all__ = ["Frame", "as_entry", "as_paged"]

Frame = frames.Message | frames.Topic | UnknownEntry


def as_entry(frame: Frame) -> LogEntry:
    """Return an entry as the conversation takes it; what it cannot be is `other`."""
    if isinstance(frame, frames.Message) and frame.body is not None and frame.epoch is not None:
        try:
            body = decode(frame.body)
        except ProtocolError:
            body = b""
        if frame.kind in ("message", "proposal", "commit", "create"):
            return LogEntry(
                seq=frame.seq,
                time=frame.time,
                user=frame.sender,
                device=frame.device,
                n=frame.n,
                epoch=frame.epoch,
                kind=frame.kind,  # type: ignore[arg-type]  # narrowed by the test above
                body=body,
            )
    return LogEntry(
        seq=frame.seq, time=0.0, user="", device="", n=0, epoch=0, kind="other", body=b""
    )


def as_paged(found: object) -> LogEntry:
    """Return an entry of a page."""
    if not isinstance(found, dict) or type(found.get("seq")) is not int:
        raise ProtocolError("the server sent a page of something else")
    try:
        entry: object = decode_event_object(found)
    except ProtocolError as error:
        if error.code != "unknown-type":
            raise
        entry = UnknownEntry("", found["seq"])
    if isinstance(entry, frames.Message | frames.Topic | UnknownEntry):
        return as_entry(entry)
    raise ProtocolError("the server sent a page of something else")
