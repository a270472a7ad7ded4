"""The inline face: a prompt at the bottom, messages above it, in the terminal's own scrollback.

prompt_toolkit draws; Trio runs everything else beside it, in one nursery. May know
prompt_toolkit and `hosted`; no asyncio, no server.

Three things here look odd and are measured: while lines are printed the terminal stays raw
(`_cooked`), or what is typed meanwhile is echoed into the messages; lines are printed in at
most five batches a second, each waiting for the last, or the status line flickers and the
screen falls behind on slow links; and between two prompts nothing is awaited, for there the
terminal is not ours.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import attrs
import trio
from prompt_toolkit.application import get_app_session, run_in_terminal
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import PromptSession
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from trio_chat.client import Client
from trio_chat.text import safe
from trio_chat.ui import hosted, render, session
from trio_chat.ui.completion import ChatCompleter
from trio_chat.ui.core import Core
from trio_chat.ui.looks import LOOKS
from trio_chat.ui.paste import PASTE_LINES, gather
from trio_chat.ui.state import Cursors
from trio_chat.ui.typed import (
    CellSafe,
    MaskSecrets,
    SecretlessHistory,
    SessionHistory,
    asks_for_secret,
)

__all__ = ["PromptFace", "chat"]

PAUSE = 0.2  # seconds between two batches of lines: at most five a second
BACKLOG = 2000  # lines waiting for the screen; then `show` waits too

_STYLE = Style(
    [
        *((f"{name}", look) for name, (look, _) in LOOKS.items() if name),
        ("bottom-toolbar", "noreverse"),
        ("bottom-toolbar.text", "reverse"),
    ]
)


@attrs.define(eq=False)
class _Question:
    """Something secret that is asked for."""

    text: str
    answer: str | None = attrs.field(default=None, repr=False)
    answered: trio.Event = attrs.field(factory=trio.Event)


class PromptFace:
    """A prompt with a status line and a menu of completions; one per terminal."""

    def __init__(
        self,
        *,
        colour: bool = True,
        toolbar: bool = True,
        history: SecretlessHistory | SessionHistory | None = None,
    ) -> None:
        self._colour = colour
        self._toolbar = toolbar
        self._history = history or SessionHistory()
        self._pending: list[render.Line] = []
        self._wake = trio.Event()
        self._room_for_more = trio.Event()
        self._quiet = False
        self._interrupts = 0
        self._paste: list[str] = []  # lines held back until the user has decided
        self._bursts: trio.MemorySendChannel[list[str]] | None = None
        self._in_hand = 0  # lines entered and not handled yet
        self._handled = trio.Event()
        self._leaving = False
        self._question: _Question | None = None
        self._asked = False  # did the line in hand ask for a secret?
        self._draft = ""  # what was being typed when a question came
        self._core: Core | None = None
        self._prompt: PromptSession[str] | None = None

    def attach(self, core: Core) -> None:
        """Take the core whose lines are typed here, and make the prompt."""
        self._core = core
        source = get_app_session().input
        cooked = source.cooked_mode

        def quiet_cooked() -> AbstractContextManager[None]:
            return nullcontext() if self._quiet else cooked()

        source.cooked_mode = quiet_cooked  # type: ignore[method-assign]  # of this object only
        self._prompt = PromptSession(
            message=self._message,
            is_password=Condition(lambda: self._question is not None),
            completer=ChatCompleter(core),
            complete_while_typing=Condition(lambda: self._question is None),
            history=self._history,
            enable_history_search=False,  # it would turn completing while typing off
            enable_suspend=True,
            erase_when_done=True,  # it comes back acknowledged, with its time
            bottom_toolbar=self._status_line if self._toolbar else None,
            style=_STYLE,
            color_depth=None if self._colour else ColorDepth.DEPTH_1_BIT,
            input_processors=[CellSafe(), MaskSecrets()],
            key_bindings=self._bindings(),
            reserve_space_for_menu=6,
            input=source,
        )

    # --- what the core calls -------------------------------------------------------------

    async def show(self, *lines: render.Line) -> None:
        """Queue lines for the screen; waits while it is far behind."""
        await trio.lowlevel.checkpoint()
        while len(self._pending) > BACKLOG:
            await self._room_for_more.wait()
        self._pending += lines
        self._wake.set()

    def refresh(self) -> None:
        """Draw the status line anew, with the next batch of lines."""
        self._wake.set()

    def clear(self) -> None:
        """Clear the screen; the scrollback stays the terminal's."""
        if self._prompt is not None:
            self._prompt.app.renderer.clear()

    async def secret(self, question: str) -> str | None:
        """Ask in place of the prompt; what is typed is not shown, not completed and not kept.

        What was being typed meanwhile comes back afterwards.
        """
        assert self._prompt is not None
        buffer = self._prompt.default_buffer
        asked = self._question = _Question(question)
        self._asked = True
        self._set_aside()
        self._history.asking = True
        self._prompt.app.invalidate()
        try:
            await asked.answered.wait()
        finally:
            self._question = None
            self._history.asking = False
            if not asked.answered.is_set():  # given up: the prompt is still the one that asked
                buffer.reset()
            self._prompt.app.invalidate()
        return asked.answer

    def _set_aside(self) -> None:
        """Where a question is asked, take what was typed before it out of the way."""
        assert self._prompt is not None
        buffer = self._prompt.default_buffer
        if self._question is not None and buffer.text:
            self._draft = buffer.text
            buffer.reset()

    # --- tasks -----------------------------------------------------------------------------

    async def print_lines(self) -> None:
        """Print what waits, a batch at a time, above the prompt."""
        while True:
            await self._wake.wait()
            await hosted.aio(self._print)
            await trio.sleep(PAUSE)

    async def read_lines(self) -> None:
        """Prompt, and hand each line on; what it does never delays the next prompt."""
        assert self._core is not None
        typed, lines = trio.open_memory_channel[str](math.inf)
        self._bursts, bursts = trio.open_memory_channel[list[str]](math.inf)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gather, lines, self._bursts)
            nursery.start_soon(self._handle, self._core, bursts)
            while True:
                line = await self._ask(self._core)
                if line is not None:
                    self._interrupts = 0
                    self._history.asking |= asks_for_secret(line)  # it may come typed ahead
                    self._in_hand += 1
                    typed.send_nowait(line)
                elif self._leaving:
                    self._core.leaving.set()  # asked for twice: at once
                else:
                    self._leaving = True
                    nursery.start_soon(self._leave, self._core)

    async def _leave(self, core: Core) -> None:
        """Leave after what was typed before, if that does not take long."""
        with trio.move_on_after(core.patience):
            while self._in_hand:
                await self._handled.wait()
        await core.quit()

    async def _handle(self, core: Core, bursts: trio.MemoryReceiveChannel[list[str]]) -> None:
        await core.started.wait()
        async for burst in bursts:
            if len(burst) > PASTE_LINES:
                self._paste = burst
                text = f"{len(burst)} lines came at once, as a paste, and were not sent: "
                text += "^Y sends them as one message, ^C drops them"
                await self.show(*render.notice(text))
            else:
                await self._handle_lines(core, burst)
            self._history.asking = False
            self._in_hand -= len(burst)
            self._handled.set()
            self._handled = trio.Event()

    async def _handle_lines(self, core: Core, burst: list[str]) -> None:
        """Handle lines; what came at once with one that asked for a secret may be the secret."""
        for number, line in enumerate(burst, 1):
            self._asked = False
            await core.handle(line)
            if self._asked and number < len(burst):
                await self.show(*render.notice("what came before the question was not sent"))
                return

    async def _ask(self, core: Core) -> str | None:
        """Return the next line, None when the user wants to leave."""
        assert self._prompt is not None
        # Without its own handler an exception in a key binding ends the program, as it should.
        ask = partial(self._prompt.prompt_async, set_exception_handler=False)
        while True:
            draft, self._draft = self._draft, ""
            try:
                line = (
                    await hosted.aio(partial(ask, default=draft, pre_run=self._set_aside))
                ).rstrip("\n")
                line = line.encode(errors="replace").decode()  # of keys that were no UTF-8
                if self._question is None:
                    return line
                self._question.answer = line
                self._question.answered.set()
                self._question = None  # the next line is none
            except KeyboardInterrupt:
                if core.give_up():
                    continue
                self._interrupts += 1
                if self._interrupts > 1:
                    return None
                await self.show(*render.notice("^C again leaves; so do ^D and /quit"))
            except EOFError:
                return None

    # --- drawing ---------------------------------------------------------------------------

    async def _print(self) -> None:
        """Print all that waits; runs under asyncio."""
        lines, self._pending = self._pending, []
        self._wake = trio.Event()
        self._room_for_more.set()
        self._room_for_more = trio.Event()
        if lines:
            self._quiet = True
            try:
                await run_in_terminal(partial(self._print_now, lines))
            finally:
                self._quiet = False
        elif self._prompt is not None:
            self._prompt.app.invalidate()  # a printed batch has drawn it already

    def print_rest(self) -> None:
        """Print what still waits, after the last prompt is gone."""
        lines, self._pending = self._pending, []
        if lines:
            self._print_now(lines)

    def _print_now(self, lines: Sequence[render.Line]) -> None:
        assert self._prompt is not None
        width = max(shutil.get_terminal_size().columns - 1, 20)
        found: StyleAndTextTuples = []
        for line in lines:
            for style, text in render.wrap(line, width, get_cwidth):
                found.append((f"class:{style}" if style else "", text))
            found.append(("", "\n"))
        # Not print_formatted_text(): that would open a second window, outside the quiet one.
        self._prompt.app.print_text(FormattedText(found))

    def _message(self) -> StyleAndTextTuples:
        return [("class:prompt", safe(self._question.text, 200) if self._question else "> ")]

    def _status_line(self) -> StyleAndTextTuples:
        assert self._core is not None
        status = self._core.status
        parts = ["connected" if status.online else "OFFLINE, trying again"]
        if status.room is None:
            parts.append("no room")
        else:
            parts.append(f"{status.room} ({status.mode})")
            parts.append("1 person" if status.people == 1 else f"{status.people} people")
        if status.unread:
            parts.append(f"{status.unread} private")
        if status.unsent:
            parts.append(f"{status.unsent} not sent yet")
        return [("", " " + " | ".join(parts) + " ")]

    # --- keys ------------------------------------------------------------------------------

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("c-c", filter=~is_searching)
        @bindings.add("<sigint>")
        def interrupt(event: KeyPressEvent) -> None:
            """Clear the line; on an empty one, ask to leave."""
            if event.current_buffer.text:
                event.current_buffer.reset()
                self._interrupts = 0
            elif self._paste:
                self._paste = []
            else:
                event.app.exit(exception=KeyboardInterrupt)

        @bindings.add("c-y", filter=Condition(lambda: bool(self._paste)))
        def send_paste(event: KeyPressEvent) -> None:
            """Send the lines held back as one message: several lines are never a command."""
            assert self._bursts is not None
            self._bursts.send_nowait(["\n".join(self._paste)])
            self._in_hand += 1
            self._paste = []

        @bindings.add("tab", filter=Condition(lambda: self._question is not None))
        @bindings.add("c-r", filter=Condition(lambda: self._question is not None))
        def nothing(event: KeyPressEvent) -> None:
            """A secret is neither completed nor searched for."""

        @bindings.add("tab", filter=~is_searching & Condition(lambda: self._question is None))
        def complete(event: KeyPressEvent) -> None:
            """Take the only completion, or go through several.

            prompt_toolkit's own completes in the background, and a Tab that comes at once
            after a letter is lost.
            """
            buffer = event.current_buffer
            state = buffer.complete_state
            asked = CompleteEvent(completion_requested=True)
            found = (
                state.completions
                if state
                else buffer.completer.get_completions(buffer.document, asked)
            )
            found = list(found)
            if len(found) == 1:
                buffer.apply_completion(found[0])
            elif state:
                buffer.complete_next()
            elif found:
                buffer.start_completion(insert_common_part=True, complete_event=asked)

        @bindings.add("escape", "enter")
        def new_line(event: KeyPressEvent) -> None:
            """Begin another line of the same message."""
            event.current_buffer.insert_text("\n")

        return bindings


async def chat(
    client: Client,
    face: PromptFace,
    *,
    rooms: Sequence[str],
    cursors: Cursors,
    fingerprint: str,
) -> None:
    """Chat until the user leaves; the terminal is then as it was.

    Raises:
        ChatError: the connection ended for good.
    """
    core = Core(client=client, face=face, cursors=cursors, fingerprint=fingerprint)
    face.attach(core)
    await face.show(*render.notice("/help lists the commands, Tab completes, ^D leaves"))
    with patch_stdout():  # only for stray prints: our own lines go another way
        try:
            await session.converse(core, rooms, face.print_lines, face.read_lines)
        finally:
            face.print_rest()
