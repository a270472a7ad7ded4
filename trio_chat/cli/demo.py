"""`trio-chat demo`: a throw-away CA, server and two bots, and you in the room."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.cli.faces import Conversation, interactive
from trio_chat.cli.help import arguments
from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    import trio

    from trio_chat.address import Address
    from trio_chat.client import Client

__all__ = ["BOTS", "EPILOG", "SUMMARY", "USAGE", "add_arguments", "bot_program", "run"]

USAGE = "trio-chat demo [--room ROOM] [--plain]"
SUMMARY = "try it: a throw-away server, two bots and you in the room"

EPILOG = """\
examples:
  trio-chat demo
  echo '!echo hello' | trio-chat demo --plain

Everything is in a temporary folder, gone when you leave (/quit or Ctrl-D).
"""

BOTS = ("echo_bot", "welcome_bot")
"""The examples that are in the room; an installed package has them beside its modules."""

YOU, FRIEND = "alice", "bob"
_ANSWER_TIME = 0.5  # seconds that the bots get to answer the last line of a pipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `demo`."""
    add = arguments(parser).add_argument
    add("--room", default="lobby", metavar="ROOM", help="what the room is called (lobby)")
    add("--plain", action="store_true", help="a line an event, no prompt; so without a terminal")


def run(options: argparse.Namespace) -> int:
    """Run the demo until the user leaves; 130 if that was by SIGINT."""
    import logging
    import tempfile

    from trio_chat.names import check_name

    room = check_name(options.room)
    programs = [bot_program(bot) for bot in BOTS]
    logging.getLogger("trio_chat").addHandler(logging.NullHandler())  # not into the prompt
    with (
        _exit_on_signals(),
        tempfile.TemporaryDirectory(prefix="trio-chat-demo-", ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        fingerprint = _make_certificates(folder)
        return Conversation(
            connecting=_party(folder, room, programs),
            fingerprint=fingerprint,
            rooms=[room],
            folder=None,
            answer_time=_ANSWER_TIME,
        ).run(plain=options.plain or not interactive())


def bot_program(name: str) -> Path:
    """Return the file of an example: in the installed package, or in the checkout.

    Raises:
        ConfigError: it is in neither.
    """
    import trio_chat

    package = Path(trio_chat.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    raise ConfigError(
        f"the example {name}.py is not installed", hint="pip install --force-reinstall trio-chat"
    )


# --- who takes part ----------------------------------------------------------------------


def _make_certificates(folder: Path) -> str:
    """Make everybody's certificate; return the fingerprint of the user's key."""
    from trio_chat.identity import key_fingerprint
    from trio_chat.pki import Authority

    authority = Authority.create(folder / "ca.crt", days=30)
    authority.issue_server(["localhost", "127.0.0.1"], days=30)
    authority.issue_client(FRIEND, days=30)
    for bot in BOTS:
        authority.issue_client(bot, bot=True, days=30)
    return key_fingerprint(authority.issue_client(YOU, days=30).certificate)


@asynccontextmanager
async def _party(folder: Path, room: str, programs: list[Path]) -> AsyncIterator[Client]:
    """Run server and bots for the time of the block, and give the user's client."""
    from functools import partial

    import trio

    from trio_chat.address import Address
    from trio_chat.client import connect
    from trio_chat.server import ServerConfig, serve

    config = ServerConfig(ca=folder / "ca.crt", port=0, rooms=(room,), durability="process")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, config)
        address = Address("localhost", server.port)
        async with trio.open_nursery() as starting:
            for program in programs:
                bot = partial(_run_bot, program, address, folder, room)
                starting.start_soon(nursery.start, bot)
        _announce(address, folder, room)
        async with connect(
            address,
            cert=folder / f"{YOU}.crt",
            key=folder / f"{YOU}.key",
            device=None,
            data=folder / "data",
        ) as client:
            yield client
        nursery.cancel_scope.cancel()


async def _run_bot(
    program: Path, address: Address, folder: Path, room: str, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run an example until cancelled; it has started when it says its first line.

    Raises:
        ConfigError: it ended by itself; the text is the last it said.
    """
    import os
    import subprocess
    from functools import partial

    import trio

    cert = folder / f"{program.stem}.crt"
    command = [sys.executable, str(program), str(address), "--room", room]
    command += ["--cert", str(cert), "--key", str(cert.with_suffix(".key"))]
    run = partial(
        trio.run_process,
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        start_new_session=True,  # Ctrl-C is for us; we end the bots
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data")},  # gone with the rest
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        said, started = b"", False
        async for data in process.stdout:
            said = (said + data)[-4096:]
            if b"\n" in said and not started:
                started = True
                task_status.started()
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    raise ConfigError(f"{program.name} has ended: {last}")


def _announce(address: Address, folder: Path, room: str) -> None:
    import shlex

    friend = folder / f"{FRIEND}.crt"
    join = ["trio-chat", "join", str(address), "--cert", str(friend)]
    join += ["--key", str(friend.with_suffix(".key"))]
    for line in (
        "this is a throw-away chat server with a CA of its own; it is gone when you leave",
        f"you are {YOU}, in the room {room} with two bots: try `!echo hello` and `!help`",
        "what is said is end-to-end encrypted: the server cannot read it, those in the room can",
        f"from another terminal, a second person joins as {FRIEND}:",
        f"  {shlex.join(join)}",
    ):
        print(f"demo: {line}", file=sys.stderr)
    sys.stderr.flush()


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Make the signals that end a program exceptions, wherever Trio does not listen to them.

    So the folder is removed whenever they come.
    """
    import signal

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    wanted = [getattr(signal, n, None) for n in ("SIGTERM", "SIGHUP", "SIGBREAK")]
    before = {
        number: signal.signal(number, leave)
        for number in wanted
        if number is not None and signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
