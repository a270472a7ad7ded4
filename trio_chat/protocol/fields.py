"""What the fields of frames may hold. Decoding checks it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Counter", "Form", "Id", "Number"]

Form = Literal["action", "notice"]
"""How a message is meant: `/me`, or a notice that no bot answers."""

Id = Annotated[str, msgspec.Meta(max_length=64)]
"""Chosen by the client, repeated in the reply."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""At most the largest number that every reader of JSON has exactly."""

Counter = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""The same, from one."""
