"""Closed rooms: who is not on the list cannot tell that there is one."""

from __future__ import annotations

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect, Peer
from trio_chat import names
from trio_chat.errors import StoreError
from trio_chat.server import Server
from trio_chat.store import Batch, Store


async def three(server: Server, enter: Connect) -> tuple[Peer, Peer, Peer]:
    """Alice, who has made the closed room `den`, Bob and Carol; all in the lobby."""
    alice, bob, carol = [await enter(server, name) for name in ("alice", "bob", "carol")]
    assert (await alice.ask("create", room="den"))["type"] == "ok"
    return alice, bob, carol


async def rooms(peer: Peer) -> list[str]:
    return [room["room"] for room in (await peer.ask("list-rooms"))["rooms"]]


async def test_its_maker_owns_it_and_nobody_else_can_tell_it_from_none(
    server: Server, enter: Connect
) -> None:
    alice, bob, _ = await three(server, enter)
    joined = await alice.join("den")
    about = {key: joined[key] for key in ("mode", "access", "role", "epoch")}
    assert about == {"mode": "encrypted", "access": "closed", "role": "owner", "epoch": 0}
    assert await rooms(alice) == ["den", "lobby"]
    assert await rooms(bob) == ["lobby"]
    for asked in ("join", "invite", "uninvite"):
        fields = {} if asked == "join" else {"user": "bob"}
        there = await bob.ask(asked, room="den", **fields)
        not_there = await bob.ask(asked, room="nil", **fields)
        assert there["code"] == not_there["code"] == "no-room"
        assert there["text"].replace("den", "nil") == not_there["text"]
    for asked in ("history", "list", "typing", "info.get", "welcome.get"):
        assert (await bob.ask(asked, room="den"))["code"] == "not-member"
    await bob.say("send", room="den", n=1, epoch=0, kind="message", body="")
    await bob.until("error", code="not-member")
    assert (await bob.ask("create", room="DEN"))["code"] == "room-exists"


async def test_who_is_invited_is_told_and_comes_in(server: Server, enter: Connect) -> None:
    alice, bob, carol = await three(server, enter)
    other = await enter(server, "bob", device="other")
    for _ in range(2):  # twice is as good as once
        assert (await alice.ask("invite", room="den", user="BOB"))["type"] == "ok"
    for peer in (bob, other):
        await peer.until("invited", room="den", from_="alice")
        await peer.quiet()
    assert await rooms(bob) == ["den", "lobby"]
    assert (await bob.join("den"))["role"] == "member"
    assert (await bob.ask("invite", room="den", user="carol"))["code"] == "forbidden"
    assert (await bob.ask("uninvite", room="den", user="alice"))["code"] == "forbidden"
    assert (await alice.ask("invite", room="den", user="zoe"))["code"] == "no-user"
    assert (await carol.ask("join", room="den"))["code"] == "no-room"


async def test_who_is_taken_off_the_list_is_out(server: Server, enter: Connect) -> None:
    alice, bob, _ = await three(server, enter)
    await alice.ask("invite", room="den", user="bob")
    await alice.enter("den")
    await bob.enter("den")
    await alice.begin("den")
    await bob.until("message", seq=2)  # 1 is the invitation
    assert (await alice.ask("uninvite", room="den", user="alice"))["code"] == "forbidden"
    assert (await alice.ask("uninvite", room="den", user="bob"))["type"] == "ok"
    await bob.until("removed", room="den", from_="alice")
    assert [f["count"] for f in alice.frames if f["type"] == "left"] == [1]
    await alice.seal("den", "message", 1, "c2VjcmV0")
    await alice.until("message", seq=4)
    await bob.quiet()  # nothing more of it comes
    await bob.say("send", room="den", n=1, epoch=1, kind="message", body="")
    await bob.expect("error", code="not-member")
    assert (await bob.ask("join", room="den", after=0))["code"] == "no-room"
    assert await rooms(bob) == ["lobby"]
    assert (await alice.ask("uninvite", room="den", user="bob"))["type"] == "ok"  # again
    assert (await alice.ask("uninvite", room="den", user="carol"))["type"] == "ok"  # never on it
    await bob.quiet()
    await alice.ask("invite", room="den", user="bob")
    assert (await bob.join("den", after=0))["seq"] == 5


async def test_open_rooms_and_those_of_two_people_have_no_list_to_change(
    server: Server, enter: Connect
) -> None:
    alice, _, _ = await three(server, enter)
    await alice.ask("create", room="plaza", mode="plain")
    await alice.join("~alice+bob")
    for room in ("lobby", "plaza", "~alice+bob"):
        for asked in ("invite", "uninvite"):
            assert (await alice.ask(asked, room=room, user="carol"))["code"] == "forbidden"


async def test_lists_outlive_the_server_and_the_room_s_time_in_memory(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server()
    alice, bob, _ = await three(server, enter)
    await alice.ask("invite", room="den", user="bob")
    while server.rooms.active("den"):
        await trio.sleep(0.001)
    await bob.join("den")
    server.drain()
    await alice.until("closing")
    server = await run_server()
    alice, bob, carol = [await enter(server, name) for name in ("alice", "bob", "carol")]
    assert (await alice.join("den"))["role"] == "owner"
    assert (await bob.join("den"))["role"] == "member"
    assert (await carol.ask("join", room="den"))["code"] == "no-room"


async def test_who_is_taken_off_while_coming_in_stays_out(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _ = await three(server, enter)
    await alice.ask("invite", room="den", user="bob")
    await alice.enter("den")
    room = server.rooms.active("den")
    assert room is not None
    write, asked = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Batch) -> frozenset[str] | None:
        asked.set()
        await write.wait()
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", wait)
    await alice.say("uninvite", room="den", user="bob", id="u")
    await asked.wait()
    await bob.say("join", room="den", id="j")
    while not room.inbox.statistics().current_buffer_used:  # it waits behind that
        await trio.sleep(0.001)
    write.set()
    await bob.until("removed", room="den")
    await bob.expect("error", code="no-room", id="j")
    assert names.key("bob") not in room.house.people
    assert (await bob.ask("join", room="den"))["code"] == "no-room"


async def test_a_list_that_cannot_be_written_stays_as_it_is(
    server: Server, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _ = await three(server, enter)
    await alice.enter("den")

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", fail)
        assert (await alice.ask("invite", room="den", user="bob"))["code"] == "store"
    assert (await bob.ask("join", room="den"))["code"] == "no-room"
    assert (await alice.ask("invite", room="den", user="bob"))["type"] == "ok"
    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", fail)
        assert (await alice.ask("uninvite", room="den", user="bob"))["code"] == "store"
    await bob.join("den")


async def test_closed_rooms_are_listed_first_and_in_pages(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server("art", "zoo", roster_size=2)
    alice = await enter(server, "alice", "art")
    bob = await enter(server, "bob", "art")
    for name in ("den", "vault"):
        await alice.ask("create", room=name)
    await alice.join("~alice+bob")
    for peer, wanted in (
        (alice, ["den", "vault", "~alice+bob", "art", "zoo"]),
        (bob, ["~alice+bob", "art", "zoo"]),
    ):
        found: list[str] = []
        after = None
        while True:
            page = await peer.ask("list-rooms", **({"after": after} if after else {}))
            assert 1 <= len(page["rooms"]) <= 2
            found += [room["room"] for room in page["rooms"]]
            after = page.get("next")
            if after is None:
                break
        assert found == wanted
