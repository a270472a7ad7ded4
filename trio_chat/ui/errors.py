"""What can be wrong with what the user types."""

from __future__ import annotations

from trio_chat.errors import ChatError

__all__ = ["UsageError"]


class UsageError(ChatError):
    """A line that is meant as a command cannot be one: the user's slip. Nothing was sent."""
