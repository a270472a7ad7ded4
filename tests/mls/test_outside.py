from __future__ import annotations

from tests.mls.clients import agree, anybody, bundle, commit, room, sent, welcomed
from trio_chat.mls import (
    SUITES,
    BasicCredential,
    Extension,
    Group,
    GroupContextExtensions,
    Proposed,
    Remove,
)
from trio_chat.mls.codec import encode_as
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


def test_who_wants_to_join_asks_and_is_added() -> None:
    groups = room("alice", "bob")
    carol = bundle("carol")
    message = sent(propose_to_join(carol, b"a room", 1))
    for group in groups:
        asked = group.receive(message)
        assert isinstance(asked, Proposed)
    commit_without = groups[1].commit()
    assert commit_without.group.change is not None
    assert commit_without.group.change.added == ()  # nobody has said yes
    result = commit(groups, 1, cover=list(groups[1].pending), ratchet_tree=True)
    groups.append(Group.join(welcomed(result), carol, authenticate=anybody))
    assert agree(*groups)
