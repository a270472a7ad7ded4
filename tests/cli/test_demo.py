"""`trio-chat demo`: what it says, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest
import trio

from trio_chat.cli import demo
from trio_chat.errors import ConfigError

HOMES = ("XDG_STATE_HOME", "XDG_DATA_HOME")
PATIENCE = 30.0  # seconds; three programs start on a machine that may be busy
COMMAND = [sys.executable, "-m", "trio_chat", "demo", "--plain"]


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [*COMMAND, "--room", "den"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path), **dict.fromkeys(HOMES, str(tmp_path))},
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()  # not kill: it has children
            await process.wait()


def inside(folder: Path) -> list[Path]:
    """Return what is in a folder: for temporary files and for state alike."""
    return list(folder.iterdir())


async def read_until(stream: trio.abc.ReceiveStream | None, wanted: str) -> str:
    assert stream is not None
    text = b""
    with trio.fail_after(PATIENCE):
        async for data in stream:
            text += data
            if wanted.encode() in text:
                return text.decode()
    raise AssertionError(text.decode())


async def test_echoes_a_line_and_leaves_nothing_behind(
    process: trio.Process, tmp_path: Path
) -> None:
    assert process.stdin is not None
    await process.stdin.send_all(b"!echo hi\n")
    await read_until(process.stdout, "-echo_bot- hi")
    (made,) = inside(tmp_path)
    said = await read_until(process.stderr, "you are in den now")
    assert "throw-away" in said
    assert "you are alice, in the room den" in said
    assert "the server cannot read it" in said
    assert "den is encrypted" in said
    assert re.search(
        rf"trio-chat join localhost:\d+ --cert {made}/bob.crt --key {made}/bob.key\n", said
    )
    await process.stdin.aclose()
    with trio.fail_after(PATIENCE):
        assert await process.wait() == 0
    assert inside(tmp_path) == []


async def test_leaves_nothing_behind_after_sigterm(process: trio.Process, tmp_path: Path) -> None:
    await read_until(process.stderr, "you are in den now")
    process.terminate()
    with trio.fail_after(PATIENCE):
        assert await process.wait() == 0
    assert inside(tmp_path) == []


def test_shows_the_answer_to_the_last_line_of_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND,
        input="!echo the last line",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "-echo_bot- the last line\n" in done.stdout


def test_prompts_on_a_terminal(tmp_path: Path) -> None:
    environment = {**os.environ, "TERM": "xterm", "TMPDIR": str(tmp_path)}
    environment["PROMPT_TOOLKIT_NO_CPR"] = "1"  # nobody here says where the cursor is
    child = pexpect.spawn(
        sys.executable,
        ["-m", "trio_chat", "demo"],
        env=environment,
        encoding="utf-8",
        dimensions=(24, 100),
        timeout=PATIENCE,
    )
    with child:
        child.expect("a second person joins as bob")
        child.expect("you are in lobby now")
        child.send("!echo hi\r")
        child.expect(r"-echo_bot-.{0,20}hi\r")  # styles between them
        child.send("/quit\r")
        child.expect(pexpect.EOF)
    assert child.wait() == 0
    assert inside(tmp_path) == []


def test_refuses_a_name_that_no_room_may_have() -> None:
    done = subprocess.run([*COMMAND, "--room", "@x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("trio-chat: error: a name has 1 to 32 letters")


def test_says_what_a_bot_said_when_it_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bot = tmp_path / "echo_bot.py"
    bot.write_text("import sys; sys.exit('cannot go on')")
    error = None

    async def run() -> None:
        from trio_chat.address import Address

        async with trio.open_nursery() as nursery:
            await nursery.start(demo._run_bot, bot, Address("localhost", 1), tmp_path, "den")

    try:
        trio.run(run)
    except* ConfigError as group:
        error = str(group.exceptions[0])
    assert error == "echo_bot.py has ended: cannot go on"


def test_finds_the_bots() -> None:
    assert all(demo.bot_program(bot).is_file() for bot in demo.BOTS)
    with pytest.raises(ConfigError, match="not installed"):
        demo.bot_program("no_bot")


def test_puts_the_signals_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with demo._exit_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
