"""Key packages go to one taker each; the revocation list to whoever asks."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Connect, Peer
from tests.people import People
from trio_chat.errors import TooMany
from trio_chat.limits import Limits
from trio_chat.names import key
from trio_chat.server import Server
from trio_chat.server.directory import HOUR, Claims


async def publish(peer: Peer, *packages: str, **fields: Any) -> int:
    reply = await peer.ask("kp.publish", packages=list(packages), **fields)
    assert reply["type"] == "key-packages", reply
    return int(reply["count"])


async def claim(peer: Peer, user: str) -> list[tuple[str, str, bool]]:
    reply = await peer.ask("kp.claim", user=user)
    assert reply["type"] == "packages", reply
    return [(each["device"], each["package"], each["last"]) for each in reply["packages"]]


async def test_one_of_each_device_is_taken_the_oldest_first(server: Server, enter: Connect) -> None:
    laptop = await enter(server, "alice", device="laptop")
    phone = await enter(server, "alice", device="phone")
    bob = await enter(server, "bob")
    assert await publish(laptop) == 0
    assert await claim(bob, "ALICE") == []
    assert await publish(laptop, "l1", "l2", last="l0") == 2
    assert await publish(phone, "p1") == 1
    assert await publish(laptop, "l2", "l3") == 3  # said again is not there twice
    assert await claim(bob, "alice") == [(laptop.device, "l1", False), (phone.device, "p1", False)]
    assert await publish(laptop) == 2
    assert await claim(bob, "alice") == [(laptop.device, "l2", False)]
    assert await claim(bob, "alice") == [(laptop.device, "l3", False)]
    for _ in range(2):  # the last resort stays, and another takes its place
        assert await claim(bob, "alice") == [(laptop.device, "l0", True)]
    assert await publish(laptop, last="l9") == 0
    assert await claim(bob, "alice") == [(laptop.device, "l9", True)]
    assert (await bob.ask("kp.claim", user="zoe"))["code"] == "no-user"
    assert (await bob.ask("kp.claim", user="bob"))["user"] == "bob"


async def test_those_who_claim_at_once_get_different_ones(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    packages = [f"package {number}" for number in range(40)]
    await publish(alice, *packages, last="last")
    takers = [await enter(server, f"taker{number}") for number in range(5)]
    taken: Counter[str] = Counter()

    async def take(peer: Peer) -> None:
        for _ in range(10):
            ((_device, package, _last),) = await claim(peer, "alice")
            taken[package] += 1

    async with trio.open_nursery() as nursery:
        for peer in takers:
            nursery.start_soon(take, peer)
    assert taken == {**dict.fromkeys(packages, 1), "last": 10}


async def test_so_many_of_a_device_and_so_many_devices_are_kept(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(key_packages=3, key_package_devices=2)
    bob = await enter(server, "bob")
    one = await enter(server, "alice", device="one")
    assert await publish(one, "a", "b") == 2
    assert await publish(one, "c", "d", last="z") == 3
    assert await claim(bob, "alice") == [(one.device, "b", False)]
    two, three = [await enter(server, "alice", device=device) for device in ("two", "three")]
    await publish(two, "2")
    await publish(one, "e")
    await publish(three, "3")
    left = {device for device, _, _ in await claim(bob, "alice")}
    assert left == {one.device, three.device}
    reply = await one.ask("kp.publish", packages=["x" * 20_000])
    assert reply["code"] == "text-too-long"


async def test_key_packages_are_given_out_for_a_time(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await run_server(key_package_life=1000.0)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    assert await publish(alice, "old", last="oldest") == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1500)
    assert await publish(alice) == 0
    assert await claim(bob, "alice") == []
    assert await publish(alice, "new") == 1
    await server.store.expire_packages(now + 500)
    assert await claim(bob, "alice") == [(alice.device, "new", False)]
    monkeypatch.undo()
    assert await claim(bob, "alice") == []  # the old ones have been deleted


async def test_a_person_claims_so_often_an_hour(run_server: Serve, enter: Connect) -> None:
    server = await run_server(claims_per_hour=3)
    alice, bob = await enter(server, "alice"), await enter(server, "bob", device="one")
    other = await enter(server, "bob", device="two")
    for peer in (bob, other, bob):
        await claim(peer, "alice")
    for peer in (bob, other):
        reply = await peer.ask("kp.claim", user="alice")
        assert reply["code"] == "too-many"
        assert 3590 < reply["retry_after"] <= 3600
    await claim(alice, "bob")


def test_claims_are_counted_over_an_hour_and_then_forgotten() -> None:
    claims = Claims(Limits(claims_per_hour=2))
    alice, bob = key("alice"), key("bob")
    claims.take(alice, 0.0)
    claims.take(alice, 10.0)
    claims.take(bob, 20.0)
    with pytest.raises(TooMany) as caught:
        claims.take(alice, HOUR - 5)
    assert caught.value.retry_after == 5.0
    claims.take(alice, HOUR)
    with pytest.raises(TooMany):
        claims.take(alice, HOUR + 1)
    claims.forget(HOUR + 20)
    assert list(claims._times) == [alice]
    claims.forget(3 * HOUR)
    assert not claims._times


# --- the revocation list -----------------------------------------------------------------


async def test_the_list_is_given_to_who_asks_and_its_changes_are_told(
    own_people: People, run_server: Serve, enter: Connect
) -> None:
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    path = own_people.folder / "ca.crl"
    assert (await alice.ask("crl.get"))["crl"] == path.read_text()
    own_people.certificate("mallory")
    own_people.revoke("mallory")
    await alice.until("crl-changed")
    assert (await alice.ask("crl.get"))["crl"] == path.read_text()
    good = path.read_bytes()
    path.write_bytes(b"garbage")  # it cannot be used, so the one before is in force
    while server.revocations.problem(time.time()) is None:
        await trio.sleep(0.01)
    assert (await alice.ask("crl.get"))["crl"] == good.decode()
    path.write_bytes(good)
    while server.revocations.problem(time.time()) is not None:
        await trio.sleep(0.01)
    await alice.quiet()  # nothing has changed
    other = await enter(server, "bob", of=own_people)
    own_people.certificate("eve")
    own_people.revoke("eve")
    for peer in (alice, other):
        await peer.until("crl-changed")


async def test_without_a_list_there_is_none(
    own_people: People, run_server: Serve, enter: Connect
) -> None:
    (own_people.folder / "ca.crl").unlink()
    server = await run_server(ca=own_people.ca)
    alice = await enter(server, "alice", of=own_people)
    assert "crl" not in await alice.ask("crl.get")
