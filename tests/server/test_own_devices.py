"""`trio_chat.server.own_devices`: one's own devices, and the end of one that was lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Frame, Peer
from tests.people import People
from trio_chat.cli.revoking import revoke
from trio_chat.pki import Authority, Issued
from trio_chat.server import Server
from trio_chat.server.desk import Desk, Tools
from trio_chat.tls import client_context

Come = Callable[..., Any]


@pytest.fixture
async def server(own_people: People, run_server: Serve, nursery: trio.Nursery) -> Server:
    """A server that can revoke; `root` is an admin."""
    own_people.certificate("root", admin=True)
    server = await run_server(ca=own_people.ca)
    Desk(server, Tools(lambda: server.config, partial(revoke, own_people.ca)), nursery)
    return server


@pytest.fixture
def issue(own_people: People, tmp_path: Path) -> Callable[..., Issued]:
    """Make certificates of one person for several machines."""

    def make(name: str, device: str | None, folder: str = "") -> Issued:
        authority = Authority.load(own_people.ca)
        where = tmp_path / (folder or f"{name}-{device}")
        where.mkdir()
        return authority.issue_client(name, device=device, out=where)

    return make


async def come(server: Server, issued: Issued, ca: Path) -> Peer:
    assert issued.key is not None
    peer = await Peer.connect(server.port, client_context(issued.crt, issued.key, ca=ca))
    await peer.hello()
    await peer.enter("lobby")
    return peer


def names_of(frame: Frame) -> list[tuple[str | None, bool]]:
    assert frame["type"] == "devices", frame
    return [(each.get("name"), each["here"]) for each in frame["devices"]]


async def test_a_lost_device_is_ended_by_another_one_of_its_owner(
    server: Server, own_people: People, issue: Callable[..., Issued]
) -> None:
    ca = own_people.ca
    laptop, phone = issue("alice", "laptop"), issue("alice", "phone")
    here, lost = await come(server, laptop, ca), await come(server, phone, ca)
    issue("alice", "tablet")  # has never been here
    own_people.certificate("bob")
    listed = await here.ask("devices")
    assert names_of(listed) == [("laptop", True), ("phone", True), ("tablet", False)]
    assert listed["devices"][0]["device"] == here.device
    assert {f"0x{phone.certificate.serial_number:X}", listed["devices"][1]["serial"]} == {
        listed["devices"][1]["serial"]
    }
    with trio.fail_after(1):
        assert (await here.ask("revoke", device="phone"))["type"] == "ok"
        assert (await lost.rest())[-1]["reason"] == "revoked"
    lost.drop()
    assert names_of(await here.ask("devices")) == [("laptop", True), ("tablet", False)]
    again = await Peer.connect(server.port, client_context(phone.crt, phone.key, ca=ca))  # type: ignore[arg-type]
    await again.say("hello", protocol=1, client="x")
    assert [frame["code"] for frame in await again.rest()] == ["revoked"]
    again.drop()
    rows = [row.fields() for row in await server.store.read_audit(0, 10)]
    assert [(row["actor"], row["action"], row["outcome"].split(":")[0]) for row in rows] == [
        (f"user alice ({here.device})", "revoke", "begun"),
        (f"user alice ({here.device})", "revoke", "done"),
    ]
    assert rows[0]["target"].startswith("alice/phone 0x")
    here.drop()


async def test_nobody_ends_what_is_somebody_else_s_but_an_admin(
    server: Server, own_people: People, issue: Callable[..., Issued], enter: Any
) -> None:
    alice = await come(server, issue("alice", "laptop"), own_people.ca)
    mallory = await enter(server, "mallory", of=own_people)
    root = await enter(server, "root", of=own_people)
    serial = (await alice.ask("devices"))["devices"][0]["serial"]
    for fields in ({"device": "laptop", "user": "alice"}, {"device": "laptop", "user": "ALICE"}):
        assert (await mallory.ask("revoke", **fields))["code"] == "forbidden"
    for word in ("laptop", serial, alice.device, "alice", "alice/laptop"):
        assert (await mallory.ask("revoke", device=word))["code"] == "no-user"
    assert (await mallory.ask("devices", user="alice"))["code"] == "forbidden"
    assert await server.store.read_audit(0, 10) == []
    await alice.quiet()
    assert names_of(await root.ask("devices", user="alice")) == [("laptop", True)]
    assert (await root.ask("revoke", user="alice", device=alice.device[:8]))["type"] == "ok"
    assert (await alice.rest())[-1]["reason"] == "revoked"
    assert (await root.ask("devices", user="alice"))["code"] == "no-user"
    alice.drop()


async def test_the_device_in_use_and_a_word_for_several_are_refused(
    server: Server, own_people: People, issue: Callable[..., Issued]
) -> None:
    here = await come(server, issue("alice", "laptop", "one"), own_people.ca)
    reply = await here.ask("revoke", device="laptop")
    assert reply["code"] == "forbidden"
    other = issue("alice", "laptop", "two")
    reply = await here.ask("revoke", device="laptop")
    assert reply["code"] == "bad-frame"
    serials = [each["serial"] for each in (await here.ask("devices"))["devices"]]
    assert all(serial in reply["text"] for serial in serials)
    assert await server.store.read_audit(0, 10) == []
    (wanted,) = [each for each in serials if int(each, 16) == other.certificate.serial_number]
    assert (await here.ask("revoke", device=wanted))["type"] == "ok"
    assert len((await here.ask("devices"))["devices"]) == 1
    here.drop()


async def test_without_the_key_it_is_said_who_can(
    server: Server, own_people: People, issue: Callable[..., Issued]
) -> None:
    here = await come(server, issue("alice", "laptop"), own_people.ca)
    other = await come(server, issue("alice", "phone"), own_people.ca)
    (own_people.folder / "ca.key").rename(own_people.folder / "away")
    reply = await here.ask("revoke", device="phone")
    assert reply["code"] == "no-enrolment"
    assert "trio-chat pki revoke 0x" in reply["text"]
    assert str(own_people.folder) not in reply["text"]
    await other.quiet()
    here.drop()
    other.drop()
