from __future__ import annotations

import pytest

from trio_chat.mls import treemath


@pytest.mark.parametrize("leaves", [1, 2, 4, 8, 64])
def test_children_and_parents_belong_together(leaves: int) -> None:
    for x in range(2 * leaves - 1):
        if x % 2:
            for child in (treemath.left(x), treemath.right(x)):
                assert treemath.parent(child, leaves) == x
                assert treemath.level(child) == treemath.level(x) - 1
            assert treemath.sibling(treemath.left(x), leaves) == treemath.right(x)
            assert treemath.sibling(treemath.right(x), leaves) == treemath.left(x)


def test_a_leaf_is_at_level_0_and_the_root_above_all() -> None:
    assert [treemath.level(x) for x in range(7)] == [0, 1, 0, 2, 0, 1, 0]
    assert treemath.root(4) == 3
    assert treemath.direct_path(0, 4) == [1, 3]
    assert treemath.direct_path(0, 1) == []


def test_the_root_has_no_parent() -> None:
    with pytest.raises(ValueError, match="root"):
        treemath.parent(3, 4)


def test_a_subtree_is_all_that_has_its_top_above() -> None:
    leaves = 16
    for top in range(2 * leaves - 1):
        for x in range(2 * leaves - 1):
            below = top == x or top in treemath.direct_path(x, leaves)
            assert treemath.in_subtree(x, top) is below


def test_the_common_ancestor_is_the_lowest_one() -> None:
    leaves = 16
    for x in range(0, 2 * leaves - 1, 2):
        for y in range(0, 2 * leaves - 1, 2):
            path = [x, *treemath.direct_path(x, leaves)]
            expected = next(top for top in path if treemath.in_subtree(y, top))
            assert treemath.common_ancestor(x, y) == expected
            if x != y:
                other = treemath.copath_child(x, expected)
                assert treemath.in_subtree(y, other)
                assert not treemath.in_subtree(x, other)
