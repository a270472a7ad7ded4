from __future__ import annotations

import pytest

from tests.mls.clients import agree, anybody, bundle, commit, room, sent, welcomed
from trio_chat.mls import (
    SUITES,
    Add,
    BasicCredential,
    CryptoError,
    Extension,
    Group,
    GroupContextExtensions,
    Proposed,
    ProtocolError,
    Remove,
)
from trio_chat.mls.codec import encode_as, evolve
from trio_chat.mls.messages import ExternalInit, ReInit
from trio_chat.mls.nodes import ExtensionType, ExternalSender
from trio_chat.mls.outside import propose_externally, propose_to_join

SUITE = SUITES[1]
KEY = SUITE.generate_signature_key()


def with_external_sender() -> list[Group]:
    groups = room("alice", "bob", "carol")
    senders = (ExternalSender(KEY.public, BasicCredential(b"the server")),)
    data = encode_as(tuple[ExternalSender, ...], senders)
    extension = Extension(ExtensionType.EXTERNAL_SENDERS, data)
    commit(groups, 0, GroupContextExtensions((extension,)))
    return groups


def test_an_external_sender_proposes_and_a_member_commits() -> None:
    groups = with_external_sender()
    message = propose_externally(SUITE, b"a room", 2, Remove(2), 0, KEY)
    for group in groups:
        assert isinstance(group.receive(sent(message)), Proposed)
    commit(groups, 1)
    assert agree(*groups)
    assert [group.index for group in groups] == [0, 1]


def test_only_who_is_named_proposes_and_not_everything() -> None:
    alice, _, _ = with_external_sender()
    stranger = SUITE.generate_signature_key()
    for message, error in (
        (propose_externally(SUITE, b"a room", 2, Remove(2), 0, stranger), CryptoError),
        (propose_externally(SUITE, b"a room", 2, Remove(2), 1, KEY), ProtocolError),
        (propose_externally(SUITE, b"a room", 2, alice.make_update(), 0, KEY), ProtocolError),
        (propose_externally(SUITE, b"a room", 2, ExternalInit(b""), 0, KEY), ProtocolError),
        (propose_externally(SUITE, b"a room", 2, Remove(9), 0, KEY), ProtocolError),
        (propose_externally(SUITE, b"a room", 1, Remove(2), 0, KEY), ProtocolError),
        (propose_externally(SUITE, b"b room", 2, Remove(2), 0, KEY), ProtocolError),
    ):
        with pytest.raises(error):
            alice.receive(sent(message))
    assert alice.pending == {}
    good = propose_externally(SUITE, b"a room", 2, ReInit(b"", 1, 1, ()), 0, KEY)
    assert isinstance(alice.receive(sent(good)), Proposed)


def test_who_wants_to_join_asks_and_is_added() -> None:
    groups = room("alice", "bob")
    carol = bundle("carol")
    message = sent(propose_to_join(carol, b"a room", 1))
    for group in groups:
        group.receive(message)
    result = commit(groups, 1, ratchet_tree=True)
    groups.append(Group.join(welcomed(result), carol, authenticate=anybody))
    assert agree(*groups)


def test_who_wants_to_join_must_sign_for_itself() -> None:
    alice, _ = room("alice", "bob")
    message = propose_to_join(bundle("carol"), b"a room", 1)
    other = Add(bundle("dave").key_package)
    with pytest.raises(CryptoError):
        alice.receive(sent(evolve(message, content=evolve(message.content, content=other))))
    with pytest.raises(ProtocolError):
        alice.receive(sent(evolve(message, content=evolve(message.content, content=Remove(1)))))
