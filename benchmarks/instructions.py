#!/usr/bin/env python3
"""Count the server's instructions for each copy and login; fail if they have grown.

    python benchmarks/instructions.py              compare with instructions.json
    python benchmarks/instructions.py --write      set down what is found there instead
    python benchmarks/instructions.py --only rooms --keep   where do they go? callgrind's files

Unlike times, counts hardly differ from one run to the next, whatever else the machine does.
The server runs under valgrind's callgrind, with its log on; this program is its peers, over TLS
on loopback, in lockstep: all say their lines while the server is stopped, then it goes on and
all read until every copy is there. The kernel's work is not counted. Standard library only, but
for what the server needs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "instructions.json"
TEXT = "x" * 200


class Scenario(NamedTuple):
    """So many peers in rooms of so many; how many of each room speak, how much, how often."""

    what: str
    rooms: int
    members: int
    senders: int
    lines: int
    rounds: int


SCENARIOS = {
    "room": Scenario("a copy, one room of 50", 1, 50, 10, 16, 12),
    "rooms": Scenario("a copy, 20 rooms of 5", 20, 5, 5, 2, 12),
    "login": Scenario("a login", 1, 20, 0, 0, 0),
}


class Peer:
    """A member on a blocking socket."""

    def __init__(self, port: int, certs: Path, number: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(certs / "ca.crt")
        name = certs / f"bot{number:04d}"
        context.load_cert_chain(f"{name}.crt", f"{name}.key")
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
        self.sock.settimeout(120)
        self.heard = b""
        self.n = 0
        self.say({"type": "hello", "protocol": 1, "client": "bench"})
        self.read_until(b'"welcome"', 1)

    def say(self, *frames: dict[str, object]) -> None:
        lines = (json.dumps(frame, separators=(",", ":")) + "\n" for frame in frames)
        self.sock.sendall("".join(lines).encode())

    def join(self, room: str) -> None:
        self.room = room
        self.say({"type": "join", "room": room, "id": "j"})
        self.read_until(b'"joined"', 1)

    def talk(self, lines: int) -> None:
        frames = []
        for _ in range(lines):
            self.n += 1
            frames.append({"type": "send", "room": self.room, "n": self.n, "text": TEXT})
        self.say(*frames)

    def read_until(self, mark: bytes, count: int) -> None:
        """Read until `mark` was heard `count` times."""
        while self.heard.count(mark) < count:
            data = self.sock.recv(1 << 16)
            if not data:
                raise SystemExit(f"the server ended a connection: {self.heard[-300:]!r}")
            self.heard += data
        self.heard = b""


class Counted:
    """A server under callgrind, which counts only inside `counting`."""

    def __init__(self, work: Path, certs: Path, rooms: int) -> None:
        self.work = work
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        names = [word for i in range(rooms) for word in ("--room", f"r{i}")]
        self.process = subprocess.Popen(
            [
                "valgrind", "--tool=callgrind", "--instr-atstart=no",
                f"--callgrind-out-file={work}/callgrind.out",
                sys.executable, "-m", "trio_chat", "serve", *names, "--plain",
                "--ca", certs / "ca.crt", "--cert", certs / "server.crt",
                "--key", certs / "server.key", "--host", "127.0.0.1", "--port", str(self.port),
                "--db", work / "chat.db", "--config", HERE / "server.toml",
            ],
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE.parent)},
            cwd=work, stdin=subprocess.DEVNULL,
            stdout=(work / "log").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __enter__(self) -> Self:
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(0.1)
        raise SystemExit(f"the server did not start; see {self.work}/log")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def count(self, work: Callable[[], None]) -> int:
        """Return how many instructions the server needs while `work` is done."""
        self._control("-i", "on")
        work()
        self._control("-i", "off")
        self._control("-d")
        [dump] = self.work.glob("callgrind.out.*")
        found = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def _control(self, *words: str) -> None:
        subprocess.run(
            ["callgrind_control", *words, str(self.process.pid)], check=True, capture_output=True
        )


def measure(name: str, certs: Path, work: Path) -> float:
    """Return the instructions for one copy, or one login."""
    scenario = SCENARIOS[name]
    size = scenario.rooms * scenario.members
    with Counted(work, certs, scenario.rooms) as server:
        peers = [Peer(server.port, certs, 1)]  # what is done only once is done now

        def log_in() -> None:
            peers.extend(Peer(server.port, certs, number) for number in range(2, size + 1))

        def talk(rounds: int) -> None:
            heard = scenario.senders * scenario.lines
            for _ in range(rounds):
                server.process.send_signal(signal.SIGSTOP)  # it shall find everything at once
                for room in rooms:
                    for peer in room[: scenario.senders]:
                        peer.talk(scenario.lines)
                server.process.send_signal(signal.SIGCONT)
                for peer in peers:
                    peer.read_until(b'"text"', heard)

        if not scenario.rounds:
            return server.count(log_in) / (size - 1)
        log_in()
        for number, peer in enumerate(peers):
            peer.join(f"r{number % scenario.rooms}")
        rooms = [peers[number :: scenario.rooms] for number in range(scenario.rooms)]
        talk(2)
        copies = scenario.rounds * scenario.rooms * scenario.members
        return server.count(lambda: talk(scenario.rounds)) / (
            copies * scenario.senders * scenario.lines
        )


def conditions() -> dict[str, str]:
    """What the counts depend on besides the project."""
    return {
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "machine": platform.machine(),
    }


def main() -> int:
    """Measure, compare, say how it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help=f"of {','.join(SCENARIOS)}")
    parser.add_argument("--write", action="store_true", help="make what is found the baseline")
    parser.add_argument("--keep", action="store_true", help="keep callgrind's files and name them")
    parser.add_argument("--certs", type=Path, default=HERE / "out" / "certs" / "p256")
    o = parser.parse_args()
    for program in ("valgrind", "callgrind_control", "openssl"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is not installed; on Debian: valgrind, openssl")
    o.certs.parent.mkdir(parents=True, exist_ok=True)
    make_certs = ["sh", HERE / "make_certs.sh", o.certs, "--bots", "100"]
    subprocess.run(make_certs, check=True)
    names = o.only.split(",") if o.only else list(SCENARIOS)
    found = dict(_measured(names, o.certs, o.keep))
    if o.write:
        BASELINE.write_text(json.dumps({**conditions(), "counts": found}, indent=2) + "\n")
        return 0
    return _compare(found)


def _measured(names: list[str], certs: Path, keep: bool) -> Iterator[tuple[str, float]]:
    for name in names:
        work = Path(tempfile.mkdtemp(prefix="instructions-"))
        try:
            yield name, round(measure(name, certs, work))
        finally:
            if keep:
                print(f"{name}: {work}/callgrind.out.*", file=sys.stderr)
            else:
                shutil.rmtree(work)


def _compare(found: dict[str, float]) -> int:
    baseline = json.loads(BASELINE.read_text())
    here = conditions()
    same = all(baseline[key] == value for key, value in here.items())
    allowed = 1.05 if same else 1.3
    if not same:
        print(f"baseline: {baseline['python']}, {baseline['openssl']}; here others: wide limits")
    grown = False
    for name, count in found.items():
        ratio = count / baseline["counts"][name]
        verdict = "has grown" if ratio > allowed else "is well"
        grown = grown or ratio > allowed
        print(f"{name:6} {count:12,.0f} instructions for {SCENARIOS[name].what}:"
              f" {ratio:.3f} of the baseline, {verdict}")  # fmt: skip
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
