"""A server that lies, and a certificate that is taken back: refused, or the user sees it."""

from __future__ import annotations

import base64
import datetime as dt
from functools import partial
from typing import Any

import pytest
import trio

from tests.conftest import Serve
from tests.peer import Frame
from tests.people import People
from tests.sealed import Disks, Taker, encryption_of, published, sealed_room
from tests.villain import Link, Villain
from trio_chat import Client
from trio_chat.client import connecting, sealed
from trio_chat.client.backoff import Backoff
from trio_chat.client.events import Offline, RoomReset
from trio_chat.client.news import KeyChanged, MembersChanged, News, Unreadable
from trio_chat.client.room import Room
from trio_chat.errors import ChatError, Unsent
from trio_chat.pki import Authority
from trio_chat.server import Server

DAY = 86400.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "Backoff", partial(Backoff, longest=0.02))
    monkeypatch.setattr(sealed, "RETRY", 0.05)


async def both(
    nursery: trio.Nursery, alice: Client, bob: Client, room: str = "lobby"
) -> tuple[Room, Room, Taker]:
    taker = await nursery.start(Taker(bob).run)
    ours = await alice.join(room)
    return ours, await bob.join(room), taker


def is_said(frame: Frame) -> bool:
    return frame["type"] == "message" and frame.get("kind") == "message"


def for_bob(villain: Villain, lie: Any) -> None:
    villain.down.append(lambda link, frame: lie(frame) if link.name == "bob" else frame)


# --- the log ----------------------------------------------------------------------------------


async def test_a_message_left_out_breaks_the_connection_and_comes_on_the_next(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        dropped = False

        def drop(frame: Frame) -> Frame | None:
            nonlocal dropped
            if is_said(frame) and not dropped:
                dropped = True
                return None
            return frame

        for_bob(villain, drop)
        await ours.send("one")
        await ours.send("two")
        await taker.text("two")
        assert dropped
        assert taker.texts() == ["one", "two"]
        assert [each for each in taker.all(Offline) if "left out" in each.reason]


async def test_messages_in_another_order_are_not_shown_as_said(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    """The server numbers what it gives: so it can swap the contents of two places."""
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        held: list[Frame] = []

        def swap(frame: Frame) -> list[Frame] | Frame:
            if not is_said(frame) or len(held) == 2:
                return frame
            held.append(frame)
            if len(held) < 2:
                return []
            one, two = held
            return [{**two, "seq": one["seq"]}, {**one, "seq": two["seq"]}]

        for_bob(villain, swap)
        await ours.send("one")
        await ours.send("two")
        await ours.send("three")
        await taker.text("three")
        assert taker.texts() == ["two", "three"]
        (late,) = taker.all(Unreadable)
        assert "later than it was said" in late.reason
        assert [e for e in taker.all(News) if "did not come" in e.text]


async def test_a_message_left_out_of_a_log_that_is_numbered_anew_is_missed(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        shift = 0

        def hide(frame: Frame) -> Frame | None:
            nonlocal shift
            if is_said(frame) and not shift:
                shift = 1
                return None
            return {**frame, "seq": frame["seq"] - shift} if "seq" in frame else frame

        for_bob(villain, hide)
        await ours.send("do not pay")
        await ours.send("thanks")
        await taker.text("thanks")
        assert [e for e in taker.all(News) if "1 message(s) that alice" in e.text]


async def test_what_is_given_again_is_not_read_again(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        first: list[Frame] = []
        shift = 0

        def replay(frame: Frame) -> list[Frame] | Frame:
            nonlocal shift
            if frame["type"] == "message":
                frame = {**frame, "seq": frame["seq"] + shift}
            if is_said(frame) and not first:
                first.append(frame)
                shift = 1
                return [frame, {**frame, "seq": frame["seq"] + 1, "n": frame["n"] + 1}]
            return frame

        for_bob(villain, replay)
        await ours.send("pay 100")
        await ours.send("thanks")
        await taker.text("thanks")
        assert taker.texts() == ["pay 100", "thanks"]
        assert len(taker.all(Unreadable)) == 1


@pytest.mark.parametrize("field", ["body", "from", "epoch"])
async def test_a_message_that_was_altered_cannot_be_read(
    villain: Villain, disks: Disks, nursery: trio.Nursery, field: str
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)

        def alter(frame: Frame) -> Frame:
            if is_said(frame) and not taker.all(Unreadable):
                frame = dict(frame)
                if field == "body":
                    body = bytearray(base64.b64decode(frame["body"]))
                    body[-1] ^= 1
                    frame["body"] = base64.b64encode(body).decode()
                elif field == "from":
                    frame["from"] = "mallory"
                else:
                    frame["epoch"] += 1
            return frame

        for_bob(villain, alter)
        await ours.send("pay 100")
        await taker.wait(lambda: taker.all(Unreadable))
        assert not taker.texts()
        villain.down.clear()
        await ours.send("still here")
        await taker.text("still here")


async def test_an_echo_that_is_not_what_was_said_is_told_to_who_said_it(
    villain: Villain, disks: Disks
) -> None:
    def alter(link: Link, frame: Frame) -> Frame:
        if is_said(frame):
            frame = {**frame, "body": base64.b64encode(b"something else").decode()}
        return frame

    async with disks.use(villain.port, "alice") as alice:
        room = await alice.join("lobby")
        villain.down.append(alter)
        with trio.fail_after(10), pytest.raises(Unsent, match="changed what this device sent"):
            await room.send("pay 100")


async def test_two_different_commits_for_one_epoch_part_those_who_got_them_visibly(
    run_server: Serve, people: People, disks: Disks, nursery: trio.Nursery
) -> None:
    """A fork: bob is given another commit for the epoch than alice and carol."""
    server = await run_server(mode="encrypted")
    villain: Villain = await nursery.start(Villain(people, lambda: server.port).run)
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        hidden = 0

        def hide(frame: Frame) -> Frame:
            nonlocal hidden
            if frame["type"] == "message" and frame.get("kind") == "commit":
                hidden += 1
                frame = {**frame, "kind": "proposal"}  # in place of carol's coming in
            return frame

        for_bob(villain, hide)
        async with disks.use(villain.port, "carol") as carol:
            await carol.join("lobby")
            await ours.send("with carol")
            await taker.wait(lambda: taker.all(Unreadable))
        assert hidden
        assert not taker.texts()


async def test_a_server_that_says_its_history_is_another_is_told(
    villain: Villain, disks: Disks, nursery: trio.Nursery
) -> None:
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        await ours.send("before")
        await taker.text("before")

        def anew(frame: Frame) -> Frame:
            if frame["type"] == "joined":
                frame["log"] = "0" * 32
            return frame

        for_bob(villain, anew)
        villain.link("bob").cut()
        await taker.wait(lambda: taker.all(RoomReset))
        await taker.wait(lambda: taker.all(News))


# --- who gets in --------------------------------------------------------------------------------


async def test_a_device_of_a_foreign_authority_is_never_let_in(
    villain: Villain, disks: Disks, nursery: trio.Nursery, tmp_path: Any, run_server: Serve
) -> None:
    """The server puts the key package of a device that it has made itself beside bob's."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    foreign = People.create(folder)
    forged = await forged_package(foreign, "bob", tmp_path / "forged")

    def add(_: Link, frame: Frame) -> Frame:
        if frame["type"] == "packages":
            frame["packages"].append({"device": "f" * 32, "package": forged, "last": False})
        return frame

    villain.down.append(add)
    async with disks.use(villain.port, "alice") as alice, disks.use(villain.port, "bob") as bob:
        watch = await nursery.start(Taker(alice).run)
        await published(alice, bob)
        private = await alice.direct("bob")
        await private.send("psst")
        conversation = sealed_room(alice, private.name).conversation
        assert conversation is not None
        ids = {one.device_id for one in conversation.membership.members.values()}
        accounts = (encryption_of(client).account for client in (alice, bob))
        assert ids == {account.device.id for account in accounts}
        assert [e for e in watch.all(News) if "does not hold" in e.text]


async def forged_package(people: People, name: str, folder: Any) -> str:
    """What a device of the right name has, certified by somebody else's CA."""
    from trio_chat.address import Address
    from trio_chat.client.dialling import Credentials
    from trio_chat.client.packages import make_packages
    from trio_chat.client.vault import open_vault

    issued = people.certificate(name)
    assert issued.key is not None
    credentials = Credentials(cert=issued.crt, key=issued.key, ca=people.ca, pin=None)
    import time

    def make() -> str:
        where = Address.parse("localhost:1")
        vault = open_vault(
            credentials, where, "f" * 32, device=None, now=time.time(), folder=folder
        )
        try:
            return make_packages(vault, 1, time.time(), False)[0]
        finally:
            vault.close()

    return await trio.to_thread.run_sync(make)


async def test_a_new_key_of_a_name_is_told_before_anything_is_read_by_it(
    run_server: Serve, own_people: People, disks: Disks, nursery: trio.Nursery
) -> None:
    """A CA that issues bob's name to somebody else: alice sees that the key is another."""
    server = await run_server(ca=own_people.ca, mode="encrypted")
    here = Disks(own_people, disks.folder)
    async with here.use(server.port, "alice") as alice:
        watch = await nursery.start(Taker(alice).run)
        room = await alice.join("lobby")
        async with here.use(server.port, "bob") as bob:
            await (await bob.join("lobby")).send("it is me")
            await watch.text("it is me")
        second = own_people.authority.issue_client("bob", out=disks.folder)
        mallory = here.use(server.port, "bob", "other", cert=second.crt, key=second.key)
        async with mallory as client:
            await client.join("lobby")
            (changed,) = await watch.wait(lambda: watch.all(KeyChanged))
            assert (changed.user, changed.blocks) == ("bob", False)
        assert (await room.send("who is that")).seq


# --- revocation -----------------------------------------------------------------------------------


async def test_who_is_revoked_is_out_of_the_group_before_anything_more_is_said(
    run_server: Serve, own_people: People, disks: Disks, nursery: trio.Nursery
) -> None:
    server = await run_server(ca=own_people.ca, mode="encrypted")
    here = Disks(own_people, disks.folder)
    async with (
        here.use(server.port, "alice") as alice,
        here.use(server.port, "bob") as bob,
        here.use(server.port, "carol") as carol,
    ):
        ours, _, taker = await both(nursery, alice, bob)
        await carol.join("lobby")
        await ours.send("all three")
        members_when: dict[str, set[str]] = {}
        await taker.text("all three")
        own_people.revoke("carol")
        number = 0
        await taker.wait(lambda: taker.all(MembersChanged))
        with trio.fail_after(10):
            while "carol" in users_of(alice):
                number += 1
                text = f"number {number}"
                sent = await ours.send(text)
                members_when[text] = users_of(alice) if sent.seq else set()
        last = await ours.send("two of us")
        await taker.text("two of us")
        assert users_of(bob) == users_of(alice) == {"alice", "bob"}
        assert last.seq
        assert [each for each in taker.all(MembersChanged) if each.removed == ("carol",)]


def users_of(client: Client) -> set[str]:
    conversation = sealed_room(client, "lobby").conversation
    assert conversation is not None
    return {one.user for one in conversation.membership.members.values()}


async def test_once_the_list_is_here_nothing_is_sealed_for_who_is_on_it(
    run_server: Serve,
    own_people: People,
    disks: Disks,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many speak while the list changes: each text is sealed for whoever is not on it."""
    from trio_chat.e2ee.conversation import Conversation

    server = await run_server(ca=own_people.ca, mode="encrypted")
    here = Disks(own_people, disks.folder)
    wrong: list[int] = []
    seal = Conversation._seal

    def look(self: Conversation, group: Any, now: float) -> None:
        wrong.extend(self.membership.void(now))
        seal(self, group, now)

    monkeypatch.setattr(Conversation, "_seal", look)
    async with (
        here.use(server.port, "alice") as alice,
        here.use(server.port, "bob") as bob,
        here.use(server.port, "carol") as carol,
    ):
        ours, theirs, taker = await both(nursery, alice, bob)
        await carol.join("lobby")
        told = encryption_of(alice)._list

        async def talk(room: Room, name: str) -> None:
            number = 0
            while encryption_of(alice)._list == told or "carol" in users_of(alice):
                number += 1
                await room.send(f"{name} {number}")
            await room.send(f"{name} ends")

        async with trio.open_nursery() as talking:
            talking.start_soon(talk, ours, "alice")
            talking.start_soon(talk, theirs, "bob")
            own_people.revoke("carol")
        await taker.text("alice ends")
        assert users_of(alice) == {"alice", "bob"}
        assert not wrong


async def test_a_list_that_is_withheld_shows_when_the_last_one_is_over(
    run_server: Serve, own_people: People, disks: Disks, nursery: trio.Nursery
) -> None:
    server = await run_server(ca=own_people.ca, mode="encrypted")
    villain: Villain = await nursery.start(Villain(own_people, lambda: server.port).run)
    old = own_people.authority.place.crl.read_text()

    def withhold(_: Link, frame: Frame) -> Frame | None:
        if frame["type"] == "crl-changed":
            return None
        return {**frame, "crl": old} if frame["type"] == "crl" else frame

    villain.down.append(withhold)
    here = Disks(own_people, disks.folder)
    async with here.use(villain.port, "alice") as alice:
        watch = await nursery.start(Taker(alice).run)
        room = await alice.join("lobby")
        own_people.revoke("carol")
        await room.send("nobody has told us")
        assert not watch.all(News)
        encryption = encryption_of(alice)
        start = encryption.clock()
        encryption.clock = lambda: start + 61 * DAY
        encryption._due.set()
        news = await watch.wait(lambda: [e for e in watch.all(News) if "ended on" in e.text])
        assert "who was revoked since is not known here" in news[0].text


async def test_an_older_list_takes_nothing_back_and_is_told(
    run_server: Serve, own_people: People, disks: Disks, nursery: trio.Nursery
) -> None:
    server = await run_server(ca=own_people.ca, mode="encrypted")
    villain: Villain = await nursery.start(Villain(own_people, lambda: server.port).run)
    old = own_people.authority.place.crl.read_text()
    now = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    serial = own_people.certificate("carol").certificate.serial_number
    here = Disks(own_people, disks.folder)
    async with here.use(villain.port, "alice") as alice:
        watch = await nursery.start(Taker(alice).run)
        await alice.join("lobby")
        encryption = encryption_of(alice)
        own_people.authority.revoke([serial], now=now)
        await wait_for(lambda: serials_of(alice) == {serial})
        villain.down.append(
            lambda _, frame: {**frame, "crl": old} if frame["type"] == "crl" else frame
        )
        encryption.list_changed()
        await watch.wait(lambda: [e for e in watch.all(News) if "older revocation list" in e.text])
        assert serials_of(alice) == {serial}


async def test_a_list_of_somebody_else_counts_for_nothing(
    run_server: Serve, own_people: People, disks: Disks, nursery: trio.Nursery, tmp_path: Any
) -> None:
    """The server cannot put anybody on the list, nor stop the talk by garbage in its place."""
    server = await run_server(ca=own_people.ca, mode="encrypted")
    villain: Villain = await nursery.start(Villain(own_people, lambda: server.port).run)
    folder = tmp_path / "foreign"
    folder.mkdir()
    foreign = Authority.create(folder / "ca.crt")
    foreign.revoke([own_people.certificate("alice").certificate.serial_number])
    given = foreign.place.crl.read_text()
    villain.down.append(
        lambda _, frame: {**frame, "crl": given} if frame["type"] == "crl" else frame
    )
    here = Disks(own_people, disks.folder)
    async with here.use(villain.port, "alice") as alice, here.use(villain.port, "bob") as bob:
        ours, _, taker = await both(nursery, alice, bob)
        await ours.send("one")
        given = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
        encryption_of(alice).list_changed()
        await ours.send("two")
        await taker.text("two")
        assert not serials_of(alice)


def serials_of(client: Client) -> set[int]:
    lists = encryption_of(client).account.authenticator.revocations
    return {entry.serial_number for each in lists for entry in each}


async def wait_for(found: Any) -> None:
    with trio.fail_after(10):
        while not found():
            await trio.sleep(0.01)


__all__: list[str] = []
_ = (ChatError, Server)
