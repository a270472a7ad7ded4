"""Blobs, part by part: what is too large for a frame."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable

from trio_chat.client.requests import Asking
from trio_chat.errors import ProtocolError
from trio_chat.protocol.frames import Blob, Event, GetBlob, PutBlob

__all__ = ["decode", "download", "encode", "upload"]

PART = 128 * 1024  # bytes
LARGEST = 16 * 1024 * 1024  # bytes; more than any server takes

Ask = Callable[[Asking], Awaitable[Event]]


def encode(data: bytes) -> str:
    """Return bytes as frames have them."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes of a frame's field.

    Raises:
        ProtocolError: It is no base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("what should be base64 is none") from None


async def upload(ask: Ask, room: str, data: bytes) -> str:
    """Put a blob, for a commit that follows on the same connection; return its id.

    Raises what `ask` raises.
    """
    blob = hashlib.sha256(data).hexdigest()
    for offset in range(0, len(data), PART):
        part = encode(data[offset : offset + PART])
        await ask(PutBlob(room=room, blob=blob, size=len(data), offset=offset, data=part))
    return blob


async def download(ask: Ask, room: str, blob: str) -> bytes:
    """Get a blob, and see that it is that one.

    Raises:
        ProtocolError: It is not.
    """
    parts: list[bytes] = []
    have = 0
    while True:
        reply = await ask(GetBlob(room=room, blob=blob, offset=have))
        assert isinstance(reply, Blob)
        part = decode(reply.data)
        if reply.offset != have or not part or reply.size > LARGEST:
            raise ProtocolError("the server gave another part of a blob than was asked for")
        parts.append(part)
        have += len(part)
        if have >= reply.size:
            break
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != blob:
        raise ProtocolError("the server gave another blob than was asked for")
    return data
