"""Bytes to lines, with a limit: no line longer than it is ever kept in memory."""

from __future__ import annotations

__all__ = ["LineBuffer"]


class LineBuffer:
    r"""Splits a stream into lines at `\n`; a `\r` before it is dropped.

    Reading whole equals reading byte by byte. Once `too_long` is true the stream cannot go
    on: nothing more is read or kept.

    Attributes:
        limit: The longest line, in bytes without its end. It may be raised at any time.
        too_long: Has a line gone over the limit?
    """

    __slots__ = ("_part", "limit", "too_long")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.too_long = False
        self._part = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came; return the lines that it completes, up to one that is too long."""
        if self.too_long:
            return []
        if self._part:
            data = self._part + data
        lines = data.split(b"\n")
        if len(data) > self.limit or b"\r" in data:
            self._look_at_each(lines)
        self._part = lines.pop()
        return lines

    def _look_at_each(self, lines: list[bytes]) -> None:
        for position, line in enumerate(lines):
            if len(line) > self.limit:
                self.too_long = True
                lines[position:] = [b""]
                break
            if line[-1:] == b"\r" and position < len(lines) - 1:
                lines[position] = line[:-1]
