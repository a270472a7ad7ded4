"""Commits: made and processed (RFC 9420, sections 12.4, 12.4.1 and 12.4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypedDict, TypeVar

import attrs

from trio_chat.mls.codec import evolve
from trio_chat.mls.epoch import Epoch, FindPSK, Turn, find_psks, turn
from trio_chat.mls.errors import ProtocolError, Removed
from trio_chat.mls.framing import sign_content
from trio_chat.mls.leaves import (
    Authenticate,
    CredentialValue,
    check_capabilities,
    check_leaf,
    sign_leaf,
)
from trio_chat.mls.messages import (
    AuthenticatedContent,
    Commit,
    ExternalInit,
    FramedContent,
    GroupContext,
    Member,
    PrivateMessage,
    ProposalRef,
    PublicMessage,
    SenderValue,
    Welcome,
    WireFormat,
)
from trio_chat.mls.nodes import Capabilities, CommitSource, Extension, LeafNode, UpdatePath
from trio_chat.mls.proposals import Change, Proposed, apply
from trio_chat.mls.schedule import external_init_secret, psk_secret
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.tree import RatchetTree
from trio_chat.mls.treekem import CreatedPath, create_path, merge_path, open_path

E = TypeVar("E", bound=Epoch)


@attrs.frozen(kw_only=True, repr=False)
class CommitResult(Generic[E]):
    """A commit that nobody has seen yet.

    Send `message`; once the delivery service has accepted it as the epoch's one commit, go on
    with `group`, and send `welcome` to those it adds. Otherwise drop all of it.
    """

    group: E
    message: PrivateMessage | PublicMessage
    welcome: Welcome | None = None


class LeafChanges(TypedDict, total=False):
    """What is to be other in our leaf, beside its encryption key, which is always fresh."""

    signature_key: SignatureKey
    credential: CredentialValue
    capabilities: Capabilities
    extensions: tuple[Extension, ...]


def changed_leaf(leaf: LeafNode, changes: LeafChanges) -> LeafNode:
    """Return a leaf, yet to be signed, with what is to be other."""
    fields: dict[str, Any] = {**changes}
    if "signature_key" in changes:
        fields["signature_key"] = changes["signature_key"].public
    return evolve(leaf, **fields)


@attrs.frozen(kw_only=True, repr=False)
class Plan:
    """What a commit of ours is to be, a member's or an external one.

    Attributes:
        sender: A member, or who joins by it.
        proposals: What it covers.
        key: Signs the commit.
        new_key: Signs the leaf in its path, and what the new epoch brings.
        leaf: What the leaf in its path is to say, or None for a commit without path.
        wire_format: How it is to travel.
        authenticated_data: What is to travel with it in clear.
        resuming: Whether the group is being made out of another one (11.2, 11.3).
    """

    sender: SenderValue
    proposals: Sequence[Proposed]
    key: SignatureKey
    new_key: SignatureKey
    leaf: LeafNode | None
    wire_format: WireFormat
    authenticated_data: bytes = b""
    resuming: bool = False


@attrs.frozen(kw_only=True, repr=False)
class Built:
    """A commit of ours and where it leads."""

    message: AuthenticatedContent
    turn: Turn
    tree: RatchetTree
    change: Change
    path: CreatedPath | None


def build(
    plan: Plan,
    *,
    context: GroupContext,
    tree: RatchetTree,
    interim: bytes,
    init_secret: bytes,
    authenticate: Authenticate,
    find_psk: FindPSK,
) -> Built:
    """Make a commit on top of an epoch (section 12.4.1).

    Raises:
        ProtocolError: The plan breaks a rule, or a pre-shared key is not known.
    """
    suite = tree.suite
    joiner = None if isinstance(plan.sender, Member) else plan.leaf
    tree, extensions, change = apply(
        tree,
        context,
        plan.proposals,
        plan.sender,
        authenticate,
        joiner=joiner,
        resuming=plan.resuming,
    )
    if change.path_required and plan.leaf is None:
        raise ProtocolError("the proposals need a commit with a path")
    new_context = evolve(context, epoch=context.epoch + 1, extensions=extensions)
    path = None
    if plan.leaf is not None:
        template = plan.leaf

        def make_leaf(key: bytes, source: CommitSource) -> LeafNode:
            leaf = evolve(template, encryption_key=key, source=source)
            return sign_leaf(suite, leaf, plan.new_key, context.group_id, change.committer)

        path = create_path(tree, change.committer, make_leaf, new_context, set(change.added))
        check_leaf(suite, path.path.leaf_node, CommitSource, context.group_id, change.committer)
        new_context = path.context
    else:
        new_context = evolve(new_context, tree_hash=tree.tree_hash())
    tree.check_unique()
    check_capabilities(tree, extensions)
    psks = find_psks(change.psks, find_psk)
    content = FramedContent(
        context.group_id,
        context.epoch,
        plan.sender,
        plan.authenticated_data,
        Commit(
            tuple(proposed.reference or proposed.proposal for proposed in plan.proposals),
            path.path if path else None,
        ),
    )
    message = sign_content(suite, plan.key, plan.wire_format, content, context)
    turned = turn(
        suite,
        message,
        context=new_context,
        interim=interim,
        init_secret=init_secret,
        commit_secret=path.commit_secret if path else bytes(suite.hash_size),
        psk=psk_secret(suite, psks),
    )
    message = evolve(message, confirmation_tag=turned.confirmation_tag)
    return Built(message=message, turn=turned, tree=tree, change=change, path=path)


def follow(epoch: E, plan: Plan, built: Built) -> E:
    """Return the epoch that a member's commit begins, for the member itself."""
    keys = retained_keys(epoch.keys, epoch.tree, built.tree, epoch.index)
    if built.path is not None:
        keys.update(built.path.keys)
    signature_key = plan.new_key if built.path else plan.key
    return epoch.next(built.turn, built.tree, keys, signature_key, built.change)


def process(epoch: E, message: AuthenticatedContent) -> E:
    """Follow another's commit, whose signature has been checked (section 12.4.2).

    Raises:
        Removed: It takes us out.
        ProtocolError: It breaks a rule.
        CryptoError: It does not hold.
    """
    suite = epoch.suite
    commit = message.content.content
    assert isinstance(commit, Commit)
    path = commit.path
    sender = message.content.sender
    tree, extensions, change = apply(
        epoch.tree,
        epoch.context,
        _resolve(epoch, commit, sender),
        sender,
        epoch.services.authenticate,
        joiner=path.leaf_node if path and not isinstance(sender, Member) else None,
    )
    if path is None and change.path_required:
        raise ProtocolError("a commit lacks the path that its proposals need")
    if path is not None:
        _check_path_leaf(epoch, change, path)
    keys, signature_key = _own_keys(epoch, tree, change)
    if path is not None:
        merge_path(tree, change.committer, path)
    tree.check_unique()
    check_capabilities(tree, extensions)
    if epoch.index in change.removed:  # what follows is under secrets that we must not have
        raise Removed(change)
    context = evolve(
        epoch.context,
        epoch=epoch.context.epoch + 1,
        tree_hash=tree.tree_hash(),
        extensions=extensions,
    )
    keys = retained_keys(keys, epoch.tree, tree, epoch.index)
    commit_secret = bytes(suite.hash_size)
    if path is not None:
        shared, commit_secret = open_path(
            tree, change.committer, path, context, epoch.index, keys, set(change.added)
        )
        keys.update(shared)
    turned = turn(
        suite,
        message,
        context=context,
        interim=epoch.interim_transcript_hash,
        init_secret=_init_secret(epoch, change),
        commit_secret=commit_secret,
        psk=psk_secret(suite, find_psks(change.psks, epoch.find_psk)),
    )
    turned.secrets.check_confirmation(suite, turned.context, message.confirmation_tag or b"")
    return epoch.next(turned, tree, keys, signature_key, change)


def _resolve(epoch: Epoch, commit: Commit, sender: SenderValue) -> list[Proposed]:
    """Return a commit's proposals, those by reference looked up."""
    proposals = []
    for item in commit.proposals:
        if isinstance(item, ProposalRef):
            try:
                proposals.append(epoch.pending[item])
            except KeyError:
                raise ProtocolError("a commit covers a proposal that has not come") from None
        else:
            proposals.append(Proposed(sender, item))
    return proposals


def _check_path_leaf(epoch: Epoch, change: Change, path: UpdatePath) -> None:
    """Check the committer's new leaf; its parent hash is looked at with the path."""
    leaf = path.leaf_node
    group_id = epoch.context.group_id
    check_leaf(epoch.suite, leaf, CommitSource, group_id, change.committer)
    replaced = None
    if not change.external:
        replaced = epoch.tree.leaf(change.committer)
    elif change.removed:
        replaced = epoch.tree.leaf(change.removed[0])
    if replaced is not None and leaf.encryption_key == replaced.encryption_key:
        raise ProtocolError("a path must bring a new encryption key")
    credential = replaced.credential if replaced else None
    epoch.services.authenticate(leaf.credential, leaf.signature_key, credential)


def _own_keys(
    epoch: Epoch, tree: RatchetTree, change: Change
) -> tuple[Mapping[int, bytes], SignatureKey]:
    """Return our private keys: other ones if the commit covers an Update of ours.

    Which one is told by the key in the tree, not by what we remember to have proposed last.
    """
    if epoch.index not in change.updated:
        return epoch.keys, epoch.signature_key
    leaf = tree.leaf(epoch.index)
    assert leaf is not None
    try:
        private, signature_key = epoch.updates[leaf.encryption_key]
    except KeyError:
        raise ProtocolError("a commit covers an Update of ours that we know nothing of") from None
    return {**epoch.keys, 2 * epoch.index: private}, signature_key


def retained_keys(
    keys: Mapping[int, bytes], old: RatchetTree, new: RatchetTree, index: int
) -> dict[int, bytes]:
    """Return the private keys whose nodes are in the new tree as they were, and our leaf's."""
    kept = {}
    for x, private in keys.items():
        before, after = old[x], new[x] if x < len(new) else None
        same_key = before and after and before.encryption_key == after.encryption_key
        if same_key or x == 2 * index:
            kept[x] = private
    return kept


def _init_secret(epoch: Epoch, change: Change) -> bytes:
    """Return the old epoch's init secret, or the one that an external commit brings (8.3)."""
    for proposed in change.proposals:
        if isinstance(proposed.proposal, ExternalInit):
            kem_output = proposed.proposal.kem_output
            return external_init_secret(epoch.suite, epoch.secrets, kem_output)
    return epoch.secrets.init_secret
