from __future__ import annotations

import attrs
import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from trio_chat.mls import SUITES, Add, Group, ProtocolError, ReInit
from trio_chat.mls.resuming import begin_anew, branch


def ended(**changes: object) -> list[Group]:
    groups = room("alice", "bob", "carol")
    reinit = ReInit(b"a new room", 1, 3, ())
    message = sent(groups[1].propose(reinit))
    for group in (groups[0], groups[2]):
        group.receive(message)
    commit(groups, 0, **changes)
    return groups


def test_a_reinit_ends_the_group() -> None:
    groups = ended()
    alice, bob, _ = groups
    assert agree(*groups)
    for refused in (
        lambda: alice.encrypt(b"still here?"),
        alice.commit,
        lambda: alice.propose(alice.make_update()),
        alice.group_info,
        lambda: branch(alice, bundle("alice"), b"a branch", []),
    ):
        with pytest.raises(ProtocolError, match="ended"):
            refused()
    assert bob.reinit == ReInit(b"a new room", 1, 3, ())


@pytest.mark.parametrize("path", [True, False])
def test_the_group_begins_anew_as_announced(path: bool) -> None:
    alice, bob, carol = ended(path=path)
    bundles = [bundle(name, SUITES[3]) for name in ("alice", "bob", "carol")]
    packages = [who.key_package for who in bundles[1:]]
    result = begin_anew(alice, bundles[0], packages, ratchet_tree=True)
    welcome = welcomed(result)
    new = [
        result.group,
        Group.join(welcome, bundles[1], resumes=bob, authenticate=anybody),
        Group.join(welcome, bundles[2], resumes=carol, authenticate=anybody),
    ]
    assert agree(*new)
    assert new[0].suite is SUITES[3]
    assert new[0].context.group_id == b"a new room"
    commit(new, 2)
    assert agree(*new)
    with pytest.raises(ProtocolError):  # a stranger cannot follow
        Group.join(welcome, bundles[1], authenticate=anybody)
    with pytest.raises(ProtocolError):  # nor does who follows another group
        Group.join(welcome, bundles[1], resumes=room("dave")[0], authenticate=anybody)


def test_another_group_than_the_announced_one_is_refused() -> None:
    alice, bob, _ = ended()
    with pytest.raises(ProtocolError):
        begin_anew(alice, bundle("alice", SUITES[1]), [])
    other = bundle("bob")
    forged = Group.create(bundle("alice"), b"a trap", authenticate=anybody)
    welcome = welcomed(forged.commit(Add(other.key_package), ratchet_tree=True))
    with pytest.raises(ProtocolError, match="follow"):
        Group.join(welcome, other, resumes=bob, authenticate=anybody)


def test_some_members_branch_off() -> None:
    groups = room("alice", "bob", "carol")
    mine, theirs = bundle("alice"), bundle("carol")
    result = branch(groups[0], mine, b"a branch", [theirs.key_package], ratchet_tree=True)
    joined = Group.join(welcomed(result), theirs, resumes=groups[2], authenticate=anybody)
    assert agree(result.group, joined)
    assert follow(joined, result.group.commit()).epoch == 2
    commit(groups, 1)  # the old group goes on
    assert agree(*groups)
    with pytest.raises(ProtocolError):
        branch(groups[0], bundle("alice", SUITES[3]), b"a branch", [])


def test_a_branch_is_not_taken_for_the_group_that_was_announced() -> None:
    groups = room("alice", "bob")
    theirs = bundle("bob")
    result = branch(
        groups[0], bundle("alice"), b"a new room", [theirs.key_package], ratchet_tree=True
    )
    commit(groups, 0, ReInit(b"a new room", 1, 1, ()))
    with pytest.raises(ProtocolError, match="ended"):
        Group.join(welcomed(result), theirs, resumes=groups[1], authenticate=anybody)


def test_who_was_not_in_the_old_group_is_not_in_the_one_that_follows() -> None:
    def same_name(credential: object, _: bytes, replaced: object) -> None:
        if replaced not in (None, credential):
            raise ProtocolError("that is somebody else")

    alice, bob = room("alice", "bob", authenticate=same_name)
    mallory, theirs = bundle("mallory"), bundle("bob")
    packages = [theirs.key_package, mallory.key_package]
    with pytest.raises(ProtocolError, match="not of the group"):
        branch(alice, bundle("alice"), b"a branch", packages)
    careless = attrs.evolve(alice, services=attrs.evolve(alice.services, authenticate=anybody))
    result = branch(careless, bundle("alice"), b"a branch", packages, ratchet_tree=True)
    with pytest.raises(ProtocolError, match="not of the group"):
        Group.join(welcomed(result), theirs, resumes=bob, authenticate=same_name)


def test_a_reinit_is_alone_in_its_commit() -> None:
    alice, _ = room("alice", "bob")
    with pytest.raises(ProtocolError, match="alone"):
        alice.commit(ReInit(b"", 1, 1, ()), Add(bundle("carol").key_package))
    with pytest.raises(ProtocolError, match="older"):
        alice.commit(ReInit(b"", 0, 1, ()))


def test_there_is_nothing_to_begin_anew_without_a_reinit() -> None:
    alice, _ = room("alice", "bob")
    with pytest.raises(ProtocolError, match="no ReInit"):
        begin_anew(alice, bundle("alice"), [])
