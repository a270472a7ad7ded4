"""Proposals: which are valid, alone and together, and what they do (RFC 9420, 12.1 to 12.3).

Pure: what is given does not change. `apply` answers with a provisional tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import attrs

from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.leaves import Authenticate, check_capabilities, check_key_package, check_leaf
from trio_chat.mls.messages import (
    Add,
    External,
    ExternalInit,
    GroupContext,
    GroupContextExtensions,
    Member,
    NewMemberCommit,
    NewMemberProposal,
    PreSharedKey,
    PreSharedKeyID,
    ProposalRef,
    ProposalValue,
    ReInit,
    Remove,
    ResumptionPSK,
    ResumptionPSKUsage,
    SenderValue,
    Update,
)
from trio_chat.mls.nodes import (
    Extension,
    KeyPackage,
    LeafNode,
    UpdateSource,
    check_extensions,
    decode_external_senders,
    decode_required_capabilities,
)
from trio_chat.mls.tree import RatchetTree


@attrs.frozen
class Proposed:
    """A proposal, who made it and, unless it is in the commit itself, its reference."""

    sender: SenderValue
    proposal: ProposalValue
    reference: ProposalRef | None = None


@attrs.frozen(kw_only=True)
class Change:
    """What a commit does to the group: for the application to judge before it goes along.

    Attributes:
        committer: The leaf index of who made the commit, in the new tree.
        external: Whether the committer has joined by it.
        proposals: What it covers, in order.
        added, updated, removed: The leaf indices, in the commit's order.
        key_packages: Of those added, in the same order.
        psks: The pre-shared keys that it mixes in.
        reinit: How the group is to begin anew; this one is at its end.
        path_required: Whether the commit must have a path (section 12.4).
    """

    committer: int
    external: bool = False
    proposals: tuple[Proposed, ...] = ()
    added: tuple[int, ...] = ()
    key_packages: tuple[KeyPackage, ...] = ()
    updated: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    psks: tuple[PreSharedKeyID, ...] = ()
    reinit: ReInit | None = None
    path_required: bool = False


# Section 12.1: proposals, each by itself.

_BY_SENDER: dict[type, tuple[type, ...]] = {
    Member: (Add, Update, Remove, PreSharedKey, ReInit, GroupContextExtensions),
    External: (Add, Remove, PreSharedKey, ReInit, GroupContextExtensions),
    NewMemberProposal: (Add,),
    NewMemberCommit: (ExternalInit, Remove, PreSharedKey),
}


def check_proposal(
    proposal: ProposalValue,
    sender: SenderValue,
    tree: RatchetTree,
    context: GroupContext,
    authenticate: Authenticate,
    *,
    resuming: bool = False,
) -> None:
    """Check that the sender may propose this, and that it is valid by itself.

    Raises:
        ProtocolError: A rule is broken, or a credential is not accepted.
        CryptoError: A key is not acceptable, or a signature does not hold.
    """
    if not isinstance(proposal, _BY_SENDER[type(sender)]):
        raise ProtocolError(
            f"{type(sender).__name__} senders cannot propose {type(proposal).__name__}"
        )
    suite = tree.suite
    match proposal:
        case Add(key_package=package):
            check_key_package(suite, package)
            leaf = package.leaf_node
            authenticate(leaf.credential, leaf.signature_key, None)
        case Update(leaf_node=leaf):
            assert isinstance(sender, Member)
            index = sender.leaf_index
            old = tree.leaf(index)
            if old is None:
                raise ProtocolError("only members have a leaf to update")
            check_leaf(suite, leaf, UpdateSource, context.group_id, index)
            if leaf.encryption_key == old.encryption_key:
                raise ProtocolError("an Update must bring a new encryption key")
            authenticate(leaf.credential, leaf.signature_key, old.credential)
        case Remove(removed=index):
            if tree.leaf(index) is None:
                raise ProtocolError("who is to be removed is no member")
        case PreSharedKey(psk=name):
            if len(name.psk_nonce) != suite.hash_size:
                raise ProtocolError("the nonce of a pre-shared key has the wrong length")
            if (
                isinstance(name.psk, ResumptionPSK)
                and not resuming
                and name.psk.usage is not ResumptionPSKUsage.APPLICATION
            ):
                raise ProtocolError("keys for ReInit and branching cannot be proposed")
        case ReInit(version=version, extensions=extensions):
            if version < context.version:
                raise ProtocolError("a ReInit must not go back to an older version")
            check_extensions(extensions, "GroupContext")
        case GroupContextExtensions(extensions=extensions):
            check_group_extensions(extensions, authenticate)
        case ExternalInit():
            pass  # its KEM output is tried when the secret is exported
        case _:
            assert_never(proposal)


def check_group_extensions(extensions: tuple[Extension, ...], authenticate: Authenticate) -> None:
    """Check the extensions of a GroupContext as far as they are the RFC's (5.3.1, 12.1.7)."""
    check_extensions(extensions, "GroupContext")
    decode_required_capabilities(extensions)
    for sender in decode_external_senders(extensions):
        authenticate(sender.credential, sender.signature_key, None)


# Section 12.2: a list of proposals.


def _check_list(proposals: Sequence[Proposed], committer: SenderValue) -> None:
    """Check the proposals of a commit against each other."""
    if isinstance(committer, NewMemberCommit):
        _check_external(proposals)
    if len(proposals) > 1 and any(isinstance(p.proposal, ReInit) for p in proposals):
        raise ProtocolError("a ReInit must be alone in its commit")
    slots: set[object] = set()
    for proposed in proposals:
        what, which = slot = _slot(proposed)
        if what == _OF_MEMBER and Member(which) == committer:
            raise ProtocolError("a committer cannot commit its own Update, or remove itself")
        if slot in slots:
            raise ProtocolError(f"a commit has two {what}")
        slots.add(slot)


def _check_external(proposals: Sequence[Proposed]) -> None:
    """Check what is special in an external commit."""
    kinds = [type(proposed.proposal) for proposed in proposals]
    if kinds.count(ExternalInit) != 1:
        raise ProtocolError("an external commit has exactly one ExternalInit")
    if kinds.count(Remove) > 1:
        raise ProtocolError("an external commit removes one leaf at most")
    if any(proposed.reference is not None for proposed in proposals):
        raise ProtocolError("an external commit has no proposals by reference")


def choose(
    pending: Iterable[Proposed],
    given: Sequence[Proposed],
    own: int,
    tree: RatchetTree,
    context: GroupContext,
) -> list[Proposed]:
    """Return those of the pending proposals that can be committed, together with the given ones.

    A Remove goes before an Update of the same leaf, a later Update before an earlier one (12.2),
    and a ReInit waits until it is alone. What the committer must not commit itself stays out.
    """
    _check_list(given, Member(own))
    chosen: dict[object, Proposed] = {}
    reserved = {(_OF_MEMBER, own), *map(_slot, given)}
    for proposed in pending:
        slot = _slot(proposed)
        before = chosen.get(slot)
        if slot not in reserved and (
            before is None
            or (
                isinstance(proposed.proposal, Remove | Update | GroupContextExtensions)
                and not isinstance(before.proposal, Remove)
            )
        ):
            chosen[slot] = proposed
    if _REINIT in reserved:
        return []
    if given or len(chosen) > 1:
        chosen.pop(_REINIT, None)
    return _fitting(tree, context, given, [*chosen.values()])


def _fitting(
    tree: RatchetTree,
    context: GroupContext,
    given: Sequence[Proposed],
    candidates: list[Proposed],
) -> list[Proposed]:
    """Return the candidates but for those that cannot join the ones before; found by halving."""
    if _fit(tree, context, [*given, *candidates]):
        return candidates
    half = len(candidates) // 2
    if not half:
        return []
    first = _fitting(tree, context, given, candidates[:half])
    return first + _fitting(tree, context, [*given, *first], candidates[half:])


def _slot(proposed: Proposed) -> tuple[str, Any]:
    """Return what only one proposal of a commit may be about, in words and in value."""
    match proposed.proposal:
        case Update():
            assert isinstance(proposed.sender, Member)
            return _OF_MEMBER, proposed.sender.leaf_index
        case Remove(removed=index):
            return _OF_MEMBER, index
        case Add(key_package=package):
            return "Adds with one init key", package.init_key
        case PreSharedKey(psk=name):
            return "uses of one pre-shared key", name
    return type(proposed.proposal).__name__, None


_OF_MEMBER = "Updates or Removes of one member"
_REINIT = "ReInit", None


def _fit(tree: RatchetTree, context: GroupContext, proposals: Sequence[Proposed]) -> bool:
    """Return whether the group that the proposals lead to would be a valid one."""
    try:
        tree, extensions, _ = _transform(tree, context.extensions, proposals)
        tree.check_unique()
        check_capabilities(tree, extensions)
    except ProtocolError:
        return False
    return True


# Section 12.3: applying a list of proposals.


def apply(
    tree: RatchetTree,
    context: GroupContext,
    proposals: Sequence[Proposed],
    committer: SenderValue,
    authenticate: Authenticate,
    *,
    joiner: LeafNode | None = None,
    resuming: bool = False,
) -> tuple[RatchetTree, tuple[Extension, ...], Change]:
    """Check the proposals that a commit covers, and apply them to a copy of the tree.

    Args:
        tree: The epoch's tree.
        context: The epoch's context.
        proposals: In the commit's order; those by reference have been checked alone.
        committer: The commit's sender.
        authenticate: The authentication service.
        joiner: The leaf of who joins by this commit, if that is what it is.
        resuming: Whether the group is being made out of another one (11.2, 11.3).

    Returns:
        The provisional tree, the new group context's extensions, and what has changed.

    Raises:
        ProtocolError: A rule is broken.
        CryptoError: A key is not acceptable, or a signature does not hold.
    """
    if context.epoch == 2**64 - 1:
        raise ProtocolError("there is no epoch after this one")
    for proposed in proposals:
        if proposed.reference is None:
            check_proposal(
                proposed.proposal, committer, tree, context, authenticate, resuming=resuming
            )
    _check_list(proposals, committer)
    tree, extensions, change = _transform(tree, context.extensions, proposals)
    match committer:
        case Member(leaf_index=index):
            pass
        case NewMemberCommit() if joiner is not None:
            index = tree.add(joiner)
        case _:
            raise ProtocolError("only members commit, and those who join by it")
    change = attrs.evolve(change, committer=index, external=joiner is not None)
    return tree, extensions, change


def _transform(
    tree: RatchetTree, extensions: tuple[Extension, ...], proposals: Sequence[Proposed]
) -> tuple[RatchetTree, tuple[Extension, ...], Change]:
    """Apply proposals to a copy of the tree, kind by kind."""
    tree = tree.copy()
    added: list[int] = []
    updated: list[int] = []
    removed: list[int] = []
    packages: list[KeyPackage] = []
    psks: list[PreSharedKeyID] = []
    reinit = None
    for proposed in proposals:  # of Updates and Removes none are of one leaf: any order will do
        match proposed.proposal:
            case GroupContextExtensions(extensions=extensions):
                pass
            case Update(leaf_node=leaf):
                assert isinstance(proposed.sender, Member)
                tree.update(proposed.sender.leaf_index, leaf)
                updated.append(proposed.sender.leaf_index)
            case Remove(removed=index):
                tree.remove(index)
                removed.append(index)
            case Add(key_package=package):
                packages.append(package)
            case PreSharedKey(psk=name):
                psks.append(name)
            case ReInit():
                reinit = proposed.proposal
            case ExternalInit():
                pass
            case _:
                assert_never(proposed.proposal)
    for package in packages:
        added.append(tree.add(package.leaf_node, added[-1] + 1 if added else 0))
    change = Change(
        committer=-1,  # the caller knows
        proposals=tuple(proposals),
        added=tuple(added),
        key_packages=tuple(packages),
        updated=tuple(updated),
        removed=tuple(removed),
        psks=tuple(psks),
        reinit=reinit,
        path_required=not proposals
        or any(not isinstance(proposed.proposal, _PATHLESS) for proposed in proposals),
    )
    return tree, extensions, change


_PATHLESS = (Add, PreSharedKey, ReInit)  # section 17.4: proposals that need no path
