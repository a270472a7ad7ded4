"""What the sender of a message can get wrong, though it is a member; see test_validation too."""

from __future__ import annotations

import attrs
import pytest

from tests.mls.clients import room, sent
from tests.mls.forging import refuse, said, sealed, signed
from trio_chat.mls import (
    MLSError,
    Remove,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.messages import (
    ApplicationData,
    ContentType,
    Member,
)

HELLO = ApplicationData(b"hello")


@pytest.mark.parametrize("end", [0, 1, 5, 20])
def test_a_content_that_ends_too_early_is_refused(end: int) -> None:
    alice, bob = room("alice", "bob")
    with pytest.raises(MLSError):
        bob.receive(sent(sealed(alice, signed(alice, HELLO)[:end])))


def test_a_content_of_another_kind_than_announced_is_refused() -> None:
    alice, bob = room("alice", "bob")
    for kind in (ContentType.PROPOSAL, ContentType.COMMIT):
        with pytest.raises(MLSError):
            bob.receive(sent(sealed(alice, signed(alice, HELLO), kind)))
    with pytest.raises(MLSError):
        bob.receive(sent(sealed(alice, signed(alice, Remove(2)))))


def test_a_message_for_another_group_is_refused() -> None:
    alice, bob = room("alice", "bob")
    elsewhere = attrs.evolve(bob, context=evolve(bob.context, group_id=b"another room"))
    refuse(alice, said(elsewhere, Remove(0)), "for another group")
    refuse(alice, elsewhere.encrypt(b""), "for another group")


def test_our_own_message_in_clear_is_told_from_anothers() -> None:
    alice, bob = room("alice", "bob")
    refuse(alice, said(alice, Remove(1)), "is our own")
    refuse(alice, alice.commit(public=True).message, "is our own")
    refuse(alice, said(bob, Remove(0), sender=Member(0)), "is our own")  # nor by another's hand
