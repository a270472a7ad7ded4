"""What the user typed: its history, without secrets, and how it looks while it is typed.

May know prompt_toolkit, no chat.
"""

from __future__ import annotations

import re
from pathlib import Path

from prompt_toolkit.history import FileHistory
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

from trio_chat.errors import ConfigError
from trio_chat.files import create_private
from trio_chat.text import safe

__all__ = ["CellSafe", "SecretlessHistory", "cell", "open_history"]

_SECRET = re.compile(r"\s*/(register|login|passphrase|(join|create)\s+\S+\s+\S)", re.IGNORECASE)


class SecretlessHistory(FileHistory):
    """A history file that never holds a line with a secret in it."""

    def append_string(self, string: str) -> None:
        """Keep a line, in memory and in the file, unless it may hold a secret."""
        if not _SECRET.match(string):
            super().append_string(string)


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
