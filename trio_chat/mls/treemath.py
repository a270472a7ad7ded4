"""Array-based trees (RFC 9420, section 4.1.2 and appendix C): arithmetic on node indices.

Leaf n is node 2n; a tree of n leaves, n a power of two, has 2n - 1 nodes. Every function
that can leave the tree takes its number of leaves.
"""

from __future__ import annotations


def level(x: int) -> int:
    """Return the height of a node: 0 for leaves."""
    return (~x & x + 1).bit_length() - 1


def root(leaves: int) -> int:
    """Return the root of a tree of `leaves` leaves."""
    return leaves - 1


def left(x: int) -> int:
    """Return the left child of a node that is no leaf."""
    return x ^ 1 << level(x) - 1


def right(x: int) -> int:
    """Return the right child of a node that is no leaf."""
    return x ^ 3 << level(x) - 1


def parent(x: int, leaves: int) -> int:
    """Return the parent of a node that is not the root."""
    if x == root(leaves):
        raise ValueError("the root has no parent")
    k = level(x)
    return (x | 1 << k) & ~(1 << k + 1)


def sibling(x: int, leaves: int) -> int:
    """Return the other child of the node's parent."""
    above = parent(x, leaves)
    return right(above) if x < above else left(above)


def direct_path(x: int, leaves: int) -> list[int]:
    """Return the node's ancestors, from its parent to the root."""
    path = []
    while x != root(leaves):
        x = parent(x, leaves)
        path.append(x)
    return path


def in_subtree(x: int, top: int) -> bool:
    """Return whether `x` is `top` or below it."""
    return x >> level(top) + 1 == top >> level(top) + 1 and level(x) <= level(top)


def copath_child(x: int, above: int) -> int:
    """Return the child of `above`, an ancestor of `x`, on the side where `x` is not."""
    return right(above) if x < above else left(above)


def common_ancestor(x: int, y: int) -> int:
    """Return the lowest node that has both in its subtree."""
    top = x
    while not in_subtree(y, top):
        k = level(top)
        top = (top | 1 << k) & ~(1 << k + 1)
    return top
