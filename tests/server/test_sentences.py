"""Bans and mutes of the whole server, as orders give them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.conftest import Serve, plain_direct
from tests.inviting import stranger
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.errors import BadFrame, BadName, NoUser, StoreError
from trio_chat.server import Server
from trio_chat.server.desk import Desk, Tools
from trio_chat.server.orders import read_order
from trio_chat.store import Store

Do = Callable[..., Any]


@pytest.fixture
def office(nursery: trio.Nursery) -> Callable[[Server], Do]:
    """Give orders to a server: `await order("ban", who="bob")`."""

    def make(server: Server) -> Do:
        tools = Tools(configure=lambda: server.config, revoke=lambda _what, _pem: [])
        desk = Desk(server, tools, nursery)

        async def order(command: str, **arguments: Any) -> dict[str, Any]:
            with trio.fail_after(10):
                return (await desk.do("uid 7", read_order(command, arguments))).result

        return order

    return make


@pytest.fixture
def order(server: Server, office: Callable[[Server], Do]) -> Do:
    return office(server)


async def refused(peer: Peer) -> dict[str, Any]:
    """What the server says to a `hello`, after which the connection ends."""
    await peer.say("hello", protocol=1, client="test")
    (frame,) = await peer.rest()
    assert frame["type"] == "error"
    return frame


async def test_who_is_banned_is_gone_at_once_and_does_not_come_back(
    server: Server, order: Do, enter: Connect, dial: Connect
) -> None:
    alice = await enter(server, "alice")
    bob = await enter(server, "bob")
    other = await enter(server, "bob", device="other")
    early = await dial(server, "bob")  # connected, and has not said who it is
    assert await order("ban", who="BOB", reason="spam") == {"met": 2, "who": "bob"}
    for peer in (bob, other):
        frames = await peer.rest()
        assert (frames[-1]["type"], frames[-1]["reason"]) == ("closing", "banned")
        assert "retry_after" not in frames[-1]
    entry = await alice.until("mode")
    about = {key: entry[key] for key in ("from", "change", "user", "everywhere", "reason")}
    assert about == {
        "from": "server",
        "change": "ban",
        "user": "bob",
        "everywhere": True,
        "reason": "spam",
    }
    late = await dial(server, "bob")
    for peer in (early, late):
        frame = await refused(peer)
        assert (frame["code"], frame["text"]) == ("banned", "you are banned from this server: spam")
    await order("unban", who="bob")
    await enter(server, "bob")
    with pytest.raises(NoUser):
        await order("unban", who="bob")


async def test_a_ban_ends_by_its_time(
    server: Server, order: Do, enter: Connect, dial: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await enter(server, "bob")
    await order("ban", who="bob", seconds=3600)
    assert 3500 < (await bob.rest())[-1]["retry_after"] <= 3600
    assert 3500 < (await refused(await dial(server, "bob")))["retry_after"] <= 3600
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3601)
    await enter(server, "bob")
    assert await order("bans") == {"sanctions": []}


async def test_a_banned_address_lets_in_admins_and_nobody_else(
    server: Server, order: Do, enter: Connect, dial: Connect, people: People
) -> None:
    people.certificate("ada", admin=True)
    alice, ada = await enter(server, "alice"), await enter(server, "ada")
    await order("ban", who="address:127.0.0.1")
    assert (await alice.rest())[-1]["reason"] == "banned"
    assert (await refused(await dial(server, "alice")))["code"] == "banned"
    again = await enter(server, "ada", device="again")
    for peer in (ada, again):
        await peer.post("lobby", "still here")
        await peer.until("message", from_="ada")
    (found,) = (await order("bans"))["sanctions"]
    assert (found["address"], found["user"], found["by"]) == ("127.0.0.1", None, "server")
    await order("unban", who="address:127.0.0.1")
    await enter(server, "alice")


async def test_nobody_enrols_from_a_banned_address(
    run_server: Serve, office: Callable[[Server], Do], own_people: People
) -> None:
    server = await run_server(ca=own_people.ca)
    await office(server)("ban", who="address:127.0.0.1")
    peer = await stranger(server, own_people.ca)
    await peer.say("ca", id="1")
    (frame,) = await peer.rest()
    assert (frame["type"], frame["code"]) == ("error", "banned")
    peer.drop()


async def test_a_device_is_banned_alone(
    server: Server, order: Do, enter: Connect, dial: Connect
) -> None:
    bob = await enter(server, "bob", device="here")
    assert (await order("ban", who="bob/here"))["met"] == 1
    assert (await bob.rest())[-1]["reason"] == "banned"
    assert (await refused(await dial(server, "bob")))["code"] == "banned"  # the same key
    with pytest.raises(BadName):
        await order("ban", who="bob/no device")
    with pytest.raises(BadName):
        await order("ban", who="address:somewhere")
    with pytest.raises(NoUser):
        await order("ban", who="zoe")


async def test_who_is_muted_everywhere_says_nothing_anywhere(
    server: Server, order: Do, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    other = await enter(server, "bob", device="other")
    direct = await plain_direct(server, "alice", "bob")
    for peer in (alice, bob):
        await peer.enter(direct)
    await order("mute", who="bob", seconds=600)
    entry = await alice.until("mode")
    assert (entry["change"], entry["everywhere"]) == ("mute", True)
    for peer, room in ((bob, "lobby"), (bob, direct), (other, "lobby")):
        await peer.post(room, "hello")
        await peer.until("error", code="muted", room=room)
        assert (await peer.ask("topic", room=room, text="hello"))["code"] == "muted"
        assert (await peer.ask("typing", room=room))["code"] == "muted"
    for asked, fields in (
        ("nick", {"nick": "hello"}),
        ("away", {"text": "hello"}),
        ("create", {"room": "hello"}),
    ):
        assert (await bob.ask(asked, **fields))["code"] == "muted"
    await bob.say("relay", to="alice", alg="x", nonce="", cipher="hello")
    await bob.until("error", code="muted")
    assert (await bob.ask("nick"))["type"] == "ok"  # to bear none says nothing
    await bob.join("~alice+bob")
    await bob.seal("~alice+bob", "message", 0)
    await bob.until("error", code="muted")
    await order("unmute", who="bob")
    bob.said["lobby"] = 0
    await bob.post("lobby", "thanks")
    await alice.until("message", text="thanks")
    assert "hello" not in json.dumps(alice.frames)


async def test_orders_reach_into_rooms_whatever_anybody_s_role_there(
    server: Server, order: Do, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.ask("create", room="den")
    await alice.ask("invite", room="den", user="bob")
    await alice.enter("den")
    await bob.enter("den")
    assert (await order("ban", who="alice", room="den"))["met"] == 1
    await alice.until("removed", room="den", from_="server")
    entry = await bob.until("mode", change="ban")
    assert (entry["from"], entry["user"], entry.get("device")) == ("server", "alice", None)
    assert (await alice.ask("join", room="den"))["code"] == "no-room"
    (found,) = (await order("bans", room="den"))["sanctions"]
    assert (found["kind"], found["user"]) == ("ban", "alice")
    await order("unban", who="alice", room="den")
    assert await order("bans", room="den") == {"sanctions": []}
    told = [(e["action"], e["target"], e["outcome"]) for e in (await order("audit"))["entries"]]
    assert told[-4:-2] == [
        ("ban", "alice in den", "begun"),
        ("ban", "alice in den", "done: alice, 1 connections"),
    ]


async def test_a_ban_that_cannot_be_written_is_not_in_force(
    server: Server, order: Do, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await enter(server, "bob")

    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "change", fail)
        with pytest.raises(StoreError):
            await order("ban", who="bob")
    await bob.post("lobby", "still here")
    await bob.until("message")
    await enter(server, "bob", device="other")


async def test_sanctions_that_are_over_are_forgotten(
    run_server: Serve, office: Callable[[Server], Do], enter: Connect
) -> None:
    server = await run_server()
    bob = await enter(server, "bob")
    order = office(server)
    await order("mute", who="bob", seconds=0.05)
    await order("mute", who="bob", room="lobby", seconds=0.05)
    await order("ban", who="address:192.0.2.1", seconds=0.05)
    await order("mute", who="address:192.0.2.2")
    while (await order("bans"))["sanctions"][0]["address"] != "192.0.2.2":
        await trio.sleep(0.01)
    await server.store.expire_sanctions(time.time())
    assert [each.subject for each in await server.store.read_sanctions()] == ["address:192.0.2.2"]
    room = server.rooms.active("lobby")
    assert room is not None
    assert await server.store.read_sanctions(room.id) == []
    room.house.sanctions.forget(time.time())
    assert not room.house.sanctions
    await bob.post("lobby", "again")
    await bob.until("message")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("ban", {}),
        ("ban", {"who": ""}),
        ("ban", {"who": "bob", "seconds": 0}),
        ("ban", {"who": "bob", "seconds": -1}),
        ("mute", {"who": "bob", "reason": "x" * 257}),
        ("unban", {"who": "bob", "seconds": 3}),
        ("bans", {"room": 7}),
    ],
)
def test_an_order_that_does_not_fit_is_refused(command: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_order(command, arguments)
