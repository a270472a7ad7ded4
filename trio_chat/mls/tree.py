"""The ratchet tree, its changes and its hashes (RFC 9420, sections 4.1 and 7.7 to 7.9).

Nodes are immutable values, so a provisional tree is a copy of a list; the hashes that a change
does not touch are kept. Whether a leaf is acceptable is asked in `leaves`, who may change what in
`proposals`, and the secrets are in `treekem`.
"""

from __future__ import annotations

from collections.abc import Iterator

from trio_chat.mls import treemath
from trio_chat.mls.codec import decode, encode, encode_as, evolve, opaque
from trio_chat.mls.errors import InvalidTree
from trio_chat.mls.nodes import CommitSource, LeafNode, Node, ParentNode
from trio_chat.mls.suite import CipherSuite

NodeValue = LeafNode | ParentNode


class RatchetTree:
    """A tree of `leaf_count` leaves, a power of two; nodes are addressed as in `treemath`."""

    __slots__ = ("_encoded", "_frozen", "_hashes", "_nodes", "suite")

    def __init__(self, suite: CipherSuite, nodes: list[NodeValue | None]) -> None:
        self.suite = suite
        self._nodes = nodes
        self._hashes: list[bytes | None] = [None] * len(nodes)
        self._frozen = False
        self._encoded: bytes | None = None  # once it is frozen

    @classmethod
    def decode(cls, suite: CipherSuite, data: bytes) -> RatchetTree:
        """Read the ratchet_tree extension (section 12.4.3.3)."""
        nodes: list[NodeValue | None] = list(decode(tuple[Node | None, ...], data))
        if not nodes or nodes[-1] is None:
            raise InvalidTree("the tree is empty, or ends in a blank node")
        for index, node in enumerate(nodes):
            if node is not None and isinstance(node, LeafNode) is bool(index % 2):
                raise InvalidTree("a leaf is where a parent belongs, or the other way round")
        width = 1 << (len(nodes)).bit_length()  # the least 2**k - 1 that holds them
        nodes += [None] * (width - 1 - len(nodes))
        return cls(suite, nodes)

    def encode(self) -> bytes:
        """Write the ratchet_tree extension: without the blank nodes at the end."""
        if self._encoded is not None:
            return self._encoded
        end = len(self._nodes)
        while end and self._nodes[end - 1] is None:
            end -= 1
        encoded = encode_as(tuple[Node | None, ...], tuple(self._nodes[:end]))
        if self._frozen:
            self._encoded = encoded
        return encoded

    def freeze(self) -> None:
        """Make changing this tree, not a copy of it, a TypeError from now on."""
        self._frozen = True
        self._nodes = tuple(self._nodes)  # type: ignore[assignment]  # which is the purpose

    def copy(self) -> RatchetTree:
        """Return a tree that can change without this one."""
        other = RatchetTree.__new__(RatchetTree)
        other.suite = self.suite
        other._nodes = list(self._nodes)
        other._hashes = self._hashes.copy()
        other._frozen, other._encoded = False, None
        return other

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, x: int) -> NodeValue | None:
        return self._nodes[x]

    @property
    def leaf_count(self) -> int:
        """How many leaves there are, blank ones too."""
        return (len(self._nodes) + 1) // 2

    @property
    def root(self) -> int:
        """The root."""
        return treemath.root(self.leaf_count)

    def leaf(self, index: int) -> LeafNode | None:
        """Return a leaf by its index; one outside of the tree is blank."""
        if not 0 <= index < self.leaf_count:
            return None
        node = self._nodes[2 * index]
        assert not isinstance(node, ParentNode)
        return node

    def parent_node(self, x: int) -> ParentNode | None:
        """Return an inner node."""
        node = self._nodes[x]
        assert not isinstance(node, LeafNode)
        return node

    def leaves(self) -> Iterator[tuple[int, LeafNode]]:
        """Iterate over the leaf indices and leaves that are not blank."""
        for index, node in enumerate(self._nodes[::2]):
            if isinstance(node, LeafNode):
                yield index, node

    def direct_path(self, index: int) -> list[int]:
        """Return the ancestors of a leaf, from its parent to the root (section 4.1.1)."""
        return treemath.direct_path(2 * index, self.leaf_count)

    def resolution(self, x: int) -> list[int]:
        """Return the nodes that, together, cover all members below `x` (section 4.1.1)."""
        found: list[int] = []
        stack = [x]
        while stack:
            x = stack.pop()
            node = self._nodes[x]
            if node is not None:
                found.append(x)
                if isinstance(node, ParentNode):
                    found.extend(2 * leaf for leaf in node.unmerged_leaves)
            elif x % 2:
                stack += (treemath.right(x), treemath.left(x))
        return found

    def _is_empty(self, x: int) -> bool:
        """Return whether the resolution of `x` is empty: whether no member is below."""
        low = x - (1 << treemath.level(x)) + 1
        high = x + (1 << treemath.level(x))
        return not any(self._nodes[low:high:2])

    def filtered_direct_path(self, index: int) -> list[tuple[int, int]]:
        """Return the direct path but for nodes with nobody on the other side (section 4.1.2).

        Each comes with that other side, its child on the copath.
        """
        path = []
        for above in self.direct_path(index):
            other = treemath.copath_child(2 * index, above)
            if not self._is_empty(other):
                path.append((above, other))
        return path

    # Section 7.7: changes. Whatever is set, the hashes above it are forgotten.

    def set(self, x: int, node: NodeValue | None) -> None:
        """Put a node, or blank it."""
        self._nodes[x] = node
        hashes = self._hashes
        hashes[x] = None
        while x != self.root:
            x = treemath.parent(x, self.leaf_count)
            hashes[x] = None

    def blank_path(self, index: int) -> None:
        """Blank the direct path of a leaf."""
        for x in self.direct_path(index):
            self._nodes[x] = None
            self._hashes[x] = None

    def add(self, leaf: LeafNode, start: int = 0) -> int:
        """Put a new leaf in the leftmost free place, and return its index (12.1.1).

        Args:
            leaf: The new leaf.
            start: A leaf index that has no free place before it.
        """
        index = start
        while index < self.leaf_count and self._nodes[2 * index] is not None:
            index += 1
        if index == self.leaf_count:
            self._nodes += [None] * (len(self._nodes) + 1)
            self._hashes += [None] * (len(self._hashes) + 1)
        for x in self.direct_path(index):
            node = self.parent_node(x)
            if node is not None:
                unmerged = tuple(sorted((*node.unmerged_leaves, index)))
                self._nodes[x] = ParentNode(node.encryption_key, node.parent_hash, unmerged)
        self.set(2 * index, leaf)
        return index

    def update(self, index: int, leaf: LeafNode) -> None:
        """Put a new leaf in place of a member's, and blank its direct path (12.1.2)."""
        self.set(2 * index, leaf)
        self.blank_path(index)

    def remove(self, index: int) -> None:
        """Blank a leaf and its direct path, and halve the tree while it is half empty (12.1.3)."""
        if self.leaf(index) is None:
            raise InvalidTree("there is no such leaf to remove")
        self.set(2 * index, None)
        self.blank_path(index)
        while len(self._nodes) > 1 and self._is_empty(treemath.right(self.root)):
            half = self.root
            del self._nodes[half:]
            del self._hashes[half:]

    # Sections 7.8 and 7.9: hashes.

    def tree_hash(self, x: int | None = None) -> bytes:
        """Return the tree hash of the subtree below `x`, or of all (section 7.8)."""
        return self._hash(self.root if x is None else x, frozenset())

    def _hash(self, x: int, without: frozenset[int]) -> bytes:
        """Hash a subtree, as if the leaves `without`, all of them below it, were not there.

        The TreeHashInput is put together by hand: a tree can be large and nearly all blank.
        """
        known = self._hashes[x]
        if known is not None and not without:
            return known
        node = self._nodes[x]
        if x % 2 == 0:
            data = b"\1" + (x // 2).to_bytes(4, "big")
            data += b"\0" if node is None or without else b"\1" + encode(node)
        else:
            if without and isinstance(node, ParentNode):
                unmerged = tuple(leaf for leaf in node.unmerged_leaves if leaf not in without)
                node = evolve(node, unmerged_leaves=unmerged)
            to_the_left = without and frozenset(leaf for leaf in without if 2 * leaf < x)
            step = 1 << treemath.level(x) - 1
            data = b"\2\0" if node is None else b"\2\1" + encode(node)
            data += opaque(self._hash(x - step, to_the_left))
            data += opaque(self._hash(x + step, without - to_the_left))
        hashed = self.suite.hash(data)
        if not without:
            self._hashes[x] = hashed
        return hashed

    def parent_hash(self, x: int, other: int) -> bytes:
        """Return the hash of inner node `x` that a child binds to, opposite child `other` (7.9).

        The sibling counts as it was when `x` was made: without the leaves that were added since.
        """
        node = self.parent_node(x)
        assert node is not None
        without = frozenset(
            leaf for leaf in node.unmerged_leaves if treemath.in_subtree(2 * leaf, other)
        )
        parts = node.encryption_key, node.parent_hash, self._hash(other, without)
        return self.suite.hash(b"".join(map(opaque, parts)))  # ParentHashInput

    def set_path(self, index: int, keys: list[tuple[int, bytes]]) -> bytes:
        """Put the public keys of a path, given from below; return its leaf's parent hash (7.9).

        All other nodes of the direct path become blank. The leaf is put by the caller.
        """
        self.blank_path(index)
        self.set(2 * index, self._nodes[2 * index])
        above = b""
        for x, key in reversed(keys):
            self._nodes[x] = ParentNode(key, above, ())
            above = self.parent_hash(x, treemath.copath_child(2 * index, x))
        return above

    # Section 7.9.2: what must hold of a tree that somebody else has made.

    def check(self) -> None:
        """Check keys, unmerged leaves and parent hashes; the leaves' own rules are in `leaves`.

        Raises:
            InvalidTree: One of them does not hold.
            CryptoError: A parent node's key is malformed or dangerous.
        """
        self.check_unique()
        parents = [(x, node) for x, node in enumerate(self._nodes) if isinstance(node, ParentNode)]
        for _, node in parents:
            self.suite.check_encryption_key(node.encryption_key)
        self._check_unmerged(dict(parents))
        if not all(self._is_chained(x, node) for x, node in parents):
            raise InvalidTree("a parent hash does not hold")

    def encryption_keys(self) -> frozenset[bytes]:
        """Return the public keys of all nodes."""
        return frozenset(node.encryption_key for node in self._nodes if node is not None)

    def check_unique(self) -> None:
        """Refuse an encryption key or a signature key that is there twice (section 7.3)."""
        if len(self.encryption_keys()) != sum(node is not None for node in self._nodes):
            raise InvalidTree("two nodes have one encryption key")
        leaves = [leaf for _, leaf in self.leaves()]
        if len({leaf.signature_key for leaf in leaves}) != len(leaves):
            raise InvalidTree("two members have one signature key")

    def _check_unmerged(self, parents: dict[int, ParentNode]) -> None:
        """Each unmerged leaf is a member below, and unmerged in all nodes in between."""
        listed = {}
        for x, node in parents.items():
            unmerged = node.unmerged_leaves
            listed[x] = set(unmerged)
            if sorted(listed[x]) != list(unmerged):
                raise InvalidTree("unmerged leaves are out of order")
            for index in unmerged:
                if self.leaf(index) is None or not treemath.in_subtree(2 * index, x):
                    raise InvalidTree("an unmerged leaf is blank or elsewhere")
        for index, _ in self.leaves():
            path = [index in listed[x] for x in self.direct_path(index) if x in listed]
            if path != sorted(path, reverse=True):
                raise InvalidTree("a leaf is unmerged above where it is merged")

    def _is_chained(self, x: int, node: ParentNode) -> bool:
        """Return whether a node below holds the parent hash of `x`: who made the one, both."""
        unmerged = {2 * leaf for leaf in node.unmerged_leaves}
        for child in (treemath.left(x), treemath.right(x)):
            resolution = self.resolution(child)
            below = [y for y in resolution if y not in unmerged]
            missing = sum(treemath.in_subtree(y, child) for y in unmerged)
            if len(below) == 1 and missing == len(resolution) - 1:
                expected = self.parent_hash(x, treemath.copath_child(child, x))
                if _parent_hash_in(self._nodes[below[0]]) == expected:
                    return True
        return False


def _parent_hash_in(node: NodeValue | None) -> bytes | None:
    """Return the parent hash that a node holds."""
    match node:
        case ParentNode():
            return node.parent_hash
        case LeafNode(source=CommitSource(parent_hash=held)):
            return held
    return None
