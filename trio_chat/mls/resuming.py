"""Making groups that follow another one: after a ReInit, or as a branch (RFC 9420, 11.2, 11.3).

Of what is returned only `welcome` is to be sent, and `group` to be gone on with; the others join
with `Group.join(..., resumes=old)`.
"""

from __future__ import annotations

from collections.abc import Iterable

from trio_chat.mls import joining
from trio_chat.mls.bundle import KeyPackageBundle
from trio_chat.mls.commits import CommitResult, Plan
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.group import Group
from trio_chat.mls.messages import (
    Add,
    Member,
    ProposalValue,
    ResumptionPSK,
    ResumptionPSKUsage,
    WireFormat,
)
from trio_chat.mls.nodes import Extension, KeyPackage
from trio_chat.mls.proposals import Proposed


def begin_anew(
    old: Group,
    bundle: KeyPackageBundle,
    packages: Iterable[KeyPackage],
    *,
    ratchet_tree: bool = False,
) -> CommitResult[Group]:
    """Create the group that follows one that a ReInit has ended (section 11.2).

    Args:
        old: The group that has ended.
        bundle: A key package of ours of the new cipher suite.
        packages: Those of all other members.
        ratchet_tree: Whether the Welcome brings the tree.
    """
    reinit = old.reinit
    package = bundle.key_package
    if reinit is None or (reinit.version, reinit.cipher_suite) != (
        package.version,
        package.cipher_suite,
    ):
        raise ProtocolError("there is no ReInit, or one to another version or cipher suite")
    new = joining.create(Group, bundle, reinit.group_id, reinit.extensions, old.services)
    return _follow(old, new, ResumptionPSKUsage.REINIT, packages, ratchet_tree=ratchet_tree)


def branch(
    old: Group,
    bundle: KeyPackageBundle,
    group_id: bytes,
    packages: Iterable[KeyPackage],
    *,
    extensions: tuple[Extension, ...] = (),
    ratchet_tree: bool = False,
) -> CommitResult[Group]:
    """Create a group of some of a group's members (section 11.3).

    Args:
        old: The group, which goes on.
        bundle: A key package of ours of the same cipher suite.
        group_id: The new group's name.
        packages: Those of the other members.
        extensions: Of the new group's context.
        ratchet_tree: Whether the Welcome brings the tree.
    """
    old.check_alive()
    if bundle.suite is not old.suite:
        raise ProtocolError("a branch keeps the cipher suite")
    new = joining.create(Group, bundle, group_id, extensions, old.services)
    return _follow(old, new, ResumptionPSKUsage.BRANCH, packages, ratchet_tree=ratchet_tree)


def _follow(
    old: Group,
    new: Group,
    usage: ResumptionPSKUsage,
    packages: Iterable[KeyPackage],
    *,
    ratchet_tree: bool,
) -> CommitResult[Group]:
    psk = new.use_psk(ResumptionPSK(usage, old.context.group_id, old.context.epoch))
    sender = Member(new.index)
    proposals: list[ProposalValue] = [*map(Add, packages), psk]
    plan = Plan(
        sender=sender,
        proposals=[Proposed(sender, proposal) for proposal in proposals],
        key=new.signature_key,
        new_key=new.signature_key,
        leaf=new.own_leaf,
        wire_format=WireFormat.PRIVATE_MESSAGE,
        resuming=True,
    )
    result = new.commit_plan(plan, find_psk=old.find_psk, ratchet_tree=ratchet_tree)
    joining.check_same_clients(result.group.tree, old)
    return result
