"""One session from the connection to the last line, the same for both faces.

It connects, runs a face and the core side by side, leaves on a signal, and says what was not
delivered. May know the client's public API and the core, no terminal.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from trio_chat.client import Client
from trio_chat.errors import ChatError
from trio_chat.ui import render
from trio_chat.ui.core import Core

__all__ = ["INTERRUPTED", "converse", "run"]

INTERRUPTED = 130  # exit status after SIGINT
_LEAVE = ("SIGTERM", "SIGHUP", "SIGBREAK")  # those that the system has


async def run(
    connecting: AbstractAsyncContextManager[Client],
    chat: Callable[[Client], Awaitable[None]],
    *,
    interrupt: bool,
) -> int:
    """Connect, chat until the end, and return the exit status.

    Args:
        connecting: What `connect` returned.
        chat: Runs a face until the user leaves.
        interrupt: Leave on SIGINT too? A face for which Ctrl-C is a key says no.

    Raises:
        ChatError: the connection failed, or ended for good.
        BrokenPipeError: whoever read our output has left.
    """
    received: list[int] = []
    problems: list[Exception] = []
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_leave_on_signal, nursery.cancel_scope, received, interrupt)
            async with connecting as client:
                await chat(client)
            nursery.cancel_scope.cancel()
    except* (ChatError, OSError) as group:
        problems += _leaves(group)
    hung_up = [error for error in problems if getattr(error, "errno", 0) == errno.EIO]
    if problems and not (received and hung_up):  # the terminal may be gone before us
        raise problems[0]
    return INTERRUPTED if signal.SIGINT in received else 0


async def converse(core: Core, rooms: Sequence[str], *tasks: Callable[[], Awaitable[None]]) -> None:
    """Run the core and a face's tasks until the core is `leaving`; say what is undelivered."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            for task in tasks:
                nursery.start_soon(task)
            nursery.start_soon(core.start, rooms)
            await core.leaving.wait()
            nursery.cancel_scope.cancel()
    finally:
        unsent = core.close()
        if unsent:
            what = "1 message was" if unsent == 1 else f"{unsent} messages were"
            with trio.move_on_after(1, shield=True):  # the screen may be stuck
                await core.show(*render.error(f"{what} not delivered"))


async def _leave_on_signal(
    scope: trio.CancelScope,
    received: list[int],
    interrupt: bool,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    names = (*_LEAVE, "SIGINT") if interrupt else _LEAVE
    wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
    with trio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async for number in signals:
            received.append(number)
            scope.cancel()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[Exception]:
    """Return the errors in a group, at any depth."""
    found: list[Exception] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(error)
        elif isinstance(error, Exception):
            found.append(error)
    return found
