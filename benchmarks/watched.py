"""A client whose screen is read: how late its lines are, and how soon a key shows."""

from __future__ import annotations

import os
import pty
import random  # noqa: TID251 - nothing secret here
import re
import select
import subprocess
import termios
import time

from daemon import (
    CERTS,
    HERE,
    OTHER_CORE,
    PROGRAM,
    SERVER_CORE,
    WORK,
    Running,
    cpu,
    finish,
    generator,
)

__all__ = ["Watched", "flood"]


class Watched:
    """A client whose output is read at once: how late its lines come, and when keys show."""

    LETTERS = "абвгдежзийклмнопрстуфхцчшщъыьэюя"  # not in any message

    def __init__(self, server: Running, *words: str, terminal: bool) -> None:
        self.lags: list[tuple[float, float]] = []  # when a line came, and how late
        self.echoes: list[float] = []
        self._part = b""
        self._key: tuple[bytes, float] | None = None  # typed and not seen yet
        self._chance = random.Random(1)  # the same rhythm each time
        certificate = CERTS / "bot0100"
        if terminal:
            self._fd, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (40, 120))
        else:
            self._fd, theirs = os.pipe()
        stdin = theirs if terminal else subprocess.PIPE
        state = {"XDG_STATE_HOME": str(WORK / "state"), "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [
                "taskset", "-c", str(OTHER_CORE), *PROGRAM, "join",
                f"127.0.0.1:{server.port}", "--ca", str(CERTS / "ca.crt"),
                "--cert", f"{certificate}.crt", "--key", f"{certificate}.key", *words,
            ],
            env={**os.environ, **state, "PYTHONPATH": str(HERE.parent)}, start_new_session=True,
            stdin=stdin, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)

    def read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                self._take(os.read(self._fd, 1 << 16))

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        if b"\x1b[6n" in data:
            os.write(self._fd, b"\x1b[1;1R")  # as every terminal says where its cursor is
        self._part += data
        if self._key is not None and self._key[0] in self._part:
            self.echoes.append(now - self._key[1])
            self._key = None
        end = max(len(self._part) - 80, 0)
        for mark in re.finditer(rb"T=(\d+);S=\d+;N=\d+;", self._part):
            self.lags.append((now, now - int(mark[1]) / 1e9))
            end = mark.end()
        self._part = self._part[end:]

    def type(self, letter: str) -> None:
        """Press a key; it must be on the screen within a second."""
        self._key = (letter.encode(), time.monotonic())
        os.write(self._fd, self._key[0])
        end = time.monotonic() + 1
        while self._key is not None and time.monotonic() < end:
            self.read_for(0.001)
        if self._key is not None:
            self.echoes.append(1.0)
            self._key = None

    def type_words(self) -> None:
        """Type all letters, one each 60 ms or so, and delete the line."""
        for letter in self.LETTERS:
            self.type(letter)
            self.read_for(self._chance.uniform(0.03, 0.09))
        os.write(self._fd, b"\x15")
        self.read_for(0.5)

    def close(self) -> None:
        os.close(self._fd)
        if self.process.stdin is not None:
            self.process.stdin.close()


def flood(server: Running, room: int, *words: str) -> tuple[dict[str, float], Watched, float]:
    """Let ten talk to a client, which is typed to if it has a terminal.

    Returns what they said, what it showed, and its share of a core.
    """
    seen = Watched(server, "--room", f"r{room}", *words, terminal=not words)
    try:
        seen.read_for(2)
        before, started = cpu(seen.process.pid), time.monotonic()
        line = f"--n 10 --senders 10 --rate 200 --seconds 20 --first-room {room}"
        with generator(server, line, SERVER_CORE) as other:
            while other.poll() is None:
                if words:
                    seen.read_for(0.2)
                else:
                    seen.type_words()
            share = (cpu(seen.process.pid) - before) / (time.monotonic() - started)
            found = finish(other)
        seen.read_for(2)
    finally:
        seen.process.kill()
        seen.process.wait()
        seen.close()
    return found, seen, share
