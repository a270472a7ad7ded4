"""Telling a paste from typing where the terminal does not: by how fast the lines come.

Most terminals bracket what is pasted, and prompt_toolkit makes one input of it. An old
`screen` or a serial console does not: there each line would be sent at once, a command in it
run. May know nothing but time.
"""

from __future__ import annotations

import trio

__all__ = ["PASTE_GAP", "PASTE_LINES", "gather"]

PASTE_GAP = 0.05  # seconds: lines that follow each other faster belong together
PASTE_LINES = 3  # more than these in one burst were not typed


async def gather(
    lines: trio.MemoryReceiveChannel[str], bursts: trio.MemorySendChannel[list[str]]
) -> None:
    """Put lines that come fast after each other into one list, the others each into its own.

    `bursts` has room for everything: a burst is told by when lines came, so nothing may
    hold this up.
    """
    async for line in lines:
        burst = [line]
        with trio.move_on_after(PASTE_GAP) as pause:
            while True:
                burst.append(await lines.receive())
                pause.deadline = trio.current_time() + PASTE_GAP
        bursts.send_nowait(burst)
