"""Forward secrecy and post-compromise security, as far as a state can show them."""

from __future__ import annotations

import gc
import weakref

import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from trio_chat.mls import Add, CryptoError, Group, ProtocolError, Received, Remove
from trio_chat.mls.state import restore, snapshot


def clone(group: Group) -> Group:
    return restore(snapshot(group), group.services)


def test_a_stolen_state_is_worth_nothing_after_its_owners_next_commit() -> None:
    groups = room("alice", "bob", "carol")
    stolen = clone(groups[1])
    text = sent(groups[0].encrypt(b"the thief reads this"))
    assert stolen.receive(text) == Received(0, b"the thief reads this", b"")
    result = groups[1].commit()
    with pytest.raises(ProtocolError):  # it cannot follow: it is no receiver of its own path
        stolen.receive(sent(result.message))
    alice = follow(groups[0], result)
    healed = sent(alice.encrypt(b"and this no more"))
    with pytest.raises((CryptoError, ProtocolError)):
        stolen.receive(healed)
    assert result.group.receive(healed) == Received(0, b"and this no more", b"")


def test_a_stolen_state_follows_others_commits_only_until_its_owners_update() -> None:
    groups = room("alice", "bob", "carol")
    stolen = clone(groups[1])
    result = groups[0].commit()
    stolen = follow(stolen, result)
    groups = [result.group, *(follow(group, result) for group in groups[1:])]
    message = sent(groups[1].propose(groups[1].make_update()))
    for group in (groups[0], groups[2]):
        group.receive(message)
    with pytest.raises(ProtocolError):
        stolen.receive(message)  # as if it were its own
    result = commit(groups, 0)
    with pytest.raises(ProtocolError):
        stolen.receive(sent(result.message))
    assert agree(*groups)


def test_a_removed_member_cannot_read_the_next_message() -> None:
    groups = room("alice", "bob", "carol")
    removed = groups[2]
    commit(groups, 0, Remove(2))
    for sender in groups:
        with pytest.raises(ProtocolError):
            removed.receive(sent(sender.encrypt(b"among us")))
    forced = clone(removed)  # even if it takes the epoch for its own
    object.__setattr__(forced, "context", groups[0].context)
    with pytest.raises(CryptoError):
        forced.receive(sent(groups[0].encrypt(b"among us")))


def test_a_late_member_cannot_read_what_was_said_before() -> None:
    groups = room("alice", "bob")
    before = sent(groups[0].encrypt(b"before carol"))
    carol = bundle("carol")
    result = commit(groups, 0, Add(carol.key_package), ratchet_tree=True)
    joined = Group.join(welcomed(result), carol, authenticate=anybody)
    with pytest.raises(ProtocolError):
        joined.receive(before)
    object.__setattr__(
        joined, "context", joined.context.__class__(1, 1, b"a room", 1, b"", b"", ())
    )
    with pytest.raises(CryptoError):
        joined.receive(before)


def test_a_message_is_decrypted_once_and_its_key_is_gone() -> None:
    alice, bob = room("alice", "bob")
    text = sent(alice.encrypt(b"once"))
    assert bob.receive(text) == Received(0, b"once", b"")
    for who in (bob, clone(bob)):
        with pytest.raises(ProtocolError):
            who.receive(text)


def test_a_past_epoch_is_gone_with_its_last_reference() -> None:
    alice, bob = room("alice", "bob")
    past = weakref.ref(bob)
    bob = follow(bob, alice.commit())
    gc.collect()
    assert past() is None
    assert bob.epoch == 2


def test_no_key_and_nonce_are_used_twice() -> None:
    alice, _ = room("alice", "bob")
    first = alice.encrypt(b"same")
    behind = clone(alice)  # as restored from a backup that is too old
    assert behind.encrypt(b"same").ciphertext != alice.encrypt(b"same").ciphertext
    assert first.ciphertext != alice.encrypt(b"same").ciphertext
