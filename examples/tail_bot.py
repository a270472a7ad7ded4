"""Posts the lines that are appended to a file, as `tail -F` shows them.

    trio-chat pki issue tail --bot
    python examples/tail_bot.py localhost:8443 --cert pki/tail.crt --key pki/tail.key \\
        --file /var/log/syslog

The file itself is the queue: while the server is away, or slow, the lines wait in it. A burst
becomes one message of many lines. What is written while the bot does not run is not posted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import closing
from io import FileIO
from pathlib import Path

import trio

import trio_chat
from trio_chat.errors import ChatError, ConfigError

INTERVAL = 0.2  # seconds between two looks at the file
AT_ONCE = 20_000  # bytes; as text at most three times as many, so it always fits a message


class Tail:
    """A file that grows, is truncated, is moved away and made anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0  # of the first byte that was not returned
        self.file: FileIO | None = None
        self.file = self._newer()
        if self.file is not None:
            self.position = self.file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()

    def read(self) -> str:
        """Return new lines, or nothing. A line that has no end yet waits for it."""
        newer = self._newer()  # before reading: what the old file got until now is read first
        lines = self._lines(last=newer is not None)
        if newer is None:
            return lines
        if lines:
            newer.close()
            return lines
        self.close()
        self.file, self.position = newer, 0
        return self._lines(last=False)

    def _newer(self) -> FileIO | None:
        """Open what has the name now, if that is another file, with something in it."""
        try:
            found = FileIO(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from None
        if self.file is not None:
            there, ours = os.fstat(found.fileno()), os.fstat(self.file.fileno())
            if there.st_size == 0 or os.path.samestat(there, ours):
                found.close()
                return None
        return found

    def _lines(self, *, last: bool) -> str:
        """Read on in the present file; the `last` lines of one need no end."""
        if self.file is None:
            return ""
        if os.fstat(self.file.fileno()).st_size < self.position:
            self.position = 0  # truncated
        self.file.seek(self.position)
        data = self.file.read(AT_ONCE)
        end = data.rfind(b"\n") + 1
        if not end and (last or len(data) == AT_ONCE):  # or longer than a message may be
            end = len(data)
        self.position += end
        return data[:end].decode(errors="replace").rstrip("\r\n")


async def follow(options: argparse.Namespace) -> None:
    """Post lines until cancelled."""
    with closing(await trio.to_thread.run_sync(Tail, options.file)) as tail:
        async with trio_chat.connect(
            options.address,
            cert=options.cert,
            key=options.key,
            ca=options.ca,
            device=None,  # one certificate, one bot: a second copy takes the place of the first
        ) as client:
            room = await client.join(options.room)
            print(f"tail_bot: {client.user} is in {room.name} at {client.address}", flush=True)
            while True:
                with trio.move_on_after(INTERVAL):
                    async for _ in client:
                        pass  # what others say is not for us, but somebody has to take it
                lines = await trio.to_thread.run_sync(tail.read)
                if lines.strip():
                    await room.send(lines, form="notice")


async def main(options: argparse.Namespace) -> None:
    """Run the bot until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, options)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Post the lines appended to a file.")
    parser.add_argument("address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--cert", required=True, metavar="FILE", help="the bot's certificate")
    parser.add_argument("--key", required=True, metavar="FILE", help="its private key")
    parser.add_argument("--ca", metavar="FILE", help="the CA [ca.crt beside the certificate]")
    parser.add_argument("--room", default="lobby", metavar="ROOM", help="where it posts [lobby]")
    parser.add_argument("--file", required=True, type=Path, metavar="PATH", help="what it follows")
    problem: str | None = None
    try:
        trio.run(main, parser.parse_args())
    except* ChatError as problems:
        problem = f"tail_bot: error: {problems.exceptions[0]}"
    sys.exit(problem)
