"""Frames of people and who looks after them: accounts, devices, and orders of admins."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import attrs
import msgspec

from trio_chat.protocol.fields import Id

__all__ = ["Administer", "Administered"]


@attrs.frozen
class Administer:
    """Give the server an order; only for admins."""

    type: ClassVar[str] = "admin"
    command: Annotated[str, msgspec.Meta(max_length=64)]
    arguments: dict[str, Any] | None = attrs.field(default=None, repr=False)
    id: Id | None = None


@attrs.frozen(kw_only=True)
class Administered:
    """The answer to `admin`: its result, or why it was not done and what to do next."""

    type: ClassVar[str] = "admin"
    result: dict[str, Any] | None = None
    failure: str | None = None
    hint: str | None = None
    id: str | None = None
