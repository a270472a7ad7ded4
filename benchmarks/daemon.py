"""A server of this clone as a process, and the generator's load on it: what scale.py measures."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

__all__ = [
    "CERTS", "HERE", "OTHER_CORE", "OUT", "PROGRAM", "SERVER_CORE", "WORK", "Running", "cpu",
    "faults", "finish", "generator", "load", "resident",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
CERTS = OUT / "certs" / "p256"
WORK = OUT / "scale"
PROGRAM = (sys.executable, "-m", "trio_chat")
SPEC = json.loads((HERE / "servers.json").read_text())["trio-chat"]
SERVER_CORE, OTHER_CORE = (sorted(os.sched_getaffinity(0)) * 2)[:2]


class Running:
    """A server on a core of its own. A context manager that ends it.

    Attributes:
        seconds: From starting the program until it listened.
    """

    def __init__(self, database: Path, *rooms: str, core: int = SERVER_CORE) -> None:
        command = SPEC["cmd"].format(
            python=sys.executable, certs=CERTS, port=0, work="{work}", conf=HERE / "server.toml",
            per_room=" ".join(f"--room {room}" for room in rooms),
        )  # fmt: skip
        words = [str(database) if "{work}" in word else word for word in shlex.split(command)]
        log = WORK / "server.log"
        started = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *words],
                env={**os.environ, "PYTHONPATH": str(HERE.parent)},
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        while not (found := re.search(rb"listening on .*:(\d+)\n", log.read_bytes())):
            if self.process.poll() is not None or time.monotonic() > started + 60:
                self.kill()
                raise SystemExit(f"the server did not start; see {log}")
            time.sleep(0.002)
        self.seconds = time.monotonic() - started
        self.pid, self.port = self.process.pid, int(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def quiet(self) -> None:
        """Wait until it does nothing any more."""
        while True:
            before = cpu(self.pid)
            time.sleep(1)
            if cpu(self.pid) - before < 0.05:
                return


def generator(server: Running, words: str, core: int = OTHER_CORE) -> subprocess.Popen[str]:
    """Start a load."""
    command = [
        "taskset", "-c", str(core), str(OUT / "bin" / "loadgen"), "--json", "--dialect", "json",
        "--port", str(server.port), "--pid", str(server.pid), "--core", str(SERVER_CORE),
        "--ca", str(CERTS / "ca.crt"), "--client-certs", str(CERTS),
        *SPEC["gen"], *words.split(),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def load(server: Running, words: str) -> dict[str, float]:
    """Run a load and return what the generator found."""
    return finish(generator(server, words))


def finish(process: subprocess.Popen[str]) -> dict[str, float]:
    told, _ = process.communicate(timeout=300)
    if process.returncode or not told:
        raise SystemExit("the generator failed")
    found: dict[str, float] = json.loads(told)
    return found


def faults(found: dict[str, float]) -> str:
    """Name what went wrong under a load, "" for nothing."""
    kinds = ("lost", "dup", "ooo", "misrouted", "refusals", "dead")
    wrong = [f"{kind} {found[kind]}" for kind in kinds if found[kind]]
    if found["ready"] != found["n"]:
        wrong.append(f"not ready {found['n'] - found['ready']}")
    return ", ".join(wrong)


def cpu(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()
