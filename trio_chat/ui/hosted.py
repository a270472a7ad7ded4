"""Trio as a guest of asyncio: the one module that knows asyncio, for prompt_toolkit.

`run` is `trio.run` with an asyncio loop underneath; `aio` awaits a coroutine of that loop
from Trio. Both loops share one thread, start together and end together. May know nothing of
chat, prompts or terminals.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - prompt_toolkit lives on asyncio; this is the bridge to it
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import outcome
import trio

__all__ = ["aio", "run"]

T = TypeVar("T")
Result = outcome.Outcome[Any]


def run(async_fn: Callable[..., Awaitable[T]], *args: object, **trio_options: Any) -> T:
    """Run `async_fn(*args)` under Trio, with an asyncio loop for `aio`; as `trio.run`.

    A first SIGINT that nobody else takes cancels the program and raises
    `KeyboardInterrupt` here. An exception in a callback of the loop (a key binding, say)
    ends the program with that exception.
    """
    value: T = asyncio.run(_host(async_fn, args, trio_options)).unwrap()
    return value


async def _host(
    async_fn: Callable[..., Awaitable[Any]], args: tuple[object, ...], options: dict[str, Any]
) -> Result:
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[Result] = loop.create_future()
    scope = trio.CancelScope()
    crashes: list[BaseException] = []

    async def trio_main() -> Any:
        with scope:
            value = await async_fn(*args)
            if not crashes:
                return value
        # Only this function cancels `scope`.
        raise crashes[0] if crashes else KeyboardInterrupt

    def callback_crashed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        crashes.append(context.get("exception") or RuntimeError(context["message"]))
        scope.cancel()

    loop.set_exception_handler(callback_crashed)
    trio.lowlevel.start_guest_run(
        trio_main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=finished.set_result,
        host_uses_signal_set_wakeup_fd=True,
        **options,
    )
    while not finished.done():  # the loop must outlive Trio, whatever happens
        try:
            await asyncio.shield(finished)
        except asyncio.CancelledError:  # what asyncio.run() makes of the first SIGINT
            scope.cancel()
    return finished.result()


async def aio(async_fn: Callable[..., Awaitable[T]], *args: object) -> T:
    """Await `async_fn(*args)`, which wants asyncio, from a Trio task.

    When the Trio task is cancelled, the asyncio one is too, and this returns only after
    that has cleaned up: a prompt has given the terminal back by then.
    """
    me = trio.lowlevel.current_task()
    raise_cancel: Callable[[], NoReturn] | None = None

    async def guarded() -> Result:
        # A KeyboardInterrupt or SystemExit that escapes an asyncio task ends its loop,
        # under our feet: they cross as values.
        try:
            return outcome.Value(await async_fn(*args))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return outcome.Error(error)

    task = asyncio.get_running_loop().create_task(guarded())
    task.add_done_callback(lambda done: trio.lowlevel.reschedule(me, outcome.capture(done.result)))

    def abort(raise_fn: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        nonlocal raise_cancel
        raise_cancel = raise_fn
        task.cancel()
        return trio.lowlevel.Abort.FAILED  # not yet: wait for the clean-up

    try:
        result: Result = await trio.lowlevel.wait_task_rescheduled(abort)
    except asyncio.CancelledError:
        if raise_cancel is not None:
            raise_cancel()
        raise
    value: T = result.unwrap()
    return value
