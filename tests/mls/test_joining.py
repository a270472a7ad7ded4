from __future__ import annotations

import pytest

from tests.mls.clients import agree, anybody, bundle, commit, follow, room, sent, welcomed
from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    CryptoError,
    ExternalPSK,
    Group,
    GroupInfo,
    InvalidTree,
    ProtocolError,
    decode_message,
    encode_message,
)
from trio_chat.mls.codec import evolve


def open_info(group: Group, **options: bool) -> GroupInfo:
    info = decode_message(encode_message(group.group_info(external=True, **options)))
    assert isinstance(info, GroupInfo)
    return info


def test_the_tree_comes_with_the_welcome_or_apart() -> None:
    (alice,) = room("alice")
    bob, carol = bundle("bob"), bundle("carol")
    result = alice.commit(Add(bob.key_package), Add(carol.key_package))
    welcome, tree = welcomed(result), result.group.ratchet_tree()
    groups = [
        Group.join(welcome, who, ratchet_tree=tree, authenticate=anybody) for who in (bob, carol)
    ]
    assert agree(result.group, *groups)
    with pytest.raises(ProtocolError, match="missing"):
        Group.join(welcome, bob, authenticate=anybody)
    with pytest.raises(InvalidTree):
        Group.join(welcome, bob, ratchet_tree=alice.ratchet_tree(), authenticate=anybody)


def test_a_welcome_is_for_those_it_names() -> None:
    (alice,) = room("alice")
    bob = bundle("bob")
    result = alice.commit(Add(bob.key_package), ratchet_tree=True)
    welcome = welcomed(result)
    with pytest.raises(ProtocolError, match="not for"):
        Group.join(welcome, bundle("bob"), authenticate=anybody)
    with pytest.raises(ProtocolError, match="cipher suite"):
        Group.join(welcome, bundle("bob", SUITES[3]), authenticate=anybody)


def test_a_welcome_can_be_dealt_out() -> None:
    (alice,) = room("alice")
    others = [bundle(name) for name in ("bob", "carol")]
    result = alice.commit(*[Add(b.key_package) for b in others], ratchet_tree=True)
    welcome = welcomed(result)
    for n, who in enumerate(others):
        part = evolve(welcome, secrets=welcome.secrets[n : n + 1])
        assert agree(result.group, Group.join(part, who, authenticate=anybody))


def test_a_changed_welcome_is_refused() -> None:
    (alice,) = room("alice")
    bob = bundle("bob")
    welcome = welcomed(alice.commit(Add(bob.key_package), ratchet_tree=True))
    info = welcome.encrypted_group_info
    for wrong in (info[:-1], info[:-1] + bytes([info[-1] ^ 1]), b""):
        with pytest.raises(CryptoError):
            Group.join(evolve(welcome, encrypted_group_info=wrong), bob, authenticate=anybody)


def test_a_welcome_does_not_let_others_in() -> None:
    _, bob = room("alice", "bob")
    info = bob.group_info(ratchet_tree=True)
    with pytest.raises(ProtocolError, match="nobody"):
        Group.join_external(info, bundle("carol"), authenticate=anybody)


@pytest.mark.parametrize("ratchet_tree", [True, False])
def test_who_has_the_group_info_joins_by_a_commit(ratchet_tree: bool) -> None:
    groups = room("alice", "bob", "carol")
    commit(groups, 1)
    tree = None if ratchet_tree else groups[0].ratchet_tree()
    result = Group.join_external(
        open_info(groups[0], ratchet_tree=ratchet_tree),
        bundle("dave"),
        ratchet_tree=tree,
        authenticate=anybody,
    )
    groups = [*(follow(group, result) for group in groups), result.group]
    assert agree(*groups)
    change = groups[0].change
    assert change is not None
    assert (change.external, change.committer) == (True, 3)
    for by in (3, 0):
        commit(groups, by)
    assert agree(*groups)
    text = sent(groups[3].encrypt(b"here I am"))
    assert groups[0].receive(text) == groups[1].receive(text)


def test_whoever_lost_its_state_comes_back_in_place_of_its_old_leaf() -> None:
    asked = []

    def authenticate(credential: object, key: bytes, replaces: object) -> None:
        asked.append((credential, replaces))

    alice, bob, carol = room("alice", "bob", "carol", authenticate=authenticate)
    again = bundle("bob", signature_key=bob.signature_key)
    result = Group.join_external(
        open_info(alice, ratchet_tree=True), again, replace=1, authenticate=anybody
    )
    alice, carol = follow(alice, result), follow(carol, result)
    assert asked[-1] == (BasicCredential(b"bob"), BasicCredential(b"bob"))
    assert agree(alice, carol, result.group)
    assert result.group.index == 1
    with pytest.raises(InvalidTree, match="signature key"):  # but not beside it
        Group.join_external(open_info(alice, ratchet_tree=True), again, authenticate=anybody)


def test_an_external_commit_may_need_a_pre_shared_key() -> None:
    def find(name: object) -> bytes | None:
        return b"a key" if name == ExternalPSK(b"door") else None

    alice, bob = room("alice", "bob", psks=find)
    info = open_info(alice, ratchet_tree=True)
    with pytest.raises(ProtocolError, match="pre-shared"):
        Group.join_external(info, bundle("carol"), use_psks=[b"door"], authenticate=anybody)
    result = Group.join_external(
        info, bundle("carol"), use_psks=[b"door"], psks=find, authenticate=anybody
    )
    assert agree(follow(alice, result), follow(bob, result), result.group)


def test_a_group_info_is_believed_as_far_as_it_is_signed() -> None:
    alice, _ = room("alice", "bob")
    info = open_info(alice, ratchet_tree=True)
    context = info.group_context
    for wrong, error in (
        (evolve(info, signer=1), CryptoError),
        (evolve(info, signer=7), ProtocolError),
        (evolve(info, confirmation_tag=bytes(32)), CryptoError),
        (evolve(info, group_context=evolve(context, epoch=9)), CryptoError),
        (evolve(info, group_context=evolve(context, version=2)), ProtocolError),
        (evolve(info, group_context=evolve(context, cipher_suite=3)), ProtocolError),
        (evolve(info, extensions=info.extensions * 2), ProtocolError),
    ):
        with pytest.raises(error):
            Group.join_external(wrong, bundle("carol"), authenticate=anybody)


def test_an_old_group_info_leads_to_a_commit_that_nobody_takes() -> None:
    groups = room("alice", "bob")
    info = open_info(groups[0], ratchet_tree=True)
    commit(groups, 1)
    result = Group.join_external(info, bundle("carol"), authenticate=anybody)
    with pytest.raises(ProtocolError, match="epoch"):
        groups[0].receive(sent(result.message))
