"""The Trio half of encrypted rooms, against the real server, and one that lies in between."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Frame
from tests.people import People
from tests.sealed import Disks, Taker, encryption_of, published, sealed_room, texts
from tests.villain import Link, Villain
from trio_chat import Client, Message, names
from trio_chat.client import connecting, sealed
from trio_chat.client.backoff import Backoff
from trio_chat.client.events import Connected, Gap, Offline, RoomClosed, RoomReset
from trio_chat.client.news import Excluded, MembersChanged, News, Readable, Unreadable
from trio_chat.client.room import Room
from trio_chat.e2ee.wishes import Invite
from trio_chat.errors import ConfigError, Disconnected, NotMember, NotTrusted, StoreError, Unsent
from trio_chat.protocol.frames import ModeChanged
from trio_chat.server import Server

DAY = 86400.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnects and second questions come at once."""
    monkeypatch.setattr(connecting, "Backoff", partial(Backoff, longest=0.02))
    monkeypatch.setattr(sealed, "RETRY", 0.05)
    monkeypatch.setattr("trio_chat.server.server.SOON", 0.01)


@pytest.fixture
async def secret(run_server: Serve) -> Server:
    """A server whose room `lobby` is encrypted."""
    return await run_server(mode="encrypted")


async def both(
    nursery: trio.Nursery, alice: Client, bob: Client, room: str = "lobby"
) -> tuple[Room, Room, Taker]:
    """Let two into a room, and take what comes to the second."""
    taker = await nursery.start(Taker(bob).run)
    ours = await alice.join(room)
    return ours, await bob.join(room), taker


def count_epochs(client: Client, room: str = "lobby") -> int:
    conversation = sealed_room(client, room).conversation
    assert conversation is not None
    return conversation.membership.epoch


# --- saying, and taking it back ----------------------------------------------------------


async def test_two_people_read_each_other_and_the_first_is_echoed(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(secret.port, "alice") as alice, disks.use(secret.port, "bob") as bob:
        ours, theirs, taker = await both(nursery, alice, bob)
        sent = await ours.send("hello", form="action")
        assert await taker.text("hello") == sent
        assert (sent.sender, sent.form, sent.body) == ("alice", "action", None)
        assert ours.mode == theirs.mode == "encrypted"


async def test_what_is_said_during_a_loss_is_said_once_on_the_next_connection(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        await ours.send("before")

        def cut_at_send(link: Link, frame: Frame) -> Frame | None:
            if frame["type"] != "send":
                return frame
            villain.up.clear()
            link.cut()
            return None

        villain.up.append(cut_at_send)
        async with trio.open_nursery() as talk:
            for number in range(10):
                talk.start_soon(ours.send, f"number {number}")
        await ours.send("after")
        await taker.text("after")
        wanted = ["before", *(f"number {n}" for n in range(10)), "after"]
        assert sorted(taker.texts()) == sorted(wanted)


async def test_who_gives_up_what_was_not_sent_yet_takes_it_back(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        down = trio.Event()
        real = alice._again

        async def away() -> Any:
            await down.wait()
            assert real is not None
            return await real()

        alice._again = away
        villain.link("alice").cut()
        watching = await nursery.start(Taker(alice).run)
        await watching.wait(lambda: watching.all(Offline))
        with trio.move_on_after(0.01) as scope:
            await ours.send("taken back")
        assert scope.cancelled_caught
        down.set()
        await ours.send("said")
        await taker.text("said")
        assert taker.texts() == ["said"]


async def test_who_is_cancelled_while_joining_is_not_in_the_room(
    villain: Villain, disks: Disks
) -> None:
    asked = trio.Event()

    held: list[Frame] = []

    def withhold(_: Link, frame: Frame) -> Frame | None:
        if frame["type"] == "joined":
            held.append(frame)
            asked.set()
            return None
        return frame

    villain.down.append(withhold)
    async with disks.use(villain.port, "alice") as alice:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.join, "lobby")
            await asked.wait()
            nursery.cancel_scope.cancel()
        villain.down.clear()
        await villain.link("alice").tell(*held)
        assert not alice.rooms
        room = await alice.join("lobby")
        assert (await room.send("here")).text == "here"


async def test_leaving_waits_until_what_was_said_is_on_the_server(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(secret.port, "alice") as alice, disks.use(secret.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        async with trio.open_nursery() as talk:
            for number in range(5):
                talk.start_soon(ours.send, f"number {number}")
            await trio.testing.wait_all_tasks_blocked()
            await ours.leave()
        await taker.wait(lambda: len(taker.texts()) == 5)
        with pytest.raises(NotMember):
            await ours.send("too late")


async def test_a_client_that_ends_leaves_nobody_waiting(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    errors: list[Exception] = []

    async def say(room: Room, text: str) -> None:
        try:
            await room.send(text)
        except Disconnected as error:
            errors.append(error)

    async with disks.use(villain.port, "alice", reconnect=False) as alice:
        room = await alice.join("lobby")
        villain.up.append(lambda _, frame: None if frame["type"] == "send" else frame)
        async with trio.open_nursery() as talk:
            talk.start_soon(say, room, "one")
            await trio.testing.wait_all_tasks_blocked(0.01)
            for number in range(3):
                talk.start_soon(say, room, f"number {number}")
            villain.link("alice").cut()
        assert len(errors) == 4
        with pytest.raises(Disconnected):
            await room.send("later")


# --- what the server does -------------------------------------------------------------------


async def test_a_restarted_server_is_gone_on_with(
    run_server: Serve, disks: Disks, nursery: trio.Nursery, people: People
) -> None:
    server = await run_server(mode="encrypted")
    between: Villain = await nursery.start(Villain(people, lambda: server.port).run)
    async with disks.use(between.port, "alice") as alice, disks.use(between.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        await ours.send("before")
        server.drain()
        server = await run_server(mode="encrypted")
        await ours.send("after")
        await taker.text("after")
        assert taker.texts() == ["before", "after"]
        assert not taker.all(Unreadable)


async def test_a_server_from_an_older_copy_is_told_and_talked_through_again(
    run_server: Serve, disks: Disks, nursery: trio.Nursery, people: People, tmp_path: Path
) -> None:
    server = await run_server(mode="encrypted")
    between: Villain = await nursery.start(Villain(people, lambda: server.port).run)
    database = tmp_path / "chat.db"
    async with disks.use(between.port, "alice") as alice, disks.use(between.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        await ours.send("kept")
        server.drain()
        await server.stopped.wait()
        copy = database.read_bytes()
        server = await run_server(mode="encrypted")
        for number in range(8):
            await ours.send(f"lost {number}")
        await taker.text("lost 7")
        server.drain()
        await server.stopped.wait()
        database.write_bytes(copy)
        for rest in (tmp_path / "chat.db-wal", tmp_path / "chat.db-shm"):
            rest.unlink(missing_ok=True)
        server = await run_server(mode="encrypted")
        await taker.wait(lambda: taker.all(RoomReset))
        await taker.wait(lambda: len(taker.all(Readable)) == 2)
        for number in range(3):
            await ours.send(f"again {number}")
        await taker.text("again 2")
        assert taker.texts()[-3:] == ["again 0", "again 1", "again 2"]
        assert taker.all(News), "nobody was told that the server had lost something"


async def test_what_is_not_kept_any_more_is_a_gap_and_talk_goes_on(
    run_server: Serve, disks: Disks, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await run_server(mode="encrypted")
    async with disks.use(server.port, "alice") as alice:
        ours = await alice.join("lobby")
        async with disks.use(server.port, "bob") as bob:
            await bob.join("lobby")
            log = bob.log
        for number in range(10):
            await ours.send(f"number {number}")
        firsts = dict(await server.store.expire(time.time() + 1))
        for room in server.rooms:  # as the hourly task does
            room.first = firsts[room.id]
            room.drop_tail()
        last = await ours.send("just before")
        async with disks.use(server.port, "bob", cursors={"lobby": 2}, log=log) as bob:
            taker = await nursery.start(Taker(bob).run)
            theirs = await bob.join("lobby")
            await theirs.send("back")
            await ours.send("welcome back")
            await taker.text("welcome back")
            (gap,) = taker.all(Gap)
            assert gap.last == last.seq - 1
            assert [e for e in taker.all(News) if "no longer kept" in e.text]


async def test_a_log_with_a_hole_is_not_followed_and_does_not_end_the_client(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    """Who was let in while away reads by pages what was said since."""
    async with disks.use(villain.port, "bob") as bob:
        await published(bob)

    def skip(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "page":
            frame["entries"] = [e for e in frame["entries"] if e["seq"] % 3]
        return frame

    villain.down.append(skip)
    async with disks.use(villain.port, "alice") as alice:
        ours = await alice.direct("bob")
        for number in range(10):
            await ours.send(f"number {number}")
        async with disks.use(villain.port, "bob") as bob:
            taker = await nursery.start(Taker(bob).run)
            theirs = await bob.join(ours.name)
            await taker.wait(lambda: [e for e in taker.all(News) if "left out" in e.text])
            villain.down.clear()
            await ours.send("last")
            await taker.text("last")
            assert not taker.all(Unreadable)
            wanted = [*(f"number {number}" for number in range(10)), "last"]
            assert texts(await theirs.history()) == wanted


async def test_a_refused_upload_is_made_anew_and_nothing_stalls(
    villain: Villain, disks: Disks
) -> None:
    refusals = 2

    def refuse(link: Link, frame: Frame) -> Frame:
        nonlocal refusals
        if frame["type"] == "blob.put" and refusals:
            refusals -= 1
            return {"type": "blob.put", "id": frame["id"]}  # which the real one refuses
        return frame

    villain.up.append(refuse)
    async with disks.use(villain.port, "alice") as alice:
        with trio.fail_after(10):
            room = await alice.join("lobby")
            assert (await room.send("here")).seq
    assert not refusals


async def test_too_many_claims_stop_an_invitation_but_not_the_talk(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    def refuse(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "packages":
            return {
                "type": "error",
                "code": "too-many",
                "text": "no more",
                "retry_after": 3600,
                "id": frame["id"],
            }
        return frame

    villain.down.append(refuse)
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        async with disks.use(villain.port, "carol"):
            pass
        room = sealed_room(alice, "lobby")
        with pytest.raises(Unsent, match="no more"):
            await alice._wait(room.want(lambda c: c.want(Invite("carol"))))
        await ours.send("still talking")
        await taker.text("still talking")


@pytest.mark.parametrize("field", ["body", "tree"])
async def test_a_welcome_that_is_garbage_leaves_the_other_door(
    villain: Villain, disks: Disks, field: str
) -> None:
    def spoil(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "mls-welcome":
            frame[field] = "%%%" if field == "body" else "0" * 64
        return frame

    villain.down.append(spoil)
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        await published(bob)
        room = await (await alice.direct("bob")).send("hello")
        with trio.fail_after(10):
            theirs = await bob.join(room.room)
        assert theirs.mode == "encrypted"


async def test_garbage_for_a_key_package_is_left_out(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    def spoil(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "packages":
            frame["packages"].append({"device": "0" * 32, "package": "%%%", "last": False})
        return frame

    villain.down.append(spoil)
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        taker = await nursery.start(Taker(bob).run)
        await published(bob)
        await (await alice.direct("bob")).send("hello")
        await taker.text("hello")


async def test_a_server_that_asks_for_ever_more_key_packages_gets_what_there_should_be(
    villain: Villain, disks: Disks
) -> None:
    published = 0

    def count(_: Link, frame: Frame) -> Frame:
        nonlocal published
        if frame["type"] == "kp.publish":
            published += len(frame["packages"])
        return frame

    def none(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "key-packages":
            frame["count"] = 0
        return frame

    villain.up.append(count)
    villain.down.append(none)
    async with disks.use(villain.port, "alice") as alice:
        room = await alice.join("lobby")
        await room.send("here")
        await sleep_until_idle(alice)
    assert published == 50


async def test_what_is_not_encrypted_is_never_shown_as_said(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    """A server that puts a plain message, or something unheard-of, into an encrypted room."""

    def forge(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "message" and frame["kind"] == "message":
            if frame["seq"] % 2:
                return {"type": "novelty", "room": frame["room"], "seq": frame["seq"]}
            frame = {**frame, "text": "forged"}
            del frame["kind"], frame["body"], frame["epoch"]
        return frame

    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        villain.down.append(lambda link, frame: forge(link, frame) if link.name == "bob" else frame)
        await ours.send("one")
        await ours.send("two")
        await taker.wait(lambda: len(taker.all(Unreadable)) == 2)
        assert all("not encrypted" in each.reason for each in taker.all(Unreadable))
        assert not taker.texts()


@pytest.mark.parametrize("lie", [{"mode": "plain"}, {"access": "open"}])
async def test_a_room_that_we_have_made_is_what_we_have_made(
    villain: Villain, disks: Disks, lie: dict[str, str]
) -> None:
    def tell(_: Link, frame: Frame) -> Frame:
        return {**frame, **lie} if frame["type"] == "joined" else frame

    villain.down.append(tell)
    async with disks.use(villain.port, "alice") as alice:
        await alice.create("den")
        with pytest.raises(NotTrusted, match="was made encrypted and closed"):
            await alice.join("den")
        assert not alice.rooms


async def test_a_room_that_was_encrypted_is_not_entered_as_a_plain_one(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    spoken: list[str] = []

    def plain(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "joined":
            frame["mode"] = "plain"
        return frame

    def listen(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "send":
            spoken.append(frame.get("text", ""))
        return frame

    villain.up.append(listen)
    async with disks.use(villain.port, "alice") as alice:
        room = await alice.join("lobby")
        await room.send("secret")
        taker = await nursery.start(Taker(alice).run)
        villain.down.append(plain)
        villain.link("alice").cut()
        await taker.wait(lambda: taker.all(RoomClosed))
        with pytest.raises(NotMember):
            await room.send("secret too")
    async with disks.use(villain.port, "alice") as alice:
        with pytest.raises(Exception, match="has been encrypted"):
            await alice.join("lobby")
    assert not any(spoken)


# --- back-pressure ----------------------------------------------------------------------------


async def test_who_takes_no_events_holds_a_bounded_number_of_entries(
    secret: Server, disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.client.EVENT_LIMIT", 10)
    monkeypatch.setattr(connecting, "run_client", partial(connecting.run_client, event_limit=10))
    async with disks.use(secret.port, "alice") as alice:
        ours = await alice.join("lobby")
        async with disks.use(secret.port, "bob") as bob:
            await bob.join("lobby")
            for number in range(300):
                await ours.send(f"{number} {'x' * 500}")
                while alice._inbox._events:
                    await anext(alice)
            await sleep_until_idle(bob)
            assert len(bob._inbox) + encryption_of(bob).waiting < 250
            found: list[str] = []
            with trio.fail_after(20):
                async for event in bob:
                    found += texts([event])
                    if len(found) == 300:
                        break
            assert [int(each.split()[0]) for each in found] == list(range(300))


async def test_reading_on_from_far_back_waits_for_the_program(
    secret: Server, disks: Disks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_chat.client.asking.PAGE", 5)
    async with disks.use(secret.port, "alice") as alice:
        room = await alice.join("lobby")
        for number in range(60):
            await room.send(f"{number}")
    monkeypatch.setattr(connecting, "run_client", partial(connecting.run_client, event_limit=10))
    async with disks.use(secret.port, "alice") as alice:
        with trio.fail_after(20):
            await alice.join("lobby", after=0)  # back once there is enough to take
        await sleep_until_idle(alice)
        assert len(alice._inbox) < 60
        found: list[str] = []
        with trio.fail_after(10):
            async for event in alice:
                found += texts([event])
                if len(found) == 60:
                    break
        assert found == [str(number) for number in range(60)]


async def sleep_until_idle(client: Client) -> None:
    """Return when nothing happens any more that this client could cause."""
    last: object = None
    with trio.fail_after(10):
        while True:
            await trio.testing.wait_all_tasks_blocked(0.1)
            now = (len(client._inbox), encryption_of(client).waiting)
            if now == last:
                return
            last = now


# --- the store and its key ----------------------------------------------------------------------


async def test_another_process_has_the_store(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(secret.port, "alice") as alice:
        await alice.join("lobby")
        await published(alice)
    store = disks.store("alice")
    hold = (
        "import sys, pathlib\n"
        "from trio_chat.e2ee.key import load_or_make_key\n"
        "from trio_chat.e2ee.store import SealedStore\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with SealedStore.open(path, load_or_make_key(path)):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(  # noqa: ASYNC220  # it answers at once
        [sys.executable, "-c", hold, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        async with disks.use(secret.port, "alice") as alice:
            with pytest.raises(StoreError, match="in use by another client"):
                await alice.join("lobby")
            await alice.create("plain", mode="plain")
            room = await alice.join("plain")  # what needs no store goes on
            assert (await room.send("here")).seq
            async with disks.use(secret.port, "bob") as bob:
                taker = await nursery.start(Taker(alice).run)
                await (await bob.direct("alice")).send("psst")
                found = await taker.wait(lambda: taker.all(Unreadable))
                assert "in use" in found[0].reason
        process.communicate()


async def test_without_the_ca_s_certificate_only_plain_rooms_can_be_used(
    secret: Server, disks: Disks, people: People, tmp_path: Path
) -> None:
    issued = people.certificate("alice")
    async with disks.use(secret.port, "alice") as alice:
        pin = alice.server_fingerprint
    alone = tmp_path / "alone.crt"
    alone.write_bytes(issued.crt.read_bytes())
    async with disks.use(secret.port, "alice", cert=alone, ca=None, pin=pin) as alice:
        with pytest.raises(ConfigError, match="cannot be judged without the CA"):
            await alice.join("lobby")
        assert "lobby" not in alice.rooms


async def test_a_passphrase_opens_the_store_and_no_other_does(
    secret: Server, disks: Disks, own_people: People, tmp_path: Path, run_server: Serve
) -> None:
    def protect(name: str, old: bytes | None, new: bytes) -> Path:
        from cryptography.hazmat.primitives import serialization as ser

        key = ser.load_pem_private_key(people_key.read_bytes(), old)
        path = tmp_path / name
        path.write_bytes(
            key.private_bytes(
                ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(new)
            )
        )
        path.chmod(0o600)
        return path

    found = disks.people.certificate("alice").key
    assert found is not None
    people_key = found
    right, changed = protect("right.key", None, b"correct"), protect("new.key", None, b"another")
    use = partial(disks.use, secret.port, "alice")
    async with use(key=right, passphrase=b"correct") as alice:
        await (await alice.join("lobby")).send("here")
    async with use(key=right, passphrase=b"correct") as alice:
        room = await alice.join("lobby")
        assert texts(await room.history()) == ["here"]
    async with use(key=changed, passphrase=b"another") as alice:
        with pytest.raises(StoreError, match="not encrypted with this key") as caught:
            await alice.join("lobby")
    assert "is the passphrase right" in caught.value.hint
    assert b"correct" not in repr(caught.value).encode()
    data = b"".join(path.read_bytes() for path in disks.of("alice").rglob("*") if path.is_file())
    assert b"here" not in data


async def test_a_disk_that_is_full_ends_the_client_in_words(secret: Server, disks: Disks) -> None:
    async with disks.use(secret.port, "alice") as alice:
        room = await alice.join("lobby")
        encryption_of(alice).account.store._db.pragma("max_page_count", 1)
        with pytest.raises(Disconnected, match="the disk is full"):
            await send_many(room, 100)
        with pytest.raises(Disconnected, match="the disk is full"):
            async for _ in alice:
                pass
    async with disks.use(secret.port, "alice") as alice:
        assert (await (await alice.join("lobby")).send("again")).seq


async def test_closing_while_threads_work_waits_for_them(secret: Server, disks: Disks) -> None:
    async with trio.open_nursery() as nursery, disks.use(secret.port, "alice") as alice:
        room = await alice.join("lobby")
        for number in range(20):
            await room.send(f"number {number}")

        async def read() -> None:
            with trio.move_on_after(5):
                try:
                    while True:
                        await room.history()
                except (Disconnected, NotMember, StoreError):
                    pass

        for _ in range(4):
            nursery.start_soon(read)
        nursery.start_soon(partial(_ignore, room.send, "perhaps"))
        await trio.testing.wait_all_tasks_blocked(0.0)
    async with disks.use(secret.port, "alice") as alice:
        room = await alice.join("lobby")
        found = texts(await room.history())
        assert found[:20] == [f"number {number}" for number in range(20)]
        assert found[20:] in ([], ["perhaps"])


async def send_many(room: Room, count: int) -> None:
    for _ in range(count):
        await room.send("x" * 4000)


async def _ignore(function: Any, *args: Any) -> None:
    with contextlib.suppress(Disconnected):
        await function(*args)


async def test_two_clients_of_one_certificate_are_two_devices(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with (
        disks.use(secret.port, "alice", "laptop") as one,
        disks.use(secret.port, "alice", "desktop") as other,
        disks.use(secret.port, "bob") as bob,
    ):
        for client in (one, other, bob):
            await client.join("lobby")
        takers = [await nursery.start(Taker(client).run) for client in (one, other, bob)]
        for client in (one, other):
            await client.rooms["lobby"].send(f"from {client.device}")
        for taker in takers:
            for client in (one, other):
                found = await taker.text(f"from {client.device}")
                assert (found.sender, found.device) == ("alice", client.device)


# --- time -----------------------------------------------------------------------------------------


async def test_a_device_certificate_is_renewed_at_two_thirds_and_packages_with_it(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(secret.port, "alice") as alice, disks.use(secret.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        encryption = encryption_of(alice)
        before = encryption.account.device
        start = encryption.clock()
        encryption.clock = lambda: start + 19 * DAY
        encryption._due.set()
        await ours.send("nineteen")
        assert encryption.account.device.certificate == before.certificate
        encryption.clock = lambda: start + 21 * DAY
        encryption_of(bob).clock = encryption.clock
        old = count_epochs(bob)
        encryption._due.set()
        await taker.wait(lambda: taker.texts() == ["nineteen"])
        while encryption.account.device.certificate == before.certificate:
            await trio.sleep(0.01)
        await ours.send("twenty-one")
        await taker.text("twenty-one")
        assert count_epochs(bob) > old
        assert encryption.account.device.id == before.id
        assert encryption.account.device.signature_key.public != before.signature_key.public
        # Whoever invites us now gets a package that is certified by the new one.
        await sleep_until_idle(alice)
        encryption_of(bob).clock = lambda: start + 31 * DAY
        reply: Any = await encryption_of(bob).ask(_claim("alice"))
        package = reply.packages[0].package
        encryption_of(bob).account.judge(_decode(package), names.key("alice"), start + 31 * DAY)


def _claim(user: str) -> Any:
    from trio_chat.protocol.frames import ClaimPackages

    return ClaimPackages(user)


def _decode(text: str) -> bytes:
    from trio_chat.client.blobs import decode

    return decode(text)


async def test_key_packages_that_were_taken_are_replaced(secret: Server, disks: Disks) -> None:
    async with disks.use(secret.port, "alice") as alice, disks.use(secret.port, "bob") as bob:
        await alice.join("lobby")
        await bob.join("lobby")
        encryption = encryption_of(alice)

        async def count() -> int:
            from trio_chat.protocol.frames import PublishPackages

            reply: Any = await encryption.ask(PublishPackages([]))
            return int(reply.count)

        await sleep_until_idle(alice)
        assert await count() == 50
        given = [(await encryption_of(bob).ask(_claim("alice"))) for _ in range(7)]
        assert len({each.packages[0].package for each in given}) == 7  # type: ignore[union-attr]
        assert await count() == 43
        encryption._due.set()
        await sleep_until_idle(alice)
        assert await count() == 50


async def test_a_certificate_file_that_vanishes_is_told_and_talk_goes_on(
    secret: Server, disks: Disks, nursery: trio.Nursery, people: People, tmp_path: Path
) -> None:
    issued = people.certificate("alice")
    copy = tmp_path / "copy.crt"
    copy.write_bytes(issued.crt.read_bytes())
    async with disks.use(secret.port, "alice", cert=copy) as alice:
        taker = await nursery.start(Taker(alice).run)
        room = await alice.join("lobby")
        copy.unlink()
        encryption_of(alice)._due.set()
        await taker.wait(lambda: [e for e in taker.all(News) if "copy.crt" in e.text])
        assert (await room.send("here")).seq


# --- where reading begins -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "encrypted"])
async def test_reading_begins_where_the_program_says_in_both_kinds_of_rooms(
    run_server: Serve, disks: Disks, nursery: trio.Nursery, mode: Any
) -> None:
    server = await run_server(mode=mode)

    async def read(expected: list[str], **options: Any) -> dict[str, int]:
        after = options.pop("after", None)
        async with disks.use(server.port, "bob", **options) as bob:
            taker = await nursery.start(Taker(bob).run)
            await bob.join("lobby", after=after)
            await alice_room.send("end")
            await taker.text("end")
            assert [each for each in taker.texts() if each != "end"] == expected
            return bob.cursors()

    async with disks.use(server.port, "alice") as alice:
        alice_room = await alice.join("lobby")
        async with disks.use(server.port, "bob") as bob:
            log = bob.log
            await bob.join("lobby")
            first = (await alice_room.send("one")).seq
            await alice_room.send("two")
            taker = await nursery.start(Taker(bob).run)
            await taker.text("two")
            cursors = bob.cursors()
        await alice_room.send("three")
        await alice_room.send("four")
        await read([])
        await read(["three", "four"], cursors=cursors, log=log)
        await read(["two", "three", "four"], after=first)
        again = await read(["one", "two", "three", "four"], after=first - 1)
        await read([], cursors=again, log=log)


async def test_a_room_left_and_joined_again_is_read_on(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(secret.port, "alice") as alice, disks.use(secret.port, "bob") as bob:
        ours, theirs, taker = await both(nursery, alice, bob)
        await ours.send("one")
        await taker.text("one")
        await theirs.leave()
        await ours.send("meanwhile")
        theirs = await bob.join("lobby")
        await ours.send("three")
        await taker.text("three")
        assert taker.texts() == ["one", "three"]  # from now on, as in a plain room
        assert texts(await theirs.history()) == ["one", "meanwhile", "three"]
        assert not taker.all(Excluded)
        assert isinstance(taker.events[0], Connected)
        assert taker.all(Readable)
        assert not taker.all(MembersChanged)  # to who has just come, everybody is new
        assert not taker.all(Gap)


__all__: list[str] = []
_ = Message


async def test_moderation_is_told_and_leaves_no_gap_in_what_is_read(
    secret: Server, disks: Disks, nursery: trio.Nursery
) -> None:
    """Nobody seals what moderators do, and what the muted did not get to say, nobody misses."""
    use = partial(disks.use, secret.port)
    async with use("alice") as alice, use("bob") as bob:
        await bob.create("den", access="open")
        taker = await nursery.start(Taker(bob).run)
        await bob.join("den")
        ours = await alice.join("den")
        async with use("carol") as carol:
            first = (await carol.join("den")).seq
        await ours.send("hello")
        await bob.mute("den", "alice")
        for _ in range(3):
            with pytest.raises(Unsent, match="muted"):
                await ours.send("may I?")
        await bob.unmute("den", "alice")
        await ours.send("I may")
        await taker.text("I may")
        async with use("carol") as carol:
            later = await nursery.start(Taker(carol).run)
            await carol.join("den", after=first)
            await later.text("I may")
        for each in (taker, later):
            assert each.texts() == ["hello", "I may"]
            assert [act.change for act in each.all(ModeChanged)] == ["mute", "unmute"]
            assert not [event for event in each.events if isinstance(event, Unreadable | News)]
