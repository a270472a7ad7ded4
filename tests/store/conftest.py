"""What the tests of the store share: a key, a path, lines, and another process's view."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trio_chat.store import Batch

KEY = bytes(range(32))

_LOOK = """
import json, sys, trio
from pathlib import Path
from trio_chat.store import Batch, open_store

async def main():
    async with open_store(Path(sys.argv[1]), key=bytes(range(32))) as store:
        seen = {}
        for name in sys.argv[2:]:
            room = await store.find_room(name)
            state = await store.load_room(room.id)
            rows = await store.read_after(room.id, 0, 1 << 30)
            body = b"".join(row.body for row in rows).decode()
            lines = [(row.first, row.last) for row in rows]
            seen[name] = {"seq": state.seq, "counters": state.counters,
                          "rows": lines, "lines": body.splitlines()}
            n = state.seq + 1
            await store.append(Batch(room=room.id, first=n, last=n, time=9.0, body=b"after\\n"))
            assert (await store.load_room(room.id)).seq == n
    print(json.dumps(seen))

trio.run(main)
"""


@pytest.fixture
def key() -> bytes:
    return KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Make a batch of lines `line N` that starts at `first`."""

    def make(room: int, first: int, lines: int = 1, **others: Any) -> Batch:
        last = first + lines - 1
        body = "".join(f"line {n}\n" for n in range(first, last + 1)).encode()
        return Batch(**{"room": room, "first": first, "last": last, "time": 1.0, "body": body,
                        **others})  # fmt: skip

    return make


@pytest.fixture
def second_process(path: Path) -> Callable[..., dict[str, Any]]:
    """What a second process reads of the rooms named; it also appends a line to each."""

    def look(*rooms: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", _LOOK, str(path), *rooms], check=True, capture_output=True
        )
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return look
