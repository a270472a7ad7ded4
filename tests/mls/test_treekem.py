from __future__ import annotations

from typing import Any

import pytest

from tests.mls.clients import bundle, commit, room
from trio_chat.mls import CryptoError, Group, LeafNode, MLSError, ProtocolError
from trio_chat.mls.codec import evolve
from trio_chat.mls.nodes import CommitSource, HPKECiphertext, UpdatePath
from trio_chat.mls.tree import RatchetTree
from trio_chat.mls.treekem import CreatedPath, create_path, derive_keys, merge_path, open_path


def groups_of(count: int) -> list[Group]:
    groups = room(*map(str, range(count)))
    for by in range(0, count, 2):
        commit(groups, by)
    return groups


def path_by(group: Group, *joiners: LeafNode) -> tuple[RatchetTree, CreatedPath]:
    """Return a tree with joiners and then a new path by a member, and the path."""
    tree = group.tree.copy()
    added = {tree.add(leaf) for leaf in joiners}

    def make_leaf(key: bytes, source: CommitSource) -> LeafNode:
        return evolve(group.own_leaf, encryption_key=key, source=source)

    return tree, create_path(tree, group.index, make_leaf, group.context, added)


def opened(
    group: Group, created: CreatedPath, by: int, path: UpdatePath | None = None, **other: Any
) -> tuple[dict[int, bytes], bytes]:
    """Put the path into a member's own tree, and decrypt what is for it."""
    tree = group.tree.copy()
    merge_path(tree, by, created.path)
    assert tree.tree_hash() == created.context.tree_hash
    context = evolve(created.context, **other)
    return open_path(tree, by, path or created.path, context, group.index, group.keys)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_all_get_the_same_commit_secret_and_their_own_part_of_the_keys(count: int) -> None:
    groups = groups_of(count)
    for by in (0, count - 1):
        tree, created = path_by(groups[by])
        for group in groups:
            if group.index == by:
                continue
            keys, commit_secret = opened(group, created, by)
            assert commit_secret == created.commit_secret
            shared = set(tree.direct_path(by)) & set(tree.direct_path(group.index))
            assert set(keys) == {x for x in shared if tree[x] is not None}
            for x, private in keys.items():
                assert private == created.keys[x]
                node = tree[x]
                assert node is not None
                assert tree.suite.kem.public_key(private) == node.encryption_key


def test_who_is_alone_has_a_path_of_no_nodes() -> None:
    (alice,) = room("alice")
    _, created = path_by(alice)
    assert created.path.nodes == ()
    assert set(created.keys) == {0}
    assert len(created.commit_secret) == 32


def test_who_is_added_by_the_commit_is_encrypted_to_by_the_welcome_alone() -> None:
    (alice,) = room("alice")
    tree, created = path_by(alice, bundle("bob").key_package.leaf_node)
    assert [node.encrypted_path_secret for node in created.path.nodes] == [()]
    assert set(created.path_secrets) == {tree.root}


def test_a_path_of_another_length_is_refused() -> None:
    alice, bob, _ = groups_of(3)
    _, created = path_by(bob)
    nodes = created.path.nodes
    for wrong in ((), nodes[:1], nodes * 2):
        with pytest.raises(ProtocolError, match="wrong length"):
            merge_path(alice.tree.copy(), 1, evolve(created.path, nodes=wrong))


def test_a_path_whose_leaf_does_not_bind_it_is_refused() -> None:
    alice, bob, _ = groups_of(3)
    _, created = path_by(bob)
    _, other = path_by(bob)
    with pytest.raises(ProtocolError, match="parent hash"):
        merge_path(alice.tree.copy(), 1, evolve(created.path, nodes=other.path.nodes))


def test_a_path_secret_is_for_one_context_and_unchanged() -> None:
    alice, bob, _ = groups_of(3)
    _, created = path_by(bob)
    with pytest.raises(CryptoError):
        opened(alice, created, 1, epoch=77)
    first, *rest = created.path.nodes
    secret = first.encrypted_path_secret[0]
    for sealed in (
        HPKECiphertext(secret.kem_output, secret.ciphertext[:-1] + b"\0"),
        HPKECiphertext(secret.kem_output, b""),
        HPKECiphertext(b"", secret.ciphertext),
        HPKECiphertext(bytes(32), secret.ciphertext),
        rest[0].encrypted_path_secret[0],
    ):
        changed = evolve(first, encrypted_path_secret=(sealed,))
        with pytest.raises(CryptoError):
            opened(alice, created, 1, evolve(created.path, nodes=(changed, *rest)))


def test_a_path_secret_that_gives_other_keys_than_the_paths_is_refused() -> None:
    alice, bob, _ = groups_of(3)
    tree, created = path_by(bob)
    lowest = 1
    keys, commit_secret = derive_keys(tree, 1, lowest, created.path_secrets[lowest])
    assert commit_secret == created.commit_secret
    assert keys == {x: created.keys[x] for x in (1, 3)}
    for secret, match in ((bytes(32), "another key"), (b"", "length"), (bytes(33), "length")):
        with pytest.raises(CryptoError, match=match):
            derive_keys(tree, 1, lowest, secret)
    assert alice.tree[lowest] != tree[lowest]


def test_a_path_secret_for_a_blank_node_is_refused() -> None:
    _, bob, _ = groups_of(3)
    tree = bob.tree.copy()
    tree.blank_path(1)
    with pytest.raises(ProtocolError, match="blank"):
        derive_keys(tree, 1, 1, bytes(32))


def test_who_has_no_key_for_a_path_is_told_so() -> None:
    alice, bob, _ = groups_of(3)
    _, created = path_by(bob)
    tree = alice.tree.copy()
    merge_path(tree, 1, created.path)
    with pytest.raises(ProtocolError, match="not encrypted to us"):
        open_path(tree, 1, created.path, created.context, 0, {})
    with pytest.raises(MLSError):  # nor has the committer itself any use for it
        open_path(tree, 1, created.path, created.context, 1, bob.keys)


def test_nothing_secret_is_shown() -> None:
    alice, _ = room("alice", "bob")
    _, created = path_by(alice)
    for secret in (created.commit_secret, *created.keys.values(), *created.path_secrets.values()):
        assert repr(secret)[2:-1] not in repr(created)
