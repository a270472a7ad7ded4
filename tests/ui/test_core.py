from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from trio_chat import names
from trio_chat.client import RoomClosed
from trio_chat.errors import Disconnected, NoRoom, TextTooLong, TooMany
from trio_chat.ui.core import SAVE_INTERVAL

Stage: TypeAlias = Any  # of conftest.py


async def test_the_only_room_is_entered_and_said_to_be_plain(stage: Stage) -> None:
    stage.client.room("den", "alice", "bob")
    await stage.start()
    assert stage.core.room_name == "den"
    assert "den is plain: the server can read it" in stage.screen


async def test_lobby_is_entered_where_there_are_several(stage: Stage) -> None:
    for name in ("attic", "lobby", "zoo"):
        stage.client.room(name)
    await stage.start()
    assert list(stage.client.rooms) == ["lobby"]


async def test_without_a_choice_the_rooms_are_listed_and_none_is_entered(stage: Stage) -> None:
    stage.client.room("attic")
    stage.client.room("zoo")
    await stage.start()
    assert stage.core.room_name is None
    assert "attic (plain" in stage.screen
    assert "/join ROOM" in stage.screen


async def test_the_first_of_several_rooms_is_open(stage: Stage) -> None:
    stage.client.room("attic")
    stage.client.room("zoo")
    await stage.start(["zoo", "attic"])
    assert list(stage.client.rooms) == ["zoo", "attic"]
    assert stage.core.room_name == "zoo"


async def test_a_strict_core_raises_when_a_room_is_missing(stage: Stage) -> None:
    stage.core.strict = True
    with pytest.raises(NoRoom):
        await stage.start(["nowhere"])


async def test_another_core_says_so_and_stays(stage: Stage) -> None:
    await stage.start(["nowhere"])
    assert "error: there is no room nowhere" in stage.screen


async def test_words_come_back_acknowledged(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.start()
    await stage.type("hello", "//etc", "/me waves")
    assert room.sent == [("hello", None), ("/etc", None), ("waves", "action")]
    assert "<alice> hello" in stage.screen
    assert stage.core.status.unsent == 0


async def test_words_in_no_room_go_nowhere(stage: Stage) -> None:
    await stage.start()
    await stage.type("hello")
    assert "error: you are in no room; nothing was sent" in stage.screen


async def test_an_unknown_command_is_never_sent(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.start()
    await stage.type("/jion secret", "/etc/passwd")
    assert room.sent == []
    assert "did you mean /join?" in stage.screen


async def test_a_paste_is_one_message_whatever_it_starts_with(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.start()
    await stage.type("/quit\n/join x")
    assert room.sent == [("/quit\n/join x", None)]
    assert not stage.core.leaving.is_set()


async def test_what_is_not_acknowledged_is_counted_and_refused_words_are_said(
    stage: Stage,
) -> None:
    room = stage.client.room("lobby", "alice", gate=trio.Event())
    await stage.start()
    await stage.type("one", "two")
    assert stage.core.status.unsent == 2
    room.refuse = TextTooLong("the text is too long")
    room.gate.set()
    await stage.core.flush()
    assert stage.core.status.unsent == 0
    assert stage.screen.count("not sent to lobby: the text is too long") == 2


async def test_join_switches_to_a_room_that_is_joined(stage: Stage) -> None:
    stage.client.room("lobby")
    ops = stage.client.room("ops")
    await stage.start(["lobby", "ops"])
    await stage.type("/JOIN Ops", "hello")
    assert ops.sent == [("hello", None)]
    assert stage.client.calls.count(("join", "ops")) == 1


async def test_leave_waits_for_what_was_said_and_opens_another_room(stage: Stage) -> None:
    lobby = stage.client.room("lobby")
    stage.client.room("ops")
    await stage.start(["lobby", "ops"])
    await stage.type("bye", "/leave")
    assert lobby.sent == [("bye", None)]
    assert list(stage.client.rooms) == ["ops"]
    assert stage.core.room_name == "ops"
    await stage.type("/leave")
    assert stage.core.room_name is None


async def test_a_private_message_is_marked_on_both_ways(stage: Stage) -> None:
    stage.client.room("lobby")
    await stage.start()
    await stage.type("/msg @bob psst")
    assert "[private] you -> bob: psst" in stage.screen
    room = stage.client.rooms[names.direct_room("alice", "bob")]
    await stage.happen(room.said("bob", "yes?"))
    assert "[private] bob -> you: yes?" in stage.screen
    assert stage.core.status.unread == 1
    await stage.type("")
    assert stage.core.status.unread == 0


async def test_private_messages_that_came_meanwhile_are_shown_at_the_start(stage: Stage) -> None:
    stage.client.room("lobby")
    name = names.direct_room("alice", "bob")
    room = stage.client.room(name, peer="bob")
    room.said("bob", "old")
    room.said("bob", "new")
    stage.core.cursors.set(name, 1)
    await stage.start()
    assert "old" not in stage.screen
    assert "bob -> you: new" in stage.screen
    assert stage.core.room_name == "lobby"


async def test_a_room_that_closes_is_no_longer_open(stage: Stage) -> None:
    room = stage.client.room("lobby")
    await stage.start()
    del stage.client.rooms["lobby"]
    await stage.happen(RoomClosed("lobby", "it is gone"))
    assert "you are no longer in lobby: it is gone" in stage.screen
    await stage.type("hello?")
    assert room.sent == []


async def test_the_end_of_the_connection_is_an_error(stage: Stage) -> None:
    stage.client.end(Disconnected("taken over"))
    with pytest.RaisesGroup(pytest.RaisesExc(Disconnected, match="taken over")):
        await stage.core.run()


async def test_quit_waits_for_the_acknowledgement_but_not_for_ever(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    room = stage.client.room("lobby", gate=trio.Event())
    await stage.start()
    await stage.type("hello")
    before = trio.current_time()
    await stage.core.handle("/salir")
    assert stage.core.leaving.is_set()
    assert trio.current_time() - before == pytest.approx(2.0)
    assert stage.core.close() == 1
    assert room.sent == []


async def test_a_patient_core_quits_after_the_acknowledgement(stage: Stage) -> None:
    stage.core.patience = math.inf
    room = stage.client.room("lobby", gate=trio.Event())
    await stage.start()
    await stage.type("hello")
    stage.nursery.start_soon(stage.core.handle, "/quit")
    await stage.settle()
    assert not stage.core.leaving.is_set()
    room.gate.set()
    await stage.core.leaving.wait()
    assert room.sent == [("hello", None)]


async def test_quit_waits_until_one_s_own_words_are_shown(stage: Stage) -> None:
    stage.client.room("lobby")
    await stage.start()
    held: list[object] = []
    stage.client.held = held  # acknowledged, but the event is still on its way
    await stage.type("hello")
    stage.nursery.start_soon(stage.core.handle, "/quit")
    await stage.settle()
    assert stage.core.status.unsent == 0
    assert not stage.core.leaving.is_set()
    stage.client.held = None
    await stage.happen(*held)
    await stage.core.leaving.wait()
    assert "<alice> hello" in stage.screen
    assert stage.core.cursors.get("lobby") == 1


async def test_a_command_that_waits_can_be_given_up(stage: Stage) -> None:
    stage.client.room("lobby")
    await stage.start()
    stage.client.stuck = trio.Event()
    stage.nursery.start_soon(stage.core.handle, "/users")
    await stage.settle()
    assert stage.core.give_up()
    await stage.settle()
    assert "no longer waiting for /users" in stage.screen
    assert not stage.core.give_up()


async def test_a_private_room_that_refuses_does_not_end_the_start(stage: Stage) -> None:
    for name in ("bob", "carol"):
        room = stage.client.room(names.direct_room("alice", name), "alice", name, peer=name)
        room.said(name, f"psst from {name}")
    stage.client.refused[names.direct_room("alice", "bob")] = TooMany("no more rooms")
    await stage.start()
    assert "error: no more rooms" in stage.screen
    assert "psst from carol" in stage.screen


async def test_cursors_that_cannot_be_kept_are_an_error_and_no_end(
    stage: Stage, autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    stage.client.room("lobby", "alice").said("bob", "hi")
    stage.core.cursors.path = tmp_path / "nowhere" / "read.json"
    await stage.start()
    await trio.sleep(SAVE_INTERVAL + 1)
    assert "error: cannot write" in stage.screen
    await stage.type("still here")
    assert "<alice> still here" in stage.screen


async def test_words_given_up_before_they_were_queued_are_not_waited_for(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.core.start()
    with trio.CancelScope() as scope:
        scope.cancel()
        await stage.core.say(room, "never mind")
    assert stage.core.status.unsent == 0


async def test_what_the_status_and_the_completions_say_is_clean(stage: Stage) -> None:
    bad = "\x1b[2J"
    room = stage.client.room(bad, "alice", f"bob{bad}", mode=bad, peer=f"carol{bad}")
    await stage.start([bad])
    assert stage.core.room_name == room.name
    status = stage.core.status
    for text in (status.room, status.mode, *stage.core.room_names(), *stage.core.people()):
        assert "\u241b" in text
        assert "\x1b" not in text
