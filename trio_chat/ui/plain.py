"""The plain face: one line per event on standard output, lines from standard input.

For pipes, scripts, dumb terminals and screen readers. Pure Trio, no prompt_toolkit: it knows
file descriptors, and no terminal but for colour.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import partial

import attrs
import trio

from trio_chat.client import Client
from trio_chat.errors import ConfigError
from trio_chat.protocol.lines import LineBuffer
from trio_chat.ui import session
from trio_chat.ui.core import Core
from trio_chat.ui.looks import painted
from trio_chat.ui.render import Line
from trio_chat.ui.state import Cursors

__all__ = ["PlainFace", "chat", "read_lines"]

LINE_LIMIT = 1024 * 1024  # bytes of one line of input; the server takes less
_PIPE_BUF = 512  # bytes that a pipe which is ready takes without blocking: POSIX's minimum


@attrs.define
class PlainFace:
    """Writes events and answers to one descriptor, and talk to another.

    Attributes:
        source, lines: Where lines come from, while they are read.
    """

    out: int
    err: int
    colour: bool = False
    source: int | None = None
    lines: AsyncGenerator[str, None] | None = None
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def show(self, *lines: Line) -> None:
        """Write lines; waits while nobody reads them."""
        async with self._lock:
            for line in lines:
                text = painted(line) if self.colour else line.text
                data = text.encode(errors="replace") + b"\n"
                await _write(self.err if line.kind == "talk" else self.out, data)

    def refresh(self) -> None:
        """Nothing: there is no status line."""

    def clear(self) -> None:
        """Nothing: there is no screen."""

    async def secret(self, question: str) -> str | None:
        """Ask at a terminal that shows nothing of the answer; elsewhere nobody can be asked.

        The next line of a pipe is no answer: without a question it would go to a room.
        """
        await trio.lowlevel.checkpoint()
        if self.source is None or self.lines is None or not os.isatty(self.source):
            return None
        async with self._lock:
            await _write(self.err, question.encode(errors="replace"))
        with silent(self.source):
            answer = await anext(self.lines, None)
        async with self._lock:
            await _write(self.err, b"\n")
        return answer


async def chat(
    client: Client,
    face: PlainFace,
    *,
    source: int | None,
    rooms: Sequence[str],
    cursors: Cursors,
    fingerprint: str,
    answer_time: float = 0.0,
) -> None:
    """Chat until the input ends and all of it is acknowledged, and `answer_time` seconds more.

    Raises:
        ChatError: a room cannot be entered, or the connection ended for good.
    """
    core = Core(
        client=client,
        face=face,
        cursors=cursors,
        fingerprint=fingerprint,
        patience=math.inf,
        strict=True,
    )
    await session.converse(core, rooms, partial(_read, core, face, source, answer_time))


async def _read(core: Core, face: PlainFace, source: int | None, answer_time: float) -> None:
    await core.started.wait()  # the first line may be meant for the first room
    if source is not None:
        async with aclosing(read_lines(source)) as lines:
            face.source, face.lines = source, lines
            async for line in lines:
                await core.handle(line)
    if answer_time:
        await core.flush()
        await trio.sleep(answer_time)
    await core.quit()


async def read_lines(source: int) -> AsyncGenerator[str, None]:
    """Yield the lines that come from a file descriptor, without their ends.

    Raises:
        ConfigError: one is far longer than any message may be.
    """
    buffer = LineBuffer(LINE_LIMIT)
    ready = True
    while ready:
        data = await _read_some(source)
        ready = bool(data)
        for line in buffer.feed(data or b"\n"):
            if data or line:
                yield line.decode(errors="replace")
        if buffer.too_long:
            raise ConfigError(f"a line of the input is longer than {LINE_LIMIT} bytes")


@contextlib.contextmanager
def silent(terminal: int) -> Iterator[None]:
    """Have a terminal show nothing of what is typed, where the system can do that."""
    try:
        import termios
    except ImportError:
        yield
        return
    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _read_some(source: int) -> bytes:
    """Read what is there, b"" at the end, without a thread that outlives us where possible."""
    if os.name == "posix":
        try:
            await trio.lowlevel.wait_readable(source)
        except PermissionError:  # a regular file is always ready, so epoll refuses it
            await trio.lowlevel.checkpoint()
            return await trio.to_thread.run_sync(os.read, source, 65536)
        return os.read(source, 65536)
    return await trio.to_thread.run_sync(os.read, source, 65536, abandon_on_cancel=True)


async def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`; cancelled, it may have written a part."""
    kind = os.fstat(descriptor).st_mode
    if os.name == "posix" and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        while data:
            await trio.lowlevel.wait_writable(descriptor)
            data = data[os.write(descriptor, data[:_PIPE_BUF]) :]
        return
    # A file, or a terminal that may be stopped: in a thread, which is given up at the end. It
    # holds nothing that the exit waits for.
    await trio.to_thread.run_sync(_write_blocking, descriptor, data, abandon_on_cancel=True)


def _write_blocking(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
