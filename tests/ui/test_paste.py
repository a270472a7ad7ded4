from __future__ import annotations

import math

import trio
import trio.testing

from trio_chat.ui.paste import PASTE_GAP, gather


async def test_lines_belong_together_when_they_come_fast(
    autojump_clock: trio.testing.MockClock,
) -> None:
    typed, lines = trio.open_memory_channel[str](math.inf)
    gathered, bursts = trio.open_memory_channel[list[str]](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gather, lines, gathered)
        for line in "abc":
            typed.send_nowait(line)
            await trio.sleep(PASTE_GAP * 0.9)
        await trio.sleep(PASTE_GAP)
        for line in "de":
            typed.send_nowait(line)
            await trio.sleep(PASTE_GAP * 1.1)
        nursery.cancel_scope.cancel()
    found = [bursts.receive_nowait() for _ in range(3)]
    assert found == [["a", "b", "c"], ["d"], ["e"]]
