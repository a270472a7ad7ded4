from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs
import pytest
import trio
import trio.testing
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.output import DummyOutput

from trio_chat.errors import Disconnected
from trio_chat.ui import hosted, prompt
from trio_chat.ui.completion import ChatCompleter
from trio_chat.ui.prompt import PromptFace
from trio_chat.ui.render import Line, notice
from trio_chat.ui.state import Cursors
from trio_chat.ui.typed import SessionHistory

if TYPE_CHECKING:
    from trio_chat.client import Client

FakeClient: TypeAlias = Any  # of conftest.py

hosted_test = pytest.mark.trio(run=hosted.run)


@attrs.define
class Terminal:
    """A prompt at a pipe, and what it printed."""

    keys: PipeInput
    client: FakeClient
    face: PromptFace
    printed: list[Line] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.printed)

    @property
    def buffer(self) -> Any:
        assert self.face._prompt is not None
        return self.face._prompt.default_buffer

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true; the test's deadline ends it otherwise."""
        with trio.fail_after(5):
            while not condition():
                await trio.sleep(0.002)

    async def prompting(self) -> None:
        await self.until(lambda: self.face._prompt and self.face._prompt.app.is_running)

    async def run(self) -> None:
        try:
            await prompt.chat(
                cast("Client", self.client),
                self.face,
                rooms=(),
                cursors=Cursors(None, "log", "alice"),
                fingerprint="",
            )
        finally:
            self.over.set()


@pytest.fixture
def terminal(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setattr(prompt, "PAUSE", 0.01)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        face = PromptFace(history=SessionHistory())
        made = Terminal(keys, client, face)
        print_now = face._print_now

        def record(lines: Any) -> None:
            made.printed += lines
            print_now(lines)

        monkeypatch.setattr(face, "_print_now", record)
        yield made


@hosted_test
async def test_a_line_is_said_and_comes_back_above_the_prompt(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("hello\r")
        await terminal.until(lambda: "<alice> hello" in terminal.text)
        terminal.keys.send_text("/quit\r")
        await terminal.over.wait()
    assert room.sent == [("hello", None)]


@hosted_test
async def test_ctrl_c_clears_the_line_and_the_second_on_an_empty_one_leaves(
    terminal: Terminal,
) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("half a line")
        await terminal.until(lambda: terminal.buffer.text == "half a line")
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: terminal.buffer.text == "")
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: "^C again leaves" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("still here\r")
        await terminal.until(lambda: room.sent)
        await terminal.prompting()
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: terminal.text.count("^C again leaves") == 2)
        assert not terminal.over.is_set()
        await terminal.prompting()
        terminal.keys.send_text("\x03")
        await terminal.over.wait()


@hosted_test
async def test_ctrl_d_leaves(terminal: Terminal) -> None:
    terminal.client.room("lobby")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("\x04")
        await terminal.over.wait()


@hosted_test
async def test_what_was_entered_before_ctrl_d_is_still_said(terminal: Terminal) -> None:
    room = terminal.client.room("lobby")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("last words\r\x04")
        await terminal.over.wait()
    assert room.sent == [("last words", None)]


@hosted_test
async def test_ctrl_d_twice_does_not_wait_for_an_acknowledgement(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", gate=trio.Event())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("unheard\r\x04")
        with trio.move_on_after(0.2):
            await terminal.over.wait()
        assert not terminal.over.is_set()
        terminal.keys.send_text("\x04")
        with trio.fail_after(1):
            await terminal.over.wait()
    assert room.sent == []
    assert "error: 1 message was not delivered" in terminal.text


@hosted_test
async def test_an_input_that_ends_leaves(terminal: Terminal) -> None:
    terminal.client.room("lobby")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.close()
        await terminal.over.wait()


@hosted_test
async def test_the_menu_of_completions_opens_and_tab_takes_one(terminal: Terminal) -> None:
    terminal.client.room("lobby", "alice", "bob")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("/ms")
        await terminal.until(lambda: terminal.buffer.complete_state)
        terminal.keys.send_text("\t")
        await terminal.until(lambda: terminal.buffer.text == "/msg ")
        terminal.keys.send_text("@b")
        await terminal.until(
            lambda: terminal.buffer.text == "/msg @b" and terminal.buffer.complete_state
        )
        terminal.keys.send_text("\t")
        await terminal.until(lambda: terminal.buffer.text == "/msg bob ")
        terminal.keys.send_text("psst\r")
        await terminal.until(lambda: "you -> bob: psst" in terminal.text)
        nursery.cancel_scope.cancel()


@hosted_test
async def test_a_tab_that_comes_at_once_after_a_letter_is_not_lost(terminal: Terminal) -> None:
    terminal.client.room("lobby", "alice", "bob", "bert")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        await terminal.until(lambda: terminal.client.rooms)
        terminal.keys.send_text("/ms\t@bo\tx")
        await terminal.until(lambda: terminal.buffer.text == "/msg bob x")
        terminal.keys.send_text("\x15@b\t")
        await terminal.until(lambda: terminal.buffer.complete_state)
        terminal.keys.send_text("\t\t")
        await terminal.until(lambda: terminal.buffer.text == "@bob")
        nursery.cancel_scope.cancel()


@hosted_test
async def test_a_bracketed_paste_is_one_message_and_no_command(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("\x1b[200~one\r\n/quit\r\nthree\n\x1b[201~")
        await terminal.until(lambda: "three" in terminal.buffer.text)
        assert room.sent == []
        terminal.keys.send_text("\r")
        await terminal.until(lambda: room.sent)
        assert room.sent == [("one\n/quit\nthree", None)]
        assert not terminal.over.is_set()
        nursery.cancel_scope.cancel()


@hosted_test
async def test_a_paste_that_nothing_brackets_is_held_until_the_user_decides(
    terminal: Terminal,
) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("one\r/quit\r/join x\rfour\r")
        await terminal.until(lambda: "4 lines came at once" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("\x19")
        await terminal.until(lambda: room.sent)
        assert room.sent == [("one\n/quit\n/join x\nfour", None)]
        terminal.keys.send_text("a\rb\rc\rd\re\r")
        await terminal.until(lambda: "5 lines came at once" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("\x03\x19after\r")
        await terminal.until(lambda: len(room.sent) > 1)
        assert room.sent[1:] == [("after", None)]
        assert not terminal.over.is_set()
        nursery.cancel_scope.cancel()


@hosted_test
async def test_what_is_typed_survives_what_is_printed(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        await terminal.until(lambda: terminal.client.rooms)
        terminal.keys.send_text("half")
        await terminal.until(lambda: terminal.buffer.text == "half")
        for number in range(50):
            terminal.client.happen(room.said("bob", f"word {number}."))
        await terminal.until(lambda: "word 49." in terminal.text)
        assert terminal.buffer.text == "half"
        terminal.keys.send_text(" a line\r")
        await terminal.until(lambda: room.sent == [("half a line", None)])
        nursery.cancel_scope.cancel()


@hosted_test
async def test_the_end_of_the_connection_ends_the_prompt_at_once(terminal: Terminal) -> None:
    terminal.client.room("lobby")
    with pytest.RaisesGroup(pytest.RaisesExc(Disconnected), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run)
            await terminal.prompting()
            terminal.keys.send_text("half a line")
            await terminal.until(lambda: terminal.buffer.text)
            terminal.client.end(Disconnected("taken over"))
            with trio.fail_after(2):
                await terminal.over.wait()


@hosted_test
async def test_ctrl_c_gives_up_a_command_that_waits(terminal: Terminal) -> None:
    terminal.client.room("lobby")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        await terminal.until(lambda: terminal.client.rooms)
        terminal.client.stuck = trio.Event()
        terminal.keys.send_text("/users\r")
        await terminal.until(lambda: ("users", "lobby") in terminal.client.calls)
        await terminal.prompting()
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: "no longer waiting for /users" in terminal.text)
        assert "again leaves" not in terminal.text
        nursery.cancel_scope.cancel()


@hosted_test
async def test_cancelling_again_and_again_leaves_no_prompt_behind(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.room("lobby")
    for ticks in range(60):
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            terminal = Terminal(keys, client, PromptFace())
            client.rooms.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(terminal.run)
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert terminal.face._prompt is None or not terminal.face._prompt.app.is_running


class Bug(Exception):
    pass


async def crash_on(terminal: Terminal, keys: str) -> None:
    terminal.client.room("lobby")
    with pytest.RaisesGroup(Bug, flatten_subgroups=True, allow_unwrapped=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run)
            await terminal.prompting()
            terminal.keys.send_text(keys)
            await terminal.over.wait()


@hosted_test
async def test_a_crash_in_a_command_comes_out_as_it_is(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> None:
        raise Bug

    monkeypatch.setattr("trio_chat.ui.core.Core.handle", broken)
    await crash_on(terminal, "x\r")


def test_a_crash_in_a_key_binding_ends_the_program(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindings = KeyBindings()

    @bindings.add("c-t")
    def broken(event: Any) -> None:
        raise Bug

    monkeypatch.setattr(terminal.face, "_bindings", lambda: bindings)
    terminal.client.room("lobby")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run)
            await terminal.prompting()
            terminal.keys.send_text("\x14")
            with trio.fail_after(5):
                await terminal.over.wait()

    with pytest.raises(Bug):
        hosted.run(main)


def test_a_crash_in_the_completer_ends_the_program(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise Bug

    monkeypatch.setattr(ChatCompleter, "get_completions", broken)
    terminal.client.room("lobby")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run)
            await terminal.prompting()
            terminal.keys.send_text("/q")
            with trio.fail_after(5):
                await terminal.over.wait()

    with pytest.raises(Bug):
        hosted.run(main)


@hosted_test
async def test_while_lines_are_printed_the_terminal_stays_raw(terminal: Terminal) -> None:
    """Cooked, it would echo into the messages what is typed meanwhile."""
    cooked: list[str] = []
    terminal.keys.cooked_mode = lambda: nullcontext(cooked.append("cooked"))  # type: ignore[method-assign,func-returns-value]  # of this one only
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.until(lambda: terminal.client.rooms)
        await terminal.prompting()
        for number in range(3):
            terminal.client.happen(room.said("bob", f"word {number}."))
            await terminal.until(lambda: f"word {number}." in terminal.text)  # noqa: B023
        nursery.cancel_scope.cancel()
    assert cooked == []
    terminal.keys.cooked_mode()  # at any other time it is the terminal's own
    assert cooked == ["cooked"]


async def test_a_screen_that_is_far_behind_makes_the_core_wait(terminal: Terminal) -> None:
    lines = notice("x") * (prompt.BACKLOG + 1)
    await terminal.face.show(*lines)
    with trio.move_on_after(0.01) as scope:
        await terminal.face.show(*lines)
    assert scope.cancelled_caught


async def test_the_status_line_says_in_words_what_is_so(stage: Any) -> None:
    stage.client.room("lobby", "alice", "bob")
    await stage.start()
    face = PromptFace()
    face._core = stage.core
    assert face._status_line() == [("", " connected | lobby (plain) | 2 people ")]
    stage.client.online = False
    stage.core._unsent = 3
    stage.core.transcript.unread = 1
    line = face._status_line()[0][1]
    assert line == " OFFLINE, trying again | lobby (plain) | 2 people | 1 private | 3 not sent yet "


@hosted_test
async def test_keys_that_are_no_utf_8_are_said_as_question_marks(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_bytes(b"caf\xe9\r")
        await terminal.until(lambda: room.sent)
        nursery.cancel_scope.cancel()
    assert room.sent == [("caf?", None)]


@hosted_test
async def test_news_of_the_status_are_drawn_in_batches(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        drawn: list[bool] = []
        assert terminal.face._prompt is not None
        await terminal.until(lambda: "plain: the server" in terminal.text)
        monkeypatch.setattr(terminal.face._prompt.app, "invalidate", lambda: drawn.append(True))
        for _ in range(100):
            terminal.face.refresh()
        await terminal.until(lambda: drawn)
        nursery.cancel_scope.cancel()
    assert len(drawn) == 1


# --- secrets -------------------------------------------------------------------------------


@hosted_test
async def test_a_password_is_asked_for_unseen_and_kept_nowhere(terminal: Terminal) -> None:
    terminal.client.room("vault", "bob")
    terminal.client.room("lobby", "alice")
    terminal.client.passwords["vault"] = "/join hunter2"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.until(lambda: "you are in lobby now" in terminal.text)
        await terminal.prompting()
        terminal.client.stuck = trio.Event()
        terminal.keys.send_text("/join vault\r")
        await terminal.until(lambda: ("join", "vault") in terminal.client.calls)
        await terminal.prompting()
        terminal.keys.send_text("half a line")
        await terminal.until(lambda: terminal.buffer.text == "half a line")
        terminal.client.stuck.set()
        await terminal.until(lambda: terminal.face._question)
        assert terminal.buffer.text == ""  # what was typed for the room is no password
        assert terminal.face._message()[0][1] == "the password of vault: "
        assert terminal.face._prompt is not None
        assert terminal.face._prompt.is_password()  # type: ignore[operator]  # a condition
        terminal.keys.send_text("/join hun")
        await terminal.until(lambda: terminal.buffer.text == "/join hun")
        assert terminal.buffer.complete_state is None
        terminal.keys.send_text("\t\x12")  # neither completed nor searched for
        terminal.keys.send_text("ter2\r")
        await terminal.until(lambda: "you are in vault now" in terminal.text)
        await terminal.prompting()
        await terminal.until(lambda: terminal.buffer.text == "half a line")
        assert terminal.face._message()[0][1] == "> "
        terminal.keys.send_text(" more\r")
        await terminal.until(lambda: terminal.client.there["vault"].sent)
        nursery.cancel_scope.cancel()
    assert terminal.client.there["vault"].sent == [("half a line more", None)]
    assert terminal.client.there["lobby"].sent == []
    assert terminal.face._history.get_strings() == ["/join vault", "half a line more"]
    assert "hunter2" not in terminal.text


@hosted_test
async def test_a_question_for_a_password_is_given_up_with_ctrl_c(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    terminal.client.room("vault", "bob")
    terminal.client.passwords["vault"] = "hunter2"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        terminal.keys.send_text("/join lobby\r/join vault\r")
        await terminal.until(lambda: terminal.face._question)
        await terminal.prompting()
        terminal.keys.send_text("hunt\x03")
        await terminal.until(lambda: terminal.buffer.text == "")
        assert terminal.face._question
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: "no longer waiting for /join" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("hello\r")
        await terminal.until(lambda: room.sent)
        nursery.cancel_scope.cancel()
    assert room.sent == [("hello", None)]
    assert "hello" in terminal.face._history.get_strings()


@hosted_test
async def test_lines_with_passwords_are_not_kept_for_the_next_arrow_up(terminal: Terminal) -> None:
    terminal.client.room("vault", "bob")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.prompting()
        for line in ("/join vault hunter2", "/jion vault hunter2", "/create den hunter2"):
            terminal.keys.send_text(line + "\r")
            await terminal.until(lambda: terminal.buffer.text == "")
            await terminal.prompting()
        await terminal.until(lambda: "you are in den now" in terminal.text)
        terminal.keys.send_text("\x1b[A")
        await trio.testing.wait_all_tasks_blocked()
        assert terminal.buffer.text == ""
        nursery.cancel_scope.cancel()
    assert terminal.face._history.get_strings() == []
    assert "hunter2" not in terminal.text


@hosted_test
async def test_a_password_typed_before_the_question_goes_to_no_room(terminal: Terminal) -> None:
    room = terminal.client.room("lobby", "alice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.run)
        await terminal.until(lambda: "you are in lobby now" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("/login nora\rhunter2\r")
        await terminal.until(lambda: terminal.face._question)
        await terminal.prompting()
        terminal.keys.send_text("\x03")
        await terminal.until(lambda: "what came before the question was not sent" in terminal.text)
        await terminal.prompting()
        terminal.keys.send_text("hello\r")
        await terminal.until(lambda: room.sent)
        nursery.cancel_scope.cancel()
    assert room.sent == [("hello", None)]
    assert terminal.face._history.get_strings() == ["hello"]
