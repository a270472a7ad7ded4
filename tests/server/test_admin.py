"""Orders of admins: each is written down before it takes effect, and does what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Serve
from tests.peer import Connect
from tests.people import People
from trio_chat.cli.revoking import revoke
from trio_chat.errors import ConfigError, NoUser, Refused, StoreError, TextTooLong, UnknownType
from trio_chat.server import Server, desk, orders
from trio_chat.server.config import ServerConfig
from trio_chat.server.desk import HANDLERS, Desk, Tools
from trio_chat.server.measures import Done
from trio_chat.server.orders import ORDERS, Order, RevokeDevice, read_order


@pytest.fixture
def office(nursery: trio.Nursery) -> Callable[..., Desk]:
    """Make a desk for a server."""

    def make(server: Server, **tools: Any) -> Desk:
        ca = server.config.ca
        given = {
            "configure": lambda: server.config,
            "revoke": lambda what, pem: revoke(ca, what, pem),
            **tools,
        }
        return Desk(server, Tools(**given), nursery)

    return make


async def do(where: Desk, command: str, **arguments: Any) -> dict[str, Any]:
    with trio.fail_after(10):
        done = await where.do("uid 7", read_order(command, arguments))
    if done.afterwards is not None:
        done.afterwards()
    return done.result


async def entries(where: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await do(where, "audit", limit=1000))["entries"]
    return found


# --- orders --------------------------------------------------------------------------------


def test_each_order_has_a_handler() -> None:
    assert set(HANDLERS) == {*ORDERS.values(), RevokeDevice}  # which is not for admins to give


@pytest.mark.parametrize("name", ["", "shut", "Status", None, 7, ["status"]])
def test_an_unknown_order_is_refused(name: object) -> None:
    with pytest.raises(UnknownType):
        read_order(name, {})


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("kick", {}, "who"),
        ("kick", {"who": 7}, "who"),
        ("kick", {"who": "a", "reason": "x" * 257}, "reason"),
        ("kick", {"who": "a", "force": True}, "does not know force"),
        ("status", {"a": 1}, "does not know a"),
        ("status", [], "object"),
        ("drain", {"delay": -1}, "delay"),
        ("drain", {"delay": "1"}, "delay"),
        ("rooms", {"limit": 0}, "limit"),
        ("rooms", {"limit": 1001}, "limit"),
        ("audit", {"after": -1}, "after"),
        ("revoke", {"what": ""}, "what"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    name: str, arguments: Any, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        read_order(name, arguments)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from([*ORDERS]) | _JSON, _JSON | st.dictionaries(st.text(), _JSON))
def test_whatever_comes_is_an_order_or_refused(name: Any, arguments: Any) -> None:
    try:
        found = read_order(name, arguments)
    except Refused:
        return
    assert isinstance(found, Order)
    assert isinstance(found.target, str)


# --- the audit log --------------------------------------------------------------------------


async def test_an_order_is_written_down_before_it_takes_effect(
    server: Server, office: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = office(server)
    seen: list[list[str]] = []

    async def look(where: Desk, order: orders.Announce) -> Done:
        seen.append([each["outcome"] for each in await entries(where)])
        return Done({}, "well")

    monkeypatch.setitem(desk.HANDLERS, orders.Announce, look)
    before = time.time()
    await do(where, "announce", text="hello")
    assert seen == [["begun"]]
    begun, done = await entries(where)
    assert (begun["n"], begun["of"], done["of"]) == (1, None, 1)
    assert (done["actor"], done["action"], done["target"]) == ("uid 7", "announce", "hello")
    assert done["outcome"] == "done: well"
    assert before - 1 <= begun["time"] <= done["time"] <= time.time() + 1


async def test_what_cannot_be_written_down_is_not_done(
    server: Server,
    office: Callable[..., Desk],
    enter: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = office(server)
    alice = await enter(server, "alice")

    async def full(*_: object) -> int:
        raise StoreError("the disk is full")

    monkeypatch.setattr("trio_chat.store.Store.add_audit", full)
    for command, arguments in (
        ("kick", {"who": "alice"}),
        ("announce", {"text": "hi"}),
        ("drain", {}),
        ("revoke", {"what": "alice"}),
    ):
        with pytest.raises(StoreError, match="full"):
            await do(where, command, **arguments)
    await alice.quiet()
    assert not server.draining


async def test_an_outcome_that_cannot_be_written_down_is_in_the_log(
    server: Server,
    office: Callable[..., Desk],
    enter: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    where = office(server)
    alice = await enter(server, "alice")
    add = type(server.store).add_audit

    async def full_later(store: Any, entry: Any) -> int:
        if entry.of is not None:
            raise StoreError("the disk is full")
        return await add(store, entry)

    monkeypatch.setattr("trio_chat.store.Store.add_audit", full_later)
    assert await do(where, "announce", text="hi") == {"told": 1}
    await alice.expect("server", text="hi")
    assert "outcome of audit entry 1 cannot be written down" in caplog.text
    assert (await do(where, "verify-audit"))["unfinished"] == [1]


async def test_what_failed_is_written_down_as_failed(
    server: Server, office: Callable[..., Desk]
) -> None:
    where = office(server)
    with pytest.raises(NoUser):
        await do(where, "kick", who="nobody")
    assert [each["outcome"] for each in await entries(where)] == [
        "begun",
        "failed: nobody is not here; `admin users` lists who is",
    ]
    found = await do(where, "verify-audit")
    assert (found["entries"], found["problem"], found["unfinished"]) == (2, None, [])


async def test_what_was_called_off_is_written_down_as_that(
    server: Server, office: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = office(server)

    async def for_ever(*_: object) -> Done:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setitem(desk.HANDLERS, orders.Announce, for_ever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(do, where, "announce", text="hi"))
        while not await entries(where):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    begun, ended = await entries(where)
    assert (ended["of"], ended["outcome"]) == (begun["n"], "failed: called off before its end")


async def test_questions_are_not_written_down(server: Server, office: Callable[..., Desk]) -> None:
    where = office(server)
    for kind in ORDERS.values():
        if not kind.audited:
            await do(where, kind.name)
    assert await entries(where) == []


async def test_the_log_is_read_in_pages_and_from_its_end(
    server: Server, office: Callable[..., Desk]
) -> None:
    where = office(server)
    for n in range(10):
        await do(where, "announce", text=f"{n}")
    last = await do(where, "audit", limit=3)
    assert [each["n"] for each in last["entries"]] == [18, 19, 20]
    page = await do(where, "audit", after=4, limit=2)
    assert ([each["n"] for each in page["entries"]], page["newest"]) == ([5, 6], 20)


async def test_the_log_does_not_repeat_what_was_announced(
    server: Server, office: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await do(office(server), "announce", text="secret plans")
    assert "announce: done" in caplog.text
    assert "secret" not in caplog.text


# --- measures --------------------------------------------------------------------------------


async def test_who_is_kicked_hears_why_and_when_to_come_back(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    where = office(server)
    first = await enter(server, "alice", device="a")
    second = await enter(server, "alice", device="b")
    bob = await enter(server, "bob")
    assert await do(where, "kick", who="ALICE", reason="go home") == {"ended": 2}
    for peer in (first, second):
        said, closing = (await peer.rest())[-2:]
        assert said["text"] == "an admin has ended this connection: go home"
        assert closing == {"type": "closing", "reason": "kicked", "retry_after": 60.0}
    await bob.until("left", count=1)
    await bob.quiet()
    await enter(server, "alice", device="a")  # a kick is no ban


@pytest.mark.parametrize("how", ["chosen", "id", "name"])
async def test_one_device_can_be_kicked(
    own_people: People,
    run_server: Serve,
    office: Callable[..., Desk],
    enter: Connect,
    how: str,
) -> None:
    authority = own_people.authority
    own_people._issued["alice"] = authority.issue_client("alice", device="Laptop")
    server = await run_server(ca=own_people.ca)
    where = office(server)
    one = await enter(server, "alice", device="one", of=own_people)
    two = await enter(server, "alice", device="two", of=own_people)
    device = {"chosen": "one", "id": one.device, "name": "laptop"}[how]
    ended = 2 if how == "name" else 1  # both installations use that certificate
    assert await do(where, "kick", who=f"alice/{device}") == {"ended": ended}
    assert (await one.rest())[-1]["reason"] == "kicked"
    if how == "name":
        assert (await two.rest())[-1]["reason"] == "kicked"
    else:
        await two.until("left")
        await two.quiet()


@pytest.mark.parametrize("who", ["", "/", "alice/", "alice/phone", "bob", "/one"])
async def test_nobody_else_is_kicked(
    server: Server, office: Callable[..., Desk], enter: Connect, who: str
) -> None:
    alice = await enter(server, "alice", device="one")
    with pytest.raises(NoUser):
        await do(office(server), "kick", who=who)
    await alice.quiet()


async def test_everybody_hears_an_announcement_in_no_room_too(
    server: Server, office: Callable[..., Desk], enter: Connect, dial: Connect
) -> None:
    where = office(server)
    alice, bob = await enter(server, "alice"), await dial(server, "bob")
    await bob.hello()
    assert await do(where, "announce", text="tea\nis ready") == {"told": 2}
    await alice.expect("server", text="tea\nis ready")
    await bob.expect("server", text="tea\nis ready")
    with pytest.raises(TextTooLong):
        await do(where, "announce", text="x" * 65_537)
    await alice.quiet()


async def test_drain_ends_the_server(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    alice = await enter(server, "alice")
    await do(office(server), "drain")
    assert (await alice.rest())[-1]["reason"] == "shutdown"
    with trio.fail_after(5):
        await server.stopped.wait()


async def test_drain_can_be_planned_and_a_later_plan_counts(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    where = office(server)
    alice = await enter(server, "alice")
    await do(where, "drain", delay=3600)
    await alice.expect("server", text="this server stops in 60 minutes")
    assert 3590 < (await do(where, "status"))["drains_in"] <= 3600
    await do(where, "drain", delay=0.01)
    assert (await alice.rest())[-1]["reason"] == "shutdown"
    with trio.fail_after(5):
        await server.stopped.wait()


async def test_a_plan_called_off_by_another_does_not_fire(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    where = office(server)
    alice = await enter(server, "alice")
    await do(where, "drain", delay=0.05)
    plan = where.plan
    await do(where, "drain", delay=3600)
    assert plan is not None
    assert plan.cancel_called
    await alice.until("server", text="this server stops in 60 minutes")
    await trio.testing.wait_all_tasks_blocked(0.06)
    assert not server.draining


async def test_reload_says_what_is_different_now(
    own_people: People, run_server: Serve, office: Callable[..., Desk]
) -> None:
    server = await run_server(ca=own_people.ca)
    config = server.config
    limits = attrs.evolve(config.limits, retention=3600.0)
    where = office(
        server, configure=lambda: attrs.evolve(config, limits=limits, rooms=("lobby", "den"))
    )
    authority = own_people.authority
    authority.renew(config.cert, days=10)
    own_people.revoke("mallory")
    changes = {each["name"]: each for each in (await do(where, "reload"))["changes"]}
    assert changes.keys() == {"rooms", "limits.retention", "certificate", "revoked"}
    assert (changes["rooms"]["old"], changes["rooms"]["new"]) == ("lobby", "lobby, den")
    assert changes["limits.retention"]["new"] == "3600.0"
    assert changes["revoked"]["old"].startswith("0 certificates")
    assert changes["revoked"]["new"].startswith("1 certificates")
    assert server.limits.retention == 3600.0
    assert (await do(where, "reload"))["changes"] == []


@pytest.mark.parametrize("wrong", ["port", "durability", "certificate", "file"])
async def test_a_reload_that_is_refused_changes_nothing(
    own_people: People, run_server: Serve, office: Callable[..., Desk], wrong: str
) -> None:
    server = await run_server(ca=own_people.ca)
    before = (server.config, server.context, server.revocations)
    config = attrs.evolve(server.config, rooms=("den",))

    def configure() -> ServerConfig:
        match wrong:
            case "port":
                return attrs.evolve(config, port=1)
            case "durability":
                return attrs.evolve(config, durability="full")
            case "certificate":
                config.cert.write_text("nonsense")
                return config
            case _:
                raise ConfigError("the file is not TOML")

    where = office(server, configure=configure)
    with pytest.raises(ConfigError):
        await do(where, "reload")
    assert (server.config, server.context, server.revocations) == before
    assert (await entries(where))[-1]["outcome"].startswith("failed: ")


async def test_revoking_ends_live_connections_before_it_answers(
    own_people: People, run_server: Serve, office: Callable[..., Desk], enter: Connect
) -> None:
    server = await run_server(ca=own_people.ca)
    where = office(server)
    alice = await enter(server, "alice", of=own_people)
    mallory = await enter(server, "mallory", of=own_people)
    result = await do(where, "revoke", what="mallory")
    assert result["ended"] == 1
    (serial,) = result["serials"]
    assert int(serial, 16) == own_people.certificate("mallory").certificate.serial_number
    assert (await mallory.rest())[-1]["reason"] == "revoked"
    await alice.until("left", count=1)
    last = (await entries(where))[-1]
    assert (last["target"], last["outcome"]) == ("mallory", f"done: {serial}; 1 connections")


async def test_a_list_changed_by_somebody_else_is_written_down(
    own_people: People,
    run_server: Serve,
    office: Callable[..., Desk],
    enter: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.WATCH", 0.01)
    server = await run_server(ca=own_people.ca)
    where = office(server)
    mallory = await enter(server, "mallory", of=own_people)
    own_people.revoke("mallory")
    await mallory.rest()
    with trio.fail_after(5):
        while not (found := await entries(where)):
            await trio.lowlevel.checkpoint()
    serial = own_people.certificate("mallory").certificate.serial_number
    assert (found[0]["actor"], found[0]["target"]) == ("revocation list", f"0x{serial:X}")


async def test_a_backup_needs_a_whole_path(server: Server, office: Callable[..., Desk]) -> None:
    with pytest.raises(ConfigError, match="begins with /"):
        await do(office(server), "backup", path="chat.db")


# --- reports ---------------------------------------------------------------------------------


async def test_status_has_the_numbers(
    own_people: People, run_server: Serve, office: Callable[..., Desk], enter: Connect
) -> None:
    server = await run_server(ca=own_people.ca)
    where = office(server)
    alice = await enter(server, "alice", of=own_people)
    await alice.post("lobby", "hi")
    await alice.until("message")
    found = await do(where, "status")
    assert (found["connections"], found["people"], found["rooms"]) == (1, 1, 1)
    assert found["addresses"] == [["127.0.0.1", server.port]]
    assert (found["draining"], found["drains_in"]) == (False, None)
    assert found["database"]["commits"] >= 2
    assert found["database"]["size"] > 4096
    assert found["memory"] > 1_000_000
    certificate = own_people.folder / "server.crt"
    assert found["certificate_ends"] > time.time() + 300 * 86400, certificate
    assert found["ca_ends"] > found["certificate_ends"] > found["crl_ends"] > time.time()
    assert found["crl_problem"] is None
    (own_people.folder / "server.crt").unlink()
    assert (await do(where, "status"))["certificate_ends"] is None


async def test_the_tree_has_ages_and_the_queues_of_rooms(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    where = office(server)
    await enter(server, "alice")
    tasks = (await do(where, "tree"))["tasks"]
    assert tasks[0]["depth"] == 0
    assert all(one["depth"] <= other["depth"] + 1 for other, one in zip(tasks, tasks[1:]))  # noqa: B905, RUF007
    by_name = {task["name"]: task for task in tasks}
    room = by_name["room lobby"]
    assert (room["members"], room["queue"], room["senders"]) == (1, 0, 0)
    (connection,) = (task for name, task in by_name.items() if name.startswith("connection "))
    assert (connection["user"], connection["rooms"], connection["behind"]) == ("alice", 1, False)
    assert 0 <= room["age"] <= connection["age"] <= tasks[0]["age"] < 60


async def test_ended_tasks_are_forgotten(server: Server, office: Callable[..., Desk]) -> None:
    where = office(server)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(trio.lowlevel.checkpoint)
    assert len(where.ages._begun) < 50


async def test_rooms_come_in_pages_two_person_rooms_only_in_use(
    run_server: Serve, office: Callable[..., Desk], enter: Connect
) -> None:
    server = await run_server("a", "b", "c")
    where = office(server)
    bob = await enter(server, "bob", "b")
    alice = await enter(server, "alice", "b", "~alice+bob")
    first = await do(where, "rooms", limit=2)
    assert [(each["room"], each["members"]) for each in first["rooms"]] == [
        ("~alice+bob", 1),
        ("a", 0),
        ("b", 2),
    ]
    second = await do(where, "rooms", limit=2, after=first["next"])
    assert ([each["room"] for each in second["rooms"]], second["next"]) == (["c"], None)
    assert {each["seq"] for each in first["rooms"]} == {0}
    await bob.close()
    await alice.say("leave", room="~alice+bob")
    with trio.fail_after(5):
        while len((await do(where, "rooms"))["rooms"]) != 3:
            await trio.lowlevel.checkpoint()


async def test_users_are_listed_device_by_device(
    server: Server, office: Callable[..., Desk], enter: Connect
) -> None:
    where = office(server)
    await enter(server, "bob")
    alice = await enter(server, "alice", device="x")
    await alice.ask("away", text="lunch")
    found = (await do(where, "users"))["users"]
    assert [each["user"] for each in found] == ["alice", "bob"]
    assert found[0]["device"] == alice.device
    assert (found[0]["address"], found[0]["rooms"], found[0]["away"]) == ("127.0.0.1", 1, "lunch")
    assert 0 <= found[0]["here"] < 60
