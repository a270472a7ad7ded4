"""`trio_chat.server.room`: order, readers that are behind, large rooms, old history."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.conftest import Serve
from tests.peer import Connect, Peer
from trio_chat.errors import StoreError
from trio_chat.server import Server
from trio_chat.server.room import Room
from trio_chat.store import Batch, Store

SMALL = 4096  # bytes of the kernel's memory for a slow reader


async def flood(peer: Peer, count: int, size: int) -> None:
    """Say `count` messages of `size` characters, reading the echoes all the while."""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def speak() -> None:
            for number in range(count):
                await peer.post("lobby", f"{number:0{size}}")

        for number in range(count):
            await peer.until("message", n=number + 1)


async def test_everybody_reads_the_same_order_without_a_gap(server: Server, enter: Connect) -> None:
    peers = [await enter(server, f"user{number}") for number in range(6)]

    async def talk(peer: Peer) -> None:
        for number in range(40):
            await peer.post("lobby", f"{peer.name} {number}")

    seen: dict[str, list[tuple[int, str, int]]] = {}

    async def listen(peer: Peer) -> None:
        found = [await peer.until("message") for _ in range(240)]
        seen[peer.name] = [(each["seq"], each["from"], each["n"]) for each in found]

    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(talk, peer)
            nursery.start_soon(listen, peer)
    (order,) = {tuple(each) for each in seen.values()}
    assert [seq for seq, _, _ in order] == list(range(1, 241))
    for peer in peers:
        assert [n for _, name, n in order if name == peer.name] == list(range(1, 41))


async def test_a_stopped_reader_slows_nobody_loses_nothing_and_costs_no_memory(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(tail_size=256 * 1024)
    alice = await enter(server, "alice")
    slow = await enter(server, "slow", receive_buffer=SMALL)
    await alice.until("entered", count=2)
    # 24 MB pass by, far more than the kernel's buffers, while `slow` reads nothing.
    await flood(alice, 400, 60_000)
    assert server.statistics().behind == 1
    (room,) = server.rooms
    (behind,) = [each for each in server.connections if each.behind]
    assert behind.debt == 0
    assert room._tail.size <= 256 * 1024
    assert len(behind.wire._tail) < 1024 * 1024
    for number in range(400):
        frame = await slow.until("message")
        assert (frame["seq"], frame["n"]) == (number + 1, number + 1)
    await slow.quiet()
    assert server.statistics().behind == 0
    await alice.quiet()
    await alice.post("lobby", "and live again")
    await slow.expect("message", text="and live again")


async def test_who_was_behind_gets_a_fresh_roster(run_server: Serve, enter: Connect) -> None:
    server = await run_server()
    alice = await enter(server, "alice")
    slow = await enter(server, "slow", receive_buffer=SMALL)
    await flood(alice, 150, 60_000)
    assert server.statistics().behind == 1
    await enter(server, "bob")
    roster = await slow.until("users")
    assert [member["user"] for member in roster["users"]] == ["alice", "slow", "bob"]
    seen = [frame["seq"] for frame in slow.frames if frame["type"] == "message"]
    assert seen == list(range(1, 151))
    await slow.quiet()


async def test_replies_to_a_peer_that_does_not_read_are_owed_in_order_and_bounded(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server()
    slow = await enter(server, "slow", receive_buffer=SMALL)
    wrote = trio.Event()

    async def ask() -> None:
        for number in range(300):
            await slow.say("chat", text=f"{number:060000}")
        wrote.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with trio.move_on_after(0.3):
            await wrote.wait()
        assert not wrote.is_set()  # the server reads no further
        (connection,) = server.connections
        assert connection.debt < 200_000
        for number in range(300):
            await slow.expect("server", text=f"echo: {number:060000}")


async def test_in_a_large_room_only_the_count_is_told(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.TICK", 0.02)
    server = await run_server(roster_size=2)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    carol = await enter(server, "carol")  # now there are more than two
    assert (await carol.join("lobby")).get("members") is None
    for peer in (alice, bob):
        await peer.expect("count", room="lobby", count=3)
    await carol.say("typing", room="lobby", id="t")
    await carol.until("ok", id="t")
    await alice.quiet()
    carol.drop()
    await alice.until("count", count=2)
    await bob.ask("leave", room="lobby")
    await alice.until("left", count=1)


async def test_roster_changes_of_one_step_come_in_one_frame(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    others = [await enter(server, f"user{number}") for number in range(8)]
    await alice.until("entered", count=9)
    (room,) = server.rooms
    for connection in list(server.connections):
        if connection.identity.user != "alice":
            room.leave(connection)  # all before the room's task runs
    left = await alice.expect("left", count=1)
    assert len(left["members"]) == 8
    assert [frame for frame in others[0].frames if frame["type"] == "left"] == []


async def test_a_log_that_cannot_be_written_is_told_and_uses_no_counter(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.until("entered", count=2)

    async def fail(self: Store, batch: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", fail)
        await alice.post("lobby", "lost")
        error = await alice.expect("error", code="store", room="lobby", n=1)
        assert error["retry_after"] > 0
        reply = await alice.ask("topic", room="lobby", text="lost too")
        assert reply["code"] == "store"
    await alice.say("send", room="lobby", n=1, text="again")
    await alice.expect("message", seq=1, n=1, text="again")
    await bob.until("message", seq=1, text="again")
    await bob.quiet()


async def test_history_ends_with_retention_and_numbers_go_on(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.EXPIRE", 0.02)
    server = await run_server(retention=0.2)
    alice = await enter(server, "alice")
    for number in range(1, 6):
        await alice.post("lobby", f"secret {number}")
        await alice.expect("message", seq=number)
    while (page := await alice.ask("history", room="lobby"))["first"] < 6:
        assert page["seq"] == 5
        await trio.sleep(0.02)
    assert (page["first"], page["seq"], page["entries"]) == (6, 5, [])
    late = await enter(server, "late")
    joined = await late.join("lobby", after=0)
    assert (joined["first"], joined["seq"]) == (6, 5)
    await alice.post("lobby", "six")
    await alice.until("message", seq=6, n=6)
    await late.until("message", seq=6, text="six")


async def test_an_empty_room_leaves_memory_and_comes_back_as_it_was(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "x")
    await alice.expect("message", seq=1)
    await alice.ask("leave", room="lobby")
    await trio.testing.wait_all_tasks_blocked()
    assert server.statistics().rooms == 0
    joined = await alice.join("lobby", after=0)
    assert (joined["seq"], joined["n"]) == (1, 1)
    await alice.until("message", seq=1, text="x")


async def test_a_log_that_cannot_be_read_ends_the_reader_alone(
    server: Server, enter: Connect, dial: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "x")
    await alice.expect("message")
    (room,) = server.rooms
    room.drop_tail()

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    bob = await dial(server, "bob")
    await bob.hello()
    with monkeypatch.context() as patched:
        patched.setattr(Store, "read_after", fail)
        await bob.say("join", room="lobby", after=0)
        assert "message" not in [frame["type"] for frame in await bob.rest()]
    await alice.until("left", count=1)
    bob = await enter(server, "bob", after=0)
    await bob.expect("message", text="x")
    await alice.until("entered")
    await alice.quiet()


async def test_rooms_are_read_on_in_turn(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.room.ROW_SIZE", 1)
    server = await run_server("busy", "other")
    alice = await enter(server, "alice", "busy", "other")
    for room in ("busy", "other"):
        for number in range(3):
            await alice.post(room, str(number))
            await alice.until("message", room=room, text=str(number))
    (connection,) = server.connections
    for cursor in connection.cursors.values():
        cursor.seq = 0
    for _ in range(2):
        assert await connection._advance()
    assert [cursor.seq for cursor in connection.cursors.values()] == [1, 1]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """The log takes nothing before this is set."""
    event = trio.Event()
    append = Store.append

    async def stuck(self: Store, batch: Batch) -> None:
        await event.wait()
        await append(self, batch)

    monkeypatch.setattr(Store, "append", stuck)
    return event


async def test_senders_wait_while_the_rooms_queue_is_full(
    run_server: Serve, enter: Connect, go: trio.Event
) -> None:
    server = await run_server(room_queue=3)
    alice = await enter(server, "alice")
    for number in range(50):
        await alice.post("lobby", str(number))
    await trio.testing.wait_all_tasks_blocked(0.05)
    (room,) = server.rooms
    assert room.inbox.statistics().current_buffer_used == 3
    assert room.inbox.statistics().tasks_waiting_send == 1
    go.set()
    for number in range(50):
        await alice.expect("message", seq=number + 1, n=number + 1, text=str(number))


async def test_who_leaves_while_the_log_is_read_gets_nothing_of_it(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await enter(server, "bob")
    (room,) = server.rooms
    (connection,) = server.connections
    (cursor,) = connection.cursors.values()

    async def read_on(self: Room, after: int) -> tuple[int, bytes]:
        await trio.lowlevel.checkpoint()
        room.leave(connection)
        return after + 1, b'{"type":"message","text":"too late"}\n'

    monkeypatch.setattr(Room, "read_on", read_on)
    await connection._advance_room(cursor)
    await bob.quiet()


async def test_who_is_ended_while_joining_never_gets_in(
    server: Server, enter: Connect, dial: Connect, go: trio.Event
) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "x")
    bob = await dial(server, "bob")
    await bob.hello()
    await bob.say("join", room="lobby")
    await trio.testing.wait_all_tasks_blocked(0.01)
    (room,) = server.rooms
    assert room.inbox.statistics().current_buffer_used == 1
    list(server.connections)[1].end("taken-over")
    await bob.expect("closing")
    go.set()
    await alice.expect("message", text="x")
    await alice.quiet()
    assert len(room.cursors) == room.pins == 1


async def test_what_the_last_member_said_is_kept_though_it_leaves_at_once(
    server: Server, enter: Connect, go: trio.Event
) -> None:
    alice = await enter(server, "alice")
    for text in ("one", "two"):
        await alice.post("lobby", text)
        await trio.testing.wait_all_tasks_blocked(0.01)
    await alice.ask("leave", room="lobby")
    go.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    joined = await alice.join("lobby", after=0)
    assert (joined["seq"], joined["n"]) == (2, 2)
    await alice.until("message", seq=2, text="two")


async def test_a_cursor_inside_a_batch_gets_the_rest_of_it(
    server: Server, enter: Connect, go: trio.Event
) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "1")
    await trio.testing.wait_all_tasks_blocked(0.01)
    for number in (2, 3, 4):  # while the first is written, these become one batch
        await alice.post("lobby", str(number))
    await trio.testing.wait_all_tasks_blocked(0.01)
    go.set()
    await alice.until("message", seq=4)
    (room,) = server.rooms
    assert [first for first, _, _ in room._tail] == [1, 2]
    bob = await enter(server, "bob", after=2)
    await bob.expect("message", seq=3, text="3")
    await bob.expect("message", seq=4, text="4")
    await bob.quiet()


async def test_a_silent_rooms_messages_leave_memory(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.TICK", 0.01)
    monkeypatch.setattr("trio_chat.server.pulse.TAIL_IDLE", 0.05)
    server = await run_server()
    alice = await enter(server, "alice")
    await alice.post("lobby", "x")
    await alice.expect("message")
    (room,) = server.rooms
    assert room._tail
    with trio.fail_after(5):
        while room._tail:
            await trio.sleep(0.01)
    assert room._tail.size == 0


async def test_who_is_behind_and_ended_hears_why_if_it_reads(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice")
    slow = await enter(server, "slow", receive_buffer=SMALL)
    await flood(alice, 150, 60_000)
    (behind,) = [each for each in server.connections if each.behind]
    behind.end("revoked")
    behind.end("shutdown")  # what came first counts
    frames = await slow.rest()
    assert [frame for frame in frames if frame["type"] == "closing"] == [frames[-1]]
    assert frames[-1]["reason"] == "revoked"


async def test_a_relay_to_a_peer_that_does_not_read_is_not_kept_without_end(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice")
    await enter(server, "slow", receive_buffer=SMALL)
    for _ in range(200):
        await alice.say("relay", to="slow", alg="a", nonce="n", cipher="x" * 60_000)
    await alice.say("ping")
    await alice.until("pong")
    (behind,) = [each for each in server.connections if each.behind]
    assert behind.debt < 200_000
