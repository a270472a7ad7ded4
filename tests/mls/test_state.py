from __future__ import annotations

import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from trio_chat.mls import (
    EXPERIMENTAL,
    SUITES,
    Add,
    DecodeError,
    Group,
    ProtocolError,
    Received,
    ReInit,
    Remove,
)
from trio_chat.mls.epoch import Services
from trio_chat.mls.state import restore, restore_bundle, snapshot, snapshot_bundle
from trio_chat.mls.suite import CipherSuite

SERVICES = Services(authenticate=anybody)


def again(group: Group) -> Group:
    restored = restore(snapshot(group), SERVICES, experimental=True)
    assert snapshot(restored) == snapshot(group)
    return restored


@pytest.mark.parametrize("suite", [*SUITES.values(), EXPERIMENTAL], ids=lambda suite: suite.name)
def test_a_group_goes_on_from_its_snapshot_at_every_step(suite: CipherSuite) -> None:
    groups = room("alice", "bob", "carol", suite=suite)
    for by in range(3):
        groups = [again(group) for group in groups]
        message = sent(groups[by].propose(groups[by].make_update()))
        groups[by] = again(groups[by])
        for n in range(3):
            if n != by:
                groups[n].receive(message)
        groups = [again(group) for group in groups]
        commit(groups, (by + 1) % 3)
        assert agree(*groups)
    assert agree(*map(again, groups))


def test_skipped_keys_and_used_ones_stay_so() -> None:
    alice, bob = room("alice", "bob")
    texts = [sent(alice.encrypt(b"%d" % n)) for n in range(3)]
    bob.receive(texts[1])
    bob = again(bob)
    assert bob.receive(texts[0]) == Received(0, b"0", b"")
    bob = again(bob)
    for n in (0, 1):
        with pytest.raises(ProtocolError):
            bob.receive(texts[n])
    assert bob.receive(texts[2]) == Received(0, b"2", b"")


def test_who_crashes_between_writing_and_sending_does_not_repeat_a_key() -> None:
    alice, bob = room("alice", "bob")
    lost = alice.encrypt(b"never sent")
    written = snapshot(alice)
    alice = restore(written, SERVICES)
    text = sent(alice.encrypt(b"sent"))
    assert bob.receive(text) == Received(0, b"sent", b"")
    assert bob.receive(sent(lost)) == Received(0, b"never sent", b"")  # with a key of its own


def test_a_commit_can_be_kept_until_it_is_accepted() -> None:
    alice, bob = room("alice", "bob")
    result = alice.commit()
    pending = snapshot(result.group)
    bob = follow(bob, result)
    assert agree(bob, restore(pending, SERVICES))


def test_a_group_that_has_ended_stays_ended() -> None:
    alice, _ = room("alice", "bob")
    alice = alice.commit(ReInit(b"new", 1, 1, ())).group
    with pytest.raises(ProtocolError, match="ended"):
        again(alice).commit()


def test_what_is_no_snapshot_is_refused() -> None:
    (alice,) = room("alice")
    data = snapshot(alice)
    for wrong in (b"", data[:-1], b"\2" + data[1:], data + b"\0"):
        with pytest.raises(DecodeError):
            restore(wrong, SERVICES)


def test_the_experimental_suite_must_be_asked_for() -> None:
    who = bundle("alice", EXPERIMENTAL)
    data = snapshot(Group.create(who, b"", authenticate=anybody))
    with pytest.raises(ProtocolError):
        restore(data, SERVICES)
    with pytest.raises(ProtocolError):
        restore_bundle(snapshot_bundle(who))
    assert restore_bundle(snapshot_bundle(who), experimental=True).suite is EXPERIMENTAL


def test_a_key_package_is_kept_with_its_keys() -> None:
    alice, _ = room("alice", "bob")
    carol = bundle("carol")
    result = alice.commit(Add(carol.key_package), Remove(1), ratchet_tree=True)
    kept = restore_bundle(snapshot_bundle(carol))
    assert agree(result.group, Group.join(welcomed(result), kept, authenticate=anybody))
    with pytest.raises(DecodeError):
        restore_bundle(b"\2" + snapshot_bundle(carol)[1:])


def test_the_tree_can_be_kept_apart() -> None:
    alice, bob = room("alice", "bob")
    tree = bob.ratchet_tree()
    small = snapshot(bob, ratchet_tree=False)
    assert len(small) + len(tree) <= len(snapshot(bob))
    restored = restore(small, SERVICES, ratchet_tree=tree)
    assert snapshot(restored) == snapshot(bob)
    for missing_or_other in (None, alice.commit().group.ratchet_tree()):
        with pytest.raises(DecodeError):
            restore(small, SERVICES, ratchet_tree=missing_or_other)
