"""Text from the network, made safe to show: the one place where it is cleaned.

A terminal, a log or a notifier gets `SafeText` only. Control characters become visible
pictures, direction overrides and invisible characters vanish or become U+FFFD, so no
message can move the cursor, retitle a window, forge a line or hide a word. May know
nothing but text.
"""

from __future__ import annotations

import unicodedata
from typing import NewType

__all__ = ["SafeText", "safe", "safe_lines"]

SafeText = NewType("SafeText", str)
"""Text without control, direction or invisible characters."""

_REPLACEMENT = "\ufffd"
_MARKS = 3  # combining marks kept after one character: enough for every living script


def safe(text: str, limit: int = 65_536) -> SafeText:
    """Return `text` as one line that cannot harm a terminal.

    C0 controls become their pictures (U+2400..), a line feed among them; C1, surrogates,
    private use, noncharacters and direction controls become U+FFFD; other invisible
    format characters are dropped; flags become letters; more than three combining marks
    on one character are dropped. At most `limit` characters are kept. Idempotent.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return SafeText(text)
    kept: list[str] = []
    marks = 0
    for character in text[:limit]:
        shown = _shown(character)
        if not shown:
            continue  # and what is not seen does not part a character from its marks
        marks = marks + 1 if unicodedata.category(shown) in ("Mn", "Me") else 0
        if marks <= _MARKS:
            kept.append(shown)
    if len(text) > limit:
        kept[-1:] = "\u2026"
    return SafeText("".join(kept))


def safe_lines(text: str, limit: int = 65_536) -> list[SafeText]:
    """Return the lines of `text`, each safe; tabs become four spaces."""
    return [safe(line) for line in text[:limit].replace("\t", "    ").split("\n")]


def _shown(character: str) -> str:
    """Return what stands for `character` on a screen: itself, a picture, or nothing."""
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code < 0x7F:
        return character
    if code == 0x7F:
        return "\u2421"
    if 0x1F1E6 <= code <= 0x1F1FF:  # regional indicators: flags disagree about their width
        return chr(code - 0x1F1E6 + ord("A"))
    if 0x1F3FB <= code <= 0x1F3FF or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return ""  # skin tones and variation selectors
    match unicodedata.category(character):
        case "Cc" | "Cs" | "Co" | "Cn" | "Zl" | "Zp":
            return _REPLACEMENT
        case "Cf" if unicodedata.bidirectional(character) != "BN" or 0x2066 <= code <= 0x206F:
            return character if code in _VISIBLE_FORMAT else _REPLACEMENT
        case "Cf":
            return ""
    if code in (0x115F, 0x1160, 0x3164, 0xFFA0, 0x034F, 0x2800):
        return "" if code == 0x034F else " "  # fillers that look like nothing
    return character


# Arabic number signs and the like are format characters that have a glyph.
_VISIBLE_FORMAT = frozenset(
    {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
)
