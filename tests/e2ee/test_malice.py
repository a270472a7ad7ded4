"""Malice: what a server or a member can do wrong on purpose is refused, or told, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random  # noqa: TID251 - repeatable, from a seed
from typing import Any

import attrs
import pytest

from tests.e2ee.delivery import Peer, Server, settle
from tests.e2ee.makers import CA
from trio_chat.e2ee import turning
from trio_chat.e2ee.delivery import (
    Began,
    Claim,
    Event,
    FetchInfo,
    FetchList,
    FetchWelcome,
    Info,
    LogEntry,
    NotSent,
    Offer,
    Parcel,
    Said,
    Send,
    Trouble,
    Unreadable,
    Wait,
    Welcomed,
)
from trio_chat.e2ee.following import Door
from trio_chat.e2ee.identity import Authenticator
from trio_chat.e2ee.payload import Unknown
from trio_chat.e2ee.policy import CAPABILITIES, RoomPolicy, Who
from trio_chat.e2ee.wishes import Invite, Kick
from trio_chat.mls import (
    Add,
    Capabilities,
    CommitResult,
    Group,
    GroupContextExtensions,
    KeyPackage,
    KeyPackageBundle,
    Remove,
    Update,
    decode_message,
    encode_message,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.leaves import sign_leaf

Make = Callable[..., Peer]
GARBAGE = b"\0\1\0\2" + bytes(200)


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


def lobby(make: Make, *users: str) -> tuple[Server, list[Peer]]:
    """An open room with these in it."""
    server = Server("lobby")
    peers = [make(server, user) for user in users]
    for peer in peers:
        peer.connect()
        settle(server, *peers)
    return server, peers


def ops(make: Make, *users: str) -> tuple[Server, list[Peer]]:
    """A closed room; the first one is its admin."""
    server = Server("ops", open=False)
    peers = [make(server, user) for user in users]
    for peer in peers:
        peer.connect()
        settle(server, *peers)
    for user in users[1:]:
        peers[0].conversation.want(Invite(user))
    settle(server, *peers)
    assert all(peer.conversation.door is Door.INSIDE for peer in peers)
    return server, peers


def direct(make: Make) -> tuple[Server, list[Peer]]:
    server = Server("~alice+bob", open=False)
    peers = [make(server, "alice"), make(server, "bob")]
    for peer in peers:
        peer.connect()
    peers[0].say("hello")
    settle(server, *peers)
    return server, peers


def group_of(peer: Peer) -> Group:
    group = peer.conversation.membership.group
    assert group is not None
    return group


def put(
    server: Server,
    peer: Peer,
    kind: str,
    body: bytes,
    info: bytes = GARBAGE,
    tree: bytes = GARBAGE,
    welcomes: tuple[tuple[tuple[str, ...], bytes], ...] = (),
) -> LogEntry:
    """Have the server take what a peer's own client would not have sent."""
    parcel = Parcel(
        n=server.counters.get(peer.wire, 0) + 1,
        epoch=server.epoch,
        kind=kind,  # type: ignore[arg-type]  # one of them
        body=body,
        info=info,
        tree=tree,
        welcomes=welcomes,
    )
    server.take(peer, parcel)
    assert server.counters[peer.wire] == parcel.n
    return server.log[-1]


def put_commit(server: Server, peer: Peer, made: CommitResult[Group]) -> LogEntry:
    group = made.group
    body = encode_message(made.message)
    return put(server, peer, "commit", body, turning.info_of(group), group.ratchet_tree())


def told(peer: Peer, kind: type[Event]) -> list[Event]:
    peer.collect()
    return [event for event in peer.events if isinstance(event, kind)]


def troubles(peer: Peer) -> str:
    return "\n".join(event.reason for event in told(peer, Trouble) if isinstance(event, Trouble))


def they_talk(server: Server, *peers: Peer) -> None:
    """Check that all of them read each other."""
    texts = [f"{peer.user} {peer.device.name} talks at {len(server.log)}" for peer in peers]
    for peer, text in zip(peers, texts, strict=True):
        peer.say(text)
    settle(server, *peers)
    for peer in peers:
        assert sorted(t for t in peer.heard if t in texts) == sorted(texts), (peer, troubles(peer))
    assert len({group_of(peer).epoch_authenticator for peer in peers}) == 1


def later(server: Server, *peers: Peer, seconds: float = 200.0) -> None:
    """Let time pass, with all that happens in it."""
    end = server.now + seconds
    while server.now < end:
        server.now += 20
        settle(server, *peers)


def users(peer: Peer) -> set[str]:
    return {str(user) for user in peer.conversation.membership.users}


# The server


def test_a_message_that_comes_twice_is_read_once(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.say("once")
    settle(server, alice, bob)
    entry = server.log[-1]
    server.log.append(attrs.evolve(entry, seq=entry.seq + 1, n=entry.n + 1))
    settle(server, alice, bob)
    assert bob.heard == ["once"]
    assert len(told(bob, Unreadable)) == 1
    assert len(told(alice, Unreadable)) == 1  # under her name, and nothing of hers
    server.counters[alice.wire] = entry.n
    they_talk(server, alice, bob)


def test_a_message_behind_the_commit_that_ended_its_epoch_is_not_read(make: Make) -> None:
    server, (alice, bob, carol) = lobby(make, "alice", "bob", "carol")
    carol.disconnect()
    seq = len(server.log)
    alice.say("early")
    settle(server, alice, bob)
    bob.conversation.wishes.update(server.now)
    later(server, alice, bob, seconds=60)
    message = next(i for i in range(seq, len(server.log)) if server.log[i].kind == "message")
    commit = next(i for i in range(seq, len(server.log)) if server.log[i].kind == "commit")
    first, second = server.log[message], server.log[commit]
    server.log[message] = attrs.evolve(second, seq=first.seq)
    server.log[commit] = attrs.evolve(first, seq=second.seq)
    carol.connect()
    settle(server, carol)
    assert carol.heard == []
    assert "of another epoch" in carol.unread[-1]
    they_talk(server, alice, bob, carol)


@pytest.mark.parametrize("kind", ["proposal", "commit", "create"])
def test_a_message_called_something_else_is_nothing(make: Make, kind: str) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.say("hello")
    while alice.act():
        pass
    alice.transmit()
    server.log[-1] = attrs.evolve(server.log[-1], kind=kind)  # type: ignore[arg-type]
    server.epoch += kind != "proposal"
    assert server.info is not None
    server.info = attrs.evolve(server.info, epoch=server.epoch)
    settle(server, alice, bob)
    assert alice.heard == bob.heard == []
    assert told(alice, NotSent)
    if kind != "proposal":
        assert told(bob, Trouble) or told(bob, Began)
    later(server, alice, bob)
    they_talk(server, alice, bob)


def test_a_commit_called_a_message_is_nothing(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    made = group_of(bob).commit()
    put(server, bob, "message", encode_message(made.message))
    settle(server, alice)
    assert "not what the server says" in alice.unread[-1]
    assert alice.conversation.membership.epoch == server.epoch
    assert group_of(alice).epoch == group_of(bob).epoch


def test_a_message_under_another_name_is_not_read(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    bob.say("I am bob")
    while bob.act():
        pass
    bob.transmit()
    server.log[-1] = attrs.evolve(server.log[-1], user="carol")
    settle(server, alice)
    assert alice.heard == []
    assert "the keys are bob's" in alice.unread[-1]


def test_a_message_of_ours_that_comes_back_altered_is_told(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    token = alice.say("as it was")
    while alice.act():
        pass
    alice.transmit()
    server.log[-1] = attrs.evolve(server.log[-1], body=server.log[-1].body[:-1] + b"!")
    settle(server, alice, bob)
    assert alice.heard == bob.heard == []
    assert [event.id for event in told(alice, NotSent) if isinstance(event, NotSent)] == [token]
    assert told(alice, Unreadable)
    assert told(bob, Unreadable)
    they_talk(server, alice, bob)


def test_a_commit_of_ours_that_comes_back_altered_is_mended(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.conversation.wishes.update(server.now - 100)
    while alice.act():
        pass
    alice.transmit()
    assert server.log[-1].kind == "commit"
    server.log[-1] = attrs.evolve(server.log[-1], body=GARBAGE)
    settle(server, alice, bob)
    assert "has changed what this device sent" in troubles(alice)
    assert "cannot be followed" in troubles(bob)
    they_talk(server, alice, bob)


def test_an_echo_of_what_was_never_sent_moves_no_counter(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    token = alice.say("mine")
    while alice.act():
        pass
    forged = attrs.evolve(
        server.log[-1],
        seq=len(server.log) + 1,
        user="alice",
        device=alice.wire,
        n=10**12,
        epoch=server.epoch,
        kind="message",
        body=GARBAGE,
    )
    server.log.append(forged)
    settle(server, alice, bob)
    assert told(alice, Unreadable)
    assert [e.id for e in told(alice, Said) if isinstance(e, Said) and e.id] == [token]
    they_talk(server, alice, bob)


def test_a_log_that_is_wound_back_is_told_and_nothing_read_is_lost(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    for text in ("one", "two", "three"):
        bob.say(text)
        settle(server, alice, bob)
    log, epoch = list(server.log), server.epoch
    for peer in (alice, bob):
        peer.disconnect()
    del server.log[-2:]
    server.counters[bob.wire] -= 2
    for peer in (alice, bob):
        peer.connect()
    settle(server, alice, bob)
    assert server.epoch > epoch
    assert len(server.log) > len(log) - 2
    for peer in (alice, bob):
        assert "another history" in troubles(peer)
        kept = [entry.text for entry in peer.store.history("lobby")]
        assert kept == ["one", "two", "three"]
    they_talk(server, alice, bob)
    alice.restart()
    they_talk(server, alice, bob)


def test_an_epoch_that_is_not_there_keeps_nobody_from_talking_for_long(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.say("hello")
    while alice.act():
        pass
    parcel = alice.sent.pop()
    alice.refused(parcel.n, "stale", 10**9)
    settle(server, alice, bob)
    assert bob.heard == []
    alice.disconnect()
    alice.connect()
    settle(server, alice, bob)
    assert bob.heard == ["hello"]


def test_races_may_be_lost_a_thousand_times(make: Make) -> None:
    server, (alice,) = lobby(make, "alice")
    alice.conversation.wishes.update(server.now - 100)
    for _ in range(1200):
        server.now += 10
        while alice.act():
            pass
        while alice.sent:
            alice.refused(alice.sent.pop(0).n, "too-many")
        alice.deliver()
        if alice.conversation.door is not Door.INSIDE:
            break
    assert "takes no change by this device" in troubles(alice)  # before nobody could follow
    for _ in range(1200):
        server.now += 10
        while alice.act():
            pass
        while alice.sent:
            alice.refused(alice.sent.pop(0).n, "too-many")
        alice.deliver()
    settle(server, alice)
    they_talk(server, alice)


def test_who_is_sent_wrong_numbers_with_a_welcome_joins_by_itself(make: Make) -> None:
    server = Server("ops", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    alice.conversation.want(Invite("bob"))
    settle(server, alice)
    found = server.welcomes[bob.wire]
    server.welcomes[bob.wire] = attrs.evolve(found, epoch=found.epoch + 7)
    bob.connect()
    settle(server, alice, bob)
    assert "not as far as" in troubles(bob)
    they_talk(server, alice, bob)


@pytest.mark.parametrize("skip", [-1, 1000])
def test_a_welcome_for_another_place_of_the_log_is_mended(make: Make, skip: int) -> None:
    server = Server("ops", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    alice.say("before")
    settle(server, alice)
    alice.conversation.want(Invite("bob"))
    settle(server, alice)
    found = server.welcomes[bob.wire]
    server.welcomes[bob.wire] = attrs.evolve(found, seq=found.seq + skip)
    bob.connect()
    settle(server, alice, bob)
    bob.disconnect()
    bob.connect()
    settle(server, alice, bob)
    they_talk(server, alice, bob)
    assert told(bob, Trouble)


def test_a_welcome_that_was_used_is_not_used_again(make: Make) -> None:
    """With a key package of last resort it could be: the same keys would encrypt twice."""
    server = Server("ops", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    alice.connect()
    settle(server, alice)
    server.packages[bob.wire] = server.packages[bob.wire][-1:]
    alice.conversation.want(Invite("bob"))
    settle(server, alice)
    old = server.welcomes[bob.wire]
    bob.connect()
    settle(server, alice, bob)
    they_talk(server, alice, bob)
    bob.disconnect()
    with bob.store.event() as changes:
        bob.conversation.membership.forget(changes)
        bob.conversation.door = Door.OUT
    bob.restart()
    server.welcomes[bob.wire] = old
    bob.conversation.welcomed(attrs.evolve(old, seq=len(server.log)), server.now)
    assert bob.conversation.door is not Door.INSIDE
    assert "used before" in troubles(bob)
    settle(server, alice, bob)
    they_talk(server, alice, bob)


def test_a_group_of_another_room_is_refused(make: Make, ca: CA, tmp_path: Path) -> None:
    other, (eve,) = lobby(make, "eve")
    eve.connect()
    server = Server("market")
    alice = make(server, "alice")
    server.epoch, server.info = 1, other.info
    alice.connect()
    settle(server, alice)
    assert alice.conversation.membership.group is None
    assert "another room's group" in troubles(alice)


def test_a_tree_of_another_group_is_refused(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    _, (eve,) = lobby(make, "eve")
    assert server.info is not None
    server.info = attrs.evolve(server.info, tree=group_of(eve).ratchet_tree())
    carol = make(server, "carol")
    carol.connect()
    settle(server, carol)
    assert "the group is broken" in troubles(carol)
    assert carol.conversation.membership.group is None
    bob.conversation.wishes.update(server.now - 100)
    later(server, alice, bob, carol)
    they_talk(server, alice, bob, carol)


def test_the_room_as_it_was_is_refused(make: Make) -> None:
    """Somebody who was taken out since could read what is said there."""
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    old = server.info
    alice.conversation.want(Kick("eve"))
    settle(server, alice, bob, eve)
    bob.disconnect()
    server.info, info = old, server.info
    bob.connect()
    with bob.store.event() as changes:
        bob.conversation._lose(changes, "lost", server.now)
    settle(server, bob)
    assert bob.conversation.membership.group is None
    assert "as it was long ago" in troubles(bob)
    server.info = info
    later(server, alice, bob)
    they_talk(server, alice, bob)


def fake(eve: Peer, policy: RoomPolicy, *guests: Offer, group_id: bytes = b"fake") -> turning.Draft:
    """A group that Eve makes by herself, by any policy, with any name, and with any guests."""
    server, account = eve.server, eve.account
    group = Group.create(
        account.bundle(server.now),
        group_id,
        extensions=policy.as_extensions(),
        authenticate=account.services.authenticate,
    )
    packages = [decode_message(each.package) for each in guests]
    made = group.commit(
        *(Add(each) for each in packages if isinstance(each, KeyPackage)), ratchet_tree=True
    )
    welcome = encode_message(made.welcome) if made.welcome else b""
    return turning.Draft(
        kind="create",
        group=made.group,
        body=encode_message(made.message),
        welcomes=((tuple(each.device for each in guests), welcome),) if guests else (),
    )


def show(server: Server, draft: turning.Draft, *, create: bool = True) -> None:
    """Have the server show a group as the room's, without a word in the log if need be."""
    seq = len(server.log)
    if create:
        server.epoch += 1
    group = draft.group
    tree = group.ratchet_tree()
    server.info = Info(epoch=server.epoch, seq=seq, body=turning.info_of(group), tree=tree)
    for devices, body in draft.welcomes:
        for device in devices:
            server.welcomes[device] = Welcomed(epoch=server.epoch, seq=seq, body=body, tree=tree)


@pytest.mark.parametrize("welcome", [True, False])
def test_nobody_else_gets_into_a_room_of_two(make: Make, *, welcome: bool) -> None:
    server = Server("~alice+bob", open=False)
    alice, bob = make(server, "alice"), make(server, "bob")
    eve = make(server, "eve")
    policy = alice.conversation.place.policy()
    show(server, fake(eve, policy, *(server.claim("alice") if welcome else ())))
    alice.connect()
    alice.say("for bob only")
    later(server, alice, bob)
    assert alice.conversation.membership.group is None
    assert "somebody else into a room of two" in troubles(alice)
    assert not [entry for entry in server.log if entry.kind == "message"]


@pytest.mark.parametrize("welcome", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_a_closed_room_made_by_a_stranger_is_refused(
    make: Make, *, welcome: bool, same: bool
) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    eve = make(server, "eve")
    policy = attrs.evolve(alice.conversation.membership.former.policy)  # type: ignore[union-attr]
    name = group_of(alice).context.group_id if same else b"fake"
    for peer in (alice, bob):
        peer.disconnect()
    draft = fake(eve, policy, *(server.claim("bob") if welcome else ()), group_id=name)
    if same:  # as long a history as it takes
        for _ in range(10):
            draft = attrs.evolve(draft, group=draft.group.commit().group)
        draft = attrs.evolve(draft, welcomes=())
    show(server, draft)
    bob.connect()
    bob.say("is anybody here?")
    later(server, bob)
    assert bob.conversation.membership.group is None
    assert "was not in it" in troubles(bob)
    assert not [entry for entry in server.log if entry.kind == "message" and entry.user == "bob"]


def test_an_open_door_of_a_closed_room_is_not_believed(make: Make) -> None:
    server, (_, bob) = ops(make, "alice", "bob")
    eve = make(server, "eve")
    bob.disconnect()
    server.open = True
    show(server, fake(eve, RoomPolicy(name="ops", add=Who.MEMBERS, open=True)))
    bob.restart()
    later(server, bob)
    assert bob.conversation.membership.group is None


def test_key_packages_that_do_not_hold_keep_nobody_out(make: Make, ca: CA) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    carol, _ = make(server, "carol"), make(server, "eve")
    carol.connect()
    device = carol.device
    weak = KeyPackageBundle.create(
        device.credential,
        device.signature_key,
        suite=group_of(alice).suite,
        capabilities=Capabilities(extensions=(), credentials=CAPABILITIES.credentials),
        lifetime=carol.account.bundle(server.now).key_package.leaf_node.source,  # type: ignore[arg-type]
    )
    good = server.claim("carol")
    desktop = make(server, "carol", "desktop")
    (lame,) = (each for each in server.claim("carol") if each.device == desktop.wire)
    offers = [
        Offer("garbage", GARBAGE),
        Offer("eve", server.claim("eve")[0].package),
        Offer("ours", server.claim("alice")[0].package),
        Offer("weak", encode_message(weak.key_package)),
        *good,
        Offer("again", good[0].package),
        lame,
    ]
    group = group_of(alice)
    alice.conversation.want(Invite("carol"))
    assert alice.conversation.next(server.now) == Claim(("carol",))
    alice.conversation.claimed({"carol": offers}, server.now)
    settle(server, alice, bob, carol)
    assert group.context.group_id == group_of(alice).context.group_id
    assert users(alice) == {"alice", "bob", "carol"}
    assert "does not hold" in troubles(alice)
    later(server, alice, bob, carol)
    they_talk(server, alice, bob, carol)


def test_who_has_nothing_but_weak_keys_is_not_let_in(make: Make) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    carol = make(server, "carol")
    weak = KeyPackageBundle.create(
        carol.device.credential,
        carol.device.signature_key,
        suite=group_of(alice).suite,
        capabilities=Capabilities(extensions=(), credentials=CAPABILITIES.credentials),
        lifetime=carol.account.bundle(server.now).key_package.leaf_node.source,  # type: ignore[arg-type]
    )
    server.packages[carol.wire] = [encode_message(weak.key_package)]
    token = alice.conversation.want(Invite("carol"))
    settle(server, alice, bob)
    assert [e.id for e in told(alice, NotSent) if isinstance(e, NotSent)] == [token]
    they_talk(server, alice, bob)


def test_a_user_of_many_devices_brings_as_many_as_may_be(make: Make, tmp_path: Path) -> None:
    server, (alice,) = ops(make, "alice")
    for number in range(34):
        make(server, "bob", f"device{number}")
    alice.conversation.want(Invite("bob"))
    settle(server, alice)
    assert len(alice.conversation.membership.members) == 33


def test_a_fork_shows_and_is_mended(make: Make) -> None:
    server, (alice, bob, carol) = lobby(make, "alice", "bob", "carol")
    one, two = group_of(alice).commit(), group_of(alice).commit()
    entry = put_commit(server, alice, one)
    settle(server, bob)
    server.log[-1] = attrs.evolve(entry, body=encode_message(two.message))
    settle(server, carol)
    bob.say("do you see me?")
    settle(server, bob, carol)
    assert carol.unread
    bob.conversation.wishes.update(server.now - 100)
    later(server, bob, carol)
    assert "cannot be followed" in troubles(carol)
    they_talk(server, bob, carol)


def revoke(ca: CA, peer: Peer) -> Authenticator:
    found = ca.revoke(peer.person.certificate.serial_number)
    return Authenticator([ca.certificate], [found])


def test_who_is_revoked_reads_nothing_more(make: Make, ca: CA) -> None:
    server, (alice, bob, eve) = lobby(make, "alice", "bob", "eve")
    alice.account.authenticator = revoke(ca, eve)
    conversation = alice.conversation
    conversation._begin_at = server.now + 10  # after a lost race, say
    alice.say("secret")
    while alice.act():
        pass
    assert not alice.sent, "encrypted to who is revoked"
    server.lists = alice.account.authenticator
    eve.disconnect()
    later(server, alice, bob, seconds=40)
    assert bob.heard == ["secret"]
    eve.connect()
    eve.deliver()
    assert eve.heard == []


def test_a_list_that_is_withheld_parts_the_room_and_that_is_told(make: Make, ca: CA) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    bob.account.authenticator = revoke(ca, eve)
    settle(server, bob)
    later(server, bob, seconds=40)
    assert users(bob) == {"alice", "bob"}
    alice.deliver()
    assert alice.conversation.next(server.now) == FetchList()
    alice.conversation.listed()  # and there was none
    settle(server, alice)
    assert "refused: bob removed eve" in troubles(alice)
    server.lists = bob.account.authenticator
    later(server, alice, bob)
    they_talk(server, alice)


def test_a_removal_by_a_newer_list_is_gone_along_with(make: Make, ca: CA) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    server.lists = bob.account.authenticator = revoke(ca, eve)
    later(server, alice, bob, seconds=40)
    assert not troubles(alice)
    they_talk(server, alice, bob)


def test_counters_that_are_not_ours_are_survived(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.say("taken?")
    while alice.act():
        pass
    alice.disconnect()
    honest = server.counters[alice.wire]
    server.counters[alice.wire] = 10**9
    alice.connect()
    server.counters[alice.wire] = honest
    settle(server, alice, bob)
    assert [event.seq for event in told(alice, Said) if isinstance(event, Said)] == [0]
    alice.disconnect()
    alice.connect()
    settle(server, alice, bob)
    they_talk(server, alice, bob)


# Members


def forbidden(server: Server, eve: Peer) -> dict[str, Callable[[Group], CommitResult[Group]]]:
    """Commits that somebody who is no admin may not make."""
    policy = eve.conversation.membership.policy
    assert policy is not None

    def leaf_of(group: Group, user: str) -> int:
        members = eve.conversation.membership.members
        return next(index for index, one in members.items() if one.user == user)

    def package(user: str) -> KeyPackage:
        found = decode_message(server.claim(user)[0].package)
        assert isinstance(found, KeyPackage)
        return found

    own = attrs.evolve(policy, admins=("eve",))
    return {
        "removes": lambda group: group.commit(Remove(leaf_of(group, "bob"))),
        "removes the admin": lambda group: group.commit(Remove(leaf_of(group, "alice"))),
        "adds": lambda group: group.commit(Add(package("mallory"))),
        "changes the policy": lambda group: group.commit(
            GroupContextExtensions(own.as_extensions())
        ),
    }


@pytest.mark.parametrize("deed", ["removes", "removes the admin", "adds", "changes the policy"])
def test_a_commit_that_the_policy_forbids_ends_without_its_author(make: Make, deed: str) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    make(server, "mallory")
    put_commit(server, eve, forbidden(server, eve)[deed](group_of(eve)))
    settle(server, alice, bob)
    assert "the room's keys are made anew" in troubles(alice)
    assert told(bob, Trouble)
    they_talk(server, alice, bob)
    assert users(bob) == {"alice", "bob"} or deed == "removes the admin"


@pytest.mark.parametrize("deed", ["removes", "adds", "changes the policy"])
@pytest.mark.parametrize("crash", [True, False])
def test_nobody_joins_a_poisoned_group(make: Make, deed: str, *, crash: bool) -> None:
    """Not even later, while no admin is there, and not after a crash in the middle of it."""
    server, (alice, bob, carol, eve) = ops(make, "alice", "bob", "carol", "eve")
    make(server, "mallory")
    alice.disconnect()
    put_commit(server, eve, forbidden(server, eve)[deed](group_of(eve)))
    carol.deliver()
    if crash:
        carol.crash()
    later(server, bob, carol)
    for peer in (bob, carol):
        assert peer.conversation.membership.group is None
        assert "is refused" in troubles(peer) or "taken this device out" in troubles(peer)
    bob.restart()
    later(server, bob, carol)
    assert bob.conversation.membership.group is None
    alice.connect()
    later(server, alice, bob, carol)
    they_talk(server, alice, bob, carol)
    assert users(bob) == {"alice", "bob", "carol"}


def test_a_garbage_commit_costs_an_epoch_and_nothing_else(make: Make) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    group = group_of(eve)
    put(server, eve, "commit", GARBAGE, turning.info_of(group), group.ratchet_tree())
    settle(server, alice, bob)
    assert "cannot be followed" in troubles(alice)
    assert "cannot be followed" in troubles(bob)
    they_talk(server, alice, bob)


def test_garbage_with_a_garbage_group_is_mended_by_an_admin(make: Make) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    put(server, eve, "commit", GARBAGE)
    later(server, alice, bob)
    they_talk(server, alice, bob)


def test_nobody_is_let_in_again_by_a_broken_commit(make: Make) -> None:
    """A commit that nobody can follow, and a group of the same name with others in it."""
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    make(server, "mallory")
    alice.disconnect()
    policy = eve.conversation.membership.policy
    assert policy is not None
    name = group_of(eve).context.group_id
    draft = fake(eve, policy, *server.claim("mallory"), group_id=name)
    for _ in range(10):
        draft = attrs.evolve(draft, group=draft.group.commit().group)
    put(server, eve, "commit", GARBAGE, turning.info_of(draft.group), draft.group.ratchet_tree())
    later(server, bob)
    assert bob.conversation.membership.group is None
    assert "with mallory" in troubles(bob)
    alice.connect()
    later(server, alice, bob)
    they_talk(server, alice, bob)
    assert "mallory" not in users(bob)


def test_a_true_commit_with_a_garbage_group_keeps_newcomers_out_until_the_next(make: Make) -> None:
    server, (alice, bob, eve) = lobby(make, "alice", "bob", "eve")
    made = group_of(eve).commit()
    put(server, eve, "commit", encode_message(made.message))
    carol = make(server, "carol")
    carol.connect()
    settle(server, alice, bob, carol)
    assert "the group is broken" in troubles(carol)
    alice.conversation.wishes.update(server.now - 100)
    later(server, alice, bob, carol)
    they_talk(server, alice, bob, carol)
    assert not any(entry.kind == "create" for entry in server.log[1:])


def test_a_closed_room_begun_by_somebody_else_is_begun_again_by_its_admin(make: Make) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    eve = make(server, "eve")
    draft = fake(eve, RoomPolicy(name="ops", admins=("eve",)))
    put(server, eve, "create", draft.body, turning.info_of(draft.group), draft.group.ratchet_tree())
    later(server, alice, bob)
    assert told(bob, Began)
    assert "was not in it" in troubles(bob)
    they_talk(server, alice, bob)
    assert users(bob) == {"alice", "bob"}


def test_who_begins_a_closed_room_again_and_again_wins_no_endless_race(make: Make) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    eve = make(server, "eve")
    draft = fake(eve, RoomPolicy(name="ops", admins=("eve",)))
    info, tree = turning.info_of(draft.group), draft.group.ratchet_tree()
    start = server.epoch
    for _ in range(90):
        if server.log[-1].user != "eve":
            put(server, eve, "create", draft.body, info, tree)
        later(server, alice, bob, seconds=20)
    assert server.epoch - start < 20  # in half an hour
    later(server, alice, bob, seconds=8000)
    they_talk(server, alice, bob)


@pytest.mark.parametrize("closed", [True, False])
def test_an_open_room_begun_with_garbage_is_begun_again(make: Make, *, closed: bool) -> None:
    server = Server("lobby")
    eve, alice, bob = make(server, "eve"), make(server, "alice"), make(server, "bob")
    if closed:
        draft = fake(eve, RoomPolicy(name="lobby", admins=("eve",)))
        info, tree = turning.info_of(draft.group), draft.group.ratchet_tree()
        put(server, eve, "create", draft.body, info, tree)
    else:
        put(server, eve, "create", GARBAGE)
    for peer in (alice, bob):
        peer.connect()
    later(server, alice, bob, seconds=1000)
    assert told(alice, Trouble)
    they_talk(server, alice, bob)


def poisons(what: str, server: Server, eve: Peer, bob: Peer) -> list[bytes]:
    group = group_of(eve)
    package = decode_message(server.claim("mallory")[0].package)
    assert isinstance(package, KeyPackage)
    found: list[Add | Remove | GroupContextExtensions | Update]
    match what:
        case "two updates":
            found = [group.make_update(), group.make_update()]
        case "an update and a removal":
            found = [group.make_update(), Remove(group.index)]
        case "somebody else's key":
            update, context = group.make_update(), group.context
            stolen = group_of(bob).own_leaf.encryption_key
            leaf = evolve(update.leaf_node, encryption_key=stolen)
            key = group.signature_key
            found = [Update(sign_leaf(group.suite, leaf, key, context.group_id, group.index))]
        case "an addition":
            found = [Add(package)]
        case "removal of others":
            found = [Remove(group_of(bob).index)]
        case "another policy":
            policy = RoomPolicy(name="ops", admins=("eve",))
            found = [GroupContextExtensions(policy.as_extensions())]
        case "many":
            found = [group.make_update() for _ in range(60)]
        case _:
            return [GARBAGE, b""]
    return [encode_message(group.propose(each)) for each in found]


@pytest.mark.parametrize(
    "what",
    [
        "two updates",
        "an update and a removal",
        "somebody else's key",
        "an addition",
        "removal of others",
        "another policy",
        "many",
        "garbage",
    ],
)
def test_proposals_of_others_keep_nobody_from_committing(make: Make, what: str) -> None:
    server, (alice, bob, eve) = ops(make, "alice", "bob", "eve")
    make(server, "mallory")
    for body in poisons(what, server, eve, bob):
        put(server, eve, "proposal", body)
    for peer in (alice, bob):
        peer.deliver()
        assert len(group_of(peer).pending) <= 8
    name, epoch = group_of(alice).context.group_id, server.epoch
    alice.conversation.wishes.update(server.now - 100)
    settle(server, alice, bob)
    assert server.epoch > epoch
    assert group_of(alice).context.group_id == name
    assert not troubles(alice)
    they_talk(server, alice, bob)
    assert "mallory" not in users(alice)


def test_an_update_cannot_take_another_devices_place(make: Make, ca: CA) -> None:
    """Whoever commits that would have made two leaves of one device."""
    server, (alice, bob) = ops(make, "alice", "bob")
    desktop = make(server, "bob", "desktop")
    desktop.connect()
    alice.conversation.want(Invite("bob"))
    settle(server, alice, bob, desktop)
    assert len(alice.conversation.membership.members) == 3
    other = bob.person.device("desktop", device_id=desktop.device.id)
    group = group_of(bob)
    update = group.make_update(signature_key=other.signature_key, credential=other.credential)
    put(server, bob, "proposal", encode_message(group.propose(update)))
    settle(server, alice, desktop)
    they_talk(server, alice, desktop)


def test_one_invitation_after_another_is_carried_out(make: Make) -> None:
    server, (alice,) = ops(make, "alice")
    for user in ("bob", "carol", "dave"):
        make(server, user)
        alice.conversation.want(Invite(user))
        settle(server, alice)
    assert users(alice) == {"alice", "bob", "carol", "dave"}
    assert server.epoch == 4


def test_nobody_takes_out_themselves(make: Make) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    token = alice.conversation.want(Kick("alice"))
    settle(server, alice, bob)
    assert [e.id for e in told(alice, NotSent) if isinstance(e, NotSent)] == [token]


def test_who_is_taken_out_is_told_what_was_not_sent(make: Make) -> None:
    server, (alice, bob) = ops(make, "alice", "bob")
    tokens = [bob.say("in flight")]
    while bob.act():
        pass
    tokens.append(bob.say("waiting"))
    alice.conversation.want(Kick("bob"))
    settle(server, alice)
    while bob.transmit():
        pass
    settle(server, alice, bob)
    assert bob.conversation.door is Door.OUT
    assert sorted(e.id for e in told(bob, NotSent) if isinstance(e, NotSent)) == tokens
    assert not bob.store.outbox("ops")
    assert bob.conversation.want(Invite("carol"))
    bob.collect()
    assert isinstance(bob.events[-1], NotSent)


@pytest.mark.parametrize("lose", ["connection", "memory"])
def test_many_messages_that_did_not_arrive_are_read_later(make: Make, lose: str) -> None:
    """Others skip only so many keys of one sender: the same bytes must go out again."""
    server, (alice, bob) = lobby(make, "alice", "bob")
    later(server, alice, bob, seconds=40)
    texts = [f"message {number}" for number in range(100)]
    for text in texts:
        alice.say(text)
    for _ in range(5):
        while alice.act():
            pass
        if lose == "memory":
            alice.crash()
        else:
            alice.disconnect()
            alice.connect()
    settle(server, alice, bob)
    assert not bob.unread
    assert bob.heard == (texts if lose == "connection" else texts[:64])


def test_many_messages_that_the_server_never_takes_part_nobody(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    for _ in range(50):
        alice.say("too long, says the server")
        while alice.act():
            pass
        while alice.sent:
            parcel = alice.sent.pop(0)
            if parcel.kind == "message":
                alice.refused(parcel.n, "text-too-long")
            else:
                server.take(alice, parcel)
        alice.deliver()
    settle(server, alice, bob)
    they_talk(server, alice, bob)


def test_what_nobody_would_take_is_not_said(make: Make) -> None:
    _, (alice,) = lobby(make, "alice")
    with pytest.raises(ValueError, match="malformed"):
        alice.conversation.say(Unknown("future", b"garbage"))


def test_what_is_refused_for_ever_is_told_after_a_restart_too(make: Make) -> None:
    server, (alice, bob) = lobby(make, "alice", "bob")
    alice.say("refused")
    while alice.act():
        pass
    alice.crash()
    while alice.act():
        pass
    alice.refused(alice.sent.pop(0).n, "text-too-long")
    settle(server, alice, bob)
    assert told(alice, Trouble)
    assert isinstance(alice.conversation.next(server.now), Wait)


def test_who_joins_before_it_has_read_the_log_knocks_once(make: Make) -> None:
    """Two commits in flight lead to two places, and one echo does not say which."""
    server = Server("lobby")
    alice, bob = make(server, "alice"), make(server, "bob")
    bob.connect()
    bob.disconnect()
    alice.connect()
    settle(server, alice)
    they_talk(server, alice)
    bob.connect()
    for _ in range(3):
        while bob.act():
            pass
        if any(parcel.kind == "commit" for parcel in bob.sent):
            break
        bob.transmit()  # it would begin the group, if it was not there yet
        bob.deliver(0)
        server.now += 6
    while bob.deliver(1):
        while bob.act():
            pass
    assert [parcel.kind for parcel in bob.sent] == ["commit"]
    settle(server, alice, bob)
    they_talk(server, alice, bob)


# All at once


class Liar(Server):
    """A server that alters one in so many things that it gives out."""

    chance = 0.0
    random = Random("liar")

    def lies(self) -> bool:
        return self.random.random() < self.chance

    def bent(self, data: bytes) -> bytes:
        changed = bytearray(data or b"\0")
        for _ in range(self.random.randint(1, 3)):
            changed[self.random.randrange(len(changed))] = self.random.randrange(256)
        return bytes(changed[: self.random.choice((None, len(changed) // 2))])

    def shown(self, entry: LogEntry, peers: list[Peer]) -> LogEntry:
        if not self.lies():
            return entry
        other = self.random.choice(peers)
        changes: list[dict[str, Any]] = [
            {"body": self.bent(entry.body)},
            {"body": self.random.choice(self.log).body},
            {"kind": self.random.choice(["message", "proposal", "commit", "create", "other"])},
            {"epoch": self.random.choice([0, entry.epoch + 1, 2**53 - 1])},
            {"n": self.random.choice([1, entry.n + 1, 2**53 - 1])},
            {"user": other.user},
            {"device": other.wire},
            {"device": other.wire, "user": other.user, "n": self.counters.get(other.wire, 0) + 1},
        ]
        return attrs.evolve(entry, **self.random.choice(changes))


def live_with(server: Liar, peer: Peer, peers: list[Peer]) -> None:
    """Let a peer do what it wants, with what the liar gives it."""
    conversation, random = peer.conversation, server.random
    while peer.answers:
        n, code, epoch = peer.answers.pop(0)
        epoch = random.randrange(20) if server.lies() else epoch
        conversation.refused(n, code, "no", server.now, epoch=epoch)
    assert conversation.cursor is not None
    seq = conversation.cursor.seq
    entries = [server.shown(entry, peers) for entry in server.log[seq : seq + 3]]
    if entries:
        conversation.feed(entries, server.now)
    match conversation.next(server.now):
        case Send(parcels):
            peer.sent += parcels
        case FetchWelcome():
            found = server.welcomes.get(peer.wire)
            if found is not None and server.lies():
                found = attrs.evolve(
                    found,
                    epoch=random.choice([found.epoch, 0, 2**53 - 1]),
                    seq=random.choice([found.seq, 0, found.seq + 5]),
                    body=random.choice([found.body, server.bent(found.body)]),
                    tree=random.choice([found.tree, server.bent(found.tree), b""]),
                )
            conversation.welcomed(found, server.now)
        case FetchInfo():
            info = server.info
            if info is not None and server.lies():
                info = attrs.evolve(
                    info,
                    epoch=random.choice([info.epoch, 0, 2**53 - 1]),
                    body=random.choice([info.body, server.bent(info.body)]),
                    tree=random.choice([info.tree, server.bent(info.tree), b""]),
                )
            conversation.informed(random.choice([info, info, None]), server.now)
        case FetchList():
            conversation.listed()
        case Claim(wanted):
            found_for = {user: server.claim(user) for user in wanted}
            for offers in found_for.values():
                for number, offer in enumerate(offers):
                    if server.lies():
                        offers[number] = Offer(offer.device, server.bent(offer.package))
            conversation.claimed(found_for, server.now)
        case Wait():
            pass
    while random.random() < 0.7 and peer.transmit():
        pass


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("room", ["lobby", "ops", "~alice+bob"])
def test_whatever_a_server_says_nothing_is_raised_and_an_honest_one_mends_it(
    make: Make, room: str, seed: int
) -> None:
    server = Liar(room, open=room == "lobby")
    server.random = Random(f"{room} {seed}")
    names = ["alice", "bob"] if room.startswith("~") else ["alice", "bob", "carol"]
    peers = [make(server, user) for user in names]
    for peer in peers:
        peer.connect()
        peer.say("hello")
        settle(server, *peers)
    for user in names[1:]:
        peers[0].conversation.want(Invite(user))
        settle(server, *peers)
    server.chance = 0.2
    for number in range(400):
        peer = server.random.choice(peers)
        if server.random.random() < 0.2:
            peer.say(f"{number}")
        if server.random.random() < 0.02:
            peer.disconnect()
            honest = server.counters.get(peer.wire, 0)
            server.counters[peer.wire] += server.random.choice([0, 0, 0, 5])
            peer.connect()
            server.counters[peer.wire] = honest
        if server.random.random() < 0.02:
            peer.crash()
        live_with(server, peer, peers)
        server.now += server.random.choice((0.1, 5.0, 90.0))
    server.chance = 0.0
    for peer in peers:
        peer.disconnect()
        peer.connect()
    later(server, *peers, seconds=40_000)
    for peer in peers:
        peer.restart()
        peer.conversation.come_back()
    peers[0].say("is anybody here?")
    later(server, *peers, seconds=4000)
    for user in names[1:]:  # whose keys did not hold when the room was begun anew
        if user not in users(peers[0]):
            peers[0].conversation.want(Invite(user))
    later(server, *peers, seconds=4000)
    they_talk(server, *peers)
