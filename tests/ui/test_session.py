from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio

from trio_chat.errors import Disconnected, Unreachable
from trio_chat.ui import session


@asynccontextmanager
async def connecting(error: Exception | None = None) -> AsyncIterator[Any]:
    await trio.lowlevel.checkpoint()
    if error is not None:
        raise error
    async with trio.open_nursery():  # as the real one, which has tasks
        yield cast("Any", None)


def run(
    chat: Callable[[Any], Awaitable[None]],
    *,
    error: Exception | None = None,
    interrupt: bool = True,
) -> Awaitable[int]:
    return session.run(connecting(error), chat, interrupt=interrupt)


async def silence(client: Any) -> None:
    await trio.lowlevel.checkpoint()


def raising(*errors: Exception) -> Callable[[Any], Awaitable[None]]:
    async def chat(client: Any) -> None:
        async def fail(error: Exception) -> None:
            await trio.lowlevel.checkpoint()
            raise error

        async with trio.open_nursery() as nursery:
            for error in errors:
                nursery.start_soon(fail, error)

    return chat


def killed_by(name: str, error: Exception | None = None) -> Callable[[Any], Awaitable[None]]:
    async def chat(client: Any) -> None:
        os.kill(os.getpid(), getattr(signal, name))
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if error is not None:
                raise error from None
            raise

    return chat


async def test_who_leaves_has_status_0() -> None:
    assert await run(silence) == 0


async def test_a_connection_that_fails_is_raised_as_it_is() -> None:
    with pytest.raises(Unreachable, match="nobody"):
        await run(silence, error=Unreachable("nobody listens"))


async def test_an_error_of_a_task_comes_out_of_its_groups() -> None:
    with pytest.raises(Disconnected, match="taken over"):
        await run(raising(Disconnected("taken over")))


async def test_a_reader_that_has_left_comes_out_as_a_broken_pipe() -> None:
    with pytest.raises(BrokenPipeError):
        await run(raising(BrokenPipeError(errno.EPIPE, "")))


async def test_a_bug_is_not_hidden() -> None:
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run(raising(ZeroDivisionError()))


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 0), ("SIGHUP", 0), ("SIGINT", 130)])
async def test_a_signal_leaves(name: str, status: int) -> None:
    assert await run(killed_by(name)) == status


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
async def test_a_terminal_that_went_with_the_signal_is_no_error() -> None:
    assert await run(killed_by("SIGHUP", OSError(errno.EIO, "gone"))) == 0


async def test_a_terminal_that_breaks_by_itself_is_an_error() -> None:
    with pytest.raises(OSError, match="gone"):
        await run(raising(OSError(errno.EIO, "gone")))


async def test_what_is_not_delivered_is_said_on_every_way_out(stage: Any) -> None:
    stage.client.room("lobby", gate=trio.Event())

    async def type_and_leave() -> None:
        await stage.core.started.wait()
        await stage.core.handle("hello")
        await stage.core.handle("again")
        stage.core.leaving.set()

    await session.converse(stage.core, (), type_and_leave)
    assert "error: 2 messages were not delivered" in stage.screen
