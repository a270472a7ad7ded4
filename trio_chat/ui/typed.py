"""What the user typed: its history, without secrets, and how it looks while it is typed.

May know prompt_toolkit, no chat.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

from trio_chat.errors import ConfigError
from trio_chat.files import create_private
from trio_chat.text import safe

__all__ = [
    "CellSafe",
    "MaskSecrets",
    "SecretlessHistory",
    "SessionHistory",
    "asks_for_secret",
    "cell",
    "may_hold_secret",
    "open_history",
]

_SECRET = {
    "/register": 1,
    "/login": 1,
    "/passphrase": 1,
    "/passwd": 1,
    "/join": 2,
    "/create": 2,
}
"""Commands that may hold a password, and the first of their words that may be it."""
_WITHOUT_PASSWORD = re.compile(r"\s*/(register|login)\s+\S+\s*", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"\s*/(register|login)\s+\S+\s+", re.IGNORECASE)


def may_hold_secret(line: str) -> bool:
    """May there be a password in a line? Also where the command is misspelt: `/jion ops ...`."""
    words = line.split()
    if len(words) < 2 or not words[0].startswith("/") or words[0].startswith("//"):
        return False
    typed = words[0].casefold()
    if typed in _SECRET:
        return len(words) > _SECRET[typed]
    near = difflib.get_close_matches(typed, _SECRET, n=len(_SECRET), cutoff=0.6)
    meant = {*near, *(name for name in _SECRET if name.startswith(typed))}
    return any(len(words) > _SECRET[name] for name in meant)


def asks_for_secret(line: str) -> bool:
    """Will a line be answered with a question for a password, whatever the server says?"""
    return _WITHOUT_PASSWORD.fullmatch(line) is not None


class _Secretless(History):
    """A history that never holds a line with a secret in it.

    Attributes:
        asking: Is what is entered now the answer to a question for a secret?
    """

    asking = False

    def append_string(self, string: str) -> None:
        """Keep a line, unless it may hold a secret."""
        if not self.asking and not may_hold_secret(string):
            super().append_string(string)


class SecretlessHistory(_Secretless, FileHistory):
    """One that is kept in a file."""


class SessionHistory(_Secretless, InMemoryHistory):
    """One that ends with the program."""


class MaskSecrets(Processor):
    """Shows a password as stars while it is typed behind its command."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Replace characters one by one; positions stay."""
        found = _WITH_PASSWORD.match(transformation_input.document.text)
        if found is None or transformation_input.lineno > 0:
            return Transformation(transformation_input.fragments)
        shown: list[tuple[str, str]] = []
        left = found.end()
        for fragment in transformation_input.fragments:
            text = fragment[1]
            open_part, rest = text[:left], text[left:]
            left -= len(open_part)
            shown.append((fragment[0], open_part + "*" * len(rest)))
        return Transformation(list(shown))


def open_history(path: Path) -> SecretlessHistory:
    """Return the history kept in `path`, a file that only its owner may read.

    Raises:
        ConfigError: the file cannot be made.
    """
    if not path.exists():
        create_private(path, b"")
    try:
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot use {path}: {error.strerror}") from None
    return SecretlessHistory(str(path))


class CellSafe(Processor):
    """Shows what is typed one cell pattern per character, as every terminal draws it.

    Joiners, variation selectors and skin tones take no cell, flags become letters: so the
    cursor stays where the terminal has it. What is sent is what was typed.
    """

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Replace characters one by one; positions stay."""
        return Transformation(
            [
                (fragment[0], "".join(map(cell, fragment[1])), *fragment[2:])
                for fragment in transformation_input.fragments
            ]
        )


def cell(character: str) -> str:
    """Return the one character that is drawn for `character` while it is typed."""
    if character < " " or character == "\x7f":
        return character  # prompt_toolkit draws ^X
    return safe(character) or "\u200b"
