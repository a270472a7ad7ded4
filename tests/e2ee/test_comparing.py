"""Comparisons: playbooks of two people in a two-person room, and what disturbs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee.comparing import LIFE, Asked, Compared, Comparing, Failed, Symbols
from trio_chat.e2ee.delivery import Send
from trio_chat.e2ee.payload import Verify
from trio_chat.e2ee.people import Standing
from trio_chat.e2ee.trust import SasCommit, encode_step
from trio_chat.e2ee.wishes import Invite
from trio_chat.errors import Unsent
from trio_chat.names import Key


class Person:
    """A peer and its comparison; what the peer's conversation tells goes there first."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.comparing = Comparing(peer.conversation)

    def begin(self, device: str = "") -> None:
        self.comparing.begin(self.peer.server.now, device)

    def process(self) -> None:
        self.comparing.process(self.peer.collect(), self.peer.server.now)

    @property
    def told(self) -> list[object]:
        found, self.comparing.events = self.comparing.events, []
        return list(found)

    @property
    def standing(self) -> Callable[[str], Standing]:
        return lambda user: self.peer.account.people.standing(Key(user)).standing


def run(server: Server, *people: Person) -> None:
    """Let everything happen, the comparisons included."""
    for _ in range(20):
        settle(server, *(each.peer for each in people))
        sent = len(server.log)
        for each in people:
            each.process()
        settle(server, *(each.peer for each in people))
        if len(server.log) == sent and not any(each.peer.conversation.events for each in people):
            return
    raise AssertionError("they never settle")


Make = Callable[..., Person]


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA.create()


@pytest.fixture
def server() -> Server:
    return Server("~alice+bob", open=False)


@pytest.fixture
def make(ca: CA, server: Server, tmp_path: Path) -> Iterator[Make]:
    made: list[Peer] = []
    certificates = {}

    def make(user: str, called: str = "laptop", *, another_key: bool = False) -> Person:
        if another_key or user not in certificates:
            certificates[user] = ca.person(user, "ed25519" if another_key else "p256")
        peer = Peer(server, certificates[user], tmp_path, called)
        made.append(peer)
        return Person(peer)

    yield make
    for peer in made:
        peer.store.close()


@pytest.fixture
def two(make: Make, server: Server) -> tuple[Person, Person]:
    """Alice and Bob, who have talked before."""
    alice, bob = make("alice"), make("bob")
    for each in (alice, bob):
        each.peer.connect()
    alice.peer.say("hello")
    run(server, alice, bob)
    return alice, bob


def symbols(person: Person) -> tuple[tuple[str, str], ...]:
    found = person.told[-1]
    assert isinstance(found, Symbols), found
    return found.symbols


def test_two_people_compare_and_verify_each_other(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    assert alice.told == []
    assert bob.told == [Asked("laptop")]
    bob.begin()
    run(server, alice, bob)
    seen = symbols(alice)
    assert seen == symbols(bob)
    assert len(seen) == 7
    alice.comparing.answer(same=True)
    (done,) = alice.told
    assert isinstance(done, Compared)
    assert alice.standing("bob") is Standing.VERIFIED
    assert bob.standing("alice") is Standing.CERTIFIED  # he has not said so
    bob.comparing.answer(same=True)
    assert bob.standing("alice") is Standing.VERIFIED


def test_what_was_verified_is_known_after_a_restart(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    bob.begin()
    run(server, alice, bob)
    alice.comparing.answer(same=True)
    alice.peer.restart()
    assert alice.standing("bob") is Standing.VERIFIED


def test_nothing_is_answered_without_consent(two: tuple[Person, Person], server: Server) -> None:
    alice, bob = two
    before = len(server.log)
    alice.begin()
    run(server, alice, bob)
    assert len(server.log) == before + 1


def test_a_comparison_may_be_the_first_that_is_ever_said(make: Make, server: Server) -> None:
    alice, bob = make("alice"), make("bob")
    for each in (alice, bob):
        each.peer.connect()
    alice.begin()
    run(server, alice, bob)
    assert bob.told == [Asked("laptop")]
    bob.begin()
    run(server, alice, bob)
    assert symbols(alice) == symbols(bob)


def test_two_who_begin_at_once_make_one_comparison(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    bob.begin()
    run(server, alice, bob)
    assert symbols(alice) == symbols(bob)


def test_another_epoch_begins_it_anew_and_nobody_is_asked_twice(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    turn(bob, server, alice)
    assert bob.told == [Asked("laptop")]
    bob.begin()
    run(server, alice, bob)
    assert symbols(alice) == symbols(bob)


def test_an_epoch_that_ends_between_answer_and_symbols_begins_it_anew(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    assert bob.told == [Asked("laptop")]
    bob.begin()
    settle(server, bob.peer)  # his answer is in the log
    turn(bob, server, alice)
    run(server, alice, bob)
    assert symbols(alice) == symbols(bob)


def turn(who: Person, server: Server, *others: Person) -> None:
    """Let somebody end the epoch."""
    epoch = server.epoch
    who.peer.conversation.wishes.update(server.now - 100)
    run(server, who, *others)
    assert server.epoch > epoch


def test_symbols_that_are_shown_outlive_the_epoch(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    bob.begin()
    run(server, alice, bob)
    turn(bob, server, alice)
    alice.comparing.answer(same=True)
    assert alice.standing("bob") is Standing.VERIFIED


def test_a_no_ends_it_on_both_sides_and_verifies_nobody(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    bob.begin()
    run(server, alice, bob)
    symbols(alice)
    symbols(bob)
    alice.comparing.answer(same=False)
    run(server, alice, bob)
    (ours,), (theirs,) = alice.told, bob.told
    assert isinstance(ours, Failed)
    assert "differ" in ours.reason
    assert theirs == Failed("alice has ended the comparison")
    with pytest.raises(Unsent, match="nothing to compare"):
        bob.comparing.answer(same=True)
    assert bob.standing("alice") is Standing.CERTIFIED


def test_who_is_asked_may_decline(two: tuple[Person, Person], server: Server) -> None:
    alice, bob = two
    alice.begin()
    run(server, alice, bob)
    bob.comparing.answer(same=False)
    run(server, alice, bob)
    assert alice.told == [Failed("bob has ended the comparison")]


def test_an_old_question_is_none(two: tuple[Person, Person], server: Server) -> None:
    alice, bob = two
    bob.peer.disconnect()
    alice.begin()
    run(server, alice)
    server.now += LIFE + 1
    bob.peer.connect()
    run(server, alice, bob)
    assert bob.told == []
    alice.process()
    assert alice.told == [Failed("bob has not answered")]


def test_only_one_device_of_the_other_side_is_listened_to(
    make: Make, two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    phone = make("bob", "phone")
    phone.peer.connect()
    run(server, alice, bob, phone)
    alice.begin()
    run(server, alice, bob, phone)
    assert bob.told == phone.told == [Asked("laptop")]
    bob.begin()
    phone.begin()  # before it could know
    run(server, alice, bob, phone)
    shown = symbols(alice)
    found = [event for each in (bob, phone) for event in each.told]
    assert Symbols("laptop", shown) in found
    assert Failed("another device of yours has answered") in found
    assert len(found) == 2


def test_another_device_of_ours_learns_that_one_has_answered(
    make: Make, two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    phone = make("bob", "phone")
    phone.peer.connect()
    run(server, alice, bob, phone)
    alice.begin()
    run(server, alice, bob, phone)
    assert phone.told == [Asked("laptop")]
    bob.begin()
    run(server, alice, bob, phone)
    assert phone.told == [Failed("another device of yours has answered")]


def test_of_several_keys_one_has_to_be_named(
    make: Make, two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    desktop = make("bob", "desktop", another_key=True)
    desktop.peer.connect()
    run(server, alice, bob, desktop)
    bob.peer.account.people.accept(Key("bob"))
    bob.peer.conversation.want(Invite("bob"))
    run(server, alice, bob, desktop)
    with pytest.raises(Unsent, match="several keys, on desktop, laptop"):
        alice.begin()
    alice.begin("Desktop")
    run(server, alice, bob, desktop)
    desktop.begin()
    run(server, alice, bob, desktop)
    shown = symbols(alice)
    assert desktop.told[-1] == Symbols("laptop", shown)
    alice.comparing.answer(same=True)
    verified = {
        each.device_name: alice.peer.account.people.standing(each).standing
        for each in alice.peer.conversation.membership.members.values()
        if each.key == "bob"
    }
    assert verified == {"desktop": Standing.VERIFIED, "laptop": Standing.CERTIFIED}


def test_what_is_no_step_and_whom_nobody_asked_change_nothing(
    two: tuple[Person, Person], server: Server
) -> None:
    alice, bob = two
    for step in (b"", b"\x02" + bytes(40), b"\x03" + bytes(40), b"\x04" + bytes(8)):
        alice.peer.conversation.say(Verify(step))
    run(server, alice, bob)
    assert bob.told == []
    with pytest.raises(Unsent):
        bob.comparing.answer(same=True)


def test_a_false_nonce_fails_it(two: tuple[Person, Person], server: Server) -> None:
    alice, bob = two
    commit = SasCommit(bytes(32))  # of a nonce that nobody knows
    alice.peer.conversation.say(Verify(encode_step(commit)))
    run(server, alice, bob)
    bob.begin()
    alice.peer.conversation.say(Verify(b"\x03" + commit.id + bytes(32)))
    run(server, alice, bob)
    _, failed = bob.told
    assert isinstance(failed, Failed)
    assert "did not keep to its rules" in failed.reason


def test_what_cannot_be_sent_ends_it(make: Make, server: Server) -> None:
    alice = make("alice")
    alice.peer.connect()
    alice.begin()  # bob has never been here
    assert not isinstance(alice.peer.conversation.next(server.now), Send)
    run(server, alice)
    (failed,) = alice.told
    assert isinstance(failed, Failed)
    assert "no device yet" in failed.reason
