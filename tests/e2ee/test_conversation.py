"""Conversations: rooms begun, joined, talked in, changed, lost and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee import turning
from trio_chat.e2ee.delivery import ByCommit, Entered, Left, NotSent
from trio_chat.e2ee.following import Door
from trio_chat.e2ee.wishes import Invite, Kick, Leave

Make = Callable[..., Peer]


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA.create()


@pytest.fixture
def make(ca: CA, tmp_path: Path) -> Iterator[Make]:
    peers: list[Peer] = []

    def make(server: Server, user: str, called: str = "laptop", kind: str = "p256") -> Peer:
        peer = Peer(server, ca.person(user, kind), tmp_path, called)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.store.close()


def test_two_people_talk_in_an_open_room(make: Make) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob", kind="rsa")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    alice.say("hello")
    bob.say("hello yourself")
    settle(server, alice, bob)
    assert sorted(alice.heard) == sorted(bob.heard) == ["hello", "hello yourself"]
    assert all(b"hello" not in entry.body for entry in server.log)


def test_a_private_message_reaches_who_is_not_there(make: Make) -> None:
    server = Server("~alice+bob", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    desktop = make(server, "bob", "desktop")
    alice.connect()
    alice.say("are you there?")
    alice.say("never mind")
    settle(server, alice)
    for each in (bob, desktop):
        each.connect()
        settle(server, alice, bob, desktop)
        assert each.heard == ["are you there?", "never mind"]
    bob.say("now I am")
    settle(server, alice, bob, desktop)
    assert alice.heard[-1] == desktop.heard[-1] == "now I am"


def test_two_first_messages_at_once_end_in_one_conversation(make: Make) -> None:
    server = Server("~alice+bob", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    for each in (alice, bob):
        each.connect()
        each.say(f"{each.user} begins")
        while each.act():
            pass
    settle(server, alice, bob)
    assert sorted(alice.heard) == sorted(bob.heard) == ["alice begins", "bob begins"]
    assert server.losers == 1
    assert server.epoch <= 2


def test_nobody_is_told_what_they_could_not_read(make: Make) -> None:
    server = Server("~alice+bob", open=False)
    alice = make(server, "alice")
    alice.connect()
    token = alice.say("into the void")
    settle(server, alice)
    alice.collect()
    assert [e.id for e in alice.events if isinstance(e, NotSent)] == [token]
    assert not server.log


def test_a_closed_room_lets_in_whom_its_admin_invites(make: Make) -> None:
    server = Server("ops", open=False)
    alice, bob, carol = (make(server, user) for user in ("alice", "bob", "carol"))
    alice.connect()
    settle(server, alice)
    alice.say("alone")
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    assert bob.conversation.door is Door.WAITING
    done = alice.conversation.want(Invite("bob"))
    settle(server, alice, bob)
    alice.say("welcome")
    settle(server, alice, bob)
    assert bob.heard == ["welcome"]
    alice.collect()
    commits = [event for event in alice.events if isinstance(event, ByCommit)]
    assert [each.added for each in commits if each.done == (done,)] == [("bob",)]
    carol.connect()
    bob.conversation.want(Invite("carol"))
    settle(server, alice, bob, carol)
    bob.collect()
    assert [event for event in bob.events if isinstance(event, NotSent)]
    assert carol.conversation.door is Door.WAITING


def test_who_is_taken_out_reads_no_more(make: Make) -> None:
    server = Server("ops", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    alice.conversation.want(Invite("bob"))
    settle(server, alice, bob)
    alice.conversation.want(Kick("bob"))
    settle(server, alice, bob)
    alice.say("he is gone")
    settle(server, alice, bob)
    bob.collect()
    assert isinstance([e for e in bob.events if isinstance(e, Left)][-1], Left)
    assert bob.heard == []
    token = bob.say("am I?")
    bob.collect()
    assert bob.events[-1] == NotSent(
        token, "this device is not in the room any more; join it again"
    )


def test_who_leaves_is_out_once_somebody_says_something(make: Make) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    bob.conversation.want(Leave())
    settle(server, bob)
    alice.say("bob?")
    settle(server, alice, bob)
    assert alice.conversation.membership.users == {"alice"}
    assert bob.heard == []
    bob.conversation.come_back()
    settle(server, alice, bob)
    alice.say("there you are")
    settle(server, alice, bob)
    assert bob.heard == ["there you are"]


def test_a_restart_goes_on_where_it_was(make: Make) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    bob.disconnect()
    alice.say("while you were away")
    settle(server, alice)
    bob.restart()
    alice.restart()
    settle(server, alice, bob)
    assert bob.heard == ["while you were away"]
    bob.say("I am back")
    settle(server, alice, bob)
    assert alice.heard[-1] == "I am back"
    assert not alice.unread
    assert not bob.unread


def test_a_lost_state_is_mended_by_joining_anew(make: Make, tmp_path: Path) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    bob.store.close()
    bob.path.unlink()
    bob.open_store()
    bob.connect()
    settle(server, alice, bob)
    alice.say("again")
    settle(server, alice, bob)
    assert bob.heard[-1] == "again"
    bob.collect()
    assert isinstance([e for e in bob.events if isinstance(e, Entered)][-1], Entered)
    assert len(alice.conversation.membership.members) == 2


def test_who_does_not_go_into_one_frame_comes_with_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server("ops", open=False)
    alice = make(server, "alice")
    others = [make(server, user) for user in ("bob", "carol", "dave", "erin", "frank")]
    alice.connect()
    settle(server, alice)
    before = server.epoch
    monkeypatch.setattr(turning, "FRAME", 8 * 1024)
    for each in others:
        alice.conversation.want(Invite(each.user))
    settle(server, alice)
    assert server.epoch > before + 1
    assert alice.conversation.membership.users == {"alice", *(each.user for each in others)}
    assert not [event for event in alice.collect() if isinstance(event, NotSent)]


def turns(server: Server, peer: Peer) -> int:
    """How many commits of this device are in the log."""
    return sum(e.device == peer.wire and e.kind == "commit" for e in server.log)


def test_who_was_welcomed_renews_their_keys(make: Make) -> None:
    server = Server("~alice+bob", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    alice.say("hello")
    settle(server, alice)
    assert turns(server, bob) == 0
    bob.connect()
    settle(server, alice, bob)
    assert turns(server, bob) == 1


@pytest.mark.parametrize(("away", "renewals"), [(3000, 0), (3700, 1)])
def test_an_hour_s_absence_is_a_reason_for_fresh_keys(make: Make, away: int, renewals: int) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    before = turns(server, bob)
    bob.disconnect()
    server.now += away
    bob.restart()
    settle(server, alice, bob)
    assert turns(server, bob) == before + renewals


@pytest.mark.parametrize(
    ("messages", "pause", "renewals"), [(99, 0, 0), (100, 0, 1), (1, 86500, 1)]
)
def test_so_many_messages_or_a_day_of_use_are_reasons_too(
    make: Make, messages: int, pause: int, renewals: int
) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    before = turns(server, bob)
    for number in range(messages):
        bob.say(f"{number}")
    settle(server, alice, bob)
    server.now += pause
    settle(server, alice, bob)
    assert turns(server, bob) == before + renewals
    bob.say("and on")
    settle(server, alice, bob)
    assert alice.heard[-1] == "and on"


def test_a_renewed_certificate_is_shown_to_the_group(make: Make) -> None:
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    bob.connect()
    settle(server, alice, bob)
    old = bob.account.device
    bob.account.use(bob.person.device("laptop", device_id=old.id))
    settle(server, alice, bob)
    keys = {each.signature_key for each in alice.conversation.membership.members.values()}
    assert bob.account.device.signature_key.public in keys
    assert old.signature_key.public not in keys
    bob.say("with it")
    settle(server, alice, bob)
    assert alice.heard == ["with it"]
