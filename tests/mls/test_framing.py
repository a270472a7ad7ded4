"""What the sender of a message can get wrong, though it is a member; see test_validation too."""

from __future__ import annotations

import pytest

from tests.mls.clients import room, sent
from tests.mls.forging import sealed, signed
from trio_chat.mls import (
    MLSError,
    Remove,
)
from trio_chat.mls.messages import (
    ApplicationData,
    ContentType,
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
