from __future__ import annotations

from typing import Any

import pytest

from trio_chat.mls import SUITES, ProtocolError
from trio_chat.mls.messages import ContentType
from trio_chat.mls.secrettree import MAX_SKIP, MessageKey, Ratchet, SecretTree

SUITE = SUITES[1]


def ratchet(**options: Any) -> Ratchet:
    return Ratchet(SUITE, bytes(32), **options)


def keys(count: int) -> list[MessageKey]:
    sender = ratchet()
    return [sender.next() for _ in range(count)]


def test_sender_and_receiver_have_the_same_keys() -> None:
    receiver = ratchet()
    for key in keys(3):
        assert receiver.peek(key.generation) == key
        receiver.consume(key.generation)


def test_looking_changes_nothing() -> None:
    receiver = ratchet()
    for _ in range(2):
        assert [receiver.peek(n) for n in (5, 0, 3)] == [keys(6)[n] for n in (5, 0, 3)]
    assert receiver == ratchet()


def test_a_key_is_gone_once_it_was_used() -> None:
    receiver = ratchet()
    for generation in (2, 0):
        receiver.consume(generation)
        with pytest.raises(ProtocolError, match="before"):
            receiver.peek(generation)
    assert receiver.peek(1) == keys(2)[1]


def test_a_message_too_far_ahead_is_refused() -> None:
    receiver = ratchet()
    receiver.peek(MAX_SKIP)
    for generation in (MAX_SKIP + 1, 2**32 - 1):
        with pytest.raises(ProtocolError, match="ahead"):
            receiver.peek(generation)


def test_no_more_than_so_many_skipped_keys_are_kept_the_newest() -> None:
    receiver = ratchet(max_skip=4)
    for generation in (4, 9, 14):
        receiver.consume(generation)
    assert list(receiver.skipped) == [10, 11, 12, 13]


def test_the_tree_keeps_no_secret_above_a_leaf_that_was_asked_for() -> None:
    tree = SecretTree.of(SUITE, 8, bytes(32))
    tree.ratchet(2, ContentType.APPLICATION)
    assert sorted(tree.secrets) == [1, 6, 11]  # the copath of leaf 2: nothing leads to it
    for leaf in range(8):
        tree.ratchet(leaf, ContentType.COMMIT)
    assert tree.secrets == {}


def test_looking_for_a_key_leaves_no_trace() -> None:
    tree = SecretTree.of(SUITE, 8, bytes(32))
    key = tree.peek(2, ContentType.APPLICATION, 5)
    assert tree == SecretTree.of(SUITE, 8, bytes(32))
    assert tree.ratchet(2, ContentType.APPLICATION).peek(5) == key
    assert tree.peek(2, ContentType.APPLICATION, 5) == key


def test_handshake_and_application_messages_have_keys_of_their_own() -> None:
    tree = SecretTree.of(SUITE, 2, bytes(32))
    commit = tree.ratchet(0, ContentType.COMMIT)
    assert commit is tree.ratchet(0, ContentType.PROPOSAL)
    assert commit.peek(0) != tree.ratchet(0, ContentType.APPLICATION).peek(0)


def test_nothing_is_shown() -> None:
    tree = SecretTree.of(SUITE, 2, b"\xab" * 32)
    assert "ab" * 4 not in repr(tree)
    assert r"\xab" not in repr(tree)
    assert str(keys(1)[0].key) not in repr(keys(1)[0])


def test_the_last_generation_is_not_passed() -> None:
    sender = ratchet(generation=2**32 - 1)
    with pytest.raises(ProtocolError, match="commit"):
        sender.next()
