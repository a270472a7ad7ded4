"""What a program wants of an encrypted room, until it has happened or will not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from trio_chat.client.requests import Ticket
from trio_chat.e2ee.conversation import Conversation

__all__ = ["Wanted"]


@attrs.define(eq=False, kw_only=True)
class Wanted(Ticket[Any]):
    """A ticket for it.

    Attributes:
        order: Tells the conversation; returns the id by which that tells its fate.
        token: That id; None until the conversation was told.
    """

    order: Callable[[Conversation], int] = attrs.field(repr=False)
    token: int | None = None
    _take_back: Callable[[Wanted], None] = attrs.field(repr=False)

    def abandoned(self) -> None:
        """Take it back, unless it may be on its way already."""
        self._take_back(self)
