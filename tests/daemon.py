"""The real program as a subprocess: `trio-chat serve`."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import PIPE

import attrs
import trio

__all__ = ["PROGRAM", "Daemon", "StartDaemon", "run_daemon"]

PROGRAM = (sys.executable, "-m", "trio_chat")
PATIENCE = 20.0  # s


@attrs.define
class Daemon:
    """A running server; `log` is what it has written to stderr so far."""

    process: trio.Process
    log: list[str] = attrs.field(factory=list)
    port: int = 0
    _more: trio.Event = attrs.field(factory=trio.Event)

    async def logged(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log in which `pattern` is found."""
        with trio.fail_after(PATIENCE):
            seen = 0
            while True:
                for line in self.log[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.log)
                assert self.process.returncode is None, "\n".join(self.log)
                more = self._more
                await more.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end and return the exit status."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    @property
    def resident(self) -> int:
        """Resident memory, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    async def collect(self) -> None:
        """Read the log until the program ends."""
        assert self.process.stderr is not None
        part = b""
        async for data in self.process.stderr:
            *lines, part = (part + data).split(b"\n")
            self.log += [line.decode() for line in lines]
            self._more.set()
            self._more = trio.Event()
        self._more.set()


async def run_daemon(
    ca: Path, db: Path, *options: str, task_status: trio.TaskStatus[Daemon]
) -> None:
    """Run the program until it ends; killed if cancelled. Has started when it listens."""
    words = ["serve", "--ca", str(ca), "--db", str(db), "--port", "0", *options]
    process = await trio.lowlevel.open_process([*PROGRAM, *words], stderr=PIPE)
    assert process.stderr is not None
    daemon = Daemon(process)
    try:
        async with process.stderr, trio.open_nursery() as nursery:
            nursery.start_soon(daemon.collect)
            daemon.port = int((await daemon.logged(r"listening on .*:(\d+)$"))[1])
            task_status.started(daemon)
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


StartDaemon = Callable[..., Awaitable[Daemon]]
"""What the fixture `daemon` is."""
