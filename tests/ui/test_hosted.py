from __future__ import annotations

import asyncio  # noqa: TID251 - the other side of the bridge
import os
import signal
import subprocess
import sys
import threading

import pytest
import trio
import trio.testing

from trio_chat.ui import hosted

hosted_test = pytest.mark.trio(run=hosted.run)


class Broken(Exception):
    pass


async def soon(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def never() -> None:
    await asyncio.Event().wait()


async def fails(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


@hosted_test
async def test_a_result_crosses() -> None:
    assert await hosted.aio(soon, "yes") == "yes"


@hosted_test
@pytest.mark.parametrize("kind", [Broken, EOFError, KeyboardInterrupt, SystemExit])
async def test_an_error_crosses_and_the_loop_lives_on(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        await hosted.aio(fails, kind())
    assert await hosted.aio(soon, "still here") == "still here"


@hosted_test
async def test_cancelling_waits_for_the_clean_up() -> None:
    steps: list[str] = []

    async def tidy() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            steps.append("tidied")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hosted.aio, tidy)
        await trio.testing.wait_all_tasks_blocked()
        assert steps == []
        nursery.cancel_scope.cancel()
    assert steps == ["tidied"]


@hosted_test
async def test_a_coroutine_that_finishes_although_cancelled_keeps_its_result() -> None:
    async def stubborn() -> str:
        try:
            await never()
        except asyncio.CancelledError:
            return "done anyway"
        raise AssertionError

    with trio.CancelScope() as scope:
        scope.cancel()
        assert await hosted.aio(stubborn) == "done anyway"


@hosted_test
async def test_a_task_that_cancels_itself_is_an_error_and_no_cancellation() -> None:
    with pytest.raises(asyncio.CancelledError):
        await hosted.aio(fails, asyncio.CancelledError())


@hosted_test
async def test_cancelling_three_hundred_times_leaves_both_loops_whole() -> None:
    for _ in range(300):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hosted.aio, never)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert scope.cancelled_caught
    assert await hosted.aio(soon, "whole") == "whole"


def test_the_result_of_main_is_that_of_run() -> None:
    async def main(value: str) -> str:
        await trio.lowlevel.checkpoint()
        return await hosted.aio(soon, value)

    assert hosted.run(main, "value") == "value"


def test_an_error_of_main_is_that_of_run() -> None:
    async def main() -> None:
        await trio.lowlevel.checkpoint()
        raise Broken

    with pytest.raises(Broken):
        hosted.run(main)


def test_a_callback_that_crashes_ends_the_program() -> None:
    cleaned: list[str] = []

    def crash() -> None:
        raise Broken

    async def main() -> None:
        asyncio.get_running_loop().call_soon(crash)
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append("yes")

    with pytest.raises(Broken):
        hosted.run(main)
    assert cleaned == ["yes"]


def test_many_runs_leave_no_threads() -> None:
    async def main() -> None:
        await hosted.aio(soon, "")

    hosted.run(main)
    before = threading.active_count()
    for _ in range(20):
        hosted.run(main)
    assert threading.active_count() <= before + 1


PROGRAM = """
import trio
from trio_chat.ui import hosted

async def main():
    try:
        print("ready", flush=True)
        await trio.sleep_forever()
    finally:
        print("unwound", flush=True)

try:
    hosted.run(main)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_sigint_unwinds_trio() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        rest, _ = program.communicate(timeout=10)
    assert rest == "unwound\ninterrupted\n"
