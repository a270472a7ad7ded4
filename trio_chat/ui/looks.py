"""How a style looks, and whether there is colour at all. May know no text and no chat.

Meaning is never in a colour alone: every line reads the same without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trio_chat.ui.render import Line, Style

__all__ = ["LOOKS", "Colour", "painted", "wanted"]

Colour = Literal["auto", "always", "never"]

# Style -> (as prompt_toolkit says it, as SGR parameters)
LOOKS: Mapping[Style, tuple[str, str]] = {
    "": ("", ""),
    "time": ("ansibrightblack", "90"),
    "room": ("ansicyan", "36"),
    "name": ("bold", "1"),
    "own": ("bold ansigreen", "1;32"),
    "notice": ("ansiyellow", "33"),
    "private": ("ansimagenta", "35"),
    "error": ("bold ansired", "1;31"),
}


def wanted(choice: Colour, terminal: bool, environment: Mapping[str, str]) -> bool:
    """Shall there be colour? `--color` first, then NO_COLOR, TERM=dumb, FORCE_COLOR.

    Args:
        choice: What `--color` says.
        terminal: Is the stream a terminal?
        environment: NO_COLOR that is set and empty counts as unset.
    """
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return terminal or bool(environment.get("FORCE_COLOR"))


def painted(line: Line) -> str:
    """Return a line with escape sequences for its styles; its text holds none."""
    return "".join(
        f"\x1b[{LOOKS[style][1]}m{text}\x1b[0m" if LOOKS[style][1] else text
        for style, text in line.spans
    )
