"""Update paths (RFC 9420, sections 7.4 to 7.6): new secrets for a committer's direct path.

The functions work on the private keys that a member has, by node, and give them back changed.
A tree that is given to `create_path` or `merge_path` is a provisional one, and changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs

from trio_chat.mls import treemath
from trio_chat.mls.codec import encode, evolve
from trio_chat.mls.errors import CryptoError, ProtocolError
from trio_chat.mls.messages import GroupContext
from trio_chat.mls.nodes import (
    CommitSource,
    HPKECiphertext,
    LeafNode,
    UpdatePath,
    UpdatePathNode,
)
from trio_chat.mls.suite import CipherSuite
from trio_chat.mls.tree import RatchetTree

_LABEL = b"UpdatePathNode"


@attrs.frozen(kw_only=True, repr=False)
class CreatedPath:
    """A path of our own.

    Attributes:
        path: What is sent.
        keys: The private keys of its nodes, the leaf's too.
        path_secrets: Of its parent nodes.
        commit_secret: What the key schedule gets.
        context: The provisional group context, with the tree hash of the path.
    """

    path: UpdatePath
    keys: dict[int, bytes]
    path_secrets: dict[int, bytes]
    commit_secret: bytes
    context: GroupContext


def create_path(
    tree: RatchetTree,
    index: int,
    make_leaf: Callable[[bytes, CommitSource], LeafNode],
    context: GroupContext,
    added: Collection[int] = (),
) -> CreatedPath:
    """Make a path for the leaf `index`, put it into the tree and encrypt its secrets.

    Args:
        tree: The provisional tree.
        index: The committer's leaf index.
        make_leaf: Returns the signed leaf for an encryption key.
        context: The provisional group context, whose tree hash is yet to be set.
        added: The leaves that the same commit adds: they get a Welcome instead.
    """
    suite = tree.suite
    filtered = tree.filtered_direct_path(index)
    private, public = suite.generate_key_pair()
    keys = {2 * index: private}
    path_secrets = {}
    publics = []
    secret = suite.random_secret()
    for x, _ in filtered:
        path_secrets[x] = secret
        keys[x], key = _node_key_pair(suite, secret)
        publics.append((x, key))
        secret = suite.derive_secret(secret, b"path")
    leaf = make_leaf(public, CommitSource(tree.set_path(index, publics)))
    tree.set(2 * index, leaf)
    context = evolve(context, tree_hash=tree.tree_hash())
    encoded = encode(context)
    nodes = []
    for (x, other), (_, key) in zip(filtered, publics, strict=True):
        sealed = [
            HPKECiphertext(*suite.encrypt_with_label(recipient, _LABEL, encoded, path_secrets[x]))
            for recipient in _recipients(tree, other, added).values()
        ]
        nodes.append(UpdatePathNode(key, tuple(sealed)))
    return CreatedPath(
        path=UpdatePath(leaf, tuple(nodes)),
        keys=keys,
        path_secrets=path_secrets,
        commit_secret=secret,
        context=context,
    )


def merge_path(tree: RatchetTree, index: int, path: UpdatePath) -> None:
    """Put a received path into the tree.

    Raises:
        ProtocolError: It has the wrong length, a key that is in use, or a wrong parent hash.
        CryptoError: One of its keys is not acceptable.
    """
    filtered = tree.filtered_direct_path(index)
    if len(path.nodes) != len(filtered):
        raise ProtocolError("a path has the wrong length")
    keys = [node.encryption_key for node in path.nodes]
    for key in keys:
        tree.suite.check_encryption_key(key)
    used = tree.encryption_keys()
    if tree[2 * index] is path.leaf_node:  # an external committer's, which was just added
        used -= {path.leaf_node.encryption_key}
    fresh = {path.leaf_node.encryption_key, *keys}
    if len(fresh) != len(keys) + 1 or not fresh.isdisjoint(used):
        raise ProtocolError("a path uses a key that is in the tree, or one twice")
    parent_hash = tree.set_path(
        index, [(x, key) for (x, _), key in zip(filtered, keys, strict=True)]
    )
    if path.leaf_node.source != CommitSource(parent_hash):
        raise ProtocolError("a path's leaf has the wrong parent hash")
    tree.set(2 * index, path.leaf_node)


def open_path(
    tree: RatchetTree,
    sender: int,
    path: UpdatePath,
    context: GroupContext,
    receiver: int,
    keys: Mapping[int, bytes],
    added: Collection[int] = (),
) -> tuple[dict[int, bytes], bytes]:
    """Decrypt our part of a path that is in the tree.

    Args:
        tree: The provisional tree, the path merged.
        sender: The committer's leaf index.
        path: Its path.
        context: The provisional group context, with the tree hash of the path.
        receiver: Our leaf index.
        keys: Our private keys, by node.
        added: The leaves that the same commit adds.

    Returns:
        The private keys of the nodes that we share with the committer, and the commit_secret.

    Raises:
        ProtocolError: A node's secret is not encrypted to exactly those it should be.
        CryptoError: Our part cannot be decrypted, or gives other keys than the path's.
    """
    filtered = tree.filtered_direct_path(sender)
    found = None
    for (x, other), node in zip(filtered, path.nodes, strict=True):
        recipients = _recipients(tree, other, added)
        if len(recipients) != len(node.encrypted_path_secret):
            raise ProtocolError("a path secret is encrypted to too many or too few")
        if treemath.in_subtree(2 * receiver, other):
            place = next((i for i, y in enumerate(recipients) if y in keys), None)
            if place is None:
                raise ProtocolError("a path secret is not encrypted to us")
            found = x, keys[list(recipients)[place]], node.encrypted_path_secret[place]
    if found is None:
        raise ProtocolError("a path has no secret for us")
    lowest, private, sealed = found
    secret = tree.suite.decrypt_with_label(
        private, _LABEL, encode(context), sealed.kem_output, sealed.ciphertext
    )
    return derive_keys(tree, sender, lowest, secret)


def derive_keys(
    tree: RatchetTree, sender: int, lowest: int, path_secret: bytes
) -> tuple[dict[int, bytes], bytes]:
    """Return the private keys from a node of the sender's path upwards, and the commit_secret.

    Raises:
        CryptoError: They are not those of the tree's public keys.
        ProtocolError: The node is no part of a path.
    """
    suite = tree.suite
    if len(path_secret) != suite.hash_size:
        raise CryptoError("a path secret has the wrong length")
    if tree[lowest] is None:
        raise ProtocolError("a path secret is for a blank node")
    keys = {}
    for x in tree.direct_path(sender):
        node = tree.parent_node(x)
        if node is None or treemath.level(x) < treemath.level(lowest):
            continue
        keys[x], public = _node_key_pair(suite, path_secret)
        if public != node.encryption_key:
            raise CryptoError("a path secret gives another key than the path's")
        path_secret = suite.derive_secret(path_secret, b"path")
    return keys, path_secret


def _node_key_pair(suite: CipherSuite, path_secret: bytes) -> tuple[bytes, bytes]:
    return suite.derive_key_pair(suite.derive_secret(path_secret, b"node"))


def _recipients(tree: RatchetTree, other: int, added: Collection[int]) -> dict[int, bytes]:
    """Return the keys that a path secret is encrypted to, by node, in the resolution's order."""
    recipients = {}
    for y in tree.resolution(other):
        node = tree[y]
        if node is not None and not (y % 2 == 0 and y // 2 in added):
            recipients[y] = node.encryption_key
    return recipients
