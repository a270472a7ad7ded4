"""What proposals do, and which are committed together; test_validation has what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mls.clients import agree, anybody, bundle, commit, room, sent
from tests.mls.forging import forged, psk
from trio_chat.mls import Add, Group, GroupContextExtensions, ProtocolError, ReInit, Remove
from trio_chat.mls.codec import evolve
from trio_chat.mls.messages import (
    External,
    ExternalInit,
    Member,
    NewMemberCommit,
    ProposalRef,
    SenderValue,
    Update,
)
from trio_chat.mls.proposals import Change, Proposed, apply, check_proposal, choose

DAVE = Add(bundle("dave").key_package)
REINIT = ReInit(b"", 1, 1, ())
EXTENSIONS = GroupContextExtensions(())


def applied(
    group: Group, *proposals: Any, by: int = 0, sender: SenderValue | None = None
) -> Change:
    """Apply proposals, the Updates among them by reference and from Carol."""
    proposed = [
        Proposed(Member(2), proposal, ProposalRef(b""))
        if isinstance(proposal, Update)
        else Proposed(sender or Member(by), proposal)
        for proposal in proposals
    ]
    joiner = None
    if sender is not None:
        joiner = bundle("eve").key_package.leaf_node
    _, _, change = apply(
        group.tree, group.context, proposed, sender or Member(by), anybody, joiner=joiner
    )
    return change


def test_these_need_a_path_and_those_do_not() -> None:
    alice, _, carol = room("alice", "bob", "carol")
    for proposals, needed in (
        ([], True),
        ([DAVE], False),
        ([psk()], False),
        ([REINIT], False),
        ([DAVE, psk()], False),
        ([carol.make_update()], True),
        ([Remove(1)], True),
        ([EXTENSIONS], True),
        ([DAVE, Remove(1)], True),
    ):
        assert applied(alice, *proposals).path_required is needed
    assert applied(alice, ExternalInit(b""), sender=NewMemberCommit()).path_required


@pytest.mark.parametrize("order", [1, -1])
def test_the_kinds_are_applied_in_their_own_order(order: int) -> None:
    alice, _, carol = room("alice", "bob", "carol")
    proposals = [Remove(1), DAVE, carol.make_update(), EXTENSIONS, Add(bundle("x").key_package)]
    change = applied(alice, *proposals[::order])
    assert (change.updated, change.removed, change.added) == ((2,), (1,), (1, 3))
    first = DAVE if order == 1 else proposals[4]
    assert isinstance(first, Add)
    assert change.key_packages[0] == first.key_package
    assert [proposed.proposal for proposed in change.proposals] == proposals[::order]


def test_who_joins_by_a_commit_takes_the_place_that_it_makes() -> None:
    alice, _, _ = room("alice", "bob", "carol")
    change = applied(alice, ExternalInit(b""), Remove(1), sender=NewMemberCommit())
    assert (change.external, change.committer, change.removed) == (True, 1, (1,))
    change = applied(alice, ExternalInit(b""), sender=NewMemberCommit())
    assert (change.external, change.committer, change.removed) == (True, 3, ())


def test_what_is_given_does_not_change() -> None:
    alice, _, carol = room("alice", "bob", "carol")
    before = alice.tree.encode()
    applied(alice, Remove(1), DAVE, carol.make_update())
    assert alice.tree.encode() == before


def test_of_what_is_pending_the_right_ones_are_chosen() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    first, later, own = carol.make_update(), carol.make_update(), alice.make_update()
    other = GroupContextExtensions(())
    reference = ProposalRef(b"")

    def chosen(*pending: tuple[int, Any], given: Any = ()) -> list[Any]:
        proposed = [Proposed(Member(by), proposal, reference) for by, proposal in pending]
        mine = [Proposed(Member(0), proposal) for proposal in given]
        return [
            proposed.proposal for proposed in choose(proposed, mine, 0, alice.tree, alice.context)
        ]

    assert chosen() == []
    assert chosen((0, own), (1, Remove(0))) == []
    assert chosen((2, first), (2, later)) == [later]
    assert chosen((2, first), (1, Remove(2)), (2, later)) == [Remove(2)]
    assert chosen((1, Remove(2)), (0, Remove(2))) == [Remove(2)]
    assert chosen((1, DAVE), (2, DAVE), (1, psk()), (2, psk())) == [DAVE, psk()]
    assert chosen((1, EXTENSIONS), (2, other)) == [other]
    assert chosen((1, REINIT)) == [REINIT]
    assert chosen((1, REINIT), (2, first)) == [first]
    assert chosen((1, REINIT), given=[DAVE]) == []
    assert chosen((1, DAVE), given=[REINIT]) == []
    assert chosen((2, first), (1, DAVE), given=[Remove(2)]) == [DAVE]
    again = Add(bundle("bob", signature_key=bob.signature_key).key_package)
    assert chosen((2, again), (1, DAVE)) == [DAVE]
    assert chosen((2, again), (1, DAVE), given=[Remove(1)]) == [again, DAVE]


def test_whatever_is_pending_somebody_can_commit() -> None:
    groups = room("alice", "bob", "carol")
    for by, proposal in ((1, groups[1].make_update()), (2, REINIT), (2, Remove(1)), (2, DAVE)):
        message = sent(groups[by].propose(proposal))
        for group in groups:
            if group is not groups[by]:
                group.receive(message)
    commit(groups, 0)
    assert agree(*groups)


def test_a_commit_from_the_last_epoch_there_is_is_refused() -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    for group in (alice, bob):
        object.__setattr__(group, "context", evolve(group.context, epoch=2**64 - 1))
    with pytest.raises(ProtocolError, match="no epoch after"):
        bob.commit()
    with pytest.raises(ProtocolError, match="no epoch after"):
        alice.receive(sent(forged(bob)))


def test_who_is_no_member_neither_commits_nor_updates() -> None:
    alice, bob = room("alice", "bob")
    with pytest.raises(ProtocolError, match="only members commit"):
        apply(alice.tree, alice.context, [], External(0), anybody)
    update, nobody = bob.make_update(), Member(9)
    with pytest.raises(ProtocolError, match="only members have a leaf"):
        check_proposal(update, nobody, alice.tree, alice.context, anybody)
