"""Passwords that commands ask for. What is answered is used, shown nowhere and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.ui.errors import UsageError

if TYPE_CHECKING:
    from trio_chat.ui.core import Core

__all__ = ["ask", "ask_twice"]


async def ask(core: Core, question: str) -> str:
    """Ask for a password; raises `UsageError` if none is given, or nobody can be asked."""
    found = await core.face.secret(question)
    if not found:
        raise UsageError("no password was given; nothing was sent")
    return found


async def ask_twice(core: Core, what: str) -> str:
    """Ask for a new password; raises `UsageError` as `ask`, or if the answers differ."""
    first = await ask(core, f"{what}: ")
    if await ask(core, "once more: ") != first:
        raise UsageError("that was not the same twice; nothing was sent")
    return first
