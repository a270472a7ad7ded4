"""`trio_chat.server.connection`: hello, malformed lines, input limits, takeover, two devices."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from tests.conftest import Serve
from tests.peer import Connect
from tests.people import People
from trio_chat.pki import client_leaf
from trio_chat.server import Server
from trio_chat.tls import client_context


async def test_welcome_says_who_the_certificate_says(server: Server, dial: Connect) -> None:
    peer = await dial(server, "alice")
    welcome = await peer.hello(user="god", roles=["admin"], name="bob")
    assert welcome["user"] == "alice"
    assert welcome["roles"] == []
    assert welcome["protocol"] == 1
    assert len(welcome["device"]) == 32
    assert welcome["input"] == {"burst": 100_000, "rate": 1e6}


@pytest.mark.parametrize("kind", ["join", "send", "list", "ping", "pong", "chat", "relay"])
async def test_nothing_comes_before_hello(server: Server, dial: Connect, kind: str) -> None:
    known: dict[str, dict[str, object]] = {
        "join": {"room": "lobby", "id": "7"},
        "send": {"room": "lobby", "n": 1, "text": "x"},
        "chat": {"text": "x"},
        "relay": {"to": "bob", "alg": "a", "nonce": "n", "cipher": "c"},
    }
    fields = known.get(kind, {})
    peer = await dial(server, "alice")
    await peer.say(kind, **fields)
    reply = await peer.expect("error", code="hello-first")
    assert reply.get("id") == fields.get("id")
    await peer.hello()


async def test_a_second_hello_is_refused_and_changes_nothing(
    server: Server, enter: Connect
) -> None:
    peer = await enter(server, "alice")
    await peer.say("hello", protocol=1, client="again", device="other")
    await peer.expect("error", code="hello-first")
    await peer.post("lobby", "still me")
    message = await peer.expect("message", from_="alice", text="still me")
    assert message["device"] == peer.device


async def test_another_protocol_ends_the_connection_in_words(server: Server, dial: Connect) -> None:
    peer = await dial(server, "alice")
    await peer.say("hello", protocol=2, client="of the future")
    (frame,) = await peer.rest()
    assert (frame["type"], frame["code"]) == ("error", "protocol")
    assert "1" in frame["text"]


@pytest.mark.parametrize("device", ["", "a b", "ä", "../x", "a.b", "a\n", "x" * 33])
async def test_a_device_id_is_letters_and_digits(
    server: Server, dial: Connect, device: str
) -> None:
    peer = await dial(server, "alice")
    await peer.say("hello", protocol=1, client="test", device=device)
    frame = await peer.read()
    assert (frame["type"], frame["code"]) == ("error", "bad-name")


async def test_an_unknown_type_is_told_and_the_connection_lives_on(
    server: Server, enter: Connect
) -> None:
    peer = await enter(server, "alice")
    for number in range(20):
        reply = await peer.ask("from-the-future", whatever=[1, {"x": None}])
        assert (reply["type"], reply["code"]) == ("error", "unknown-type")
        assert reply["id"] == str(number + 2)
    await peer.quiet()


async def test_unknown_fields_are_ignored(server: Server, enter: Connect) -> None:
    peer = await enter(server, "alice")
    await peer.post("lobby", "hi", colour="red", reply_to=[1])
    message = await peer.expect("message", text="hi")
    assert "colour" not in message


async def test_how_many_malformed_lines_is_configured(run_server: Serve, enter: Connect) -> None:
    server = await run_server(bad_frames=2)
    peer = await enter(server, "alice")
    await peer.write(b"what?\n" * 3)
    assert [frame["type"] for frame in await peer.rest()] == ["error", "error", "closing"]


async def test_five_malformed_lines_in_a_minute_end_the_connection(
    server: Server, enter: Connect
) -> None:
    peer = await enter(server, "alice")
    for _ in range(4):
        await peer.write(b"what?\n")
        await peer.expect("error", code="bad-frame")
    await peer.quiet()
    await peer.write(b"what?\n")
    await peer.expect("error", code="bad-frame")
    await peer.expect("closing", reason="bad-frames")
    assert await peer.rest() == []


async def test_before_hello_unknown_types_count_as_malformed(server: Server, dial: Connect) -> None:
    peer = await dial(server, "alice")
    await peer.write(b'{"type":"from-the-future"}\n' * 1000)
    frames = await peer.rest()
    assert [frame["type"] for frame in frames] == ["error"] * 5 + ["closing"]


async def test_nothing_counts_that_was_said_after_the_fifth(server: Server, enter: Connect) -> None:
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    line = json.dumps({"type": "send", "room": "lobby", "n": 1, "text": "hi"}).encode()
    await bob.write(b"\n" * 1000 + line + b"\n")
    frames = await bob.rest()
    assert [frame["type"] for frame in frames] == ["error"] * 5 + ["closing"]
    await alice.expect("left", count=1)
    await alice.quiet()


async def test_a_malformed_line_costs_its_writer_only_an_error(
    server: Server, enter: Connect
) -> None:
    peer = await enter(server, "alice")
    await peer.write(b'{"type":"join","room":7,"id":"a"}\n')
    reply = await peer.expect("error", code="bad-frame", id="a")
    assert "room" in reply["text"]
    await peer.quiet()


async def test_a_line_over_the_limit_ends_the_connection_in_words(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(frame_size=1000)
    peer = await enter(server, "alice")
    await peer.write(b'{"type":"ping","x":"%s"}\n' % (b"x" * 900))
    await peer.expect("pong")
    await peer.write(b'{"type":"ping","x":"%s"' % (b"x" * 1000))  # and no end of line
    (frame,) = await peer.rest()
    assert (frame["type"], frame["code"]) == ("error", "too-long")


async def test_before_hello_a_line_may_be_shorter(run_server: Serve, dial: Connect) -> None:
    server = await run_server(hello_size=200)
    peer = await dial(server, "alice")
    await peer.write(b'{"type":"hello","protocol":1,"client":"%s"' % (b"x" * 300))
    (frame,) = await peer.rest()
    assert (frame["type"], frame["code"]) == ("error", "too-long")


async def test_too_much_input_is_delayed_and_never_lost_or_refused(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(input_burst=5, input_rate=200)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    started = trio.current_time()
    for number in range(45):
        await alice.post("lobby", str(number))
    for number in range(45):
        await bob.expect("message", text=str(number))
    # One token went into `join`: 41 have to wait their 1/200 s.
    assert trio.current_time() - started >= 40 / 200
    await alice.until("message", text="44")
    await alice.quiet()


async def test_unknown_types_count_as_input(run_server: Serve, enter: Connect) -> None:
    server = await run_server(input_burst=5, input_rate=100)
    peer = await enter(server, "alice")
    started = trio.current_time()
    for _ in range(24):
        await peer.ask("from-the-future")
    assert trio.current_time() - started >= 19 / 100


async def test_pongs_that_nobody_asked_for_count_as_input(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(input_burst=5, input_rate=100)
    peer = await enter(server, "alice")
    started = trio.current_time()
    await peer.write(b'{"type":"pong"}\n' * 24)
    await peer.quiet()
    assert trio.current_time() - started >= 19 / 100


async def test_bots_may_say_more_at_once(
    own_people: People, run_server: Serve, dial: Connect
) -> None:
    own_people.certificate("robot", bot=True)
    server = await run_server(ca=own_people.ca, input_burst=2, input_rate=1.0)
    bot = await dial(server, "robot", of=own_people)
    welcome = await bot.hello()
    assert welcome["roles"] == ["bot"]
    assert welcome["input"] == {"burst": 100, "rate": 50.0}
    started = trio.current_time()
    for _ in range(90):
        await bot.say("ping")
    for _ in range(90):
        await bot.expect("pong")
    assert trio.current_time() - started < 5  # a person would have had to wait 88 s


async def test_bots_have_a_limit_too(own_people: People, run_server: Serve, dial: Connect) -> None:
    own_people.certificate("robot", bot=True)
    server = await run_server(ca=own_people.ca, bot_input_burst=5, bot_input_rate=100)
    bot = await dial(server, "robot", of=own_people)
    await bot.hello()
    started = trio.current_time()
    for _ in range(25):
        await bot.say("ping")
    for _ in range(25):
        await bot.expect("pong")
    assert trio.current_time() - started >= 19 / 100


async def test_the_admin_role_is_in_the_certificate(
    own_people: People, run_server: Serve, dial: Connect
) -> None:
    own_people.certificate("root", admin=True)
    server = await run_server(ca=own_people.ca)
    peer = await dial(server, "root", of=own_people)
    assert (await peer.hello())["roles"] == ["admin"]
    joined = await peer.join("lobby")
    assert joined["members"][0]["roles"] == ["admin"]


async def test_a_newer_connection_of_a_device_takes_over(server: Server, enter: Connect) -> None:
    older = await enter(server, "alice", device="laptop")
    for number in range(50):
        await older.post("lobby", str(number))
    newer = await enter(server, "alice", device="laptop", after=0)
    assert newer.device == older.device
    frames = await older.rest()
    assert frames[-1] == {"type": "closing", "reason": "taken-over"}
    accepted = newer.said["lobby"]  # as `joined` had it
    for number in range(accepted):
        await newer.expect("message", n=number + 1, text=str(number))
    await newer.quiet()
    await newer.post("lobby", "on")
    await newer.expect("message", n=accepted + 1, text="on")


async def test_what_was_accepted_is_in_the_log_before_joined_says_n(
    server: Server, enter: Connect, dial: Connect
) -> None:
    older = await enter(server, "alice")
    lines = [
        json.dumps({"type": "send", "room": "lobby", "n": n, "text": "x" * 500}).encode()
        for n in range(1, 301)
    ]
    newer = await dial(server, "alice")
    await older.write(b"\n".join(lines) + b"\n")
    await newer.hello()
    joined = await newer.join("lobby")
    echoes = [f["n"] for f in await older.rest() if f["type"] == "message"]
    assert echoes == list(range(1, len(echoes) + 1))
    assert joined["n"] == joined["seq"] >= len(echoes)


async def test_two_devices_of_a_person_are_two_members(server: Server, enter: Connect) -> None:
    phone = await enter(server, "alice", device="phone")
    laptop = await enter(server, "alice", device="laptop")
    await phone.expect("entered", count=2)
    assert phone.device != laptop.device
    assert phone.device.partition(".")[0] == laptop.device.partition(".")[0]
    await phone.post("lobby", "one")
    await laptop.post("lobby", "two")
    for peer in (phone, laptop):
        found = [await peer.expect("message", from_="alice", n=1) for _ in range(2)]
        assert {frame["text"] for frame in found} == {"one", "two"}
        assert len({frame["device"] for frame in found}) == 2


async def test_one_key_is_one_device_whatever_its_certificates_say(
    own_people: People, run_server: Serve, enter: Connect
) -> None:
    first = own_people.certificate("alice")
    key = first.certificate.public_key()
    crt = own_people.folder / "renamed.crt"
    own_people.authority.sign_to(key, client_leaf("alicia"), crt)  # type: ignore[arg-type]
    assert first.key is not None
    own_people._contexts["alicia"] = client_context(crt, first.key, ca=own_people.ca)
    server = await run_server(ca=own_people.ca)
    older = await enter(server, "alice", of=own_people)
    newer = await enter(server, "alicia", of=own_people)
    assert (await older.rest())[-1] == {"type": "closing", "reason": "taken-over"}
    bob = await enter(server, "bob", of=own_people)
    newer.drop()
    await bob.expect("left", count=1)
    await bob.quiet()


async def test_a_peer_that_says_nothing_after_the_handshake_is_sent_away(
    run_server: Serve, dial: Connect
) -> None:
    server = await run_server(hello_timeout=0.05)
    peer = await dial(server, "alice")
    assert await peer.rest() == []


async def test_a_handshake_that_stalls_is_ended(run_server: Serve) -> None:
    server = await run_server(handshake_timeout=0.05)
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        with trio.fail_after(5):
            while await stream.receive_some():
                pass
    assert server.statistics().unauthenticated == 0


async def test_only_who_shows_no_valid_certificate_counts_as_failed(
    server: Server, dial: Connect
) -> None:
    failures = server.admission.failures
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        while await stream.receive_some():
            pass
    assert failures("127.0.0.1", trio.current_time()) == 1
    peer = await dial(server, "alice")
    await peer.write(b"x" * 10_000)
    await peer.rest()
    assert failures("127.0.0.1", trio.current_time()) == 1


async def test_handshakes_wait_for_a_place_and_all_get_one(
    run_server: Serve, dial: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await run_server(handshakes_at_once=1)
    server.admission.talked = trio.current_time()
    places = server.admission.slots
    waiting = 0
    acquire = trio.Semaphore.acquire

    async def counted(self: trio.Semaphore) -> None:
        nonlocal waiting
        waiting = max(waiting, places.statistics().tasks_waiting + (places.value == 0))
        await acquire(self)

    monkeypatch.setattr(trio.Semaphore, "acquire", counted)
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(dial, server, f"user{number}")
    await trio.testing.wait_all_tasks_blocked()
    assert waiting >= 1
    assert server.statistics().unauthenticated == 8
    assert places.value == 1


async def test_who_makes_room_is_gone_at_once(run_server: Serve) -> None:
    server = await run_server(unauthenticated=1)
    async with (
        await trio.open_tcp_stream("127.0.0.1", server.port) as first,
        await trio.open_tcp_stream("127.0.0.1", server.port),
    ):
        with trio.fail_after(5):
            assert await first.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked(0.01)
        names = [task.name for task in server.nursery.child_tasks]
        assert len([name for name in names if name.startswith("connection")]) == 1


async def test_who_is_silent_is_asked_and_then_given_up(
    run_server: Serve, enter: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.server.pulse.TICK", 0.01)
    server = await run_server(heartbeat_interval=0.05, heartbeat_timeout=0.3)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.until("entered", count=2)
    for _ in range(3):  # who answers stays
        await alice.expect("ping")
        await alice.say("pong")
    await alice.until("left", count=1)
    frames = await bob.rest()
    assert frames == [{"type": "ping"}, {"type": "closing", "reason": "silent"}]


async def test_ten_connections_of_a_person_are_enough(run_server: Serve, dial: Connect) -> None:
    server = await run_server(connections_per_identity=3)
    for number in range(3):
        peer = await dial(server, "alice")
        await peer.hello(f"d{number}")
    fourth = await dial(server, "alice")
    await fourth.say("hello", protocol=1, client="test", device="d3")
    (frame,) = await fourth.rest()
    assert (frame["type"], frame["code"]) == ("error", "too-many")
    again = await dial(server, "alice")  # but a device may always come back
    await again.hello("d1")
    bob = await dial(server, "bob")
    await bob.hello()


async def test_an_address_has_a_limit_too(run_server: Serve, dial: Connect) -> None:
    server = await run_server(connections_per_address=2)
    alice, bob = await dial(server, "alice"), await dial(server, "bob")
    await alice.hello()
    await bob.hello()
    carol = await dial(server, "carol")
    await carol.say("hello", protocol=1, client="test")
    (frame,) = await carol.rest()
    assert (frame["type"], frame["code"]) == ("error", "too-many")
    await bob.close()
    while server.statistics().connections > 1:
        await trio.sleep(0.001)
    carol = await dial(server, "carol")
    await carol.hello()


async def test_input_cut_anywhere_is_read_the_same(server: Server, enter: Connect) -> None:
    peer = await enter(server, "alice")
    line = '{"type":"send","room":"lobby","n":1,"text":"ñandú 😀 día"}\r\n'.encode()
    for position in range(len(line)):
        await peer.write(line[position : position + 1])
    await peer.expect("message", text="ñandú 😀 día")


# --- what comes together -----------------------------------------------------------------


def send(room: str, n: int, text: str) -> bytes:
    return json.dumps({"type": "send", "room": room, "n": n, "text": text}).encode() + b"\n"


async def test_what_comes_together_is_said_in_its_order(
    run_server: Serve, enter: Connect, dial: Connect
) -> None:
    server = await run_server()
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await bob.say("create", room="side", mode="plain", id="c")
    await bob.until("ok", id="c")
    for peer in (alice, bob):
        await peer.say("join", room="side")
        await peer.until("joined", room="side")
    await alice.say("ping")
    await alice.until("pong")
    await bob.write(
        send("lobby", 1, "a")
        + send("lobby", 2, "b")
        + send("side", 1, "c")
        + send("lobby", 3, "d")
        + b'{"type":"leave","room":"lobby","id":"l"}\n'
        + send("lobby", 4, "not here")
        + send("side", 2, "e")
    )
    error = await bob.until("error")
    assert (error["code"], error["n"]) == ("not-member", 4)
    heard: dict[str, list[str]] = {"lobby": [], "side": []}
    while len(heard["side"]) < 2 or len(heard["lobby"]) < 3:
        frame = await alice.until("message")
        heard[frame["room"]].append(frame["text"])
    assert heard == {"lobby": ["a", "b", "d"], "side": ["c", "e"]}


async def test_what_was_said_before_the_end_of_a_connection_counts(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(bad_frames=1)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    await bob.write(send("lobby", 1, "last words") + b"what?\n" + send("lobby", 2, "after it"))
    assert [frame["type"] for frame in await bob.rest()][-1] == "closing"
    await alice.until("message", text="last words")
    await alice.expect("left", count=1)
    await alice.quiet()


async def test_sends_that_are_held_back_do_not_hold_back_those_before(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(input_burst=3, input_rate=0.001)
    alice, bob = await enter(server, "alice"), await enter(server, "bob")
    await alice.expect("entered", count=2)
    await bob.write(b"".join(send("lobby", n, str(n)) for n in range(1, 5)))
    for text in ("1", "2"):  # the join was the first of the three
        await alice.until("message", text=text)
    await alice.quiet()
