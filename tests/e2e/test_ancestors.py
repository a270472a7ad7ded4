"""What the five programs before this one got wrong. Each is wrong here never again."""

from __future__ import annotations

import shutil

import trio

from tests.conftest import Serve
from tests.peer import Connect
from tests.people import People
from trio_chat.server import Server
from trio_chat.tls import client_context


async def test_the_name_is_the_certificates_and_not_its_files(
    server: Server, people: People, enter: Connect
) -> None:
    alice = people.certificate("alice")
    assert alice.key is not None
    crt, key = people.folder / "boss.crt", people.folder / "boss.key"
    shutil.copy(alice.crt, crt)
    shutil.copy(alice.key, key)
    people._contexts["boss"] = client_context(crt, key, ca=people.ca)
    people._issued["boss"] = alice
    peer = await enter(server, "boss")
    await peer.post("lobby", "who am I")
    await peer.expect("message", from_="alice")


async def test_one_plain_text_connection_does_not_end_the_server(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice")
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"hello\n")
        while await stream.receive_some():
            pass
    await alice.quiet()
    await enter(server, "bob")


async def test_a_stalled_handshake_blocks_nobody(run_server: Serve, enter: Connect) -> None:
    server = await run_server(handshakes_at_once=1)
    stalled = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(5)]
    for stream in stalled:
        await stream.send_all(bytes.fromhex("16030100c8"))
    with trio.fail_after(2):
        alice = await enter(server, "alice")
        await alice.quiet()
    for stream in stalled:
        await stream.aclose()


async def test_a_user_named_like_the_room_or_a_notice_changes_nothing_for_others(
    server: Server, enter: Connect
) -> None:
    bob = await enter(server, "bob")
    sala = await enter(server, "SALA")
    await bob.expect("entered", count=2)
    await sala.post("lobby", "SALA:Hacked")
    message = await bob.expect("message", from_="SALA", text="SALA:Hacked")
    assert message["room"] == "lobby"
    assert (await bob.join("lobby"))["topic"] == ""


async def test_utf_8_may_be_split_anywhere(server: Server, enter: Connect) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    line = '{"type":"send","room":"lobby","n":1,"text":"señal €𐍈"}\n'.encode()
    for byte in line:
        await alice.write(bytes([byte]))
    await bob.expect("message", text="señal €𐍈")


async def test_a_second_hello_takes_over_nobodys_name(server: Server, enter: Connect) -> None:
    alice, mallory = await enter(server, "alice"), await enter(server, "mallory")
    await alice.expect("entered", count=2)
    for claim in ({"user": "alice"}, {"device": alice.device}, {"name": "alice", "pub": "x"}):
        await mallory.say("hello", protocol=1, client="x", **claim)
        await mallory.expect("error", code="hello-first")
    await mallory.post("lobby", "x")
    await alice.expect("message", from_="mallory", device=mallory.device)


async def test_nobody_can_write_or_relay_under_another_name(server: Server, enter: Connect) -> None:
    bob, mallory = await enter(server, "bob"), await enter(server, "mallory")
    await bob.expect("entered", count=2)
    forged = {"from": "alice", "sender": "alice", "device": bob.device}
    await mallory.post("lobby", "I am alice", **forged)
    await bob.expect("message", from_="mallory", device=mallory.device)
    await mallory.say("relay", to="bob", alg="a", nonce="n", cipher="c", **forged)
    await bob.expect("relay", from_="mallory")


async def test_a_message_of_more_than_1024_bytes_disconnects_nobody(
    server: Server, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    for size in (1023, 1024, 1025, 5000, 65_536):
        await alice.post("lobby", "x" * size)
        await alice.expect("message", text="x" * size)
        await bob.expect("message", text="x" * size)


async def test_when_a_peer_dies_the_others_are_told_and_stay(
    server: Server, enter: Connect
) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    dying = await enter(server, "dying")
    await alice.until("entered", count=3)
    await bob.expect("entered", count=3)
    dying.reset()
    left = await alice.expect("left", count=2)
    assert left["members"][0]["user"] == "dying"
    await alice.post("lobby", "who speaks next stays")
    await alice.expect("message")
    await bob.until("message", text="who speaks next stays")


async def test_two_with_one_name_are_told_apart_by_their_devices(
    server: Server, enter: Connect
) -> None:
    one, two = await enter(server, "alice", device="a"), await enter(server, "alice", device="b")
    await one.expect("entered", count=2)
    await one.post("lobby", "x")
    assert (await two.expect("message"))["device"] == one.device != two.device


async def test_who_joins_late_reads_what_was_said(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "early")
    await alice.expect("message")
    late = await enter(server, "late", after=0)
    await late.expect("message", from_="alice", text="early")
