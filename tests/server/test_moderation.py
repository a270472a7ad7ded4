"""Roles, kicks, bans and mutes: who may, what it does at once, and what stays of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.conftest import Serve, plain_direct
from tests.peer import Connect, Frame, Peer
from tests.people import People
from tests.test_docs import examples, sections
from trio_chat import names
from trio_chat.errors import StoreError
from trio_chat.protocol.frames import COMMANDS
from trio_chat.server import Server
from trio_chat.store import AuditRow, Store
from trio_chat.tls import client_context

ROOM = "plaza"


@attrs.define
class Plaza:
    """A plain room of Alice's, with Bob and Carol in it; Mona moderates, Ada is an admin."""

    server: Server
    alice: Peer
    bob: Peer
    carol: Peer
    mona: Peer
    ada: Peer

    async def audit(self) -> list[dict[str, Any]]:
        found: list[AuditRow] = await self.server.store.read_audit(0, 1000)
        return [row.fields() for row in found]

    async def log(self) -> list[Frame]:
        """The entries of moderation, as somebody reads them who was not there."""
        page = await self.ada.ask("history", room=ROOM, limit=200)
        return [entry for entry in page["entries"] if entry["type"] in ("kicked", "role", "mode")]


@pytest.fixture
def admins(people: People) -> None:
    people.certificate("ada", admin=True)


MakePlaza = Callable[..., Awaitable[Plaza]]


@pytest.fixture
def make_plaza(run_server: Serve, enter: Connect, admins: None) -> MakePlaza:
    async def make(mode: str = "plain", **limits: Any) -> Plaza:
        server = await run_server(**limits)
        alice = await enter(server, "alice")
        assert (await alice.ask("create", room=ROOM, mode=mode, access="open"))["type"] == "ok"
        await alice.enter(ROOM)
        others = [await enter(server, name, ROOM) for name in ("bob", "carol", "mona", "ada")]
        assert (await alice.ask("role", room=ROOM, user="mona", role="moderator"))["type"] == "ok"
        return Plaza(server, alice, *others)

    return make


@pytest.fixture
async def plaza(make_plaza: MakePlaza) -> Plaza:
    return await make_plaza()


def told(reply: Frame) -> str:
    """The code of a refusal; `ok` of what is none."""
    return str(reply.get("code", reply["type"]))


async def says(peer: Peer, room: str = ROOM, text: str = "hello", **fields: Any) -> str:
    """Say something; return `message`, or the code of the refusal."""
    n = await peer.post(room, text, **fields)
    while True:
        frame = await peer.read()
        if frame["type"] == "error" and frame.get("n") == n:
            peer.said[room] -= 1
            return str(frame["code"])
        if frame["type"] == "message" and (frame["device"], frame["n"]) == (peer.device, n):
            return "message"


# --- roles -------------------------------------------------------------------------------


async def test_its_maker_owns_a_room_and_gives_roles_that_all_see(plaza: Plaza) -> None:
    joined = [await peer.join(ROOM) for peer in (plaza.alice, plaza.mona, plaza.bob, plaza.ada)]
    assert [each["role"] for each in joined] == ["owner", "moderator", "member", "admin"]
    reply = await plaza.alice.ask("role", room=ROOM, user="BOB", role="owner")
    entry = await plaza.carol.until("role", seq=reply["seq"])
    assert (entry["from"], entry["user"], entry["role"]) == ("alice", "bob", "owner")
    assert entry["device"] == plaza.alice.device
    assert (await plaza.bob.join(ROOM))["role"] == "owner"
    (_, last) = await plaza.audit()
    about = (last["actor"], last["action"], last["target"], last["outcome"])
    assert about == ("user alice", "role", "bob in plaza: owner", "done")


async def test_one_steps_down_but_the_last_owner_stays(plaza: Plaza) -> None:
    assert told(await plaza.mona.ask("role", room=ROOM, user="mona", role="member")) == "ok"
    assert told(await plaza.mona.ask("role", room=ROOM, user="mona", role="owner")) == "forbidden"
    assert (
        told(await plaza.alice.ask("role", room=ROOM, user="alice", role="member")) == "forbidden"
    )
    await plaza.alice.ask("role", room=ROOM, user="bob", role="owner")
    assert told(await plaza.alice.ask("role", room=ROOM, user="alice", role="member")) == "ok"
    assert (await plaza.alice.join(ROOM))["role"] == "member"


async def test_nobody_acts_on_those_who_rank_as_they_do_or_above(plaza: Plaza) -> None:
    await plaza.alice.ask("role", room=ROOM, user="bob", role="moderator")
    for deed in ("kick", "ban", "mute"):
        for whom in ("alice", "bob", "mona", "ada"):
            assert told(await plaza.mona.ask(deed, room=ROOM, user=whom)) == "forbidden", whom
        assert told(await plaza.alice.ask(deed, room=ROOM, user="ada")) == "forbidden"
    assert (
        told(await plaza.mona.ask("role", room=ROOM, user="carol", role="moderator")) == "forbidden"
    )
    assert told(await plaza.ada.ask("role", room=ROOM, user="alice", role="member")) == "ok"
    assert told(await plaza.ada.ask("kick", room=ROOM, user="alice")) == "ok"


# --- kicks -------------------------------------------------------------------------------


async def test_who_is_kicked_is_out_and_all_know_who_did_it_and_why(plaza: Plaza) -> None:
    reply = await plaza.mona.ask("kick", room=ROOM, user="bob", reason="too loud")
    entry = await plaza.carol.until("kicked", seq=reply["seq"])
    assert (entry["from"], entry["user"], entry["reason"]) == ("mona", "bob", "too loud")
    await plaza.bob.until("removed", room=ROOM, from_="mona", reason="too loud")
    assert await says(plaza.bob) == "not-member"
    assert told(await plaza.bob.ask("history", room=ROOM)) == "not-member"
    await plaza.bob.join(ROOM)  # it is an open room: a kick is no ban
    assert await says(plaza.bob) == "message"
    assert told(await plaza.mona.ask("kick", room=ROOM, user="zoe")) == "no-user"
    await plaza.bob.ask("leave", room=ROOM)
    assert told(await plaza.mona.ask("kick", room=ROOM, user="bob")) == "no-user"
    assert [entry["action"] for entry in await plaza.audit()] == ["role", "kick"]


async def test_what_somebody_said_after_they_were_put_out_is_not_heard(
    plaza: Plaza, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Any) -> Any:
        asked.set()
        await go.wait()
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", wait)
    await plaza.mona.say("kick", room=ROOM, user="bob", id="k")
    await asked.wait()
    room = plaza.server.rooms.active(ROOM)
    assert room is not None
    before = room.inbox.statistics().current_buffer_used
    await plaza.bob.post(ROOM, "you cannot")  # taken, and waiting behind the kick
    while room.inbox.statistics().current_buffer_used == before:
        await trio.sleep(0.001)
    go.set()
    await plaza.bob.until("error", code="not-member", n=1)
    assert not [e for e in (await plaza.ada.ask("history", room=ROOM))["entries"] if "n" in e]


async def test_a_kick_that_cannot_be_written_has_not_happened(
    plaza: Plaza, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk fault")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", fail)
        assert told(await plaza.mona.ask("kick", room=ROOM, user="bob")) == "store"
        assert told(await plaza.mona.ask("ban", room=ROOM, user="bob")) == "store"
    assert await says(plaza.bob) == "message"
    assert [entry["action"] for entry in await plaza.audit()] == ["role"]


# --- bans --------------------------------------------------------------------------------


async def test_who_is_banned_does_not_come_back_by_any_way(
    plaza: Plaza, enter: Connect, dial: Connect
) -> None:
    other = await enter(plaza.server, "bob", ROOM, device="other")  # an established connection
    elsewhere = await enter(plaza.server, "bob", device="elsewhere")
    reply = await plaza.mona.ask("ban", room=ROOM, user="bob", reason="spam")
    entry = await plaza.carol.until("mode", seq=reply["seq"])
    assert (entry["change"], entry["user"], entry["reason"]) == ("ban", "bob", "spam")
    assert "until" not in entry
    for peer in (plaza.bob, other):
        await peer.until("removed", room=ROOM, from_="mona")
        assert await says(peer) == "not-member"
    fresh = await enter(plaza.server, "bob", device="fresh")
    for peer in (plaza.bob, other, elsewhere, fresh):
        assert told(await peer.ask("join", room=ROOM)) == "banned"
        assert told(await peer.ask("join", room=ROOM, after=0)) == "banned"  # by resuming
        assert told(await peer.ask("join", room=ROOM, password="x")) == "banned"
        for asked in ("history", "list", "typing", "topic"):
            fields = {"text": "x"} if asked == "topic" else {}
            assert told(await peer.ask(asked, room=ROOM, **fields)) == "not-member"
    assert told(await plaza.mona.ask("unban", room=ROOM, user="bob")) == "ok"
    await plaza.bob.join(ROOM)
    assert await says(plaza.bob) == "message"
    assert told(await plaza.mona.ask("unban", room=ROOM, user="bob")) == "no-user"


async def test_a_ban_ends_by_itself(plaza: Plaza, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = await plaza.mona.ask("ban", room=ROOM, user="bob", seconds=1800)
    entry = await plaza.carol.until("mode", seq=reply["seq"])
    assert entry["until"] == pytest.approx(entry["time"] + 1800, abs=5)
    refused = await plaza.bob.ask("join", room=ROOM)
    assert told(refused) == "banned"
    assert 1700 < refused["retry_after"] <= 1800
    later(monkeypatch, 1801)
    await plaza.bob.join(ROOM)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the wall clock say that it is so much later."""
    import time

    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


async def test_one_device_is_banned_whatever_it_calls_itself(
    plaza: Plaza, enter: Connect, own_key: Connect
) -> None:
    """A ban of a device by its key: another `device` in `hello` is the same key."""
    assert told(await plaza.mona.ask("ban", room=ROOM, user="bob", device=plaza.bob.device)) == "ok"
    await plaza.bob.until("removed", room=ROOM)
    renamed = await enter(plaza.server, "bob", device="renamed")
    assert told(await renamed.ask("join", room=ROOM)) == "banned"
    second = await own_key(plaza.server, "bob")  # another machine, with a key of its own
    await second.join(ROOM)
    (found,) = (await plaza.mona.ask("list-sanctions", room=ROOM))["sanctions"]
    assert (found["user"], found["device"], found["by"]) == ("bob", plaza.bob.device[:32], "mona")
    assert told(await plaza.mona.ask("unban", room=ROOM, user="bob")) == "no-user"
    key = plaza.bob.device[:32]
    assert told(await plaza.mona.ask("unban", room=ROOM, user="bob", device=key)) == "ok"
    await renamed.join(ROOM)


@pytest.fixture
async def own_key(people: People) -> AsyncIterator[Connect]:
    """Connect as somebody by a certificate and key of that connection's own."""
    peers: list[Peer] = []

    async def start(server: Server, name: str) -> Peer:
        made = people.authority.issue_client(name, device="second")
        assert made.key is not None
        context = client_context(made.crt, made.key, ca=people.ca)
        peer = await Peer.connect(server.port, context, name)
        peers.append(peer)
        await peer.hello()
        return peer

    yield start
    for peer in peers:
        peer.drop()


async def test_an_address_is_banned_by_admins_only_and_never_shown_and_never_theirs(
    plaza: Plaza,
) -> None:
    for peer in (plaza.bob, plaza.mona, plaza.alice):
        assert told(await peer.ask("ban", room=ROOM, address="127.0.0.1")) == "forbidden"
    assert told(await plaza.ada.ask("ban", room=ROOM, address="nonsense")) == "bad-name"
    reply = await plaza.ada.ask("ban", room=ROOM, address="::ffff:127.0.0.1", seconds=60)
    for peer in (plaza.bob, plaza.alice, plaza.mona):
        await peer.until("removed", room=ROOM)
        assert told(await peer.ask("join", room=ROOM)) == "banned"
    (entry,) = [f for f in plaza.ada.frames if f.get("seq") == reply["seq"]]
    assert entry["change"] == "ban"
    assert "127.0.0.1" not in json.dumps(entry)
    assert await says(plaza.ada) == "message"  # at that address, too
    (found,) = (await plaza.ada.ask("list-sanctions", room=ROOM))["sanctions"]
    assert found["address"] == "127.0.0.1"
    assert told(await plaza.mona.ask("list-sanctions", room=ROOM)) == "sanctions"
    assert (await plaza.mona.ask("list-sanctions", room=ROOM))["sanctions"] == []
    assert told(await plaza.ada.ask("unban", room=ROOM, address="127.0.0.1")) == "ok"
    await plaza.bob.join(ROOM)


async def test_a_target_is_a_person_a_device_or_an_address(plaza: Plaza) -> None:
    for fields in ({}, {"device": "x"}, {"user": "bob", "address": "127.0.0.1"}):
        for deed in ("ban", "unban", "mute", "unmute"):
            assert told(await plaza.ada.ask(deed, room=ROOM, **fields)) == "bad-frame"
    assert told(await plaza.ada.ask("ban", room=ROOM, user="zoe")) == "no-user"
    assert told(await plaza.ada.ask("ban", room=ROOM, user="bob", device="no/name")) == "bad-name"
    assert told(await plaza.ada.ask("ban", room=ROOM, user="bob", seconds=0)) == "bad-frame"
    assert told(await plaza.ada.ask("ban", room=ROOM, user="bob", reason="x" * 257)) == "bad-frame"
    assert await says(plaza.bob) == "message"


async def test_there_are_only_so_many_bans_in_a_room(make_plaza: MakePlaza) -> None:
    plaza = await make_plaza(sanctions_per_room=2)
    for kind, whom in (("ban", "bob"), ("mute", "carol"), ("ban", "bob")):
        assert told(await plaza.alice.ask(kind, room=ROOM, user=whom)) == "ok"
    assert told(await plaza.alice.ask("ban", room=ROOM, user="carol")) == "too-many"


# --- mutes -------------------------------------------------------------------------------


async def test_who_is_muted_reads_and_says_nothing_by_any_way(plaza: Plaza, enter: Connect) -> None:
    other = await enter(plaza.server, "bob", ROOM, device="other")
    assert told(await plaza.mona.ask("mute", room=ROOM, user="bob", reason="hush")) == "ok"
    await plaza.bob.ask("leave", room=ROOM)
    fresh = await enter(plaza.server, "bob", device="fresh")
    await fresh.ask("nick", nick="BUY THIS")
    await fresh.ask("away", text="BUY THIS")
    for peer in (plaza.bob, fresh):
        await peer.join(ROOM)
    for peer in (plaza.bob, other, fresh):
        for form in ({}, {"form": "action"}, {"form": "notice"}):
            assert await says(peer, **form) == "muted"
        assert told(await peer.ask("topic", room=ROOM, text="x")) == "muted"
        assert told(await peer.ask("typing", room=ROOM)) == "muted"
        assert told(await peer.ask("kick", room=ROOM, user="carol", reason="x")) == "forbidden"
    await other.ask("nick", nick="BUY THIS")
    await other.ask("away", text="BUY THIS")
    await plaza.alice.post(ROOM, "quiet now")
    await fresh.until("message", text="quiet now")
    members = (await plaza.carol.ask("list", room=ROOM))["users"]
    assert "BUY" not in json.dumps(members)
    assert "BUY" not in json.dumps(plaza.carol.frames)
    assert await says(plaza.bob, "lobby") == "not-member"
    await plaza.bob.join("lobby")
    assert await says(plaza.bob, "lobby") == "message"  # it is that room's affair
    assert told(await plaza.mona.ask("unmute", room=ROOM, user="bob")) == "ok"
    assert await says(fresh) == "message"


async def test_a_muted_moderator_does_nothing_until_somebody_else_ends_it(plaza: Plaza) -> None:
    await plaza.alice.ask("mute", room=ROOM, user="mona")
    for deed in ("kick", "ban", "mute"):
        assert told(await plaza.mona.ask(deed, room=ROOM, user="bob", reason="x")) == "muted"
    assert told(await plaza.mona.ask("unmute", room=ROOM, user="mona")) == "muted"
    await plaza.alice.ask("unmute", room=ROOM, user="mona")
    assert told(await plaza.mona.ask("kick", room=ROOM, user="bob")) == "ok"


async def test_what_waits_behind_a_mute_is_not_said(
    plaza: Plaza, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Any) -> Any:
        asked.set()
        await go.wait()
        return await append(store, batch)

    monkeypatch.setattr(Store, "append", wait)
    await plaza.mona.say("mute", room=ROOM, user="bob", id="m")
    await asked.wait()
    room = plaza.server.rooms.active(ROOM)
    assert room is not None
    await plaza.bob.post(ROOM, "last word")
    await plaza.bob.say("topic", room=ROOM, text="last word", id="t")
    while room.inbox.statistics().current_buffer_used < 2:
        await trio.sleep(0.001)
    go.set()
    await plaza.bob.until("error", code="muted", n=1, room=ROOM)
    await plaza.bob.until("error", code="muted", id="t")
    assert room.ledger.counters.get(plaza.bob.device) is None


async def test_in_an_encrypted_room_a_muted_person_keeps_the_group_going_and_says_nothing(
    make_plaza: MakePlaza,
) -> None:
    plaza = await make_plaza(mode="encrypted")
    await plaza.bob.begin(ROOM)
    await plaza.mona.ask("mute", room=ROOM, user="bob")
    await plaza.bob.seal(ROOM, "message", 1)
    await plaza.bob.until("error", code="muted", room=ROOM, n=2)
    plaza.bob.said[ROOM] -= 1
    n = await plaza.bob.seal(ROOM, "proposal", 1)
    await plaza.bob.until("message", kind="proposal", n=n)
    await plaza.bob.begin(ROOM, 1)


# --- lists of people, passwords ------------------------------------------------------------


async def test_a_ban_takes_somebody_off_the_list_of_a_closed_room(plaza: Plaza) -> None:
    await plaza.alice.ask("create", room="den", mode="plain", access="closed")
    for name in ("bob", "mona"):
        await plaza.alice.ask("invite", room="den", user=name)
    await plaza.alice.ask("role", room="den", user="mona", role="moderator")
    await plaza.bob.enter("den")
    assert told(await plaza.alice.ask("role", room="den", user="carol", role="owner")) == "no-user"
    assert told(await plaza.mona.ask("ban", room="den", user="bob")) == "ok"
    await plaza.bob.until("removed", room="den")
    assert told(await plaza.bob.ask("join", room="den")) == "no-room"
    assert told(await plaza.alice.ask("invite", room="den", user="bob")) == "forbidden"
    await plaza.alice.ask("unban", room="den", user="bob")
    assert told(await plaza.bob.ask("join", room="den")) == "no-room"  # off the list still
    await plaza.alice.ask("invite", room="den", user="bob")
    await plaza.bob.join("den")
    assert told(await plaza.mona.ask("kick", room="den", user="bob")) == "ok"
    assert told(await plaza.bob.ask("join", room="den")) == "no-room"


async def test_a_room_with_a_password_is_listed_and_entered_with_it(plaza: Plaza) -> None:
    alice, bob, carol = plaza.alice, plaza.bob, plaza.carol
    await alice.ask("create", room="vault", mode="plain", password="sesame ü")
    await alice.enter("vault")  # its owner needs none
    await alice.ask("topic", room="vault", text="treasure")
    (info,) = [r for r in (await bob.ask("list-rooms"))["rooms"] if r["room"] == "vault"]
    assert (info["locked"], info["access"], info["topic"]) == (True, "open", "")
    assert "sesame" not in json.dumps(info)
    assert told(await bob.ask("join", room="vault")) == "password"
    assert told(await bob.ask("join", room="vault", password="Sesame ü")) == "password"
    assert told(await bob.ask("join", room="vault", password="sesame u\u0308")) == "joined"  # NFC
    assert told(await bob.ask("join", room="vault", after=0)) == "password"  # nor by resuming
    await alice.ask("invite", room="vault", user="carol")
    await carol.join("vault")


async def test_wrong_passwords_are_counted_by_person_and_room(make_plaza: MakePlaza) -> None:
    plaza = await make_plaza(password_attempts=2)
    await plaza.alice.ask("create", room="vault", mode="plain", password="sesame")
    bob, carol = plaza.bob, plaza.carol
    for _ in range(2):
        assert told(await bob.ask("join", room="vault", password="x")) == "password"
        assert told(await bob.ask("join", room="nowhere", password="x")) == "no-room"
    refused = await bob.ask("join", room="vault", password="sesame")
    assert (told(refused), refused["retry_after"] > 500) == ("too-many", True)
    assert told(await bob.ask("join", room="nowhere", password="x")) == "too-many"
    for _ in range(3):  # who knows it may use it often
        assert told(await carol.ask("join", room="vault", password="sesame")) == "joined"
    for number in range(8):  # in all rooms together six times as often
        assert told(await bob.ask("join", room=f"x{number}", password="x")) == "no-room"
    assert told(await bob.ask("join", room="x9", password="x")) == "too-many"


async def test_a_closed_room_with_a_password_is_not_there_without_it(
    plaza: Plaza, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the words nor the work tell whether there is one."""
    from trio_chat.server import room_passwords

    compared: list[str] = []
    verify = room_passwords._verify

    def count(password: bytes, kept: str) -> bool:
        compared.append(kept)
        return verify(password, kept)

    monkeypatch.setattr(room_passwords, "_verify", count)
    await plaza.alice.ask("create", room="den", mode="plain", access="closed", password="sesame")
    await plaza.alice.ask("create", room="other", mode="encrypted")
    assert "den" not in [r["room"] for r in (await plaza.bob.ask("list-rooms"))["rooms"]]
    texts = set()
    for room in ("den", "other", "nil"):
        reply = await plaza.bob.ask("join", room=room, password="wrong")
        assert told(reply) == "no-room"
        texts.add(reply["text"].replace(room, "ROOM"))
        assert told(await plaza.bob.ask("join", room=room)) == "no-room"
    assert len(texts) == 1
    assert len(compared) == 3
    assert told(await plaza.bob.ask("join", room="den", password="sesame")) == "joined"


async def test_passwords_are_kept_nowhere_in_the_clear(
    plaza: Plaza, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    caplog.set_level("DEBUG")
    await plaza.alice.ask("create", room="vault", mode="plain", password="opensesame77")
    await plaza.bob.ask("join", room="vault", password="opensesame77")
    await plaza.bob.ask("join", room="vault", password="opensesame78")
    await plaza.bob.say("join", room=7, password="opensesame79", id="b")
    reply = await plaza.bob.until("error", id="b")
    assert "opensesame" not in caplog.text + json.dumps(reply)
    (row,) = [await plaza.server.store.find_room(names.key("vault"))]
    assert row is not None
    assert "opensesame" not in repr(await plaza.server.store.load_room(row.id))
    assert (await plaza.server.store.load_room(row.id)).password.startswith("$argon2id$")  # type: ignore[union-attr]
    assert "opensesame" not in json.dumps(await plaza.audit())


async def test_admins_enter_plain_rooms_without_the_password_and_all_see_it(plaza: Plaza) -> None:
    alice, ada = plaza.alice, plaza.ada
    await alice.ask("create", room="vault", mode="plain", password="sesame")
    await alice.ask("create", room="den", mode="plain", access="closed")
    await alice.ask("create", room="sealed", password="sesame")
    await alice.ask("create", room="secret")
    for room in ("vault", "den"):
        await alice.enter(room)
        assert (await ada.join(room))["role"] == "admin"
        entry = await alice.until("mode", room=room)
        assert (entry["change"], entry["from"]) == ("master-key", "ada")
    assert told(await ada.ask("join", room="sealed")) == "password"
    assert told(await ada.ask("join", room="secret")) == "no-room"
    keys = [e["target"] for e in await plaza.audit() if e["action"] == "master-key"]
    assert keys == ["into vault", "into den"]
    await plain_direct(plaza.server, "alice", "bob")
    assert told(await ada.ask("join", room="@alice+bob")) == "no-room"


async def test_god_is_nobody_s_name(plaza: Plaza, dial: Connect, people: People) -> None:
    with pytest.raises(Exception, match="reserved"):
        people.authority.issue_client("God")


# --- everything as a member, and as a stranger --------------------------------------------

EXAMPLES = {kind: json.loads(examples(text)[0]) for kind, text in sections("4")}
# What is meant for owners, moderators and admins; a frame that is new belongs into one of the two.
RESERVED = {
    "invite",
    "uninvite",
    "role",
    "kick",
    "ban",
    "unban",
    "mute",
    "unmute",
    "list-sanctions",
}
FOR_ALL = {
    "hello",
    "join",
    "leave",
    "create",
    "send",
    "history",
    "list",
    "list-rooms",
    "topic",
    "typing",
    "away",
    "nick",
    "whois",
    "chat",
    "relay",
    "ping",
    "pong",
    "kp.publish",
    "kp.claim",
    "blob.put",
    "blob.get",
    "info.get",
    "welcome.get",
    "crl.get",
    "ca",
    "enrol",
    "renew",
    "register",
    "login",
    "passwd",
    "devices",
    "revoke",
}


def test_each_frame_is_for_all_or_for_some() -> None:
    assert COMMANDS.keys() == RESERVED | FOR_ALL | {"admin"}
    assert not RESERVED & FOR_ALL


async def state(server: Server, room: str) -> object:
    """All that moderation can change about a room."""
    row = await server.store.find_room(names.key(room))
    assert row is not None
    found = await server.store.load_room(row.id)
    return (found.seq, found.people, found.sanctions, found.topic, await server.store.last_audit())


@pytest.mark.parametrize("kind", sorted(RESERVED))
async def test_a_member_and_a_stranger_can_do_nothing_of_it(plaza: Plaza, kind: str) -> None:
    await plaza.alice.ask("create", room="den", mode="plain", access="closed")
    await plaza.alice.ask("invite", room="den", user="bob")
    await plaza.alice.enter("den")
    await plaza.bob.enter("den")
    frame = {key: value for key, value in EXAMPLES[kind].items() if key not in ("type", "id")}
    if "user" in frame:
        frame["user"] = "alice"
    for whom in (plaza.alice, plaza.carol, plaza.bob):
        if "user" in frame:
            frame["user"] = whom.name
        for room, bob, carol in (("den", "forbidden", "no-room"), (ROOM, "forbidden", "forbidden")):
            before = await state(plaza.server, room)
            assert told(await plaza.bob.ask(kind, **{**frame, "room": room})) == bob
            assert told(await plaza.carol.ask(kind, **{**frame, "room": room})) == carol
            assert await state(plaza.server, room) == before
        not_there = await plaza.carol.ask(kind, **{**frame, "room": "nil"})
        there = await plaza.carol.ask(kind, **{**frame, "room": "den"})
        assert there["text"] == not_there["text"].replace("nil", "den")


@pytest.mark.parametrize("kind", ["role", "kick", "ban", "unban", "mute", "unmute"])
async def test_whose_role_was_taken_away_while_they_asked_does_nothing(
    plaza: Plaza, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is judged is the moment in which it would happen."""
    go, asked = trio.Event(), trio.Event()
    append = Store.append

    async def wait(store: Store, batch: Any) -> Any:
        asked.set()
        await go.wait()
        return await append(store, batch)

    await plaza.alice.ask("role", room=ROOM, user="mona", role="owner")
    await plaza.ada.ask("ban", room=ROOM, user="bob")
    await plaza.ada.ask("mute", room=ROOM, user="bob")
    await plaza.bob.ask("leave", room=ROOM)
    frame = {key: value for key, value in EXAMPLES[kind].items() if key not in ("type", "id")}
    frame |= {"room": ROOM, "user": "carol" if kind not in ("unban", "unmute") else "bob"}
    frame.pop("device", None)
    room = plaza.server.rooms.active(ROOM)
    assert room is not None
    monkeypatch.setattr(Store, "append", wait)
    await plaza.ada.say("role", room=ROOM, user="mona", role="member", id="r")
    await asked.wait()
    await plaza.mona.say(kind, **frame, id="m")
    while not room.inbox.statistics().current_buffer_used:
        await trio.sleep(0.001)
    go.set()
    await plaza.mona.until("error", code="forbidden", id="m")
    assert (await plaza.log())[-1]["type"] == "role"


async def test_orders_to_the_server_are_for_admins(plaza: Plaza) -> None:
    for command in ("ban", "unban", "mute", "unmute", "bans", "kick"):
        arguments = {} if command == "bans" else {"who": "carol"}
        for peer in (plaza.bob, plaza.mona, plaza.alice):
            reply = await peer.ask("admin", command=command, arguments=arguments)
            assert told(reply) == "forbidden"
    assert not plaza.server.sanctions
    assert await says(plaza.carol) == "message"


async def test_nobody_acts_by_what_they_say_of_themselves(plaza: Plaza) -> None:
    """The sender is the certificate's, whatever a frame says."""
    for claim in ({"from": "alice"}, {"sender": "alice"}, {"role": "owner"}, {"by": "alice"}):
        reply = await plaza.bob.ask("kick", **{"room": ROOM, "user": "carol", **claim})
        assert told(reply) == "forbidden"
    await plaza.bob.ask("nick", nick="alice")
    assert told(await plaza.bob.ask("kick", room=ROOM, user="carol")) == "forbidden"
