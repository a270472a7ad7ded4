"""`trio_chat.text`: nothing from the network harms a terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.text import safe, safe_lines

CHUNK = 32_768
BIDI_CONTROLS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FORBIDDEN = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
INVISIBLE = {*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xAD}


def test_no_code_point_survives_that_could_do_harm() -> None:
    survivors: set[str] = set()
    for start in range(0, sys.maxunicode + 1, CHUNK):
        text = "".join(map(chr, range(start, min(start + CHUNK, sys.maxunicode + 1))))
        shown = safe(text)
        assert safe(shown) == shown
        survivors |= set(shown)
    assert len(survivors) > 100_000
    assert not survivors & BIDI_CONTROLS
    assert not {hex(ord(c)) for c in survivors if ord(c) in INVISIBLE}
    assert not {hex(ord(c)) for c in survivors if unicodedata.category(c) in FORBIDDEN}


def is_harmless(text: str) -> bool:
    return not any(
        unicodedata.category(c) in FORBIDDEN or c in BIDI_CONTROLS or ord(c) in INVISIBLE
        for c in text
    )


@pytest.mark.parametrize(
    ("attack", "shown"),
    [
        ("\rFAKE> overwritten", "␍FAKE> overwritten"),
        ("hi\nalice: forged", "hi␊alice: forged"),
        ("abc\b\b\bxyz", "abc␈␈␈xyz"),
        ("\a\a", "␇␇"),
        ("nul\0nul", "nul␀nul"),
        ("\x1b[2J\x1b[H", "␛[2J␛[H"),
        ("\x1b]0;owned\x07", "␛]0;owned␇"),
        ("\x1b]52;c;cm0gLXJm\x07", "␛]52;c;cm0gLXJm␇"),
        ("\x9b31mred", "\ufffd31mred"),
        ("\x9d0;owned\x9c", "\ufffd0;owned\ufffd"),
        ("\x7f", "␡"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\u2067isolate\u2069", "\ufffdisolate\ufffd"),
        ("line\u2028sep\u2029par", "line\ufffdsep\ufffdpar"),
        ("zero\u200bwidth\u200d\ufeff", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
        ("tags\U000e0041\U000e007f", "tags"),
        ("lone\ud800surrogate", "lone\ufffdsurrogate"),
        ("private\ue000", "private\ufffd"),
        ("non\uffffchar", "non\ufffdchar"),
        ("\u3164filler", " filler"),
    ],
)
def test_attacks_are_shown_and_do_nothing(attack: str, shown: str) -> None:
    assert safe(attack) == shown
    assert is_harmless(safe(attack))


def test_zalgo_keeps_three_marks() -> None:
    assert safe("a" + "\u0301" * 60 + "b") == "a" + "\u0301" * 3 + "b"


def test_invisible_characters_do_not_let_more_marks_through() -> None:
    assert safe("a" + "\u0301\u200d" * 60) == "a" + "\u0301" * 3


def test_emoji_have_one_width() -> None:
    assert safe("👩\u200d👧 👍🏽 ❤\ufe0f 🇪🇸") == "👩👧 👍 ❤ ES"


@pytest.mark.parametrize(
    "text",
    ["", "plain", "ñandú 日本語 العربية עברית हिन्दी 한국어 😀", "naïve e\u0301", "tab­less"[:3]],
)
def test_what_people_write_stays(text: str) -> None:
    assert safe(text) == text


@given(st.text(st.characters()), st.integers(1, 50))
def test_cleaning_twice_is_cleaning_once(text: str, limit: int) -> None:
    shown = safe(text, limit)
    assert safe(shown, limit) == shown
    assert len(shown) <= limit
    assert is_harmless(shown)


def test_what_is_cut_off_is_seen_to_be() -> None:
    assert safe("abcdef", 4) == "abc…"
    assert safe("abcd", 4) == "abcd"


def test_lines_are_split_at_line_feeds_alone() -> None:
    assert safe_lines("a\n\tb\r\nc\u2028d") == ["a", "    b␍", "c\ufffdd"]
