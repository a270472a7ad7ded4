"""`trio_chat.server.doors`: a lockdown lets in devices that were here before, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.inviting import invite, new_key, redeem, request, stranger
from tests.peer import Connect, Frame, Peer
from tests.people import People
from trio_chat.invitation import encode_secret
from trio_chat.server import Server
from trio_chat.tls import client_context

PASSWORD = "correct horse battery"


@pytest.fixture
def ca(own_people: People) -> Path:
    return own_people.ca


async def turned_away(server: Server, dial: Connect, name: str, of: People) -> Frame:
    peer = await dial(server, name, of=of)
    await peer.say("hello", protocol=1, client="x")
    (frame,) = await peer.rest()
    return frame


async def test_only_devices_that_were_here_come_in(
    run_server: Serve, own_people: People, enter: Connect, dial: Connect, ca: Path
) -> None:
    server = await run_server(ca=ca)
    alice = await enter(server, "alice", of=own_people)
    bob = await enter(server, "bob", of=own_people)
    await bob.close()
    await server.doors.lock()
    assert (await alice.ask("list"))["type"] == "users"  # whoever is here stays
    await enter(server, "bob", of=own_people)
    for name in ("carol", "mallory"):
        refused = await turned_away(server, dial, name, own_people)
        assert (refused["type"], refused["code"]) == ("error", "forbidden")
        assert "locked down" in refused["text"]
    # Another device of somebody known is another key, and one that was never here.
    issued = own_people.authority.issue_client("alice", device="new")
    assert issued.key is not None
    peer = await Peer.connect(server.port, client_context(issued.crt, issued.key, ca=ca))
    await peer.say("hello", protocol=1, client="x")
    assert [frame["code"] for frame in await peer.rest()] == ["forbidden"]
    peer.drop()
    # The same key with a renewed certificate is known.
    renewed = own_people.authority.renew(own_people.certificate("alice").crt)
    key = own_people.certificate("alice").key
    assert key is not None
    await alice.close()
    peer = await Peer.connect(server.port, client_context(renewed.crt, key, ca=ca))
    await peer.hello()
    peer.drop()
    await server.doors.unlock()
    await enter(server, "carol", of=own_people)


async def test_nobody_enrols_registers_or_logs_in_and_no_invite_is_spent(
    run_server: Serve, own_people: People, enter: Connect, ca: Path
) -> None:
    server = await run_server(ca=ca)
    bob = await enter(server, "bob", of=own_people)
    invitation = invite(ca, "nora")
    secret = encode_secret(invitation.secret)
    registering = {"user": "nora", "password": PASSWORD, "secret": secret}
    await server.doors.lock()
    asked = {
        "enrol": {"secret": secret},
        "register": registering,
        "login": {"user": "nora", "password": PASSWORD},
    }
    for kind, fields in asked.items():
        peer = await stranger(server)
        reply = await peer.ask(kind, csr=request(new_key()), **fields)
        assert reply["code"] == "forbidden", kind
        peer.drop()
        reply = await bob.ask(kind, csr=request(new_key()), **fields)
        assert reply["code"] == "forbidden", kind
    assert server.accounts.passwords.hashings == 0
    await server.doors.unlock()
    assert (await redeem(server, invitation))["type"] == "enrolled"


async def test_it_outlives_the_server_and_so_does_who_was_here(
    run_server: Serve, own_people: People, enter: Connect, dial: Connect, ca: Path
) -> None:
    server = await run_server(ca=ca)
    await (await enter(server, "alice", of=own_people)).close()
    await server.doors.lock()
    since = server.doors.since
    server.drain()
    server = await run_server(ca=ca)
    assert server.doors.since == since is not None
    assert (await turned_away(server, dial, "bob", own_people))["code"] == "forbidden"
    await enter(server, "alice", of=own_people)
    await server.doors.unlock()
    server.drain()
    server = await run_server(ca=ca)
    assert server.doors.since is None
    await enter(server, "bob", of=own_people)
