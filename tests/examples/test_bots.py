"""Each example, run as people run it, against a real server."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

from trio_chat import Client, Room, ServerConfig, connect, serve
from trio_chat.pki import Authority
from trio_chat.protocol.frames import Message

EXAMPLES = Path(__file__).parents[2] / "examples"
BOTS = ("echo_bot", "welcome_bot", "remind_bot", "tail_bot")
PATIENCE = 20.0  # seconds; a busy machine starts a program slowly

Start = Callable[..., AbstractAsyncContextManager[trio.Process]]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = Authority.create(folder / "ca.crt")
    authority.issue_server(["localhost", "127.0.0.1"])
    for person in ("alice", "bob"):
        authority.issue_client(person)
    for bot in (*BOTS, "parrot"):
        authority.issue_client(bot, bot=True)
    return folder


@pytest.fixture
async def address(pki: Path, tmp_path: Path) -> AsyncIterator[str]:
    config = ServerConfig(
        ca=pki / "ca.crt",
        db=tmp_path / "chat.db",
        port=0,
        rooms=("lobby",),
        durability="process",
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, config)
        yield f"localhost:{server.port}"
        nursery.cancel_scope.cancel()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the bots and the people here keep their keys."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def enter(
    pki: Path, address: str, home: Path
) -> Callable[..., AbstractAsyncContextManager[Client]]:
    def enter(user: str, device: str = "one") -> AbstractAsyncContextManager[Client]:
        cert = pki / f"{user}.crt"
        return connect(address, cert=cert, key=cert.with_suffix(".key"), device=device)

    return enter


@pytest.fixture
def start(pki: Path, address: str, home: Path) -> Start:
    @asynccontextmanager
    async def start(bot: str, *options: str) -> AsyncIterator[trio.Process]:
        """Run a bot, and make sure that SIGTERM ends it in peace."""
        process = await trio.lowlevel.open_process(
            command(bot, address, pki, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert f"{bot}: {bot} is in lobby at {address}\n" == await read_line(process)
            yield process
            if process.poll() is None:
                process.terminate()
                assert await finish(process) == (0, "")
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()

    return start


def command(bot: str, address: str, pki: Path, *options: str) -> list[str]:
    credentials = ["--cert", str(pki / f"{bot}.crt"), "--key", str(pki / f"{bot}.key")]
    return [sys.executable, str(EXAMPLES / f"{bot}.py"), address, *credentials, *options]


async def read_line(process: trio.Process) -> str:
    assert process.stdout is not None
    line = b""
    with trio.fail_after(PATIENCE):
        while not line.endswith(b"\n"):
            byte = await process.stdout.receive_some(1)
            if not byte:
                raise AssertionError(await finish(process))
            line += byte
    return line.decode()


async def finish(process: trio.Process) -> tuple[int, str]:
    """Return the exit status and what was said on stderr."""
    assert process.stderr is not None
    with trio.fail_after(PATIENCE):
        said = b"".join([data async for data in process.stderr])
        return await process.wait(), said.decode()


async def kill(process: trio.Process) -> None:
    process.kill()
    with trio.fail_after(PATIENCE):
        await process.wait()


def forget_everything(home: Path, name: str) -> None:
    (found,) = home.glob(f"**/{name}")
    found.unlink()


async def heard(client: Client) -> str:
    """Return the next message of somebody else."""
    with trio.fail_after(PATIENCE):
        async for event in client:
            if isinstance(event, Message) and event.sender != client.user:
                return event.text
    raise AssertionError("the connection has ended")


def load(bot: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(bot, EXAMPLES / f"{bot}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- all of them -------------------------------------------------------------------------


@pytest.mark.parametrize("bot", BOTS)
def test_says_in_one_line_that_nobody_listens(bot: str, pki: Path, tmp_path: Path) -> None:
    options = {"tail_bot": ["--file", str(tmp_path / "log")]}.get(bot, [])
    done = subprocess.run(
        command(bot, "localhost:1", pki, *options), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"{bot}: error: nobody listens at localhost:1\n"


async def test_ctrl_c_ends_a_bot_in_peace(start: Start) -> None:
    async with start("echo_bot") as process:
        process.send_signal(signal.SIGINT)
        assert await finish(process) == (0, "")


async def test_a_second_copy_of_a_bot_takes_the_place_of_the_first(start: Start) -> None:
    async with start("echo_bot") as first, start("echo_bot"):
        status, said = await finish(first)
        assert status == 1
        assert said == "echo_bot: error: another client took over this device\n"


# --- echo_bot ----------------------------------------------------------------------------


async def test_echo_answers_people_and_neither_notices_nor_bots(start: Start, enter: Any) -> None:
    async with start("echo_bot"), enter("alice") as alice, enter("parrot") as parrot:
        lobby: Room = await alice.join("lobby")
        await (await parrot.join("lobby")).send("!echo from a bot")
        assert await heard(alice) == "!echo from a bot"  # and next comes what it answers
        await lobby.send("!echo from a notice", form="notice")
        await lobby.send("nothing for it")
        await lobby.send("!echo  as it is ")
        assert await heard(alice) == " as it is "
        private = await alice.direct("echo_bot")
        await private.send("between us")
        assert await heard(alice) == "between us"


async def test_a_bot_with_a_fresh_disk_is_back_in_its_rooms(
    start: Start, enter: Any, home: Path
) -> None:
    async with enter("alice") as alice:
        lobby: Room = await alice.join("lobby")
        for words in ("first", "second"):
            async with start("echo_bot"):
                await lobby.send(f"!echo {words}")
                assert await heard(alice) == words
                private = await alice.direct("echo_bot")
                with trio.fail_after(PATIENCE):  # what is said before it is back, it cannot read
                    while True:
                        await private.send(f"{words} in private")
                        with trio.move_on_after(2):
                            assert await heard(alice) == f"{words} in private"
                            break
            forget_everything(home, "certificate.store")
        assert [each.user for each in await lobby.readers()] == ["alice", "echo_bot"]


# --- welcome_bot -------------------------------------------------------------------------


async def test_welcome_greets_people_not_devices_nor_flaps(start: Start, enter: Any) -> None:
    async with start("welcome_bot"), enter("alice") as alice:
        lobby = await alice.join("lobby")
        assert (await heard(alice)).startswith("welcome, alice! ")
        async with enter("alice", device="two") as second:
            await second.join("lobby")
        await lobby.leave()
        lobby = await alice.join("lobby")
        async with enter("parrot") as parrot, enter("bob") as bob:
            await parrot.join("lobby")
            await bob.join("lobby")
            assert (await heard(alice)).startswith("welcome, bob! ")
        await lobby.send("!help")
        assert "!time says" in await heard(alice)
        await lobby.send("!time")
        assert (await heard(alice)).startswith("it is ")


def test_welcome_greets_again_after_a_minute() -> None:
    door, member = load("welcome_bot").Door(), load_member("alice")
    assert door.entered([member], 100.0) == ["alice"]
    door.left([member], 200.0)
    assert door.entered([member], 259.0) == []
    door.left([member], 300.0)
    assert door.entered([member], 360.0) == ["alice"]


def test_welcome_does_not_greet_all_after_an_outage_of_its_own() -> None:
    door, member = load("welcome_bot").Door(), load_member("alice")
    assert door.entered([member], 100.0) == ["alice"]
    door.look_around([], 5000.0)  # the server has restarted; alice is a little slower than we
    assert door.entered([member], 5001.0) == []


def load_member(user: str) -> Any:
    from trio_chat.protocol.frames import Member

    return Member(user=user, device="d1")


# --- remind_bot --------------------------------------------------------------------------


async def test_remind_survives_kill_9_and_reminds_once(
    start: Start, enter: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    run = partial(start, "remind_bot", "--state", str(state))
    async with enter("alice") as alice:
        lobby = await alice.join("lobby")
        async with run() as process:
            await lobby.send("!remind 0s now")
            assert (await heard(alice)).startswith("noted as 1, for ")
            assert await heard(alice) == "reminder 1 for alice: now"
            await lobby.send("!remind 10m tea")
            assert (await heard(alice)).startswith("noted as 2, for ")
            await lobby.send("!remind 1d bread")
            assert (await heard(alice)).startswith("noted as 3, for ")
            await lobby.send("!forget 3")
            assert await heard(alice) == "forgot 3"
            await kill(process)
        book = json.loads(state.read_text())
        book["reminders"][0]["at"] -= 15 * 60  # as if it had not run for a quarter of an hour
        state.write_text(json.dumps(book))
        async with run() as process:
            assert await heard(alice) == "reminder 2 for alice: tea (5 min late)"
            await lobby.send("!reminders")
            assert await heard(alice) == "you have none here"
            await kill(process)
        state.write_text(json.dumps(book))  # as if it had died before it could note that
        async with run():
            await lobby.send("!reminders")
            assert await heard(alice) == "you have none here"


def test_remind_understands_spans_and_times_of_day() -> None:
    moment = load("remind_bot").moment
    noon = datetime(2026, 3, 4, 12, 0).timestamp()
    assert moment("10m", noon) == noon + 600
    assert moment("1h30m", noon) == noon + 5400
    assert moment("17:30", noon) == datetime(2026, 3, 4, 17, 30).timestamp()
    assert moment("9:05", noon) == datetime(2026, 3, 5, 9, 5).timestamp()
    assert [moment(wrong, noon) for wrong in ("", "10", "24:00", "soon", "-5m")] == [None] * 5


def test_remind_refuses_a_span_beyond_the_calendar() -> None:
    bot = load("remind_bot")
    assert bot.clock(bot.moment("9999d" * 4, 0.0))
    assert bot.moment("9999d" * 300, 0.0) is None


# --- tail_bot ----------------------------------------------------------------------------


@pytest.fixture
def tailed(tmp_path: Path) -> Iterator[Callable[[Path], Any]]:
    """Make a `Tail`, and close it in the end."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(load("tail_bot").Tail(path)))


async def test_tail_posts_what_is_appended_and_follows_a_rotation(
    start: Start, enter: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    async with enter("alice") as alice:
        await alice.join("lobby")
        async with start("tail_bot", "--file", str(log)):
            with log.open("a") as file:
                file.write("one\ntwo\nthr")
            assert await heard(alice) == "one\ntwo"
            with log.open("a") as file:
                file.write("ee\n")
            assert await heard(alice) == "three"
            log.rename(tmp_path / "log.1")
            log.write_text("another file\n")
            assert await heard(alice) == "another file"


def test_tail_keeps_what_a_moved_file_still_gets_until_its_successor_has_lines(
    tmp_path: Path, tailed: Callable[[Path], Any]
) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    tail = tailed(log)
    moved = log.rename(tmp_path / "log.1")
    log.touch()
    with moved.open("a") as file:
        file.write("late\nhalf")
    assert tail.read() == "late"
    assert tail.read() == ""
    log.write_text("new\n")
    assert tail.read() == "half"  # its end will never come
    assert tail.read() == "new"
    assert tail.read() == ""


def test_tail_begins_anew_when_the_file_is_truncated_or_appears(
    tmp_path: Path, tailed: Callable[[Path], Any]
) -> None:
    log = tmp_path / "log"
    tail = tailed(log)
    assert tail.read() == ""
    log.write_text("first line\n")
    assert tail.read() == "first line"
    log.write_text("short\n")
    assert tail.read() == "short"


def test_tail_cuts_a_line_that_no_message_can_hold(
    tmp_path: Path, tailed: Callable[[Path], Any]
) -> None:
    log = tmp_path / "log"
    tail = tailed(log)
    log.write_bytes(b"\xff" * 20_005 + b"\n")
    assert len(tail.read().encode()) == 60_000  # each takes three bytes now
    assert tail.read() == "\ufffd" * 5


# --- embedded_server ---------------------------------------------------------------------


async def test_the_embedded_server_counts_and_lets_people_in() -> None:
    program = [sys.executable, str(EXAMPLES / "embedded_server.py"), "--every", "0.1"]
    process = await trio.lowlevel.open_process(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        address = (await read_line(process)).removeprefix("embedded_server: listening on ").strip()
        words = (await read_line(process)).split()
        cert, key = (words[words.index(option) + 1] for option in ("--cert", "--key"))
        async with connect(address, cert=cert, key=key, device=None) as guest:
            await guest.join("lobby")
            assert (await heard(guest)).startswith("counted to ")
            process.terminate()
            assert await finish(process) == (0, "")
        assert not Path(cert).parent.exists()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


def test_the_embedded_server_says_in_one_line_what_is_missing(pki: Path) -> None:
    program = [sys.executable, str(EXAMPLES / "embedded_server.py"), "--ca", str(pki / "ca.crt")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "embedded_server: error: --ca goes with --cert and --key: who counts\n"
