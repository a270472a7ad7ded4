"""`trio_chat.names`: one rule for people, rooms and devices."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trio_chat import names
from trio_chat.errors import BadName

TEXT = st.text(st.characters(), max_size=40)


def valid(text: str) -> str:
    """A name that passes the rule, or no example at all."""
    try:
        return names.check_name(text)
    except BadName:
        assume(False)
        raise


SCRIPTS = ("abcXYZ019ñßéİıſ", "ΣσςάΐΘ0", "жЖЁйЙ9", "漢字", "ひカ")
LETTERS = st.one_of([st.text(script, min_size=1, max_size=32) for script in SCRIPTS])


@pytest.mark.parametrize(
    "name", ["a", "alice", "Uxía", "x" * 32, "0day", "a.b_c-d", "Ольга", "李雷", "カタかな漢"[:4]]
)
def test_a_name_has_1_to_32_letters_and_digits_of_one_script(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "x" * 33, ".hidden", "-rf", "_x", "a b", "a/b", "a\\b", "a:b", "a\nb", "a\0b"),
        *(
            "pаypal",
            "αlice",
            "a\u200bb",
            "a\u202eb",
            "😀",
            "a@b",
            "a+b",
            "@a",
            "ﬁ",
            "Ａ",
            "²",
            "٣x",
        ),
        *("\ud800", "a\u0301\u0301", "..", "~", "#a"),
    ],
)
def test_anything_else_is_refused_with_the_rule_quoted(name: str) -> None:
    with pytest.raises(BadName, match="1 to 32 letters and digits of one script"):
        names.check_name(name)


@pytest.mark.parametrize("name", ["हिन्दी", "ราชัน", "தமிழ்", "සිංහල"])
def test_scripts_with_vowel_signs_make_names(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize("name", ["\u093fन", "a\u0301\u0301", "x\u0336", "aि"])
def test_a_mark_goes_with_a_letter_of_its_script(name: str) -> None:
    with pytest.raises(BadName):
        names.check_name(name)


@pytest.mark.parametrize("name", ["god", "GOD", "ca", "Server", "ADMIN"])
def test_nobody_is_called_god(name: str) -> None:
    assert names.check_name(name) == name
    with pytest.raises(BadName, match="reserved"):
        names.check_user(name)


@pytest.mark.parametrize("name", ["\u115f", "\u1160", "한\u1160", "ក\u17b4", "ᠠ\u180b"])
def test_a_name_has_no_letters_that_cannot_be_seen(name: str) -> None:
    with pytest.raises(BadName):
        names.check_name(name)


def test_a_name_is_kept_in_nfc() -> None:
    decomposed = unicodedata.normalize("NFD", "Ñandú")
    assert names.check_name(decomposed) == "Ñandú"
    assert names.key(decomposed) == names.key("ñANDÚ")


def test_case_does_not_tell_names_apart() -> None:
    assert names.key("Straße") == names.key("STRASSE")
    assert names.key("ΣΊΣΥΦΟΣ") == names.key("σίσυφος")


@given(TEXT)
def test_whatever_the_text_there_is_a_name_or_the_rule(text: str) -> None:
    try:
        name = names.check_name(text)
    except BadName:
        return
    assert names.check_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


@given(LETTERS)
def test_a_key_is_its_own_key(text: str) -> None:
    key = names.key(valid(text))
    assert names.key(key) == key


@given(LETTERS, LETTERS)
def test_a_two_person_room_is_one_whoever_names_it(one: str, other: str) -> None:
    one, other = valid(one), valid(other)
    room = names.direct_room(one, other)
    assert room == names.direct_room(other, one)
    for named in (room, names.PLAIN_DIRECT + room[1:]):  # those of before, too
        assert names.is_direct(named)
        assert names.peer_of(named, one) == names.key(other)
        assert names.peer_of(named, other.upper()) == names.key(one) or other.upper() != other
        with pytest.raises(BadName):
            names.check_name(named)


@pytest.mark.parametrize(
    "room",
    [
        "",
        "@",
        "~",
        "@a",
        "alice+bob",
        "@bob+alice",
        "@alice+bob+carol",
        "@alice",
        "@x+y",
        "~x+y",
        "~@alice+bob",
    ],
)
def test_what_is_no_two_person_room_of_hers_has_no_other_person(room: str) -> None:
    assert names.peer_of(room, "alice") is None


@pytest.mark.parametrize("device", ["a", "A9", "x" * 32])
def test_a_device_id_is_ascii_letters_and_digits(device: str) -> None:
    assert names.check_device(device) == device


@pytest.mark.parametrize("device", ["", "x" * 33, "a-b", "a.b", "ñ", "a\n", " a"])
def test_no_other_device_id(device: str) -> None:
    with pytest.raises(BadName):
        names.check_device(device)


def test_a_text_that_is_no_name_costs_no_time() -> None:
    # NFC sorts the marks after a letter: seconds for what fits into one frame.
    hostile = "a" + "\u0301\u0327" * 40_000
    started = time.perf_counter()
    with pytest.raises(BadName):
        names.check_name(hostile)
    assert names.key(hostile) == hostile
    assert time.perf_counter() - started < 0.5


def test_every_spelling_of_the_longest_names_has_the_same_key() -> None:
    longest = "\u1f82" * 32  # four code points each where it is taken apart
    room = names.direct_room(longest, longest)
    assert names.key(unicodedata.normalize("NFD", room)) == names.key(room)
    assert names.check_name(unicodedata.normalize("NFD", longest)) == longest
