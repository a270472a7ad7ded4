"""Orders over a connection: everything for admins, nothing for anybody else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.cli.revoking import revoke
from trio_chat.errors import ConfigError
from trio_chat.server import Server
from trio_chat.server.desk import Desk, Tools
from trio_chat.server.orders import ORDERS

Start = Callable[..., Any]


@pytest.fixture
async def server(own_people: People, run_server: Serve, nursery: trio.Nursery) -> Server:
    """A server that takes orders; `root` is an admin."""
    own_people.certificate("root", admin=True)
    server = await run_server(ca=own_people.ca)
    Desk(server, Tools(lambda: server.config, partial(revoke, own_people.ca)), nursery)
    return server


@pytest.fixture
def come(enter: Connect, server: Server, own_people: People) -> Start:
    return partial(enter, server, of=own_people)


async def audit(root: Peer) -> list[tuple[str, str]]:
    reply = await root.ask("admin", command="audit")
    return [(each["action"], each["outcome"]) for each in reply["result"]["entries"]]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "kick": {"who": "root"},
    "announce": {"text": "hi"},
    "revoke": {"what": "root"},
    "backup": {"path": "/nowhere/chat.db"},
}


@pytest.mark.parametrize("command", [*ORDERS, "nonsense"])
@pytest.mark.parametrize("role", ["member", "bot"])
async def test_whoever_is_no_admin_is_forbidden_everything_and_nothing_happens(
    server: Server, come: Start, own_people: People, command: str, role: str
) -> None:
    own_people.certificate("mallory", bot=role == "bot")
    root, mallory = await come("root"), await come("mallory")
    for arguments in (ARGUMENTS.get(command, {}), {"wrong": 1}, None):
        reply = await mallory.ask("admin", command=command, arguments=arguments)
        assert (reply["type"], reply["code"]) == ("error", "forbidden")
    assert not server.draining
    assert await audit(root) == []


async def test_an_admin_s_orders_are_carried_out_and_written_down(
    server: Server, come: Start
) -> None:
    root, bob = await come("root", device="desk"), await come("bob")
    reply = await root.ask("admin", command="kick", arguments={"who": "bob"})
    assert (reply["type"], reply["result"]) == ("admin", {"ended": 1})
    assert (await bob.rest())[-1]["reason"] == "kicked"
    reply = await root.ask("admin", command="kick", arguments={"who": "bob"})
    assert (reply["type"], reply["code"]) == ("error", "no-user")
    reply = await root.ask("admin", command="audit")
    assert {each["actor"] for each in reply["result"]["entries"]} == {f"user root ({root.device})"}
    for name, kind in ORDERS.items():
        if not kind.audited:
            assert (await root.ask("admin", command=name))["type"] == "admin"


async def test_what_fails_for_the_server_s_files_has_its_hint(
    server: Server, come: Start, own_people: People
) -> None:
    root = await come("root")
    own_people.certificate("bob")
    (own_people.folder / "ca.key").unlink()
    reply = await root.ask("admin", command="revoke", arguments={"what": "bob"})
    assert reply["type"] == "admin"
    assert "is not on this machine" in reply["failure"]
    assert "trio-chat pki revoke bob" in reply["hint"]


async def test_a_file_of_the_server_s_is_not_looked_at(
    server: Server, come: Start, own_people: People
) -> None:
    root = await come("root")
    path = str(own_people.folder / "root.crt")
    reply = await root.ask("admin", command="revoke", arguments={"what": path})
    assert reply["failure"] == f"there is no file {path}"


async def test_an_admin_may_end_the_own_connection_and_it_is_written_down(
    server: Server, come: Start
) -> None:
    root = await come("root")
    await root.say("admin", command="kick", arguments={"who": "root"})
    assert (await root.rest())[-1]["reason"] == "kicked"
    root = await come("root")
    with trio.fail_after(5):
        while len(found := await audit(root)) < 2:
            await trio.lowlevel.checkpoint()
    assert found == [("kick", "begun"), ("kick", "done: 1 connections")]


async def test_drain_answers_first(server: Server, come: Start) -> None:
    root = await come("root")
    await root.say("admin", command="drain", id="7")
    frames = await root.rest()
    assert [frame["type"] for frame in frames][-2:] == ["admin", "closing"]
    with trio.fail_after(5):
        await server.stopped.wait()


async def test_an_answer_that_is_too_long_is_refused(server: Server, come: Start) -> None:
    root = await come("root")
    for n in range(1200):
        await server.store.create_room(f"room{n}" + "x" * 20, mode="plain", now=0.0)
    limits = attrs.evolve(server.limits, frame_size=40_000)
    server.config = attrs.evolve(server.config, limits=limits)
    reply = await root.ask("admin", command="rooms")
    assert (reply["type"], reply["code"]) == ("error", "too-many")
    await root.quiet()


async def test_an_embedded_server_takes_none(
    run_server: Serve, enter: Connect, own_people: People
) -> None:
    own_people.certificate("root", admin=True)
    server = await run_server(ca=own_people.ca)
    root = await enter(server, "root", of=own_people)
    reply = await root.ask("admin", command="status")
    assert (reply["code"], reply["text"]) == ("forbidden", "this server takes no orders")


async def test_the_client_raises_what_the_server_says(
    server: Server, own_people: People, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trio_chat.client import administer, connect
    from trio_chat.errors import Forbidden, NoUser

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def connecting(name: str) -> Any:
        made = own_people.certificate(name)
        assert made.key is not None
        return connect(f"127.0.0.1:{server.port}", cert=made.crt, key=made.key, device=None)

    async with connecting("root") as client:
        assert (await administer(client, "status"))["connections"] == 1
        with pytest.raises(NoUser):
            await administer(client, "kick", who="nobody")
        with pytest.raises(ConfigError, match="begins with /"):
            await administer(client, "backup", path="x")
    async with connecting("alice") as client:
        with pytest.raises(Forbidden):
            await administer(client, "status")
