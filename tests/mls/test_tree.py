from __future__ import annotations

import pytest

from tests.mls.clients import bundle, commit, room
from tests.mls.forging import changed
from trio_chat.mls import SUITES, CryptoError, DecodeError, InvalidTree, Remove
from trio_chat.mls.codec import encode_as
from trio_chat.mls.nodes import CommitSource, LeafNode, Node, ParentNode
from trio_chat.mls.tree import RatchetTree

SUITE = SUITES[1]


def leaf(name: str) -> LeafNode:
    return bundle(name).key_package.leaf_node


def busy() -> RatchetTree:
    """Return the tree of a group of six in which all have committed, and one was added since."""
    groups = room(*"abcdef")
    for by in range(6):
        commit(groups, by)
    tree = groups[0].tree.copy()
    tree.add(leaf("g"))
    return tree


def test_a_tree_is_what_it_was_when_it_is_read_back() -> None:
    tree = busy()
    again = RatchetTree.decode(SUITE, tree.encode())
    assert again.encode() == tree.encode()
    assert again.tree_hash() == tree.tree_hash()
    again.check()


def test_a_tree_that_is_none_is_refused() -> None:
    blank = encode_as(tuple[Node | None, ...], (leaf("a"), None))
    parent_first = encode_as(tuple[Node | None, ...], (ParentNode(b"", b"", ()),))
    leaf_within = encode_as(tuple[Node | None, ...], (leaf("a"), leaf("b"), leaf("c")))
    for data in (b"\0", blank, parent_first, leaf_within):
        with pytest.raises(InvalidTree):
            RatchetTree.decode(SUITE, data)
    for data in (b"", b"\1", b"\1\2", b"\2\0"):
        with pytest.raises(DecodeError):
            RatchetTree.decode(SUITE, data)


def test_members_take_the_leftmost_free_leaf_and_the_tree_doubles() -> None:
    tree = RatchetTree(SUITE, [leaf("a")])
    assert [tree.add(leaf(name)) for name in "bcde"] == [1, 2, 3, 4]
    assert (tree.leaf_count, len(tree)) == (8, 15)
    tree.remove(2)
    assert tree.add(leaf("f")) == 2
    tree.remove(4)
    assert len(tree) == 7
    assert tree.leaf(4) is None
    assert tree.leaf(-1) is None


def test_who_is_not_there_is_not_removed() -> None:
    tree = busy()
    tree.remove(3)
    for index in (3, 7, 8, 2**32 - 1):
        with pytest.raises(InvalidTree, match="no such leaf"):
            tree.remove(index)


def test_a_new_leaf_is_unmerged_above_it() -> None:
    tree = busy()
    for x in tree.direct_path(6):
        node = tree.parent_node(x)
        assert node is None or node.unmerged_leaves == (6,)
    assert tree.resolution(tree.root) == [7, 12]
    tree.remove(0)
    assert tree.parent_node(7) is None
    assert tree.resolution(7) == [2, 5, 9, 12]


def test_hashes_are_remembered_and_forgotten_rightly() -> None:
    tree = busy()
    tree.tree_hash()
    changes = (
        lambda: tree.update(3, leaf("x")),
        lambda: tree.add(leaf("y")),
        lambda: tree.remove(1),
        lambda: tree.set_path(0, [(x, b"key %d" % x) for x, _ in tree.filtered_direct_path(0)]),
        lambda: tree.set(0, leaf("z")),
    )
    for change in changes:
        before = tree.tree_hash()
        change()
        assert tree.tree_hash() != before
        assert tree.tree_hash() == RatchetTree.decode(SUITE, tree.encode()).tree_hash()


def test_a_copy_changes_alone() -> None:
    tree = busy()
    before = tree.tree_hash(), tree.encode()
    other = tree.copy()
    other.remove(2)
    assert (tree.tree_hash(), tree.encode()) == before


def test_one_key_in_two_places_is_refused() -> None:
    tree = busy()
    a, b = tree.leaf(0), tree.leaf(1)
    assert a is not None
    assert b is not None
    with pytest.raises(InvalidTree, match="encryption key"):
        changed(tree, 2, encryption_key=a.encryption_key).check()
    with pytest.raises(InvalidTree, match="encryption key"):
        changed(tree, 1, encryption_key=a.encryption_key).check()
    with pytest.raises(InvalidTree, match="signature key"):
        changed(tree, 2, signature_key=a.signature_key).check()


def test_a_leaf_must_hold_the_hash_of_its_commit() -> None:
    tree = busy()
    with pytest.raises(InvalidTree, match="parent hash"):
        changed(tree, 10, source=CommitSource(bytes(32))).check()


def test_a_parent_with_a_dangerous_key_is_refused() -> None:
    with pytest.raises(CryptoError, match="low order"):
        changed(busy(), 7, encryption_key=bytes(32)).check()


def test_the_filtered_path_has_somebody_on_the_other_side() -> None:
    groups = room(*"abcde")
    assert [x for x, _ in groups[4].tree.filtered_direct_path(4)] == [7]
    commit(groups, 0, Remove(1))
    assert [x for x, _ in groups[0].tree.filtered_direct_path(0)] == [3, 7]
