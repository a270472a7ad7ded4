"""Encrypted rooms on the screen: who can read, who they are, and what has changed."""

from __future__ import annotations

import importlib.util
from typing import Any, TypeAlias

import pytest

from trio_chat.client import (
    ComparisonAsked,
    ComparisonDone,
    ComparisonFailed,
    ComparisonShown,
    Excluded,
    KeyChanged,
    MembersChanged,
    News,
    Number,
    Readable,
    RoomReader,
    Standing,
    Unreadable,
)
from trio_chat.e2ee.trust import Person
from trio_chat.protocol.frames import Invited, OwnDevice
from trio_chat.protocol.frames import Person as Who
from trio_chat.ui.announce import STANDING

Stage: TypeAlias = Any  # of conftest.py
EVIL = "x\x1b[2J\n09:99 <bob> forged"


def reads(user: str, device: str, standing: Standing = Standing.CERTIFIED, **more: Any) -> Any:
    return RoomReader(user=user, device=device, standing=standing, fingerprint="ab" * 32, **more)


def number(standing: Standing, key: bytes = b"key", device: str = "laptop") -> Number:
    digits = " ".join(f"{each:05}" for each in range(12))
    return Number(digits, Person("bob", key), (device,), standing)


@pytest.fixture
async def den(stage: Stage) -> Any:
    room = stage.client.room("den", "alice", "dave", mode="encrypted")
    await stage.start(["den"])
    return room


async def test_entering_says_who_can_read(stage: Stage, den: Any) -> None:
    assert "den is encrypted: only who is in it can read it, not the server" in stage.screen
    assert stage.core.status.mode == "encrypted"


async def test_users_shows_who_can_read_here_or_not(stage: Stage, den: Any) -> None:
    den.reading = [
        reads("alice", "laptop", Standing.VERIFIED, own=True),
        reads("bob", "phone", Standing.VERIFIED),
        reads("bob", "tablet", Standing.CHANGED),
        reads("carol", "desk", Standing.EXPIRED, bot=True),
    ]
    await stage.type("/users")
    assert "2 people in den; 4 devices can read it:" in stage.screen
    assert "  alice (you; verified; reads on laptop; here)" in stage.screen
    changed = "  bob (KEY CHANGED; reads on phone [verified], tablet [KEY CHANGED]; not here)"
    assert changed in stage.screen
    assert "  carol (EXPIRED; bot; reads on desk; not here)" in stage.screen
    assert "  dave (cannot read yet; here)" in stage.screen


def test_every_standing_has_its_word() -> None:
    assert STANDING.keys() == set(Standing)


async def test_what_happens_to_readers_is_said_in_words(stage: Stage, den: Any) -> None:
    await stage.happen(
        Readable("den", 7),
        MembersChanged(
            room="den",
            seq=8,
            actor="alice",
            added=("bob",),
            removed=("carol",),
            devices=(("alice", "phone"), ("bob", "desk")),
        ),
        MembersChanged(room="den", seq=9, actor="eve", added=("eve",), removed=(), devices=()),
        Excluded("den", "alice"),
        Excluded("den", "bob"),
        News("den", "the group is broken"),
        News("", "no list"),
        Invited(room="attic", sender="bob"),
    )
    for line in (
        "-- you can read from here on; what was said before, this device cannot read",
        "-- bob can read now (by alice)",
        "-- carol can read no more (by alice)",
        "-- another device of you can read now: phone (by alice)",
        "-- another device of bob can read now: desk (by alice)",
        "-- eve can read now",
        "-- you have taken this device out: it reads no more here",
        "-- bob has taken this device out: it reads no more here",
        "-- the group is broken",
        "-- no list",
        "-- bob has invited you to attic: /join attic",
    ):
        assert line in stage.screen.split("\n")


async def test_who_begins_a_room_has_missed_nothing(stage: Stage, den: Any) -> None:
    await stage.happen(Readable("den", 1))
    assert "from here on" not in stage.screen


async def test_what_cannot_be_read_is_shown_with_its_reason(stage: Stage, den: Any) -> None:
    gone = Unreadable(room="den", seq=3, time=0.0, sender="bob", device="d", reason="no key")
    await stage.happen(gone, gone)
    assert stage.screen.count("what bob said cannot be read here: no key") == 1


async def test_a_changed_key_is_loud(stage: Stage, den: Any) -> None:
    event = KeyChanged(
        room="den", user="bob", fingerprint="ab" * 32, devices=("desk",), blocks=True
    )
    await stage.happen(event)
    lines = [line for line in stage.face.lines if line.text.startswith("!! ")]
    assert all(line.spans[-1][0] == "error" for line in lines)
    said = "\n".join(line.text for line in lines)
    assert "WARNING: bob has ANOTHER KEY (on desk)" in said
    assert "new key: abab abab" in said
    assert "until you /accept bob" in said
    assert "/verify bob" in said


async def test_one_s_own_name_with_another_key_is_said_to_be_that(stage: Stage, den: Any) -> None:
    event = KeyChanged(room="den", user="Alice", fingerprint="ab", devices=(), blocks=False)
    await stage.happen(event)
    assert "WARNING: your own name has ANOTHER KEY:" in stage.screen
    assert "until you" not in stage.screen


async def test_fp_shows_numbers_and_what_they_are(stage: Stage) -> None:
    stage.client.persons["bob"] = Who(user="bob", here=[], fingerprints=["cd" * 32])
    stage.client.numbers = [number(Standing.VERIFIED)]
    await stage.type("/fp bob")
    assert "bob (verified) on laptop  " in stage.screen
    assert "    00000 00001 00002 00003 00004 00005\n    00006 00007" in stage.screen
    assert "bob  cdcd cdcd" in stage.screen  # a key that is in no shared room


@pytest.mark.skipif(importlib.util.find_spec("segno") is None, reason="needs segno")
async def test_fp_draws_a_code_when_asked(stage: Stage) -> None:
    stage.client.persons["bob"] = Who(user="bob", here=[], fingerprints=[])
    stage.client.numbers = [number(Standing.CERTIFIED)]
    await stage.type("/fp bob", "/fp bob x")
    assert "\u2588" not in stage.screen
    assert "/fp takes a user and `qr`" in stage.screen
    await stage.type("/fp bob --qr")
    assert stage.screen.count("\u2588" * 33) >= 2


async def test_a_comparison_is_led_by_words(stage: Stage) -> None:
    symbols = (("🐶", "Dog"), ("🐱", "Cat"), ("🦁", "Lion")) * 2 + (("🐎", "Horse"),)
    await stage.type("/verify @bob", "/verify bob yes", "/verify bob NO", "/verify bob desktop")
    assert stage.client.calls == [
        ("verify", "bob", ""),
        ("answer", "bob", True),
        ("answer", "bob", False),
        ("verify", "bob", "desktop"),
    ]
    await stage.happen()
    stage.nursery.start_soon(stage.core.run)
    await stage.happen(
        ComparisonAsked("~alice+bob", "bob", "phone"),
        ComparisonShown("~alice+bob", "bob", "phone", symbols),
        ComparisonDone("~alice+bob", "bob", "phone", "ab" * 32),
        ComparisonFailed("~alice+bob", "bob", "they differ"),
    )
    assert "bob (on phone) wants to compare keys with you" in stage.screen
    assert "1 🐶 Dog   2 🐱 Cat   3 🦁 Lion   4 🐶 Dog\n    5 🐱 Cat" in stage.screen
    assert "/verify bob yes, or /verify bob no" in stage.screen
    assert "bob is verified: key abab" in stage.screen
    assert "comparing keys with bob is over: they differ" in stage.screen


async def test_a_key_that_was_not_on_the_screen_is_not_accepted(stage: Stage) -> None:
    stage.client.numbers = [number(Standing.CHANGED)]
    await stage.type("/accept bob")
    assert ("accept", "bob") not in stage.client.calls
    assert "bob (KEY CHANGED) on laptop" in stage.screen
    assert "if that is really bob: /accept bob again" in stage.screen
    stage.client.numbers.append(number(Standing.CHANGED, b"another", "desk"))
    await stage.type("/accept bob")  # meanwhile there is one more
    assert ("accept", "bob") not in stage.client.calls
    await stage.type("/accept bob")
    assert ("accept", "bob") in stage.client.calls
    assert stage.screen.count("bob goes on with the key") == 2


async def test_what_a_warning_has_shown_may_be_accepted(stage: Stage, den: Any) -> None:
    found = number(Standing.CHANGED)
    stage.client.numbers = [found]
    await stage.happen(
        KeyChanged(
            room="den",
            user="bob",
            fingerprint=found.person.fingerprint,
            devices=(),
            blocks=True,
        )
    )
    await stage.type("/accept bob")
    assert "bob goes on with the key" in stage.screen


async def test_who_is_accepted_is_let_into_the_two_person_room(stage: Stage) -> None:
    private = stage.client.room("~alice+bob", "alice", peer="bob", mode="encrypted")
    stage.client.rooms["~alice+bob"] = private
    stage.client.numbers = [number(Standing.CHANGED)]
    await stage.type("/accept bob", "/accept bob")
    assert private.done == [("invite", "bob")]


async def test_who_has_no_new_key_has_nothing_to_accept(stage: Stage) -> None:
    stage.client.numbers = [number(Standing.VERIFIED)]
    await stage.type("/accept bob")
    assert "bob has no new key in your rooms" in stage.screen


async def test_the_open_room_s_people_are_changed_and_checked(stage: Stage, den: Any) -> None:
    stage.client.own = [reads("alice", "laptop", Standing.VERIFIED, own=True)]
    den.access = "closed"
    await stage.type("/invite @bob", "/kick bob", "/check", "/devices")
    assert den.done == [("invite", "bob"), ("kick", "bob")]
    assert "den now: Dog Cat Lion Horse Unicorn Pig Elephant Rabbit" in stage.screen
    assert "  laptop (verified, this one)" in stage.screen


async def test_search_shows_dates_and_says_when_there_is_nothing(stage: Stage, den: Any) -> None:
    den.said("bob", "the crow")
    await stage.type("/search crow", "/search raven")
    assert "<bob> the crow" in stage.screen
    assert any(line.text.startswith("---- 19") for line in stage.face.lines)
    assert "nothing with these words was read here" in stage.screen


async def test_plain_private_rooms_are_marked(stage: Stage) -> None:
    room = stage.client.room("@alice+bob", "alice", peer="bob")
    await stage.start()
    await stage.happen(room.said("bob", "hello"))
    assert "[private, readable by the server] bob -> you: hello" in stage.screen
    await stage.type("/rooms")
    assert "  bob [private, readable by the server]" in stage.screen


async def test_no_event_about_keys_forges_a_line(stage: Stage, den: Any) -> None:
    before = len(stage.face.lines)
    await stage.happen(
        Unreadable(room="den", seq=3, time=0.0, sender=EVIL, device=EVIL, reason=EVIL),
        MembersChanged(
            room=EVIL, seq=8, actor=EVIL, added=(EVIL,), removed=(EVIL,), devices=((EVIL, EVIL),)
        ),
        Excluded(EVIL, EVIL),
        News(EVIL, EVIL),
        Invited(room=EVIL, sender=EVIL),
        KeyChanged(room=EVIL, user=EVIL, fingerprint=EVIL, devices=(EVIL,), blocks=True),
        ComparisonAsked(EVIL, EVIL, EVIL),
        ComparisonFailed(EVIL, EVIL, EVIL),
        ComparisonDone(EVIL, EVIL, EVIL, EVIL),
    )
    den.reading = [reads(EVIL, EVIL)]
    stage.client.own = [reads(EVIL, EVIL)]
    stage.client.certified = [OwnDevice(device=EVIL, serial=EVIL, here=True, name=EVIL)]
    await stage.type("/users", "/devices", f"/devices {EVIL.split()[0]}")
    lines = stage.face.lines[before:]
    assert len(lines) > 12
    for line in lines:
        assert "\x1b" not in line.text
        assert "\n" not in line.text
        assert not line.text.startswith("09:99")
