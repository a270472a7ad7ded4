"""Encrypted rooms by the client library, against a real server: who can read, and who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from tests.conftest import Serve
from tests.people import People
from trio_chat import Client, Message, connect
from trio_chat.client import (
    ComparisonAsked,
    ComparisonDone,
    ComparisonFailed,
    ComparisonShown,
    KeyChanged,
    MembersChanged,
    Readable,
    RoomClosed,
    Standing,
)
from trio_chat.errors import Forbidden, NoRoom, NoUser, Unsent
from trio_chat.protocol.frames import Invited, Topic
from trio_chat.server import Server

Join = Callable[..., AbstractAsyncContextManager[Client]]
E = TypeVar("E")
PATIENCE = 20.0  # seconds


@pytest.fixture
async def server(run_server: Serve) -> Server:
    return await run_server("lobby", mode="encrypted")


@pytest.fixture
def client(people: People, tmp_path: Path) -> Join:
    """Connect as somebody on a disk of their own: `client(server.port, "alice")`."""

    @asynccontextmanager
    async def start(port: int, name: str, *, disk: str = "") -> AsyncIterator[Client]:
        issued = people.certificate(name)
        assert issued.key is not None
        async with connect(
            f"localhost:{port}",
            cert=issued.crt,
            key=issued.key,
            ca=people.ca,
            device=None,
            data=tmp_path / (disk or name),
        ) as client:
            assert client._encryption is not None
            with trio.fail_after(PATIENCE):
                await client._encryption.published.wait()  # others can let it in
            yield client

    return start


async def until(client: Client, kind: type[E]) -> E:
    """Return the next event of a kind."""
    with trio.fail_after(PATIENCE):
        async for event in client:
            if isinstance(event, kind):
                return event
    raise AssertionError("the client has ended")


async def test_a_room_tells_who_can_read_it(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice, client(server.port, "bob") as bob:
        ours = await alice.join("lobby")
        assert ours.encrypted
        assert (ours.access, ours.role) == ("open", "member")
        await bob.join("lobby")
        changed = await until(alice, MembersChanged)
        assert (changed.actor, changed.added) == ("bob", ("bob",))
        first, second = await ours.readers()
        assert (first.user, first.own, first.standing) == ("alice", True, Standing.VERIFIED)
        assert (second.user, second.own, second.standing) == ("bob", False, Standing.CERTIFIED)
        assert await alice.standing("Bob") is Standing.CERTIFIED
        assert await alice.standing("carol") is Standing.UNKNOWN
        (number,) = await alice.safety_numbers("bob")
        (other,) = await bob.safety_numbers("alice")
        assert number.digits == other.digits
        assert await ours.check_words() == await bob.rooms["lobby"].check_words()
        (own,) = await alice.devices()
        assert own.own


async def test_who_enters_is_not_told_that_everybody_was_added(
    server: Server, client: Join
) -> None:
    async with client(server.port, "alice") as alice, client(server.port, "bob") as bob:
        await alice.join("lobby")
        theirs = await bob.join("lobby")
        await theirs.send("here I am")
        with trio.fail_after(PATIENCE):
            seen = []
            async for event in bob:
                seen.append(event)
                if isinstance(event, Message):
                    break
        assert any(isinstance(event, Readable) for event in seen)
        assert not any(isinstance(event, MembersChanged) for event in seen)


async def test_keys_are_compared_live(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice, client(server.port, "bob") as bob:
        await alice.verify("bob")
        asked = await until(bob, ComparisonAsked)
        assert asked.user == "alice"
        await bob.verify("alice")
        ours, theirs = await until(alice, ComparisonShown), await until(bob, ComparisonShown)
        assert ours.symbols == theirs.symbols
        await alice.answer("bob", same=True)
        done = await until(alice, ComparisonDone)
        (number,) = await alice.safety_numbers("bob")
        assert number.person.fingerprint == done.fingerprint
        assert await alice.standing("bob") is Standing.VERIFIED
        await bob.answer("alice", same=False)
        assert "differ" in (await until(bob, ComparisonFailed)).reason
        room = await bob.direct("alice")
        assert await room.history() == []  # its steps are nothing that was said
        with pytest.raises(Unsent, match="nothing to compare"):
            await bob.answer("alice", same=True)
        with pytest.raises(Unsent, match="that is you"):
            await alice.verify("alice")


async def test_nobody_compares_with_who_was_never_here(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice:
        with pytest.raises(NoUser):
            await alice.verify("zoe")


async def test_a_verified_person_with_a_new_key_is_not_written_to(
    server: Server, client: Join, people: People, tmp_path: Path
) -> None:
    another = People(people.authority)  # the same CA, and another certificate for bob
    async with client(server.port, "alice") as alice:
        ours = await alice.join("lobby")
        async with client(server.port, "bob") as bob:
            await bob.join("lobby")
            await alice.verify("bob")
            await until(bob, ComparisonAsked)
            await bob.verify("alice")
            await until(alice, ComparisonShown)
            await alice.answer("bob", same=True)
            await until(alice, ComparisonDone)
        folder = tmp_path / "another"
        folder.mkdir()
        await trio.to_thread.run_sync(_issue_again, another, "bob", folder)
        async with connect(
            f"localhost:{server.port}",
            cert=folder / "bob.crt",
            key=folder / "bob.key",
            ca=people.ca,
            device=None,
            data=tmp_path / "bob2",
        ) as impostor:
            await impostor.join("lobby")
            changed = await until(alice, KeyChanged)
            assert (changed.user, changed.blocks) == ("bob", True)
            with pytest.raises(Unsent, match="identity of bob has changed"):
                await ours.send("our secret")
            assert await alice.standing("bob") is Standing.CHANGED
            assert await alice.accept("bob", ["00" * 32]) == []
            assert await alice.accept("bob", [changed.fingerprint]) == [changed.fingerprint]
            sent = await ours.send("hello")
            assert (await until(impostor, Message)).text == sent.text


def _issue_again(people: People, name: str, folder: Path) -> None:
    """Make another certificate of that name, with another key."""
    issued = people.authority.issue_client(name, out=folder)
    assert issued.crt.parent == folder


async def test_a_closed_room_is_for_whom_its_owner_lets_in(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice, client(server.port, "bob") as bob:
        await alice.create("den")
        ours = await alice.join("den")
        assert (ours.access, ours.role) == ("closed", "owner")
        await ours.send("before bob")
        with pytest.raises(NoRoom):
            await bob.join("den")
        await ours.invite("bob")
        assert (await until(bob, Invited)).room == "den"
        theirs = await bob.join("den")
        sent = await ours.send("hello bob")
        assert (await until(bob, Message)).text == sent.text
        assert [entry.seq for entry in await theirs.history()] == [sent.seq]
        with pytest.raises(Forbidden):
            await theirs.invite("carol")
        await ours.kick("bob")
        assert (await until(bob, RoomClosed)).room == "den"
        assert [each.user for each in await ours.readers()] == ["alice"]
        await ours.send("without bob")
        with pytest.raises(NoRoom):
            await bob.join("den")
        await ours.invite("bob")
        with trio.fail_after(PATIENCE):
            theirs = await bob.join("den")
        sent = await ours.send("welcome back")
        while (await until(bob, Message)).text != sent.text:
            pass
        assert "without bob" not in str(await theirs.history())


async def test_somebody_unknown_is_not_invited(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice:
        await alice.create("den")
        room = await alice.join("den")
        with pytest.raises(NoUser):
            await room.invite("zoe")
        await alice.create("plain", mode="plain")
        plain = await alice.join("plain")
        for call in (plain.invite("bob"), plain.kick("bob")):
            with pytest.raises(Unsent, match="plain"):
                await call
        with pytest.raises(Unsent, match="nothing of it is kept"):
            await plain.search("words")


async def test_what_was_said_is_found_and_the_topic_is_known_after_a_restart(
    server: Server, client: Join
) -> None:
    async with client(server.port, "alice") as alice:
        room = await alice.join("lobby")
        await room.send("the crow flies at midnight")
        await room.send("something else")
        await room.set_topic("birds")
        assert room.topic == "birds"
        await until(alice, Topic)
    async with client(server.port, "alice") as alice:
        room = await alice.join("lobby")
        assert room.topic == "birds"
        (found,) = await room.search("CROW mid")
        assert isinstance(found, Message)
        assert found.text == "the crow flies at midnight"


async def test_a_fresh_disk_is_back_in_its_rooms_at_once(server: Server, client: Join) -> None:
    async with client(server.port, "alice") as alice:
        await alice.join("lobby")
        for disk in ("first", "second", "third"):
            async with client(server.port, "bot", disk=disk) as bot:
                with trio.fail_after(5):
                    room = await bot.join("lobby")
                    sent = await room.send(f"from the {disk} disk")
            while (await until(alice, Message)).text != sent.text:
                pass
        found = [each.user for each in await alice.rooms["lobby"].readers()]
        assert found == ["alice", "bot"]  # and not once for each disk
