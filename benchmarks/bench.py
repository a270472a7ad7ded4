#!/usr/bin/env python3
"""Run chat servers side by side under loadgen; print medians and ratios.

    python benchmarks/bench.py                     limit (2), inspircd, trio-chat (2)
    python benchmarks/bench.py --quick             a minute, to see that all works
    python benchmarks/bench.py --only trio-chat,durable --scen E --reps 5
    python benchmarks/bench.py --report benchmarks/out/results-TIME.jsonl --markdown -

Every repetition visits every pair of scenario and server, the servers in an order that rotates
from one repetition to the next, so that a slow minute of the machine does not fall on one of
them. Each pair gets a fresh server process on one core, and the generator on another. Only
processes started here are signalled, by their id. Standard library only; loopback only.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import itertools
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import ssl
import string
import subprocess
import sys
import time
from pathlib import Path

import chart
import report
from scenarios import DEFAULT_SCENARIOS, QUICK_SCENARIOS, SCENARIOS

HERE = Path(__file__).resolve().parent
DEFAULT_SERVERS = ("limit", "limit-long", "inspircd", "trio-chat", "trio-chat-process")
USUAL_BASES = ("inspircd", "limit")
STARTING = {"port", "plain", "work", "conf", "per_room"}  # placeholders filled at each start


# --- what can be run ---------------------------------------------------------------------


def load_servers(path):
    """The entries by name, each completed from the one that it is `like`."""
    entries = json.loads(Path(path).read_text())

    def whole(name):
        spec = entries[name]
        return {**whole(spec["like"]), **spec} if "like" in spec else spec

    return {name: whole(name) for name in entries}


def what_is_missing(spec, values):
    """Why this server cannot be started here, or None."""
    texts = [spec["cmd"], spec.get("prepare", ""), *spec.get("env", {}).values()]
    for text in texts:
        for _, field, _, _ in string.Formatter().parse(text):
            if field and field not in values and field not in STARTING:
                return f"needs --var {field}=..."
    program = shlex.split(spec["cmd"])[0]
    if "{" not in program and not shutil.which(program):
        return f"{program} is not installed"
    return None


def choose_servers(o, servers, values):
    """Those asked for that can be started; the others are named and left out."""
    names = o.only.split(",") if o.only else list(DEFAULT_SERVERS)
    if unknown := [n for n in names if n not in servers]:
        raise SystemExit(f"no such server: {', '.join(unknown)}; there are {', '.join(servers)}")
    for name in names[:]:
        if missing := what_is_missing(servers[name], values):
            print(f"without {name}: {missing}", file=sys.stderr)
            names.remove(name)
    if not names:
        raise SystemExit("no server to run")
    return names


def choose_scenarios(o):
    default = QUICK_SCENARIOS if o.quick else DEFAULT_SCENARIOS
    names = o.scen.split(",") if o.scen else list(default)
    if unknown := [s for s in names if s not in SCENARIOS]:
        raise SystemExit(
            f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        )
    return names


def choose_cores(o):
    """The server's core and the generator's: the first two that we may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 and (o.server_core is None or o.gen_core is None):
        raise SystemExit("two cores are needed: one for the server, one for the generator")
    if o.server_core is None:
        o.server_core = next(core for core in cores if core != o.gen_core)
    if o.gen_core is None:
        o.gen_core = next(core for core in cores if core != o.server_core)


def option(scenario, name, default, o):
    """A number among the options of a scenario and of --gen, whose are the last."""
    words = SCENARIOS[scenario].args.split() + shlex.split(o.gen)
    found = [value for word, value in itertools.pairwise(words) if word == name]
    return int(found[-1]) if found else default


# --- one server --------------------------------------------------------------------------


def children(pid):
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def port_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


class Server:
    """A server process with an empty work folder; a context manager that ends it."""

    def __init__(self, name, spec, rooms, o, values):
        self.name = name
        self.port = free_port()
        self.work = o.work / name
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        per_room = " ".join(spec.get("per_room", "").format(i=i) for i in range(rooms))
        values = {
            **values, "port": self.port, "plain": free_port(), "work": self.work,
            "per_room": per_room,
        }  # fmt: skip
        if "template" in spec:
            filled = (HERE / spec["template"]).read_text()
            for key, value in values.items():
                filled = filled.replace(f"@{key.upper()}@", str(value))
            values["conf"] = self.work / "server.conf"
            values["conf"].write_text(spec.get("head", "") + filled)
        if "prepare" in spec:
            subprocess.run(
                shlex.split(spec["prepare"].format(**values)),
                cwd=self.work, check=True, capture_output=True,
            )  # fmt: skip
        command = shlex.split(spec["cmd"].format(**values))
        environment = {k: v.format(**values) for k, v in spec.get("env", {}).items()}
        with open(self.work / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(o.server_core), *command],
                cwd=self.work,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self):
        try:
            for _ in range(200):
                if port_open(self.port):
                    time.sleep(0.2)
                    return self
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
            raise RuntimeError(f"{self.name} did not start; see {self.work}/log")
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        pids = children(self.process.pid)
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break


# --- one run -----------------------------------------------------------------------------


def softirq_apart():
    """Does this kernel keep softirq out of the processes' times? If unknown: no."""
    release = os.uname().release
    for path, opener in (("/proc/config.gz", gzip.open), (f"/boot/config-{release}", open)):
        with contextlib.suppress(OSError), opener(path, "rt") as f:
            return "CONFIG_IRQ_TIME_ACCOUNTING=y\n" in f
    return False


def wait_until_quiet(limit, patience):
    """Wait until other programs use less than `limit` of the machine."""

    def busy():
        line = Path("/proc/stat").read_text().partition("\n")[0]
        v = [int(x) for x in line.split()[1:8]]
        return sum(v) - v[3] - v[4], sum(v)

    end = time.monotonic() + patience
    while True:
        before = busy()
        time.sleep(0.4)
        after = busy()
        share = (after[0] - before[0]) / max(1, after[1] - before[1])
        if share < limit or time.monotonic() > end:
            return


def run_one(name, spec, scenario, o, values):
    """Start the server, load it, end it; returns the row of the results."""
    certs = values["certs"]
    load = SCENARIOS[scenario]
    rooms = max(load.rooms, option(scenario, "--rooms", 1, o))
    with Server(name, spec, rooms, o, values) as server:
        command = [
            "taskset", "-c", str(o.gen_core), str(values["bin"] / "loadgen"), "--json",
            "--port", str(server.port), "--dialect", spec["dialect"], "--label", name,
            "--core", str(o.server_core), "--ca", str(certs / "ca.crt"),
            "--pid", ",".join(map(str, children(server.process.pid))),
        ]  # fmt: skip
        if o.ncert:
            command += ["--cert", f"{certs}/client-%d.crt", "--key", f"{certs}/client-%d.key"]
            command += ["--ncert", str(o.ncert)]
        else:
            command += ["--client-certs", str(certs)]
        more = spec.get("gen", []) + shlex.split(o.gen)
        with contextlib.ExitStack() as stack:
            if load.beside:
                beside = [*command, *load.beside.split(), *more]
                other = stack.enter_context(start_later(beside, load.delay))
            done = subprocess.run(
                [*command, *load.args.split(), *more],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            if load.beside and other.wait(120):
                raise RuntimeError("the generator beside failed")
    row = {"server": name, "scenario": scenario}
    if done.returncode or not done.stdout:
        return {**row, "error": (done.stderr or "no output")[-300:]}
    row |= json.loads(done.stdout)
    if softirq_apart():
        row["foreign_cpu"] = round(row["foreign_cpu"] - row["softirq"], 2)  # see loadgen.c
    if done.stderr:
        row["notes"] = done.stderr[-300:]
    return row


def start_later(command, delay):
    """Start a generator whose figures nobody wants, after `delay` s."""
    later = ["sh", "-c", f'sleep {delay}; exec "$@"', "later", *command]
    return subprocess.Popen(later, stdout=subprocess.DEVNULL)


def run_undisturbed(name, spec, scenario, o, values):
    """Like `run_one`; again, if other programs disturbed it. The last try counts."""
    for attempt in range(o.tries):
        wait_until_quiet(o.quiet, 15)
        try:
            row = run_one(name, spec, scenario, o, values)
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            row = {"server": name, "scenario": scenario, "error": str(error)}
        row["attempt"] = attempt
        if SCENARIOS[scenario].beside:
            break  # the generator beside is no disturbance
        if row.get("foreign_cpu", 0) <= o.foreign * max(row.get("secs", 1), 1):
            break
    return row


# --- all of them -------------------------------------------------------------------------


def describe_machine(project):
    """One paragraph on what the figures were measured with."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    git = ["git", "-C", str(project), "describe", "--always", "--dirty"]
    commit = ""
    with contextlib.suppress(OSError):
        commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return (
        f"{time.strftime('%Y-%m-%d')}, commit {commit or 'unknown'}; {model},"
        f" {os.cpu_count()} cores, Linux {platform.release()};"
        f" Python {platform.python_version()}, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}."
    )


def prepare(o, values, scenarios):
    """Build the C programs and make the certificates that are not there yet."""
    for program in ("make", "cc", "openssl", "taskset"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is not installed; see {HERE / 'README.md'}")
    values["bin"].mkdir(parents=True, exist_ok=True)
    subprocess.run(["make", "-s", "-C", str(HERE), f"O={values['bin']}"], check=True)
    bots = 0 if o.ncert else max(SCENARIOS[s].bots or option(s, "--n", 100, o) for s in scenarios)
    make_certs = ["sh", str(HERE / "make_certs.sh"), str(values["certs"]), "--kind", o.certkind]
    make_certs += ["--clients", str(o.ncert), "--bots", str(bots)]
    subprocess.run(make_certs, check=True)


def run_all(o, servers):
    """Run everything; returns the path of the results."""
    choose_cores(o)
    scenarios = choose_scenarios(o)
    o.work = Path(o.work).resolve()
    values = {
        "here": HERE,
        "bin": o.work / "bin",
        "certs": o.work / "certs" / o.certkind,
        "project": HERE.parent,
        "python": sys.executable,
        "runasroot": "--runasroot" if os.geteuid() == 0 else "",  # InspIRCd insists on it
    }
    for var in o.var:
        key, _, value = var.partition("=")
        # Servers run in folders of their own, so paths are made absolute; links
        # stay, since a virtual environment's python is one.
        values[key] = os.path.abspath(value) if os.path.exists(value) else value
    names = choose_servers(o, servers, values)
    prepare(o, values, scenarios)
    path = o.work / f"results-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    with open(path, "x") as out:
        print(json.dumps({"machine": describe_machine(values["project"])}), file=out, flush=True)
        for rep in range(o.reps):
            for scenario in scenarios:
                turn = rep % len(names)
                for name in names[turn:] + names[:turn]:
                    row = run_undisturbed(name, servers[name], scenario, o, values) | {"rep": rep}
                    print(json.dumps(row), file=out, flush=True)
                    say(row)
    return path


def say(row):
    """One line of progress."""
    field = SCENARIOS[row["scenario"]].figure.field
    print(
        f"{time.strftime('%H:%M:%S')} rep {row['rep']} {row['scenario']:8} {row['server']:12}"
        f" {field} {row.get(field, row.get('error'))}  us/copy {row.get('core_us_per_delivery')}"
        f"  foreign {row.get('foreign_cpu')}  {row.get('notes', '')[:100]!r}",
        file=sys.stderr,
    )


def show(o, path, servers):
    """Report on a file of results."""
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    machine = rows[0].get("machine", "")
    rows = [r for r in rows if "server" in r]
    if o.only:
        rows = [r for r in rows if r["server"] in o.only.split(",")]
    if o.scen:
        rows = [r for r in rows if r["scenario"] in o.scen.split(",")]
    if not rows:
        raise SystemExit(f"nothing to report in {path}")
    results = report.Results(rows)
    if o.base:
        bases = o.base.split(",")
    else:
        bases = [b for b in USUAL_BASES if b in results.servers] or results.servers[:1]
    durable = {name for name, spec in servers.items() if spec.get("durable")}
    if o.chart:
        chart.write(Path(o.chart), results, bases[0], machine, durable)
    if o.markdown:
        tables = report.markdown(results, bases, machine, durable)
        if o.markdown == "-":
            print(tables)
            return
        Path(o.markdown).write_text(tables + "\n")
    print(report.text(results, bases))


def parse_options():
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--only", help=f"servers, comma-separated (default: {','.join(DEFAULT_SERVERS)})"
    )
    p.add_argument("--scen", help=f"scenarios (default: {','.join(DEFAULT_SCENARIOS)})")
    p.add_argument("--reps", type=int, help="repetitions (default 3)")
    p.add_argument(
        "--quick",
        action="store_true",
        help=f"one repetition of {','.join(QUICK_SCENARIOS)}; do not wait for a quiet machine",
    )
    p.add_argument(
        "--base", help="servers that ratios are to, comma-separated (default: inspircd,limit)"
    )
    p.add_argument("--markdown", metavar="FILE", help="write Markdown tables too; - for stdout")
    p.add_argument("--chart", metavar="FILE", help="draw an SVG too, against the first base")
    p.add_argument("--report", metavar="FILE", help="run nothing; report on these results")
    p.add_argument("--servers", default=HERE / "servers.json", help="how to start each server")
    p.add_argument(
        "--var",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="for {NAME} in servers.json",
    )
    p.add_argument("--gen", default="", help="more loadgen options for every run, as one word")
    p.add_argument(
        "--work",
        default=HERE / "out",
        help="folder for all that is made (default: %(default)s)",
    )
    p.add_argument("--certkind", default="p256", choices=["p256", "ed25519", "rsa2048"])
    p.add_argument(
        "--ncert", type=int, default=0, help="share so many client certificates (default: one each)"
    )
    p.add_argument("--server-core", type=int)
    p.add_argument("--gen-core", type=int)
    p.add_argument(
        "--quiet", type=float, help="start when others use less of the machine (default 0.2)"
    )
    p.add_argument(
        "--foreign",
        type=float,
        default=0.25,
        help="repeat a run if others used more cores than this",
    )
    p.add_argument("--tries", type=int, help="how often at most (default 2)")
    o = p.parse_args()
    usual = (1, 1.0, 1) if o.quick else (3, 0.2, 2)
    for name, value in zip(("reps", "quiet", "tries"), usual, strict=True):
        if getattr(o, name) is None:
            setattr(o, name, value)
    return o


def main():
    o = parse_options()
    servers = load_servers(o.servers)
    path = o.report or run_all(o, servers)
    show(o, path, servers)
    if not o.report:
        print(f"\nresults in {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
