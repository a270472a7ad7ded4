from __future__ import annotations

from typing import Any, TypeAlias

import trio
import trio.testing

from trio_chat import names
from trio_chat.client import Connected, Gap, Offline, RoomReset
from trio_chat.protocol.frames import AwayChanged, Left, NickChanged, Topic

Stage: TypeAlias = Any  # of conftest.py


async def test_the_last_twenty_entries_of_a_new_room_are_shown(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    for number in range(1, 31):
        room.said("bob", f"word {number}.")
    await stage.start()
    assert "word 10." not in stage.screen
    assert "word 11." in stage.screen
    assert "word 30." in stage.screen


async def test_of_a_known_room_what_came_since_is_shown(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    for number in range(1, 101):
        room.said("bob", f"word {number}.")
    stage.core.cursors.set("Lobby", 40)
    await stage.start()
    assert "word 40." not in stage.screen
    assert "word 41." in stage.screen
    assert stage.core.cursors.get("lobby") == 100


async def test_more_than_two_hundred_missed_are_cut_and_said_to_be(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    for number in range(1, 301):
        room.said("bob", f"word {number}.")
    stage.core.cursors.set("lobby", 10)
    await stage.start()
    assert "90 older messages of lobby are not shown" in stage.screen
    assert "word 100." not in stage.screen
    assert "word 101." in stage.screen


async def test_what_is_no_longer_kept_is_said(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    for number in range(1, 13):
        room.said("bob", f"word {number}.")
    del room.log[:9]
    stage.core.cursors.set("lobby", 4)
    await stage.start()
    assert "messages 5 to 9 are no longer kept" in stage.screen
    assert "word 10." in stage.screen


async def test_what_comes_while_the_past_is_fetched_is_shown_after_it_and_once(
    stage: Stage,
) -> None:
    room = stage.client.room("lobby", "alice", history_gate=trio.Event())
    room.said("bob", "first")
    room.said("bob", "second")
    stage.nursery.start_soon(stage.start)
    await stage.settle()
    stage.nursery.start_soon(stage.core.run)
    await stage.happen(room.log[1], room.said("bob", "third"), room.said("bob", "fourth"))
    room.log = room.log[:3]  # the page was made before the fourth
    room.history_gate.set()
    await stage.settle()
    shown = [line.text[6:] for line in stage.face.lines if "<bob>" in line.text]
    assert shown == ["<bob> first", "<bob> second", "<bob> third", "<bob> fourth"]


async def test_nothing_is_shown_twice(stage: Stage) -> None:
    room = stage.client.room("lobby", "alice")
    await stage.start()
    message = room.said("bob", "once")
    await stage.happen(message, message)
    assert stage.screen.count("once") == 1


async def test_a_person_enters_with_the_first_device_and_leaves_with_the_last(
    stage: Stage, one: Any, entered: Any
) -> None:
    stage.client.room("lobby", "alice")
    await stage.start()
    first, second = one("bob", "k.1"), one("bob", "k.2")
    await stage.happen(entered("lobby", first), entered("lobby", second))
    assert stage.screen.count("bob has entered") == 1
    await stage.happen(Left(room="lobby", count=2, members=[first]))
    assert "bob has left" not in stage.screen
    await stage.happen(Left(room="lobby", count=1, members=[second]))
    assert stage.screen.count("bob has left") == 1


async def test_one_s_own_devices_come_and_go_without_a_word(
    stage: Stage, one: Any, entered: Any
) -> None:
    stage.client.room("lobby")
    await stage.start()
    await stage.happen(entered("lobby", one("Alice", "k.9")))
    assert "has entered" not in stage.screen


async def test_being_away_is_said_once_for_all_rooms_and_devices(stage: Stage) -> None:
    stage.client.room("lobby")
    stage.client.room("ops")
    await stage.start(["lobby", "ops"])
    for room in ("lobby", "ops"):
        for device in ("k.1", "k.2"):
            await stage.happen(AwayChanged(room=room, user="bob", device=device, text="lunch"))
    assert stage.screen.count("bob is away: lunch") == 1
    await stage.happen(AwayChanged(room="ops", user="bob", device="k.1"))
    assert stage.screen.count("bob is back") == 1


async def test_what_one_does_oneself_is_not_told_as_news(stage: Stage) -> None:
    stage.client.room("lobby")
    await stage.start()
    await stage.happen(
        AwayChanged(room="lobby", user="Alice", device="k.1", text="lunch"),
        NickChanged(room="lobby", user="alice", device="k.1", nick="Al"),
    )
    assert "Al" not in stage.screen.replace("Alice", "")


async def test_nobody_enters_a_two_person_room(stage: Stage, one: Any, entered: Any) -> None:
    stage.client.room("lobby")
    await stage.start()
    await stage.type("/msg bob psst")
    await stage.happen(entered(names.direct_room("alice", "bob"), one("bob", "k.7")))
    assert "has entered" not in stage.screen


async def test_who_came_during_an_outage_is_known_after_it(
    stage: Stage, one: Any, entered: Any
) -> None:
    room = stage.client.room("lobby", "alice", "bob")
    await stage.start()
    await stage.happen(Offline("gone", 2.0), Offline("gone", 4.0), Connected())
    assert stage.screen.count("offline: gone") == 1
    carol, bob = one("carol"), one("bob")
    room.members = {m.device: m for m in (one("alice"), carol, bob)}  # bob went and came
    await stage.happen(entered("lobby", bob))
    await stage.happen(Left(room="lobby", count=2, members=[carol]))
    assert "bob has entered" in stage.screen
    assert "carol has left" in stage.screen


async def test_messages_of_another_room_name_it(stage: Stage) -> None:
    lobby, ops = stage.client.room("lobby"), stage.client.room("ops")
    await stage.start(["lobby", "ops"])
    await stage.happen(ops.said("bob", "fire"), lobby.said("bob", "tea"))
    assert "[ops] <bob> fire" in stage.screen
    assert "[lobby]" not in stage.screen


async def test_another_history_starts_anew(stage: Stage) -> None:
    room = stage.client.room("lobby")
    for _ in range(9):
        room.said("bob", "before")
    await stage.start()
    room.log.clear()
    await stage.happen(RoomReset("lobby", 0), room.said("bob", "after"))
    assert "another history" in stage.screen
    assert "<bob> after" in stage.screen
    assert stage.core.cursors.get("lobby") == 1


async def test_a_gap_and_a_topic_are_shown(stage: Stage) -> None:
    stage.client.room("lobby")
    await stage.start()
    topic = Topic(room="lobby", seq=8, time=0, sender="bob", device="k.1", text="tea")
    await stage.happen(Gap("lobby", 1, 7), topic)
    assert "messages 1 to 7 are no longer kept" in stage.screen
    assert "bob has set the topic: tea" in stage.screen


async def test_a_slow_screen_loses_nothing_that_came_while_the_past_was_fetched(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    room = stage.client.room("lobby", "alice", history_gate=trio.Event())
    room.said("bob", "first")
    show = stage.core.transcript.show

    async def slow(*lines: Any) -> None:
        await trio.sleep(0.7)
        await show(*lines)

    stage.core.transcript.show = slow
    stage.nursery.start_soon(stage.core.start)
    await stage.settle()
    for word in ("second", "third", "fourth"):
        await stage.core.transcript.take(room.said("bob", word))
    room.log = room.log[:1]
    room.history_gate.set()
    await stage.core.started.wait()
    shown = [line.text[6:] for line in stage.face.lines if "<bob>" in line.text]
    assert shown == ["<bob> first", "<bob> second", "<bob> third", "<bob> fourth"]
