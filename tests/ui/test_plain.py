from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import ConfigError, Disconnected
from trio_chat.ui import plain
from trio_chat.ui.render import error, notice, result
from trio_chat.ui.state import Cursors

if TYPE_CHECKING:
    from trio_chat.client import Client

FakeClient: TypeAlias = Any  # of conftest.py

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes are waited for on POSIX only")


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.open = {self.reader, self.writer}

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self.open):
            os.close(end)
            self.open.discard(end)

    def text(self) -> str:
        """Return what was written so far."""
        os.set_blocking(self.reader, False)
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe, Pipe]]:
    made = (Pipe(), Pipe(), Pipe())
    yield made
    for pipe in made:
        pipe.close()


async def talk(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe], *, rooms: tuple[str, ...] = ()
) -> None:
    source, out, err = pipes
    await plain.chat(
        cast("Client", client),
        plain.PlainFace(out.writer, err.writer),
        source=source.reader,
        rooms=rooms,
        cursors=Cursors(None, "log", "alice"),
        fingerprint="",
    )


async def test_lines_are_said_and_the_end_of_the_input_leaves(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    room = client.room("lobby", "alice")
    os.write(pipes[0].writer, b"hello\r\nsecond\nwithout an end")
    pipes[0].close(pipes[0].writer)
    await talk(client, pipes)
    assert [text for text, _ in room.sent] == ["hello", "second", "without an end"]


async def test_the_end_waits_until_all_is_acknowledged(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    room = client.room("lobby", "alice", gate=trio.Event())
    os.write(pipes[0].writer, b"hello\n/quit\n")
    pipes[0].close(pipes[0].writer)
    over = trio.Event()

    async def whole() -> None:
        await talk(client, pipes)
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole)
        with trio.move_on_after(0.05):
            await over.wait()
        assert not over.is_set()
        room.gate.set()
        await over.wait()
    assert room.sent == [("hello", None)]


async def test_events_and_answers_go_to_one_stream_and_talk_to_the_other(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    room = client.room("lobby", "alice")
    room.said("bob", "tea?\n<carol> no")
    os.write(pipes[0].writer, b"/users\n/nonsense\n")
    pipes[0].close(pipes[0].writer)
    await talk(client, pipes)
    out, err = pipes[1].text(), pipes[2].text()
    assert "<bob> tea?\n      <carol> no\n" in out
    assert "1 person in lobby:\n" in out
    assert "lobby is plain: the server can read it\n" in err
    assert "error: there is no command /nonsense; nothing was sent\nhint: " in err


async def test_a_room_that_is_missing_ends_the_program(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="no room nowhere")):
        await talk(client, pipes, rooms=("nowhere",))


async def test_the_end_of_the_connection_ends_the_program(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    client.room("lobby")
    client.end(Disconnected("taken over"))
    with pytest.RaisesGroup(pytest.RaisesExc(Disconnected), flatten_subgroups=True):
        await talk(client, pipes)


async def test_a_file_can_be_the_input(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n\nlast")
    with path.open() as file:
        lines = [line async for line in plain.read_lines(file.fileno())]
    assert lines == ["one", "two", "", "last"]


async def test_no_input_at_all_is_an_end() -> None:
    source = os.open(os.devnull, os.O_RDONLY)
    try:
        assert [line async for line in plain.read_lines(source)] == []
    finally:
        os.close(source)


async def test_a_line_without_end_is_not_kept_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x" * (plain.LINE_LIMIT + 1))
    with path.open() as file, pytest.raises(ConfigError):
        async for _ in plain.read_lines(file.fileno()):
            pass


async def test_waiting_for_input_can_be_cancelled(pipes: tuple[Pipe, Pipe, Pipe]) -> None:
    async def read() -> None:
        async for _ in plain.read_lines(pipes[0].reader):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_reader_that_stands_still_holds_nobody_up_at_the_end() -> None:
    pipe = Pipe()
    face = plain.PlainFace(pipe.writer, pipe.writer)
    line = result("x" * 65536)[0]
    with trio.move_on_after(0.05) as scope:
        await face.show(line, line, line)
    assert scope.cancelled_caught
    pipe.close()


async def test_colour_is_only_there_when_wanted() -> None:
    pipe = Pipe()
    await plain.PlainFace(pipe.writer, pipe.writer, colour=True).show(*notice("hi"))
    await plain.PlainFace(pipe.writer, pipe.writer).show(*error("no"))
    assert pipe.text() == "\x1b[33m-- hi\x1b[0m\nerror: no\n"
    pipe.close()


async def test_a_reader_that_has_left_is_a_broken_pipe() -> None:
    pipe = Pipe()
    pipe.close(pipe.reader)
    with pytest.raises(BrokenPipeError):
        await plain.PlainFace(pipe.writer, pipe.writer).show(*notice("hi"))
    pipe.close()


# --- secrets -------------------------------------------------------------------------------


async def test_a_pipe_is_asked_for_no_password(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    """The next line is not taken for one, and the one after a mistake not for a room's text."""
    client.room("lobby")
    client.room("vault", "bob")
    client.passwords["vault"] = "hunter2"
    source, _, err = pipes
    os.write(source.writer, b"/join vault\n")
    source.close(source.writer)
    await talk(client, pipes)
    assert "no password was given; nothing was sent" in err.text()


async def test_a_terminal_shows_nothing_of_a_password(
    client: FakeClient, pipes: tuple[Pipe, Pipe, Pipe]
) -> None:
    import pty
    import termios

    client.room("lobby")
    room = client.room("vault", "bob")
    client.passwords["vault"] = "hunter2"
    _, out, err = pipes
    ours, theirs = pty.openpty()

    def echoes() -> bool:
        return bool(termios.tcgetattr(theirs)[3] & termios.ECHO)

    try:
        async with trio.open_nursery() as nursery:
            face = plain.PlainFace(out.writer, err.writer)
            run = partial(
                plain.chat,
                cast("Client", client),
                face,
                source=theirs,
                rooms=(),
                cursors=Cursors(None, "log", "alice"),
                fingerprint="",
            )
            nursery.start_soon(run)
            os.write(ours, b"/join vault\n")
            with trio.fail_after(5):
                while echoes():
                    await trio.sleep(0.002)
                os.write(ours, b"hunter2\n")
                while "vault" not in client.rooms:
                    await trio.sleep(0.002)
                assert echoes()
                os.write(ours, b"hello\n")
                while not room.sent:
                    await trio.sleep(0.002)
            nursery.cancel_scope.cancel()
        os.set_blocking(ours, False)
        assert b"hunter2" not in os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)
    assert room.sent == [("hello", None)]
    assert "the password of vault: " in err.text()
