"""How commits are followed; test_validation has what is refused, test_group the usual ones."""

from __future__ import annotations

import pytest

from tests.mls.clients import agree, bundle, commit, room, sent
from tests.mls.forging import refuse
from trio_chat.mls import Add, ProtocolError, PublicMessage, Remove
from trio_chat.mls.commits import retained_keys
from trio_chat.mls.framing import seal_public
from trio_chat.mls.messages import AuthenticatedContent, ProposalRef, WireFormat


def test_an_update_of_ours_whose_key_is_lost_cannot_be_followed() -> None:
    alice, bob = room("alice", "bob")
    alice.receive(sent(bob.propose(bob.make_update())))
    result = alice.commit(public=True)
    bob.updates.clear()
    refuse(bob, result.message, "that we know nothing of")


def test_what_is_not_pending_is_not_covered() -> None:
    alice, _ = room("alice", "bob")
    with pytest.raises(ProtocolError, match="no such proposal"):
        alice.commit(cover=[ProposalRef(bytes(32))])


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_the_confirmation_tag_of_a_commit_is_looked_at_whole(size: int) -> None:
    alice, bob = room("alice", "bob")
    message = bob.commit(public=True).message
    assert isinstance(message, PublicMessage)
    tag = message.confirmation_tag
    assert tag is not None
    wrong = AuthenticatedContent(
        WireFormat.PUBLIC_MESSAGE, message.content, message.signature, (tag + b"\0")[:size]
    )
    resealed = seal_public(bob.suite, bob.secrets.membership_key, wrong, bob.context)
    refuse(alice, resealed, "confirmation tag")
    assert alice.receive(sent(message)) is not None


def test_private_keys_are_kept_while_their_nodes_are_as_they_were() -> None:
    groups = room("alice", "bob", "carol", "dave")
    for by in range(4):
        commit(groups, by)
    alice = groups[0]
    assert set(alice.keys) == {0, 1, 3}
    tree = alice.tree.copy()
    assert retained_keys(alice.keys, alice.tree, tree, 0) == alice.keys
    tree.update(3, bundle("x").key_package.leaf_node)
    assert set(retained_keys(alice.keys, alice.tree, tree, 0)) == {0, 1}
    tree.remove(1)
    assert set(retained_keys(alice.keys, alice.tree, tree, 0)) == {0}


def test_keys_of_nodes_that_are_gone_go_with_them() -> None:
    groups = room("alice", "bob", "carol", "dave", "eve")
    for by in range(5):
        commit(groups, by)
    commit(groups, 0, Remove(4))
    assert all(max(group.keys) < len(group.tree) for group in groups)
    commit(groups, 0, Add(bundle("new").key_package), path=False)
    assert agree(*groups)
    for group in groups:
        for x, private in group.keys.items():
            node = group.tree[x]
            assert node is not None
            assert group.suite.kem.public_key(private) == node.encryption_key
