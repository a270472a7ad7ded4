"""The client over many connections: nothing is lost, nothing comes twice, and it ends in time."""

from __future__ import annotations

from itertools import pairwise
from random import Random  # noqa: TID251 - with a seed, to be repeatable
from typing import Any

import pytest
import trio
import trio.testing

from trio_chat import names
from trio_chat.client import Client, Connected, Offline, Room, RoomClosed, RoomReset
from trio_chat.errors import (
    BadFrame,
    CertificateRefused,
    Disconnected,
    NoRoom,
    NotMember,
    Refused,
    Revoked,
    TextTooLong,
    TooMany,
    Unreachable,
)
from trio_chat.protocol import frames as f


async def next_of(client: Client, kind: type) -> Any:
    """Return the next event of a kind."""
    async for event in client:
        if isinstance(event, kind):
            return event
    raise AssertionError("the events ended")


# --- the common case -------------------------------------------------------------------


async def test_who_one_is_comes_from_the_welcome(server: Any) -> None:
    async with server.client(device="kitchen") as client:
        assert (client.user, client.device, client.log) == ("alice", "alice.kitchen", "log-1")
        assert client.server_fingerprint == "ab" * 32
        assert client.online
        assert await next_of(client, Connected) == Connected()
    assert not client.online
    assert server.heard[0] == f.Hello(1, "trio-chat/0.1.0", "kitchen")


async def test_nothing_follows_hello_before_welcome(server: Any) -> None:
    server.overrides[f.Hello] = lambda peer, frame: None
    with trio.move_on_after(0) as scope:
        async with server.client():
            pass
    assert scope.cancelled_caught
    with trio.move_on_after(0.001):
        async with server.client():
            pass
    assert {type(frame) for frame in server.heard} <= {f.Hello}


async def test_a_send_returns_its_own_message_with_its_number(server: Any) -> None:
    server.room("lobby")
    server.post("lobby", "before")
    async with server.client() as client:
        room = await client.join("lobby")
        message = await room.send("hello", form="action")
        assert (message.seq, message.text, message.form) == (2, "hello", "action")
        assert await next_of(client, f.Message) == message
        assert client.cursors() == {"lobby": 2}


async def test_the_order_of_calls_is_the_order_of_messages(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(room.send, str(number))
                await trio.testing.wait_all_tasks_blocked()
    assert server.room("lobby").texts == [str(number) for number in range(20)]


async def test_joining_again_returns_the_same_room(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        assert await client.join("LOBBY") is room
        assert client.rooms["lobby"] is room
        assert sum(isinstance(frame, f.Join) for frame in server.heard) == 1
        with pytest.raises(NoRoom):
            await client.join("nowhere")


async def test_a_room_that_was_left_takes_nothing_more(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        await room.leave()
        assert client.rooms == {}
        with pytest.raises(NotMember):
            await room.send("a")
        again = await client.join("lobby")
        await again.send("b")
    assert server.room("lobby").texts == ["b"]


async def test_leaving_waits_for_what_was_sent_before(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.send, "a")
            await trio.testing.wait_all_tasks_blocked(0)
            await room.leave()
    assert server.room("lobby").texts == ["a"]


async def test_history_is_paged_and_comes_oldest_first(server: Any) -> None:
    for number in range(1, 11):
        server.post("lobby", str(number))
    async with server.client() as client:
        room = await client.join("lobby")

        async def texts(**options: Any) -> list[str]:
            return [entry.text for entry in await room.history(**options)]

        assert await texts(limit=5) == ["6", "7", "8", "9", "10"]
        assert await texts(before=4) == ["1", "2", "3"]
        assert await texts(after=2, limit=4) == ["3", "4", "5", "6"]
        assert await texts(after=8) == ["9", "10"]
        assert await texts(after=10) == []
        server.room("lobby").first = 9
        assert await texts() == ["9", "10"]
        with pytest.raises(ValueError, match="either"):
            await room.history(before=1, after=2)


@pytest.mark.parametrize("seqs", [[-3], [0], [2, 1], [1, 1], [9], [True], [2**60], ["1"], [None]])
async def test_a_page_of_something_else_is_not_read_on_from(server: Any, seqs: list[Any]) -> None:
    server.post("lobby", "one")
    entries = [{"type": "message", "room": "lobby", "seq": seq, "time": 1.0} for seq in seqs]
    server.overrides[f.History] = lambda peer, frame: peer.say(
        f.Page(room="lobby", first=1, seq=9, entries=entries, id=frame.id)
    )
    async with server.client() as client:
        room = await client.join("lobby")
        with pytest.raises(Unreachable, match="something else"):
            await room.history(before=9)
    assert sum(isinstance(frame, f.History) for frame in server.heard) == 1


async def test_entries_of_another_room_are_not_in_a_page(server: Any) -> None:
    server.post("lobby", "one")
    entry = {"type": "message", "room": "ops", "seq": 1, "time": 1.0}
    server.overrides[f.History] = lambda peer, frame: peer.say(
        f.Page(room="lobby", first=1, seq=1, entries=[entry], id=frame.id)
    )
    async with server.client() as client:
        room = await client.join("lobby")
        assert await room.history() == []


async def test_what_cannot_be_written_is_refused_here_and_not_said_again(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        for text, error in (("caf\udce9", BadFrame), ("x" * 300_000, TextTooLong)):
            for ask in (
                client.set_away,
                client.set_nick,
                client.ask_server,
                client.whois,
                client.create,
                client.join,
                room.set_topic,
                room.send,
            ):
                with pytest.raises(error):
                    await ask(text)
        server.hang_up()
        await client.whois("bob")  # on the next connection
    assert not any(isinstance(frame, f.Away | f.Nick) for frame in server.heard)


async def test_a_join_that_was_answered_is_not_given_up(server: Any) -> None:
    server.room("lobby")
    entered: list[Room] = []
    async with server.client() as client:

        async def join() -> None:
            entered.append(await client.join("lobby"))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(join)
                while (request := client._session._joining(names.key("lobby"))) is None:
                    await trio.lowlevel.checkpoint()
                request.watch(scope.cancel)  # just when it is let in
                await trio.sleep_forever()
        await trio.testing.wait_all_tasks_blocked()
        assert list(client.rooms.values()) == entered


async def test_leaving_ends_though_what_was_sent_before_failed(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    server.overrides[f.Send] = lambda peer, frame: None
    async with server.client() as client:
        room = await client.join("lobby")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with pytest.raises(Unreachable, match="key changed"):
                    await room.send("a")

            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(room.leave)
            await trio.testing.wait_all_tasks_blocked()
            server.user = "renewed"  # and with it the device
            server.hang_up()
        assert client.rooms == {}


async def test_a_text_that_is_too_long_costs_no_counter(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        with pytest.raises(TextTooLong):
            await room.send("x" * 1001)  # more than `welcome.text_size`
        with pytest.raises(TextTooLong):
            await room.send("x" * 500)  # the server's own refusal
        assert (await room.send("fine")).n == 1


async def test_a_refused_send_in_a_pipeline_raises_and_the_others_go_out(server: Any) -> None:
    server.room("lobby")
    raised: list[str] = []

    async def say(room: Room, text: str) -> None:
        try:
            await room.send(text)
        except TextTooLong:
            raised.append(text[:3])

    async with server.client() as client:
        room = await client.join("lobby")
        async with trio.open_nursery() as nursery:
            for text in ("a", "b", "bad" * 100, "c", "bad" * 100, "d"):
                nursery.start_soon(say, room, text)
                await trio.testing.wait_all_tasks_blocked(0)
    assert sorted(server.room("lobby").texts) == ["a", "b", "c", "d"]
    assert raised == ["bad", "bad"]


async def test_the_server_answers_what_one_asks_it(server: Any) -> None:
    async with server.client() as client:
        assert await client.ask_server("hello") == "echo: hello"


async def test_typing_and_topics_and_presence_are_acknowledged(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        await room.typing()
        await room.set_topic("tea")
        await client.set_away("lunch")
        await client.set_nick("al")
        await client.create("ops")
        await client.create("plaza", mode="plain")
        assert (await client.whois("bob")).user == "bob"
    kinds = [type(frame) for frame in server.heard]
    assert [k for k in kinds if k in (f.Typing, f.SetTopic, f.Away, f.Nick, f.Create, f.Whois)] == [
        f.Typing,
        f.SetTopic,
        f.Away,
        f.Nick,
        f.Create,
        f.Create,
        f.Whois,
    ]
    modes = [(frame.room, frame.mode) for frame in server.heard if isinstance(frame, f.Create)]
    assert modes == [("ops", "encrypted"), ("plaza", "plain")]


async def test_members_and_peer(server: Any) -> None:
    server.room("~alice+bob")
    async with server.client() as client:
        room = await client.direct("Bob")
        assert room.peer == "bob"
        assert [member.user for member in room.members.values()] == ["alice"]
        assert room.count == 1


# --- cuts ------------------------------------------------------------------------------


GOOD = [f"mine {number}" for number in range(5)]
BAD = "bad" * 100  # the server refuses it


async def converse(server: Any, texts: list[str], *, at_once: bool) -> None:
    """Say `texts` while somebody else talks, and check that all came through once."""
    server.room("lobby")
    acknowledged: list[f.Message] = []
    seen: list[f.Message] = []
    refused = 0

    async def read(client: Client) -> None:
        async for event in client:
            seen.extend([event] if isinstance(event, f.Message) else [])

    async def say(room: Room, text: str) -> None:
        nonlocal refused
        try:
            acknowledged.append(await room.send(text))
        except TextTooLong:
            refused += 1

    async with server.client(cursors={"lobby": 0}) as client, trio.open_nursery() as reading:
        reading.start_soon(read, client)
        room = await client.join("lobby")
        server.post("lobby", "theirs 1")
        async with trio.open_nursery() as nursery:
            for text in texts:
                nursery.start_soon(say, room, text)
                if not at_once:
                    await trio.testing.wait_all_tasks_blocked(0)
        server.post("lobby", "theirs 2")
        await room.history(limit=1)  # a round trip: everything before has come
        await trio.testing.wait_all_tasks_blocked(0)
        reading.cancel_scope.cancel()
    entries = server.room("lobby").entries
    mine = [entry for entry in entries if entry.sender == "alice"]
    said = [entry.text for entry in mine]
    assert (sorted(said) if at_once else said) == [text for text in texts if text != BAD]
    assert [entry.n for entry in mine] == list(range(1, len(mine) + 1))
    assert sorted(acknowledged, key=lambda entry: entry.seq) == mine
    assert seen == entries
    assert refused == texts.count(BAD)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("texts", [GOOD, [*GOOD[:2], BAD, GOOD[2], BAD, *GOOD[3:]]])
@pytest.mark.parametrize("direction", ["cut_said", "cut_heard"])
async def test_every_send_is_taken_once_and_every_entry_seen_once_wherever_it_is_cut(
    server: Any,
    direction: str,
    texts: list[str],
    at_once: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    cuts = []
    for k in range(2, 40):  # the first frame is `hello`, or `welcome`
        server.rooms.clear()
        server.said = server.taken = 0
        setattr(server, direction, k)
        before = len(server.dialled)
        await converse(server, texts, at_once=at_once)
        cuts.append(len(server.dialled) - before - 1)
    assert sum(cuts) > 8, "the cuts are where frames are"
    assert cuts[-1] == 0, "and the last is behind them all"


@pytest.mark.parametrize("period", range(8, 14))
async def test_a_line_that_breaks_every_few_frames_still_delivers_once(
    server: Any, period: int, autojump_clock: trio.testing.MockClock
) -> None:
    server.cut_every = period
    await converse(server, [*GOOD[:2], BAD, *GOOD[2:]], at_once=True)
    assert len(server.dialled) > 1


async def test_a_connection_cut_again_and_again_still_delivers(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        for number in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.send, str(number))
                if number % 2:
                    await trio.testing.wait_all_tasks_blocked(0)
                server.hang_up()
    assert server.room("lobby").texts == [str(number) for number in range(10)]


@pytest.mark.parametrize("seed", range(30))
async def test_cancelled_sends_arrive_at_most_once_and_the_others_once(
    server: Any, seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    chance = Random(seed)
    server.room("lobby")
    server.cut_every = chance.choice([0, 9, 10, 11, 12, 13])
    wanted: list[str] = []

    async def say(room: Room, text: str) -> None:
        limit = chance.choice([None, 0, 0.3])
        with trio.CancelScope() as scope:
            for _ in range(chance.randrange(6)):
                await trio.lowlevel.checkpoint()
            if limit is not None:
                scope.deadline = trio.current_time() + limit
            await room.send(text)
            wanted.append(text)

    async with server.client() as client:
        room = await client.join("lobby")
        async with trio.open_nursery() as nursery:
            for number in range(25):
                nursery.start_soon(say, room, str(number))
                await trio.sleep(chance.choice([0, 0, 0.2]))
        last = await room.send("last")
    found = server.room("lobby")
    assert len(set(found.texts)) == len(found.texts)
    assert set(wanted) <= set(found.texts)
    assert [entry.n for entry in found.entries] == list(range(1, last.n + 1))


async def test_what_is_sent_while_offline_goes_out_later(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        server.failures.extend([Unreachable("down")] * 3)
        server.hang_up()
        await next_of(client, Offline)
        assert not client.online
        assert (await room.send("later")).seq == 1
        assert client.online


async def test_a_send_cancelled_offline_is_taken_back(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        server.failures.extend([Unreachable("down")] * 3)
        server.hang_up()
        await next_of(client, Offline)
        with trio.move_on_after(0.01):
            await room.send("never mind")
        await room.send("this")
    assert server.room("lobby").texts == ["this"]


async def test_a_send_cancelled_on_its_way_leaves_no_hole(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.send, "perhaps")
                await trio.lowlevel.checkpoint()
                scope.cancel()
        await room.send("surely")
    assert server.room("lobby").texts == ["perhaps", "surely"]


async def test_reads_survive_a_loss_and_the_rest_raises(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    lose = [f.Whois, f.Create]

    def cut_once(peer: Any, frame: Any) -> None:
        if type(frame) in lose:
            lose.remove(type(frame))
            peer.close()
        else:
            server.handle(peer, frame)

    server.overrides = {f.Whois: cut_once, f.Create: cut_once}
    async with server.client() as client:
        assert (await client.whois("bob")).user == "bob"
        with pytest.raises(Unreachable, match="connection lost before the answer"):
            await client.create("ops")
        await client.set_away("lunch")
        server.hang_up()
        await next_of(client, Offline)
        await next_of(client, Connected)
        await client.whois("bob")
    assert [frame.text for frame in server.heard if isinstance(frame, f.Away)] == ["lunch"] * 2


async def test_an_entry_left_out_by_the_server_is_fetched_by_joining_again(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        server.peer.rooms.clear()  # a server with a defect: it forgets one
        server.post("lobby", "lost")
        server.peer.rooms.add("lobby")
        await room.send("after it")
        assert [(await next_of(client, f.Message)).text for _ in range(2)] == ["lost", "after it"]


async def test_another_history_is_told(server: Any, autojump_clock: trio.testing.MockClock) -> None:
    for _ in range(5):
        server.post("lobby", "old")
    async with server.client() as client:
        room = await client.join("lobby")
        server.log = "log-2"
        del server.room("lobby").entries[3:]
        server.hang_up()
        assert await next_of(client, RoomReset) == RoomReset("lobby", 3)
        assert client.cursors() == {"lobby": 3}
        assert (await room.send("new")).seq == 4


async def test_a_private_message_comes_without_joining(server: Any) -> None:
    async with server.client() as client:
        await client.list_rooms()
        server.post("@alice+bob", "psst")
        server.peer.say(f.Direct(room="@alice+bob", user="bob", seq=1))
        assert (await next_of(client, f.Message)).text == "psst"
        assert client.rooms["@alice+bob"].peer == "bob"


# --- when to come back, and when not ---------------------------------------------------


async def test_the_pauses_double_up_to_half_a_minute(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        server.failures.extend([Unreachable("down")] * 9)
        server.hang_up()
        told = [await next_of(client, Offline) for _ in range(10)]
        await next_of(client, Connected)
    times = server.dialled[1:]
    pauses = [round(later - sooner, 3) for sooner, later in pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert [event.retry_in for event in told] == [0.5, *pauses]
    assert [event.reason for event in told] == ["the server closed the connection"] + ["down"] * 9


async def test_a_connection_that_stood_for_a_while_starts_the_pauses_anew(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        pauses = []
        for stood in (0, 1, 1, 11, 1):
            await next_of(client, Connected)
            await trio.sleep(stood)
            server.hang_up()
            pauses.append((await next_of(client, Offline)).retry_in)
        assert pauses == [0.5, 1, 2, 0.5, 1]


async def test_a_server_that_drains_says_when_to_come_back(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        server.peer.say(f.Closing("shutdown", 20.0))
        server.hang_up()
        assert (await next_of(client, f.Closing)).reason == "shutdown"
        offline = await next_of(client, Offline)
        assert offline == Offline("the server said: shutdown", 20.5)
        await next_of(client, Connected)
    assert server.dialled[1] - server.dialled[0] == pytest.approx(20.5)


async def test_a_refusal_that_passes_is_waited_out(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        server.greetings.append(f.Error(code="too-many", text="full", retry_after=60.0))
        server.hang_up()
        await next_of(client, Offline)
        assert await next_of(client, Offline) == Offline("full", 61.0)
        await next_of(client, Connected)


async def test_being_taken_over_is_final(server: Any) -> None:
    server.room("lobby")
    async with server.client(device="one") as client:
        room = await client.join("lobby")
        async with server.client(device="one") as other:
            with pytest.raises(Disconnected, match="another client took over this device"):
                async for _ in client:
                    pass
            with pytest.raises(Disconnected):
                await room.send("too late")
            assert other.online
        assert len(server.dialled) == 2


@pytest.mark.parametrize(
    "error", [f.Error(code="revoked", text="revoked"), CertificateRefused("refused")]
)
async def test_a_refused_certificate_is_final(
    server: Any, error: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        if isinstance(error, f.Error):
            server.greetings.append(error)
        else:
            server.failures.append(error)
        server.hang_up()
        with pytest.raises(Disconnected):
            await room.send("a")
        await next_of(client, Connected)  # the first of all
        with pytest.raises(Disconnected):
            await next_of(client, Connected)
        await trio.sleep(100)
    assert len(server.dialled) == 2


async def test_without_reconnect_the_first_loss_is_the_last(server: Any) -> None:
    async with server.client(reconnect=False) as client:
        server.hang_up()
        with pytest.raises(Disconnected, match="closed the connection"):
            async for _ in client:
                pass


async def test_the_first_connection_is_tried_once(server: Any) -> None:
    for code, kind in (("revoked", Revoked), ("too-many", TooMany)):
        server.greetings.append(f.Error(code=code, text="no"))
        with pytest.raises(kind):
            async with server.client():
                raise AssertionError
    server.failures.append(Unreachable("nobody"))
    with pytest.raises(Unreachable, match="nobody"):
        async with server.client():
            raise AssertionError
    assert len(server.dialled) == 3


# --- the buffer of events --------------------------------------------------------------


async def test_what_is_not_taken_holds_the_server_up(server: Any) -> None:
    server.room("lobby")
    async with server.client(event_limit=10) as client:
        await client.join("lobby")
        for number in range(5):
            server.post("lobby", str(number))
            await trio.testing.wait_all_tasks_blocked()
        assert len(client._inbox) == 6
        for number in range(50):
            server.post("lobby", str(number))
            await trio.testing.wait_all_tasks_blocked()
        assert len(client._inbox) == 10
        texts = [(await next_of(client, f.Message)).text for _ in range(55)]
        assert texts == [*map(str, range(5)), *map(str, range(50))]


async def test_a_consumer_that_sends_from_inside_the_loop_is_answered(server: Any) -> None:
    server.room("lobby")
    with trio.fail_after(1):
        async with server.client(event_limit=3) as client:
            room = await client.join("lobby")
            for number in range(20):
                server.post("lobby", str(number))
                await trio.testing.wait_all_tasks_blocked()
            assert client._inbox.full
            answered = 0
            async for event in client:
                if isinstance(event, f.Message) and event.sender == "bob":
                    await room.send(f"re: {event.text}")
                    await client.whois("bob")
                    answered += 1
                    if answered == 20:
                        break
    assert server.room("lobby").texts[20:] == [f"re: {number}" for number in range(20)]


async def test_a_program_that_takes_nothing_does_not_hear_of_every_attempt(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client(event_limit=3) as client:
        server.failures.extend([Unreachable("down")] * 100)
        server.hang_up()
        await trio.sleep(2000)
        assert len(client._inbox) <= 5
        assert not client.online


# --- the heartbeat ---------------------------------------------------------------------


async def test_silence_is_broken_by_pings_and_a_dead_server_is_given_up(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        await trio.sleep(65)
        assert sum(isinstance(frame, f.Ping) for frame in server.heard) == 3  # at 0, 30 and 60
        assert client.latency == 0
        server.silent = True
        began = trio.current_time()
        assert (await next_of(client, Offline)).reason == "nothing heard from the server for 90 s"
        assert trio.current_time() - began == pytest.approx(85)


async def test_a_ping_is_answered(server: Any) -> None:
    async with server.client():
        server.peer.say(f.Ping())
        await trio.testing.wait_all_tasks_blocked()
        assert f.Pong() in server.heard


async def test_a_program_that_takes_nothing_shows_life_and_does_not_judge_the_server(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    async with server.client(event_limit=2) as client:
        await client.join("lobby")
        for _ in range(5):
            server.post("lobby", "x")
            await trio.testing.wait_all_tasks_blocked(0)
        heard = len(server.heard)
        await trio.sleep(305)
        assert client.online
        assert server.heard[heard:] == [f.Ping()] * 10
        assert len(server.dialled) == 1


# --- the block -------------------------------------------------------------------------


async def test_an_exception_of_the_block_comes_out_as_it_is(server: Any) -> None:
    error = RuntimeError("mine")
    with pytest.raises(RuntimeError) as caught:
        async with server.client():
            raise error
    assert caught.value is error
    group = ExceptionGroup("mine", [ValueError(), TypeError()])
    with pytest.raises(ExceptionGroup) as grouped:
        async with server.client():
            raise group
    assert grouped.value is group


async def test_an_exception_comes_out_though_the_block_is_cancelled(server: Any) -> None:
    async def block(scope: trio.CancelScope) -> None:
        async with server.client():
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                raise RuntimeError

    with trio.CancelScope() as scope, pytest.raises(RuntimeError):
        await block(scope)


async def test_cancelling_the_block_ends_it(server: Any) -> None:
    with trio.move_on_after(0.001) as scope:
        async with server.client() as client:
            async for _ in client:
                pass
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert server.peer.closed


async def test_after_closing_iteration_ends_and_calls_raise(server: Any) -> None:
    server.room("lobby")
    async with server.client() as client:
        room = await client.join("lobby")
        server.overrides[f.Whois] = lambda peer, frame: None
        with pytest.RaisesGroup(Disconnected):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.whois, "bob")
                await trio.testing.wait_all_tasks_blocked()
                await client.aclose()
        assert [event async for event in client] == []
        with pytest.raises(Disconnected, match="closed"):
            await room.send("a")
        await client.aclose()


async def test_a_malformed_frame_of_the_server_ends_the_connection_not_the_client(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        server.peer.say_raw(b'{"type":"message","room":7}\n')
        offline = await next_of(client, Offline)
        assert offline.reason.startswith("malformed message")
        await next_of(client, Connected)


async def test_frames_of_an_unknown_type_are_skipped_and_entries_keep_their_place(
    server: Any,
) -> None:
    server.room("lobby")
    async with server.client() as client:
        await client.join("lobby")
        server.peer.say_raw(b'{"type":"weather","sky":"blue"}\n')
        server.peer.say_raw(b'{"type":"rained","room":"lobby","seq":1,"user":"eve"}\n')
        server.room("lobby").entries.append(f.Message(room="lobby", seq=1, time=1.0))
        server.post("lobby", "next")
        assert (await next_of(client, f.Message)).seq == 2
        assert len(server.dialled) == 1


async def test_a_line_without_end_ends_the_connection(
    server: Any, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.connection._LINE_LIMIT", 1000)
    async with server.client() as client:
        server.peer.say_raw(b"x" * 1001)
        assert "without end" in (await next_of(client, Offline)).reason


async def test_what_the_server_says_at_the_end_is_cleaned(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with server.client() as client:
        server.peer.say(f.Closing("\x1b[2Jgone"))
        server.hang_up()
        assert (await next_of(client, Offline)).reason == "the server said: \u241b[2Jgone"
    server.greetings.append(f.Closing("\x1b[2Jgone"))
    with pytest.raises(Refused, match="said: \u241b"):
        async with server.client():
            raise AssertionError


async def test_rooms_that_the_server_closed_are_forgotten(
    server: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server.room("lobby")
    server.room("ops")
    async with server.client() as client:
        await client.join("ops")
        del server.rooms["ops"]
        server.hang_up()
        await next_of(client, RoomClosed)
        await client.join("lobby")
        assert len(client._faces) == 1


async def test_empty_pages_are_not_turned_for_ever(server: Any) -> None:
    asked: list[Any] = []

    def again(peer: Any, frame: Any) -> None:
        asked.append(frame)
        more = None if len(asked) == 5 else "more"
        peer.say(f.Users(count=9, users=[], next=more, id=frame.id))

    server.overrides[f.List] = again
    async with server.client() as client:
        assert await client.users() == []
    assert len(asked) == 1


async def test_pings_of_a_server_that_does_not_read_pile_up_no_answers(server: Any) -> None:
    async with server.client() as client:
        await trio.testing.wait_all_tasks_blocked()
        server.peer.say_raw(b'{"type":"ping"}\n' * 1000)
        await client.whois("bob")
        await trio.testing.wait_all_tasks_blocked()
    assert 1 <= sum(isinstance(frame, f.Pong) for frame in server.heard) < 20
