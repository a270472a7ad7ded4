"""What Tab offers: slash commands, rooms, people. May know the core and the command table.

Everything offered is safe text, for it lands on the screen.
"""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from trio_chat.ui import commands
from trio_chat.ui.core import Core

__all__ = ["ChatCompleter"]


class ChatCompleter(Completer):
    """Completes the first word as a command, its arguments by their kind, and `@names`.

    A name at the start of a line is completed too, when Tab asks for it.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word before the cursor may become."""
        before = document.text_before_cursor
        words = before.split(" ")
        word = words[-1]
        if "\n" not in before and before.startswith("/") and not before.startswith("//"):
            if len(words) == 1:
                yield from _commands(word)
                return
            command = commands.find(words[0])
            if command is not None and len(words) - 2 < len(command.arguments):
                what = command.arguments[len(words) - 2].what
                if what != "TEXT":
                    yield from self._argument(what, word)
                    return
        if word.startswith("@"):
            yield from _matching(self._core.people(), word[1:], len(word), start="@")
        elif word and event.completion_requested:
            end = ": " if len(words) == 1 else " "
            yield from _matching(self._core.people(), word, len(word), end=end)

    def _argument(self, what: str, word: str) -> Iterable[Completion]:
        if what == "USER":
            bare = word.removeprefix("@")
            yield from _matching(self._core.people(), bare, len(word), end=" ")
        elif what == "ROOM":
            yield from _matching(self._core.room_names(), word, len(word))
        elif what == "COMMAND":
            yield from _commands(word if word.startswith("/") else f"/{word}", len(word))
        elif what != "NAME":  # it says itself what can be typed
            yield from _matching(what.split("|"), word, len(word))


def _commands(word: str, replaced: int | None = None) -> Iterable[Completion]:
    """Offer the commands whose name or alias starts with `word`, each once."""
    typed = word.casefold()
    for command in commands.COMMANDS:
        named = (command.name, *command.aliases)
        found = next((name for name in named if name.startswith(typed)), None)
        if found is not None:
            end = " " if command.arguments else ""
            yield Completion(
                found + end,
                start_position=-(len(word) if replaced is None else replaced),
                display=command.usage if found == command.name else found,
                display_meta=command.help,
            )


def _matching(
    names: Iterable[str], typed: str, replaced: int, *, start: str = "", end: str = ""
) -> Iterable[Completion]:
    for name in names:
        if name.casefold().startswith(typed.casefold()):
            yield Completion(start + name + end, start_position=-replaced, display=start + name)
