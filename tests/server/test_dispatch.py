"""`trio_chat.server.dispatch`: each command, by its name, over a real connection."""

from __future__ import annotations

import json
import unicodedata
from typing import Any, get_args

import pytest

from tests.conftest import Serve, plain_direct
from tests.peer import Connect, Frame, Peer
from tests.people import People
from trio_chat.protocol.frames import Command
from trio_chat.server import Server
from trio_chat.server.dispatch import HANDLERS


def refusal(frame: Frame) -> str:
    """The code of an error; it must say what to do."""
    assert frame["type"] == "error", frame
    assert frame["text"]
    code: str = frame["code"]
    return code


async def pair(server: Server, enter: Connect, room: str = "lobby") -> tuple[Peer, Peer]:
    alice, bob = await enter(server, "alice", room), await enter(server, "bob", room)
    await alice.expect("entered", count=2)
    return alice, bob


def test_every_command_has_a_handler() -> None:
    assert set(get_args(Command)) == set(HANDLERS)


# --- talking ---------------------------------------------------------------------------


async def test_two_people_talk_and_a_third_reads_it_later(server: Server, enter: Connect) -> None:
    alice, bob = await pair(server, enter)
    await alice.post("lobby", "hi bob")
    await bob.expect("message", seq=1, from_="alice", n=1, text="hi bob")
    await bob.post("lobby", "hi alice", form="action")
    for peer in (alice, bob):
        await peer.until("message", seq=2, from_="bob", n=1, text="hi alice", form="action")
    carol = await enter(server, "carol", after=0)
    await carol.expect("message", seq=1, text="hi bob")
    await carol.expect("message", seq=2, text="hi alice")
    await carol.quiet()


async def test_the_sender_is_the_certificates_whatever_the_frame_says(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    await alice.post(
        "lobby", "x", **{"from": "bob", "sender": "bob", "user": "bob", "device": bob.device}
    )
    message = await bob.expect("message", text="x")
    assert message["from"] == "alice"
    assert message["device"] == alice.device


async def test_sending_wants_the_room_joined(server: Server, dial: Connect) -> None:
    alice = await dial(server, "alice")
    await alice.hello()
    await alice.say("send", room="lobby", n=1, text="x")
    assert refusal(await alice.expect("error", room="lobby", n=1)) == "not-member"


async def test_a_repeated_counter_is_a_duplicate_and_not_delivered(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    await alice.post("lobby", "once")
    await alice.expect("message", seq=1)
    await alice.say("send", room="lobby", n=1, text="twice")
    await alice.expect("error", code="duplicate", room="lobby", n=1, last=1)
    await bob.expect("message", seq=1, text="once")
    await bob.quiet()


async def test_a_skipped_counter_is_out_of_order_and_does_not_advance(
    server: Server, enter: Connect
) -> None:
    alice = await enter(server, "alice")
    await alice.say("send", room="lobby", n=3, text="x")
    await alice.expect("error", code="out-of-order", room="lobby", n=3, expected=1)
    await alice.say("send", room="lobby", n=1, text="y")
    await alice.expect("message", seq=1, n=1, text="y")


async def test_counters_are_per_device_and_room(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice", "lobby", device="a")
    assert (await alice.ask("create", room="ops", mode="plain"))["type"] == "ok"
    await alice.enter("ops")
    other = await enter(server, "alice", device="b")
    await alice.until("entered", count=2)
    for peer, room in ((alice, "lobby"), (alice, "ops"), (other, "lobby")):
        await peer.post(room, "x")
        await peer.until("message", room=room, n=1, device=peer.device)


async def test_a_text_over_the_limit_is_refused_and_uses_no_counter(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server(text_size=1000)
    alice = await enter(server, "alice")
    await alice.say("send", room="lobby", n=1, text="ñ" * 501)
    assert refusal(await alice.expect("error", room="lobby", n=1)) == "text-too-long"
    await alice.say("send", room="lobby", n=1, text="ñ" * 500)
    await alice.expect("message", n=1, text="ñ" * 500)


async def test_a_paste_of_64_kib_is_one_message(server: Server, enter: Connect) -> None:
    alice, bob = await pair(server, enter)
    text = "línea ñ 😀\n" * (65_536 // len("línea ñ 😀\n".encode()))
    await alice.post("lobby", text)
    await bob.expect("message", text=text)


@pytest.mark.parametrize(
    "text", ["", "\0", "\x1b]0;owned\x07", "\u202e", "a\nb", "𐍈", "e\u0301", '"\\', "</script>"]
)
async def test_texts_arrive_as_they_were_sent(server: Server, enter: Connect, text: str) -> None:
    alice, bob = await pair(server, enter)
    await alice.post("lobby", text)
    await bob.expect("message", text=text)
    page = await bob.ask("history", room="lobby")
    assert page["entries"][0]["text"] == text


async def test_the_server_can_be_talked_to_and_echoes(server: Server, enter: Connect) -> None:
    alice, bob = await pair(server, enter)
    await alice.say("chat", text="hello there")
    await alice.expect("server", text="echo: hello there")
    await bob.quiet()


async def test_a_relay_is_forwarded_verbatim_with_the_senders_name(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    opaque = {"alg": "X25519-HKDF-SHA256-AESGCM", "nonce": "bm9uY2U=", "cipher": "Y2lwaGVy=="}
    await alice.say("relay", to="Bob", **opaque, **{"from": "mallory"})
    await bob.expect("relay", from_="alice", to="Bob", **opaque)
    await alice.quiet()


async def test_a_relay_to_nobody_is_refused(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    await alice.say("relay", to="nobody", alg="a", nonce="n", cipher="c")
    assert refusal(await alice.read()) == "no-user"


# --- rooms -----------------------------------------------------------------------------


async def test_joining_a_room_that_is_not_there_is_refused(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    for name in ("nowhere", "@", "@a+b"):
        assert refusal(await alice.ask("join", room=name)) == "no-room"
    for name in ("", "\0", "x" * 10_000, "../lobby"):
        assert refusal(await alice.ask("join", room=name)) == "bad-name"


async def test_names_of_rooms_and_people_are_case_folded(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    assert (await alice.ask("create", room="Straße", mode="plain"))["type"] == "ok"
    assert refusal(await alice.ask("create", room="STRASSE")) == "room-exists"
    joined = await alice.join(unicodedata.normalize("NFD", "straße"))
    assert joined["room"] == "Straße"
    await alice.expect("entered", room="Straße")
    await alice.say("send", room="STRASSE", n=1, text="x")
    await alice.expect("message", room="Straße", n=1)
    assert (await alice.ask("whois", user="ALICE"))["user"] == "alice"
    assert (await alice.ask("leave", room="strasse"))["type"] == "ok"


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a b", "a/b", "@a+b", "x" * 33, "pаypal", "a\u200b"]
)
async def test_a_room_cannot_be_made_with_a_name_that_breaks_the_rule(
    server: Server, enter: Connect, name: str
) -> None:
    alice = await enter(server, "alice")
    reply = await alice.ask("create", room=name)
    assert refusal(reply) == "bad-name"
    assert "1 to 32" in reply["text"]


async def test_who_has_left_gets_nothing_more(server: Server, enter: Connect) -> None:
    alice, bob = await pair(server, enter)
    assert (await bob.ask("leave", room="lobby"))["type"] == "ok"
    left = await alice.expect("left", count=1)
    assert left["members"] == [{"user": "bob", "device": bob.device}]
    await alice.post("lobby", "x")
    await alice.expect("message", text="x")
    await bob.quiet()
    assert refusal(await bob.ask("leave", room="lobby")) == "not-member"


async def test_joining_again_sets_the_cursor_and_disturbs_nobody(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    for number in range(3):
        await alice.post("lobby", str(number))
        await bob.expect("message", text=str(number))
    await bob.join("lobby", after=1)
    await bob.expect("message", seq=2)
    await bob.expect("message", seq=3)
    await bob.quiet()
    await alice.until("message", seq=3)
    await alice.quiet()


async def test_resuming_goes_on_right_after_the_last_one_seen(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    for number in range(1, 4):
        await alice.post("lobby", str(number))
        await bob.expect("message", seq=number)
    bob.drop()
    await alice.until("left", count=1)
    for number in range(4, 8):
        await alice.post("lobby", str(number))
    bob = await enter(server, "bob", after=3)
    await alice.post("lobby", "8")
    for number in range(4, 9):
        await bob.expect("message", seq=number, text=str(number))
    await bob.quiet()


async def test_a_cursor_beyond_the_log_means_live_only(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "1")
    await alice.expect("message", seq=1)
    joined = await alice.join("lobby", after=99)
    assert joined["seq"] == 1
    await alice.quiet()
    await alice.post("lobby", "2")
    await alice.expect("message", seq=2)


async def test_a_connection_joins_only_so_many_rooms(run_server: Serve, enter: Connect) -> None:
    server = await run_server("a", "b", "c", rooms_per_connection=2)
    alice = await enter(server, "alice", "a", "b")
    assert refusal(await alice.ask("join", room="c")) == "too-many"
    await alice.join("a")  # which it is in
    await alice.ask("leave", room="a")
    await alice.join("c")


async def test_a_topic_is_a_log_entry_and_outlives_the_server(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server()
    alice, bob = await pair(server, enter)
    reply = await alice.ask("topic", room="lobby", text="Cats")
    assert (reply["type"], reply["seq"]) == ("ok", 1)
    await bob.expect("topic", seq=1, text="Cats", from_="alice", device=alice.device)
    server.drain()
    await bob.until("closing")
    for peer in (alice, bob):
        peer.drop()
    server = await run_server()
    carol = await enter(server, "carol", after=0)
    await carol.expect("topic", seq=1, text="Cats")
    assert (await carol.join("lobby"))["topic"] == "Cats"
    assert refusal(await carol.ask("topic", room="lobby", text="x" * 401)) == "text-too-long"
    assert refusal(await carol.ask("topic", room="other", text="x")) == "not-member"


# --- history ---------------------------------------------------------------------------


async def talk(peer: Peer, count: int, size: int = 1) -> None:
    for number in range(1, count + 1):
        await peer.post("lobby", f"{number:0{size}}")
    await peer.until("message", n=count)


async def test_history_pages_both_ways(run_server: Serve, enter: Connect) -> None:
    server = await run_server(page_entries=10)
    alice = await enter(server, "alice")
    await talk(alice, 35)

    async def page(**fields: Any) -> list[int]:
        found = await alice.ask("history", room="lobby", **fields)
        assert (found["type"], found["first"], found["seq"]) == ("page", 1, 35)
        return [entry["seq"] for entry in found["entries"]]

    assert await page() == list(range(26, 36))
    assert await page(limit=3) == [33, 34, 35]
    assert await page(before=26) == list(range(16, 26))
    assert await page(before=3, limit=1000) == [1, 2]
    assert await page(before=1) == []
    assert await page(after=0, limit=2) == [1, 2]
    assert await page(after=30) == [31, 32, 33, 34, 35]
    assert await page(after=35) == []
    assert await page(after=2**53 - 1) == []
    assert await page(before=0) == []


async def test_an_entry_of_a_page_is_what_was_sent_live(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    await alice.post("lobby", "x", form="notice")
    live = await alice.expect("message")
    assert (await alice.ask("history", room="lobby"))["entries"] == [live]


async def test_a_page_is_no_larger_than_a_frame(run_server: Serve, enter: Connect) -> None:
    server = await run_server(frame_size=10_000, text_size=8_000)
    alice = await enter(server, "alice")
    await talk(alice, 30, size=3000)
    seen: list[int] = []
    before = 31
    while before > 1:
        await alice.say("history", room="lobby", before=before, id="p")
        line = await alice.line()
        assert line is not None
        assert len(line) < 10_000
        page = [entry["seq"] for entry in json.loads(line)["entries"]]
        assert page
        seen = page + seen
        before = page[0]
    assert seen == list(range(1, 31))


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3"])
async def test_a_limit_is_a_whole_number_above_zero(
    server: Server, enter: Connect, limit: object
) -> None:
    alice = await enter(server, "alice")
    assert refusal(await alice.ask("history", room="lobby", limit=limit)) == "bad-frame"


async def test_history_is_for_members(server: Server, dial: Connect) -> None:
    alice = await dial(server, "alice")
    await alice.hello()
    assert refusal(await alice.ask("history", room="lobby")) == "not-member"


# --- who is here -----------------------------------------------------------------------


async def test_joined_lists_the_members_and_leaving_is_told(
    server: Server, enter: Connect, dial: Connect
) -> None:
    alice = await enter(server, "alice")
    bob = await dial(server, "bob")
    await bob.hello()
    joined = await bob.join("lobby")
    assert joined["count"] == 2
    assert [member["user"] for member in joined["members"]] == ["alice", "bob"]
    entered = await alice.expect("entered", count=2)
    assert entered["members"] == [{"user": "bob", "device": bob.device}]
    bob.reset()  # however it goes, the others are told
    left = await alice.expect("left", count=1)
    assert left["members"] == [{"user": "bob", "device": bob.device}]


async def test_users_are_paged(run_server: Serve, enter: Connect) -> None:
    server = await run_server(roster_size=2)
    devices = set()
    for number in range(5):
        peer = await enter(server, f"user{number}")
        devices.add(peer.device)
    for room in ("lobby", None):
        seen: list[str] = []
        after = None
        while True:
            fields = {"room": room, "after": after}
            found = await peer.ask("list", **{k: v for k, v in fields.items() if v is not None})
            assert (found["type"], found["count"]) == ("users", 5)
            seen += [member["device"] for member in found["users"]]
            after = found.get("next")
            if after is None:
                break
            assert len(found["users"]) == 2
        assert seen == sorted(devices)


async def test_rooms_are_paged_and_say_how_many_are_there(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server("ops", "lobby", "Zoo", "art", "bar", roster_size=2)
    alice = await enter(server, "alice", "ops")
    await enter(server, "bob", "ops")
    await alice.ask("topic", room="ops", text="Servers")
    found: list[Frame] = []
    after = None
    while True:
        page = await alice.ask("list-rooms", **({"after": after} if after else {}))
        found += page["rooms"]
        after = page.get("next")
        if after is None:
            break
    assert [room["room"] for room in found] == ["art", "bar", "lobby", "ops", "Zoo"]
    (ops,) = [room for room in found if room["room"] == "ops"]
    about = {"mode": "plain", "access": "open", "topic": "Servers", "count": 2, "seq": 1}
    assert ops == {"room": "ops", **about}


async def test_whois_tells_the_devices_that_are_here_and_their_keys(
    server: Server, enter: Connect, people: People
) -> None:
    alice = await enter(server, "alice", device="laptop")
    await enter(server, "bob")
    person = await alice.ask("whois", user="alice")
    assert person["user"] == "alice"
    assert [member["device"] for member in person["here"]] == [alice.device]
    (fingerprint,) = person["fingerprints"]
    assert len(fingerprint) == 64
    assert alice.device == fingerprint[:32] + ".laptop"


async def test_whois_knows_who_was_ever_here(run_server: Serve, enter: Connect) -> None:
    server = await run_server()
    alice, bob = await pair(server, enter)
    bob.drop()
    await alice.until("left")
    person = await alice.ask("whois", user="BOB")
    assert (person["user"], person["here"], person["fingerprints"]) == ("bob", [], [])
    assert refusal(await alice.ask("whois", user="nobody")) == "no-user"


async def test_away_and_nick_are_told_and_kept_in_the_roster(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    assert (await bob.ask("away", text="lunch"))["type"] == "ok"
    assert (await bob.ask("nick", nick="Bobby"))["type"] == "ok"
    await alice.expect("away", room="lobby", user="bob", device=bob.device, text="lunch")
    await alice.expect("nick", room="lobby", user="bob", device=bob.device, nick="Bobby")
    member = {"user": "bob", "device": bob.device, "nick": "Bobby", "away": "lunch"}
    assert member in (await alice.ask("list", room="lobby"))["users"]
    assert member in (await alice.ask("list"))["users"]
    assert (await bob.ask("away"))["type"] == "ok"
    assert (await bob.ask("nick"))["type"] == "ok"
    back = await alice.expect("away", user="bob")
    assert "text" not in back
    assert "nick" not in await alice.expect("nick", user="bob")
    assert refusal(await bob.ask("nick", nick="x" * 65)) == "text-too-long"


async def test_a_nick_is_decoration_and_several_may_share_one(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    for peer in (alice, bob):
        assert (await peer.ask("nick", nick="alice"))["type"] == "ok"
    await bob.post("lobby", "x")
    await alice.until("message", from_="bob", text="x")


async def test_typing_is_told_to_the_others_and_never_kept(server: Server, enter: Connect) -> None:
    alice, bob = await pair(server, enter)
    assert (await bob.ask("typing", room="lobby"))["type"] == "ok"
    await alice.expect("typing", room="lobby", user="bob", device=bob.device)
    await bob.quiet()
    carol = await enter(server, "carol", after=0)
    assert (await carol.join("lobby"))["seq"] == 0


# --- two-person rooms ------------------------------------------------------------------


async def test_two_people_have_a_room_that_nobody_else_can_enter_or_see(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    carol = await enter(server, "carol")
    await alice.until("entered", count=3)
    await bob.until("entered", count=3)
    joined = await alice.join("~alice+bob")
    room = joined["room"]
    about = (room, joined["mode"], joined["access"], joined["role"], joined["epoch"])
    assert about == ("~alice+bob", "encrypted", "closed", "owner", 0)
    await alice.begin(room)
    await bob.expect("direct", room=room, user="alice", seq=1)
    await bob.join(room, after=0)
    await bob.until("message", room=room, from_="alice", kind="create")
    assert refusal(await carol.ask("join", room=room)) == "no-room"
    assert refusal(await carol.ask("history", room=room)) == "not-member"
    assert refusal(await carol.ask("list", room=room)) == "not-member"
    listed = await carol.ask("list-rooms")
    assert [found["room"] for found in listed["rooms"]] == ["lobby"]
    listed = await bob.ask("list-rooms")
    assert [found["room"] for found in listed["rooms"]] == [room, "lobby"]
    assert listed["rooms"][0]["user"] == "alice"
    await carol.quiet()


async def test_a_direct_notice_comes_once_until_the_room_is_joined(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    await plain_direct(server, "alice", "bob")
    await alice.enter("@alice+bob")
    for number in range(3):
        await alice.post("@alice+bob", str(number))
        await alice.expect("message", text=str(number))
    await bob.expect("direct", seq=1)
    await bob.quiet()
    await bob.enter("@alice+bob")
    await bob.ask("leave", room="@alice+bob")
    await alice.post("@alice+bob", "again")
    await bob.until("direct", seq=4)


async def test_a_two_person_room_has_one_spelling(server: Server, enter: Connect) -> None:
    alice, _ = await pair(server, enter)
    assert (await alice.join("~ALICE+Bob"))["room"] == "~alice+bob"
    for name in ("~bob+alice", "~alice", "~alice+bob+carol", "~alice+", "~+alice", "~alice+ bob"):
        reply = refusal(await alice.ask("join", room=name))
        assert reply in ("no-room", "no-user"), name


async def test_plain_two_person_rooms_are_entered_where_they_are_and_never_made(
    server: Server, enter: Connect
) -> None:
    alice, bob = await pair(server, enter)
    assert refusal(await alice.ask("join", room="@alice+bob")) == "no-room"
    await plain_direct(server, "alice", "bob")
    joined = await alice.join("@ALICE+bob")
    assert (joined["mode"], joined["access"], joined["role"]) == ("plain", "closed", "member")
    await alice.post("@alice+bob", "psst")
    await bob.until("direct", room="@alice+bob", user="alice", seq=1)
    assert [room["room"] for room in (await bob.ask("list-rooms"))["rooms"]] == [
        "@alice+bob",
        "lobby",
    ]
    carol = await enter(server, "carol")
    assert refusal(await carol.ask("join", room="@alice+bob")) == "no-room"
    assert refusal(await alice.ask("invite", room="@alice+bob", user="carol")) == "forbidden"


async def test_nobody_can_be_written_to_who_was_never_here(server: Server, enter: Connect) -> None:
    alice = await enter(server, "alice")
    assert refusal(await alice.ask("join", room="~alice+zoe")) == "no-user"
    assert refusal(await alice.ask("create", room="~alice+zoe")) == "bad-name"


async def test_who_was_away_finds_the_room_at_the_next_visit(
    run_server: Serve, enter: Connect
) -> None:
    server = await run_server()
    alice, bob = await pair(server, enter)
    await bob.close()
    await alice.until("left")
    await plain_direct(server, "alice", "bob")
    await alice.enter("@alice+bob")
    await alice.post("@alice+bob", "for later")
    await alice.expect("message")
    server.drain()
    await alice.until("closing")
    alice.drop()
    server = await run_server()
    bob = await enter(server, "bob")
    (direct, _) = (await bob.ask("list-rooms"))["rooms"]
    assert (direct["room"], direct["user"], direct["seq"]) == ("@alice+bob", "alice", 1)
    await bob.join("@alice+bob", after=0)
    await bob.until("message", text="for later")
