"""A group as bytes, and back: `snapshot` and `restore`.

All of it is secret; where it is kept is the caller's to protect. To be written before what was
encrypted is sent: a key that was used once must not come back (RFC 9420, section 15.3).
"""

from __future__ import annotations

from collections.abc import Mapping

from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.codec import U8, U32, U64, decode, encode, struct
from trio_chat.mls.epoch import Services
from trio_chat.mls.errors import DecodeError
from trio_chat.mls.group import Group
from trio_chat.mls.messages import GroupContext, Proposal, ProposalRef, ReInit, Sender
from trio_chat.mls.nodes import KeyPackage
from trio_chat.mls.proposals import Proposed
from trio_chat.mls.schedule import EpochSecrets
from trio_chat.mls.secrettree import MessageKey, Ratchet, SecretTree
from trio_chat.mls.suite import find_suite
from trio_chat.mls.tree import RatchetTree

VERSION = 1  # of this format


@struct(secret=True)
class _NodeSecret:
    node: U32
    secret: bytes


@struct(secret=True)
class _Ratchet:
    secret: bytes
    generation: U32
    skipped: tuple[MessageKey, ...]


@struct(secret=True)
class _LeafRatchets:
    leaf: U32
    handshake: _Ratchet
    application: _Ratchet


@struct(secret=True)
class _Pending:
    reference: bytes
    sender: Sender
    proposal: Proposal


@struct(secret=True)
class _Update:
    public: bytes
    private: bytes
    signature_private: bytes


@struct(secret=True)
class _EpochPSK:
    epoch: U64
    psk: bytes


@struct(secret=True)
class _State:
    version: U8
    context: GroupContext
    tree: bytes | None
    index: U32
    keys: tuple[_NodeSecret, ...]
    signature_private: bytes
    secrets: EpochSecrets
    node_secrets: tuple[_NodeSecret, ...]
    ratchets: tuple[_LeafRatchets, ...]
    resumption_psks: tuple[_EpochPSK, ...]
    reinit: ReInit | None
    pending: tuple[_Pending, ...]
    updates: tuple[_Update, ...]


def snapshot(group: Group, *, ratchet_tree: bool = True) -> bytes:
    """Return all of a group's state but what the application gave it, and `change`.

    Args:
        group: The group.
        ratchet_tree: Whether the tree is in it: the largest part, not secret, and the same for
            all of an epoch, so to be kept once by who writes before each message.
    """
    secret_tree = group.secret_tree
    return encode(
        _State(
            version=VERSION,
            context=group.context,
            tree=group.ratchet_tree() if ratchet_tree else None,
            index=group.index,
            keys=_node_secrets(group.keys),
            signature_private=group.signature_key.private,
            secrets=group.secrets,
            node_secrets=_node_secrets(secret_tree.secrets),
            ratchets=tuple(
                _LeafRatchets(leaf, _ratchet(handshake), _ratchet(application))
                for leaf, (handshake, application) in secret_tree.ratchets.items()
            ),
            resumption_psks=tuple(
                _EpochPSK(epoch, psk) for epoch, psk in group.resumption_psks.items()
            ),
            reinit=group.reinit,
            pending=tuple(
                _Pending(reference.reference, proposed.sender, proposed.proposal)
                for reference, proposed in group.pending.items()
            ),
            updates=tuple(
                _Update(public, private, key.private)
                for public, (private, key) in group.updates.items()
            ),
        )
    )


def restore(
    data: bytes,
    services: Services,
    *,
    ratchet_tree: bytes | None = None,
    experimental: bool = False,
) -> Group:
    """Return the group of a snapshot.

    Args:
        data: The snapshot, which is trusted: only its form is checked.
        services: What the application does for the group.
        ratchet_tree: The epoch's tree, if it is not in the snapshot.
        experimental: Whether the group may be of the experimental suite.

    Raises:
        DecodeError: It is no snapshot of this version, or the tree is missing or another one.
    """
    state = decode(_State, data)
    if state.version != VERSION:
        raise DecodeError("the snapshot is of another version")
    suite = find_suite(state.context.cipher_suite, experimental=experimental)
    tree = RatchetTree.decode(suite, state.tree or ratchet_tree or b"")
    if not state.tree and tree.tree_hash() != state.context.tree_hash:
        raise DecodeError("the tree is not the snapshot's")

    def ratchet(saved: _Ratchet) -> Ratchet:
        skipped = {key.generation: key for key in saved.skipped}
        return Ratchet(suite, saved.secret, services.max_skip, saved.generation, skipped)

    load = suite.scheme.load
    return Group(
        context=state.context,
        tree=tree,
        index=state.index,
        keys={saved.node: saved.secret for saved in state.keys},
        signature_key=load(state.signature_private),
        secrets=state.secrets,
        secret_tree=SecretTree(
            suite,
            tree.leaf_count,
            {saved.node: saved.secret for saved in state.node_secrets},
            services.max_skip,
            {
                saved.leaf: (ratchet(saved.handshake), ratchet(saved.application))
                for saved in state.ratchets
            },
        ),
        resumption_psks={saved.epoch: saved.psk for saved in state.resumption_psks},
        services=services,
        reinit=state.reinit,
        pending={
            ProposalRef(saved.reference): Proposed(
                saved.sender, saved.proposal, ProposalRef(saved.reference)
            )
            for saved in state.pending
        },
        updates={
            saved.public: (saved.private, load(saved.signature_private)) for saved in state.updates
        },
    )


def _node_secrets(secrets: Mapping[int, bytes]) -> tuple[_NodeSecret, ...]:
    return tuple(_NodeSecret(node, secret) for node, secret in secrets.items())


def _ratchet(ratchet: Ratchet) -> _Ratchet:
    return _Ratchet(ratchet.secret, ratchet.generation, tuple(ratchet.skipped.values()))


@struct(secret=True)
class _Bundle:
    version: U8
    key_package: KeyPackage
    init_private: bytes
    leaf_private: bytes
    signature_private: bytes


def snapshot_bundle(bundle: KeyPackageBundle) -> bytes:
    """Return a key package with its private keys as bytes."""
    return encode(
        _Bundle(
            VERSION,
            bundle.key_package,
            bundle.init_private,
            bundle.leaf_private,
            bundle.signature_key.private,
        )
    )


def restore_bundle(data: bytes, *, experimental: bool = False) -> KeyPackageBundle:
    """Return the bundle of `snapshot_bundle`.

    Raises:
        DecodeError: It is none of this version.
    """
    saved = decode(_Bundle, data)
    if saved.version != VERSION:
        raise DecodeError("the key package is kept in another version")
    suite = find_suite(saved.key_package.cipher_suite, experimental=experimental)
    key = suite.scheme.load(saved.signature_private)
    return KeyPackageBundle(suite, saved.key_package, saved.init_private, saved.leaf_private, key)
