from __future__ import annotations

import time
from typing import Any

import pytest

from trio_chat.client import Connected, Gap, Offline
from trio_chat.errors import ConfigError
from trio_chat.protocol.frames import (
    AwayChanged,
    Closing,
    Count,
    Entered,
    Left,
    Member,
    Message,
    NickChanged,
    Person,
    Relayed,
    RoomInfo,
    Server,
    Topic,
    TypingNow,
)
from trio_chat.ui import render
from trio_chat.ui.render import Reader

READER = Reader("alice", "lobby", time.gmtime)
ATTACKS = [
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m\x9d0;owned\x9c",
    "\rFAKE> overwritten",
    "\b\b\b\b\b\bbob",
    "\u202egnirts\u202c \u2066x\u2069",
    "\u2028<bob> forged\u2029",
    "e" + "\u0301" * 60,
    "\x00\x7f\ufeff\u200b\u200d",
    "\x1bPq\x1b\\",
    "\ud800",
]


def message(text: str, **more: Any) -> Message:
    given: dict[str, Any] = {
        "room": "lobby",
        "seq": 1,
        "time": 12 * 3600.0 + 34 * 60,
        "sender": "bob",
        "device": "k.1",
        "n": 1,
        "text": text,
    }
    return Message(**given | more)


def shown(event: object, reader: Reader = READER) -> list[str]:
    return [line.text for line in render.render(event, reader)]


def test_a_message_has_time_and_name() -> None:
    assert shown(message("hi")) == ["12:34 <bob> hi"]


def test_an_action_and_a_notice_look_different() -> None:
    assert shown(message("waves", form="action")) == ["12:34 * bob waves"]
    assert shown(message("beep", form="notice")) == ["12:34 -bob- beep"]


def test_a_message_of_another_room_names_it() -> None:
    assert shown(message("hi", room="ops")) == ["12:34 [ops] <bob> hi"]


def test_a_room_is_the_same_in_capitals() -> None:
    assert shown(message("hi", room="LOBBY")) == ["12:34 <bob> hi"]


def test_a_private_message_is_marked_on_each_side() -> None:
    mark = "12:34 [private, readable by the server]"
    assert shown(message("hi", room="@alice+bob")) == [f"{mark} bob -> you: hi"]
    own = message("hi", room="@alice+bob", sender="Alice")
    assert shown(own) == [f"{mark} you -> bob: hi"]


def test_a_private_line_is_private_in_every_one_of_its_lines() -> None:
    lines = render.render(message("a\nb", room="@alice+bob"), READER)
    assert [line.spans[-1][0] for line in lines] == ["private", "private"]


def test_the_lines_of_a_message_are_indented_so_none_can_be_forged() -> None:
    lines = shown(message("look:\n12:35 <carol> I quit\n-- dave has left"))
    assert lines[0] == "12:34 <bob> look:"
    assert all(line.startswith("      ") for line in lines[1:])


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_field_of_any_event_brings_a_control_character_to_the_screen(attack: str) -> None:
    member = Member(user=attack, device=attack, name=attack, nick=attack, away=attack)
    events = [
        message(attack),
        message("x", sender=attack),
        message("x", room=attack),
        message("x", room="@" + attack),
        message("x", room="@alice+" + attack),
        message(attack, form="action", sender=attack),
        message(attack, form="notice", sender=attack),
        Topic(room=attack, seq=1, time=0, sender=attack, device="d", text=attack),
        Entered(room=attack, count=1, members=[member]),
        Left(room=attack, count=1, members=[member]),
        AwayChanged(room=attack, user=attack, device="d", text=attack),
        NickChanged(room=attack, user=attack, device="d", nick=attack),
        Gap(attack, 1, 2),
        Offline(attack, 1.0),
        Server(attack),
    ]
    lines = [line for event in events for line in render.render(event, READER)]
    lines += render.users([member], READER, attack)
    lines += render.rooms(
        [
            RoomInfo(room=attack, mode=attack, topic=attack, count=1, seq=1),
            RoomInfo(room="@x", mode="plain", topic="", count=1, seq=1, user=attack),
        ],
        READER,
        [],
    )
    lines += render.person(Person(user=attack, here=[member], fingerprints=[attack]), READER)
    lines += render.error(ConfigError(attack, hint=attack))
    lines += render.notice(attack) + render.result(attack) + render.day(attack)
    assert len(lines) > 20
    for line in lines:
        assert line.text.isprintable() or "\u0301" in line.text
        assert not set(line.text) & set("\x1b\r\n\b\x07\u202e\u2028\u2066\x9b")


def test_no_style_is_made_of_anybody_s_text() -> None:
    member = Member(user="red", device="bold")
    lines = render.render(message("x", sender="ansired"), READER)
    lines += render.users([member], READER, "here")
    allowed = {"", "time", "room", "name", "own", "notice", "private", "error"}
    assert {style for line in lines for style, _ in line.spans} <= allowed


def test_each_person_is_named_once_in_one_wake_up() -> None:
    devices = [Member(user="bob", device="k.1"), Member(user="bob", device="k.2")]
    event = Entered(room="lobby", count=3, members=devices)
    assert shown(event) == ["-- bob has entered"]


def test_going_away_and_coming_back() -> None:
    away = AwayChanged(room="lobby", user="bob", device="k.1", text="lunch")
    back = AwayChanged(room="lobby", user="bob", device="k.1")
    assert shown(away) + shown(back) == ["-- bob is away: lunch", "-- bob is back"]


def test_a_nick_is_an_ornament_and_quoted() -> None:
    event = NickChanged(room="lobby", user="bob", device="k.1", nick="Al")
    assert shown(event) == ['-- bob is also called "Al"']


def test_gaps_in_the_singular_and_the_plural() -> None:
    assert shown(Gap("lobby", 5, 5)) == ["-- message 5 is no longer kept"]
    assert shown(Gap("ops", 5, 9)) == ["[ops] -- messages 5 to 9 are no longer kept"]


def test_an_erased_message_says_so() -> None:
    erased = Message(room="lobby", seq=3, time=0, erased=True)
    assert shown(erased) == ["00:00 -- a message was erased"]


@pytest.mark.parametrize("moment", [1e300, -1e300, float("inf"), float("nan")])
def test_a_time_that_is_none_is_shown_as_none(moment: float) -> None:
    assert shown(message("hi", time=moment)) == ["--:-- <bob> hi"]
    assert READER.day(moment) == ""


def test_talk_is_told_from_events() -> None:
    kinds = [render.render(event, READER)[0].kind for event in (message("x"), Connected())]
    assert kinds == ["event", "talk"]


def test_counts_and_typing_make_no_line() -> None:
    assert shown(Count(room="lobby", count=3)) == []
    assert shown(TypingNow(room="lobby", user="bob", device="k")) == []


def test_users_are_people_with_their_devices() -> None:
    lines = render.users(
        [
            Member(user="bob", device="0123.laptopid1", roles=["admin"]),
            Member(user="Bob", device="4567.x", name="phone", nick="Bobby"),
            Member(user="alice", device="89ab", away="lunch"),
        ],
        READER,
        "in lobby",
    )
    assert [line.text for line in lines] == [
        "2 people in lobby:",
        "  alice (you; on 89ab; away: lunch)",
        '  bob (admin; called "Bobby"; on laptopid, phone)',
    ]


def test_fingerprints_are_in_groups_of_four() -> None:
    assert render.fingerprint("0123456789ab") == "0123 4567 89ab"


def test_a_long_line_breaks_between_words_and_is_indented() -> None:
    line = render.render(message("aaaa bbbb cccc dddd"), READER)[0]
    rows = "".join(text for _, text in render.wrap(line, 22, len)).split("\n")
    assert [row.rstrip() for row in rows] == ["12:34 <bob> aaaa bbbb", "      cccc dddd"]


def test_blanks_cannot_push_a_false_line_to_the_margin() -> None:
    attack = "x" + " " * 27 + "12:35 <carol> I quit"
    line = render.render(message(attack), READER)[0]
    rows = "".join(text for _, text in render.wrap(line, 40, len)).split("\n")
    assert len(rows) > 1
    assert all(row.startswith("      ") for row in rows[1:])
    assert all(len(row) <= 40 for row in rows)


def test_a_link_is_left_whole() -> None:
    link = "https://example.org/" + "x" * 80
    line = render.render(message(f"see {link} there"), READER)[0]
    assert link in "".join(text for _, text in render.wrap(line, 40, len))


def test_talk_is_one_line_whatever_it_quotes() -> None:
    reason = "x\n-- bob has entered"
    relayed = Relayed(sender="bob", to="alice", alg=reason, nonce="", cipher="")
    for event in (Closing(reason), Offline(reason, 1.0), relayed):
        assert len(shown(event)) == 1


@pytest.mark.parametrize(("wait", "told"), [(0.2, "again now"), (4.0, "again in 4 s")])
def test_an_outage_says_when_it_is_tried_again(wait: float, told: str) -> None:
    (line,) = shown(Offline("gone", wait))
    assert line.endswith(told)
