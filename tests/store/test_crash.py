"""A process that is killed has kept every promise it made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_WRITE = """
import sys, trio
from pathlib import Path
from trio_chat.store import Batch, open_store

async def write(store, name):
    room = (await store.create_room(name, mode="plain", now=0.0)).id
    seq = 0
    while True:
        lines = seq % 3 + 1
        body = "".join(f"line {seq + k}\\n" for k in range(1, lines + 1)).encode()
        await store.append(Batch(room=room, first=seq + 1, last=seq + lines, time=0.0,
                                 body=body, counters={"d": seq + lines}))
        seq += lines
        print(name, seq, flush=True)

async def main():
    async with open_store(Path(sys.argv[1]), key=bytes(range(32)),
                          durability=sys.argv[2]) as store, trio.open_nursery() as nursery:
        for n in range(4):
            nursery.start_soon(write, store, f"room{n}")

trio.run(main)
"""


@pytest.mark.parametrize("durability", ["full", "process"])
@pytest.mark.parametrize("lines_read", [1, 500])
def test_what_was_acknowledged_is_there_after_kill_9(
    path: Path, second_process: Callable[..., dict[str, Any]], durability: str, lines_read: int
) -> None:
    promised: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(path), durability], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for count, line in enumerate(writer.stdout, start=1):
            if not line.endswith("\n"):
                break  # cut by the kill
            name, seq = line.split()
            promised[name] = int(seq)
            if count == lines_read:
                writer.kill()
    assert promised
    for name, seen in second_process(*promised).items():
        assert seen["seq"] >= promised[name]
        assert seen["lines"] == [f"line {n}" for n in range(1, seen["seq"] + 1)]
        assert seen["counters"] == {"d": seen["seq"]}
