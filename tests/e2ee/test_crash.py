"""The crash matrix: a device ends between any two of its steps, or loses its connection there.

A step is a call of the conversation, a parcel on the wire, or an answer of the server's. When it
ends, what is left is the store's file, byte for byte as it was at that moment.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee.payload import Text, decode_payload
from trio_chat.e2ee.wishes import Invite, Kick
from trio_chat.mls import hpke

BEFORE = "it was said before this device could read here"
Blow = Callable[[Peer], None]


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA.create()


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each AEAD key has encrypted: in MLS none ever has a second nonce."""
    used: Counter[bytes] = Counter()
    seal = hpke.AEAD.seal

    def counting(self: hpke.AEAD, key: bytes, nonce: bytes, aad: bytes, text: bytes) -> bytes:
        used[key] += 1
        return seal(self, key, nonce, aad, text)

    monkeypatch.setattr(hpke.AEAD, "seal", counting)
    return used


@attrs.define(eq=False)
class Story:
    """What happens in a room, step by step, and what has to come of it."""

    server: Server
    alice: Peer
    bob: Peer
    carol: Peer
    written: set[str] = attrs.field(factory=set)  # what was on the disk, and so must arrive

    @property
    def peers(self) -> tuple[Peer, ...]:
        return self.alice, self.bob, self.carol

    def settle(self) -> None:
        settle(self.server, *self.peers, count=2)

    def say(self, peer: Peer, *texts: str) -> None:
        for text in texts:
            peer.say(text)

    def note(self, peer: Peer) -> None:
        """Take note of what a device has written down and may not lose."""
        for row in peer.store.outbox(self.server.room):
            if row.kind == "message":
                payload = decode_payload(row.payload)
                assert isinstance(payload, Text)
                self.written.add(payload.text)

    def until(self, done: Callable[[], bool], want: Callable[[], object]) -> None:
        """Want something until it is so: who crashes, forgets what they wanted of others."""
        for _ in range(4):
            if done():
                return
            want()
            self.settle()
        assert done()


def open_room(story: Story) -> None:
    """Begin, join by oneself, talk, renew keys."""
    alice, bob, carol = story.peers
    alice.connect()
    story.settle()
    story.say(alice, "alone")
    bob.connect()
    story.settle()
    story.say(alice, "hello", "bob")
    story.say(bob, "hello alice")
    carol.connect()
    story.settle()
    story.server.now += 4000
    story.say(carol, "good morning")
    story.say(alice, "you too")
    story.settle()


def closed_room(story: Story) -> None:
    """Invite, be welcomed, talk, take out."""
    alice, bob, _ = story.peers
    for peer in story.peers:
        peer.connect()
    story.settle()

    def users() -> set[str]:
        return {str(user) for user in alice.conversation.membership.users}

    for user in ("bob", "carol"):
        story.until(
            lambda user=user: user in users(),  # type: ignore[misc]
            lambda user=user: alice.conversation.want(Invite(user)),  # type: ignore[misc]
        )
    story.say(alice, "welcome")
    story.say(bob, "thanks", "and hello")
    story.settle()
    story.until(lambda: "carol" not in users(), lambda: alice.conversation.want(Kick("carol")))
    story.say(bob, "where is she?")
    story.settle()


def private_room(story: Story) -> None:
    """Two begin at once."""
    alice, bob, _ = story.peers
    for peer in (alice, bob):
        peer.connect()
    story.say(alice, "hello", "bob")
    story.say(bob, "hello alice")
    story.settle()
    story.say(alice, "you first")
    story.settle()


STORIES = {"lobby": open_room, "ops": closed_room, "~alice+bob": private_room}


def crash(peer: Peer) -> None:
    peer.crash()


def lose_connection(peer: Peer) -> None:
    if peer.online:
        peer.disconnect()
        peer.connect()


def tell(ca: CA, folder: Path, room: str, who: str, blow: Blow, when: int) -> int:
    """Let a story happen, with a blow at one step; return how many steps it had."""
    folder.mkdir()
    server = Server(room, open=room == "lobby")
    people = [Peer(server, ca.person(user), folder) for user in ("alice", "bob", "carol")]
    alice, bob, carol = people
    story = Story(server, alice, bob, carol)
    victim = next(peer for peer in people if peer.user == who)
    steps = itertools.count()
    taken = 0

    def between() -> None:
        nonlocal taken
        taken = next(steps)
        if taken == when:
            story.note(victim)
            blow(victim)

    victim.between = between
    try:
        STORIES[room](story)
        members = [peer for peer in people if peer.conversation.membership.group is not None]
        last = [f"{peer.user} at last" for peer in members]
        for peer, text in zip(members, last, strict=True):
            peer.say(text)
        story.settle()
        assert len(members) == (3 if room == "lobby" else 2)
        everything = Counter(text for peer in people for text in set(peer.heard))
        for peer in members:
            heard = Counter(peer.heard)
            assert max(heard.values()) == 1, f"{peer} heard {heard}"
            assert set(last) <= heard.keys(), f"{peer} heard {heard}, and {peer.unread}"
            assert {*peer.unread} <= {BEFORE}, "what a member could have read, it has"
        assert story.written <= everything.keys(), "something that was written down is lost"
        groups = [peer.conversation.membership.group for peer in members]
        assert len({group.epoch_authenticator for group in groups if group}) == 1
    finally:
        for peer in people:
            peer.store.close()
    return taken


def check(
    ca: CA, folder: Path, sealed: Counter[bytes], case: tuple[str, str, Blow], steps: Sequence[int]
) -> None:
    room, who, blow = case
    for when in steps:
        sealed.clear()
        try:
            tell(ca, folder / str(when), room, who, blow, when)
        except Exception as error:
            raise AssertionError(f"{blow.__name__} of {who} in {room} at step {when}") from error
        assert max(sealed.values()) == 1, f"a key was used twice at step {when}"


CASES: list[tuple[str, str, Blow]] = [
    (room, who, blow)
    for room in STORIES
    for who in ("alice", "bob")
    for blow in (crash, lose_connection)
]


def steps_of(ca: CA, folder: Path, case: tuple[str, str, Blow]) -> Iterator[int]:
    return iter(range(tell(ca, folder / "whole", *case, -1) + 1))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2].__name__}")
def test_nothing_is_lost_or_doubled_at_some_of_the_steps(
    ca: CA, tmp_path: Path, sealed: Counter[bytes], case: tuple[str, str, Blow]
) -> None:
    steps = list(steps_of(ca, tmp_path, case))
    assert len(steps) > 20
    check(ca, tmp_path, sealed, case, steps[CASES.index(case) % 9 :: 9])


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2].__name__}")
def test_nothing_is_lost_or_doubled_at_any_step(
    ca: CA, tmp_path: Path, sealed: Counter[bytes], case: tuple[str, str, Blow]
) -> None:
    check(ca, tmp_path, sealed, case, list(steps_of(ca, tmp_path, case)))


def test_a_commit_that_a_crash_has_kept_back_uses_up_its_key(
    ca: CA, tmp_path: Path, sealed: Counter[bytes]
) -> None:
    """The next one is another, and two texts under one key show what they have in common."""
    server = Server("ops", open=False)
    alice, bob = (Peer(server, ca.person(user), tmp_path) for user in ("alice", "bob"))
    alice.connect()
    settle(server, alice)
    for user in ("bob", "carol"):
        alice.conversation.want(Invite(user))
        while alice.act():
            pass
        assert [parcel.kind for parcel in alice.sent] == (["commit"] if user == "bob" else [])
        alice.crash()
    alice.conversation.want(Invite("bob"))
    settle(server, alice)
    assert "bob" in alice.conversation.membership.users
    assert max(sealed.values()) == 1
    for peer in (alice, bob):
        peer.store.close()
