#!/usr/bin/env python3
"""Show what size does: many members, many rooms, long histories, peers and clients that lag.

    python benchmarks/scale.py                      about eight minutes; one table on stdout
    python benchmarks/scale.py --only history,start

Each figure is of a server process of this clone, over TLS on loopback, with its log on and
synced (`synchronous=FULL`, encrypted) and the limits of server.toml; databases are made by the
server's own Store. What misses its goal is measured once more, since other programs disturb;
the last measurement counts. Exit status 1 if a goal is missed. It needs what bench.py needs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random  # noqa: TID251 - nothing secret here
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from daemon import (
    CERTS,
    HERE,
    OUT,
    PROGRAM,
    WORK,
    Running,
    faults,
    finish,
    generator,
    load,
    resident,
)
from databases import GB, HISTORY, MB, big_database, cool, die_with_long_wal, new_database
from instructions import Peer
from watched import flood


class Row(NamedTuple):
    """A line of the table."""

    what: str
    figure: str
    goal: str
    met: bool


def members() -> Iterator[Row]:
    with Running(new_database("r0")) as server:
        found = load(server, "--n 5000 --senders 1 --window 1 --msgs 40 --settle 2 --stall 30")
    wrong = faults(found)
    yield Row(
        "5,000 in one room: all join, one says 40 lines",
        f"{wrong or 'each got each'}; joined in {5000 / found['ready_per_s']:.1f} s",
        "nothing lost", not wrong,
    )  # fmt: skip
    p99 = found["lat_p99_ms"]
    yield Row(
        "until a line is with 99 % of them, and with all",
        f"{p99:.0f} ms, {found['lat_max_ms']:.0f} ms at worst", "p99 < 250 ms", p99 < 250,
    )  # fmt: skip
    each = found["kb_per_conn"]
    yield Row("the server's memory for each of them", f"{each:.1f} KiB", "<= 40 KiB", each <= 40)


def rooms() -> Iterator[Row]:
    names = [f"r{number}" for number in range(5000)]
    with Running(new_database(*names)) as server:
        found = load(
            server, "--n 10000 --rooms 5000 --senders 2 --window 1 --msgs 3 --settle 2 --stall 30"
        )
    wrong = faults(found)
    yield Row(
        "5,000 rooms of 2: everybody says 3 lines",
        f"{wrong or 'each got each'}; {found['sent']:,} lines in {found['secs']:.1f} s",
        "nothing lost", not wrong,
    )  # fmt: skip


def idle() -> Iterator[Row]:
    loads = {
        "one room of 50": "--n 50 --senders 10 --window 8 --seconds 2",
        "100 rooms of 5": "--n 500 --rooms 100 --senders 5 --window 2 --seconds 2"
        " --first-bot 51 --first-room 1",
    }
    beside = (
        "--n 2000 --rooms 1000 --first-bot 551 --first-room 101 --senders 0 --msgs 0 --settle 600"
    )
    costs: dict[tuple[str, bool], list[float]] = {}
    path = new_database(*(f"r{number}" for number in range(1101)))
    wrong = ""
    for turn in range(10):
        crowded = turn % 2 == 1
        for each in path.parent.glob("chat.db*"):
            shutil.copyfile(each, WORK / each.name.replace("chat", "run"))
            (WORK / each.name.replace("chat", "run")).chmod(0o600)
        with Running(WORK / "run.db") as server, contextlib.ExitStack() as stack:
            if crowded:
                crowd = stack.enter_context(generator(server, beside))
                stack.callback(crowd.kill)
                server.quiet()
            for name, words in loads.items():
                found = load(server, words)
                wrong = wrong or faults(found)
                cost = found["server_cpu"] / found["delivered"]
                costs.setdefault((name, crowded), []).append(cost * 1e6)
    for name in loads:
        alone, among = (statistics.median(costs[name, crowded]) for crowded in (False, True))
        yield Row(
            f"CPU for a copy in {name}: beside 2,000 idle in 1,000 other rooms, to alone",
            f"{among / alone:.2f} ({among:.2f} to {alone:.2f} us){wrong and '; ' + wrong}",
            "<= 1.1", among / alone <= 1.1 and not wrong,
        )  # fmt: skip


def history() -> Iterator[Row]:
    path = big_database()
    chance = random.Random(1)  # the same places each time
    places = {
        "newest": [HISTORY + 1] * 20,
        "oldest": [201] * 20,
        "random places": [chance.randrange(201, HISTORY) for _ in range(200)],
    }
    cool(path)
    with Running(path) as server:
        peer = Peer(server.port, CERTS, 1)
        peer.join("history")
        for name, numbers in places.items():
            times = [turn_page(peer, before) * 1e3 for before in numbers]
            middle, worst = statistics.median(times), max(times)
            yield Row(
                f"a page of 200, {name} of a million lines",
                f"{middle:.1f} ms, {worst:.1f} ms at worst", "< 20 ms", worst < 20,
            )  # fmt: skip


def turn_page(peer: Peer, before: int) -> float:
    """Ask for the 200 lines before a number; returns the seconds until they were there."""
    started = time.monotonic()
    peer.say({"type": "history", "room": "history", "before": before, "limit": 200})
    heard = b""
    while not (heard.endswith(b"\n") and b'"page"' in heard):
        heard += peer.sock.recv(1 << 18)
    seconds = time.monotonic() - started
    page = heard.splitlines()[-1]  # after what the room had to say, if anything
    numbers = [entry["seq"] for entry in json.loads(page)["entries"]]
    if numbers != list(range(before - 200, before)):
        raise SystemExit(f"a wrong page before {before}: {len(numbers)} entries")
    return seconds


def start() -> Iterator[Row]:
    path = big_database()

    def listening(after: str) -> Row:
        cool(path)
        with Running(path, "r0") as server:
            seconds = server.seconds
        what = f"from exec to listening, database of {path.stat().st_size / GB:.1f} GB {after}"
        return Row(what, f"{seconds:.2f} s", "< 2 s", seconds < 2)

    with Running(path, "r0"):
        pass
    yield listening("closed in order")
    bots = random.SystemRandom().randrange(1, 4000)  # nobody's counters
    with Running(path, "r0") as server:
        words = f"--n 50 --senders 10 --window 8 --seconds 8 --first-bot {bots}"
        with generator(server, words) as other:
            time.sleep(4)
            server.kill()
            other.kill()
    size = path.with_name(f"{path.name}-wal").stat().st_size
    yield listening(f"after kill -9 under load (log of {size / MB:.0f} MB)")
    size = die_with_long_wal(path, 256 * MB)
    yield listening(f"after kill -9 with a log of {size / MB:.0f} MB that a reader held")


def deaf() -> Iterator[Row]:
    rates: dict[int, list[float]] = {0: [], 3: []}
    wrong = ""
    for turn in range(6):
        count = 3 * (turn % 2)
        with Running(new_database("r0")) as server:
            words = f"--n {97 + count} --deaf {count} --senders 10 --window 32 --seconds 3"
            found = load(server, words)
        wrong = wrong or faults(found)
        rates[count].append(found["deliveries_per_s"])
    without, beside = (statistics.median(each) for each in rates.values())
    yield Row(
        "copies/s to 97 members beside 3 that stop reading, to without",
        f"{beside / without:.2f} ({beside / 1e6:.2f} M to {without / 1e6:.2f} M)"
        f"{wrong and '; ' + wrong}",
        ">= 0.95", beside / without >= 0.95 and not wrong,
    )  # fmt: skip
    sizes: dict[int, int] = {}
    with Running(new_database("r0")) as server:
        words = "--n 100 --deaf 3 --senders 10 --rate 300 --size 800 --seconds 62"
        with generator(server, words) as other:
            started = time.monotonic()
            for seconds in (10, 60):
                time.sleep(started + 1.5 + seconds - time.monotonic())
                sizes[seconds] = resident(server.pid)
            wrong = faults(finish(other))
    grown = (sizes[60] - sizes[10]) / MB
    yield Row(
        "the server's memory after 60 s of 3,000 lines/s beside them, to 10 s",
        f"{grown:+.1f} MiB (of {sizes[60] / MB:.0f}){wrong and '; ' + wrong}",
        "< 4 MiB more", grown < 4 and not wrong,
    )  # fmt: skip


def client() -> Iterator[Row]:
    with Running(new_database("r0", "r1")) as server:
        for room, words in enumerate((("--plain",), ())):
            face = words[0] if words else "prompt"
            found, seen, share = flood(server, room, *words)
            late = [lag for when, lag in seen.lags if when > seen.lags[-1][0] - 3]
            behind = statistics.median(late)
            well = len(seen.lags) == found["sent"] and behind < 1
            yield Row(
                f"2,000 lines/s for 20 s to a client, {face}: how late at the end",
                f"{behind * 1e3:.0f} ms; {len(seen.lags):,} of {found['sent']:,} lines shown;"
                f" {share:.0%} of a core",
                "all, < 1 s late", well,
            )  # fmt: skip
            if seen.echoes:
                times = sorted(seen.echoes)
                middle, p99 = (times[int(len(times) * q)] * 1e3 for q in (0.5, 0.99))
                yield Row(
                    "meanwhile, from a key to its echo",
                    f"p50 {middle:.1f} ms, p99 {p99:.1f} ms of {len(times)} keys",
                    "p99 < 20 ms", p99 < 20,
                )  # fmt: skip
    times = []
    for _ in range(10):
        started = time.monotonic()
        subprocess.run([*PROGRAM, "--help"], cwd=HERE.parent, stdout=subprocess.DEVNULL, check=True)
        times.append((time.monotonic() - started) * 1e3)
    middle = statistics.median(times)
    yield Row("trio-chat --help, median of 10", f"{middle:.0f} ms", "< 100 ms", middle < 100)


MEASUREMENTS: dict[str, Callable[[], Iterator[Row]]] = {
    each.__name__: each for each in (members, rooms, idle, history, start, deaf, client)
}
FILES = {"members": 5000, "rooms": 10_000, "idle": 2600}  # connections at once


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def prepare(names: list[str]) -> None:
    """Build the generator, make certificates, see that enough files may be open."""
    for program in ("make", "cc", "openssl", "taskset"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is not installed; see {HERE / 'README.md'}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = max(FILES.get(name, 100) for name in names)
    if hard < most + 100:
        raise SystemExit(
            f"each process may have {hard} files open, and {most + 100} are needed: raise the"
            " hard limit (ulimit -Hn), or leave some out with --only"
        )
    WORK.mkdir(parents=True, exist_ok=True)
    (OUT / "bin").mkdir(exist_ok=True)
    subprocess.run(["make", "-s", "-C", HERE, f"O={OUT / 'bin'}"], check=True)
    bots = max(most, 4100 if "start" in names else 100)
    subprocess.run(["sh", HERE / "make_certs.sh", CERTS, "--bots", str(bots)], check=True)


def main() -> int:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help=f"of {','.join(MEASUREMENTS)}")
    parser.add_argument("--tries", type=int, default=2, help="how often at most (default 2)")
    o = parser.parse_args()
    names = o.only.split(",") if o.only else list(MEASUREMENTS)
    if unknown := [name for name in names if name not in MEASUREMENTS]:
        raise SystemExit(f"no {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    prepare(names)
    table: list[Row] = []
    for name in names:
        for _ in range(o.tries):
            rows = list(MEASUREMENTS[name]())
            for row in rows:
                say(f"{name}: {row.what}: {row.figure}")
            if all(row.met for row in rows):
                break
        table += rows
    shutil.rmtree(WORK)
    print("| what | figure | goal | |\n| --- | --- | --- | --- |")
    for row in table:
        print(f"| {row.what} | {row.figure} | {row.goal} | {'met' if row.met else 'MISSED'} |")
    return 0 if all(row.met for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
