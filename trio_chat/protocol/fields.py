"""What the fields of frames may hold. Decoding checks it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "Access",
    "Base64",
    "Counter",
    "Device",
    "Digest",
    "Form",
    "Id",
    "Kind",
    "Mode",
    "Number",
    "Password",
]

Access = Literal["open", "closed"]
"""Who sees a room: everybody, or those on its list."""

Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Of a room. Whoever holds one keeps it out of `repr`."""

Form = Literal["action", "notice"]
"""How a message is meant: `/me`, or a notice that no bot answers."""

Kind = Literal["message", "proposal", "commit", "create"]
"""What is in a line of an encrypted room; the last two end its epoch."""

Mode = Literal["plain", "encrypted"]
"""Who can read a room: the server too, or its members only."""

Base64 = str
"""Bytes of somebody's, in base64. Who looks into them checks that; the codec does not."""

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""A SHA-256, hexadecimal."""

Device = Annotated[str, msgspec.Meta(min_length=1, max_length=65)]
"""The wire's id of a device: 32 digits, and perhaps a dot and what its `hello` said."""

Id = Annotated[str, msgspec.Meta(max_length=64)]
"""Chosen by the client, repeated in the reply."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""At most the largest number that every reader of JSON has exactly."""

Counter = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""The same, from one."""
