"""What the sender of a message can get wrong, though it is a member."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mls.clients import room, sent
from trio_chat.mls import (
    CryptoError,
    DecodeError,
    Group,
    MLSError,
    PrivateMessage,
    ProtocolError,
    PublicMessage,
    Received,
    Remove,
)
from trio_chat.mls.codec import encode, encode_as, encode_length, evolve
from trio_chat.mls.framing import open_public, sign_content
from trio_chat.mls.messages import (
    ApplicationData,
    Commit,
    ContentType,
    External,
    FramedContent,
    Member,
    NewMemberCommit,
    NewMemberProposal,
    Proposal,
    SenderData,
    WireFormat,
)
from trio_chat.mls.secrettree import sender_data_key


def sealed(
    group: Group,
    plaintext: bytes,
    kind: ContentType = ContentType.APPLICATION,
    *,
    leaf: int | None = None,
) -> PrivateMessage:
    """Encrypt any bytes as the content of a private message."""
    context, suite = group.context, group.suite
    sender = group.index if leaf is None else leaf
    key = group.secret_tree.ratchet(sender, kind).next()
    message = PrivateMessage(context.group_id, context.epoch, kind, b"", b"", b"")
    aad = message.content_aad()
    ciphertext = suite.aead.seal(key.key, key.nonce, aad, plaintext)
    opener, nonce = sender_data_key(suite, group.secrets.sender_data_secret, ciphertext)
    data = encode(SenderData(sender, key.generation, bytes(4)))
    return evolve(
        message,
        ciphertext=ciphertext,
        encrypted_sender_data=suite.aead.seal(opener, nonce, message.sender_data_aad(), data),
    )


def signed(group: Group, content: Any, *, index: int | None = None) -> bytes:
    """Return a content as it is in a private message, without padding."""
    context = group.context
    sender = Member(group.index if index is None else index)
    framed = FramedContent(context.group_id, context.epoch, sender, b"", content)
    form = WireFormat.PRIVATE_MESSAGE
    message = sign_content(group.suite, group.signature_key, form, framed, context)
    body = encode(content) if isinstance(content, ApplicationData) else encode_as(Proposal, content)
    return body + encode_length(len(message.signature)) + message.signature


HELLO = ApplicationData(b"hello")


def test_padding_is_zero() -> None:
    alice, bob = room("alice", "bob")
    content = signed(alice, HELLO)
    good = Received(0, b"hello", b"")
    for padding in (b"", b"\0", bytes(300)):
        assert bob.receive(sent(sealed(alice, content + padding))) == good
    for padding in (b"\1", b"\0\1", bytes(99) + b"\1\0"):
        with pytest.raises(DecodeError, match="zero"):
            bob.receive(sent(sealed(alice, content + padding)))


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


def test_a_member_cannot_speak_for_another() -> None:
    alice, bob, carol = room("alice", "bob", "carol")
    for content in (signed(alice, HELLO), signed(alice, HELLO, index=2)):
        with pytest.raises(CryptoError, match="FramedContentTBS"):
            bob.receive(sent(sealed(alice, content, leaf=2)))
    # And it has not burnt the other's keys.
    assert bob.receive(sent(carol.encrypt(b"me"))) == Received(2, b"me", b"")


@pytest.mark.parametrize("leaf", [3, 4, 99, 2**32 - 1])
def test_who_is_no_member_cannot_speak(leaf: int) -> None:
    alice, bob, _ = room("alice", "bob", "carol")
    good = alice.encrypt(b"")
    suite, secret = alice.suite, alice.secrets.sender_data_secret
    key, nonce = sender_data_key(suite, secret, good.ciphertext)
    data = encode(SenderData(leaf, 0, bytes(4)))
    forged = suite.aead.seal(key, nonce, good.sender_data_aad(), data)
    with pytest.raises(ProtocolError, match="no member"):
        bob.receive(sent(evolve(good, encrypted_sender_data=forged)))


def test_application_data_is_not_taken_in_clear() -> None:
    alice, bob = room("alice", "bob")
    context = alice.context
    framed = FramedContent(context.group_id, context.epoch, Member(0), b"", HELLO)
    form = WireFormat.PUBLIC_MESSAGE
    message = alice.seal(sign_content(alice.suite, alice.signature_key, form, framed, context), 0)
    with pytest.raises(ProtocolError, match="encrypted"):
        bob.receive(sent(message))


def public(group: Group, sender: Any, content: Any, key: Any = None) -> PublicMessage:
    context = group.context
    framed = FramedContent(context.group_id, context.epoch, sender, b"", content)
    form = WireFormat.PUBLIC_MESSAGE
    message = sign_content(group.suite, key or group.signature_key, form, framed, context)
    tag = b"" if isinstance(content, Commit) else None
    return PublicMessage(framed, message.signature, tag, None)


@pytest.mark.parametrize(
    ("sender", "content"),
    [
        (External(0), Remove(1)),  # the group has no external senders
        (External(0), Commit((), None)),
        (NewMemberProposal(), Remove(1)),
        (NewMemberProposal(), Commit((), None)),
        (NewMemberCommit(), Remove(1)),
        (NewMemberCommit(), Commit((), None)),  # without a path
    ],
)
def test_outsiders_send_what_is_theirs_to_send(sender: Any, content: Any) -> None:
    alice, bob = room("alice", "bob")
    with pytest.raises(ProtocolError):
        bob.receive(sent(public(alice, sender, content)))


def test_a_member_without_a_membership_tag_is_none() -> None:
    alice, bob = room("alice", "bob")
    message = public(alice, Member(0), Remove(1))
    key = bob.secrets.membership_key
    with pytest.raises(CryptoError, match="membership"):
        open_public(bob.suite, key, message, bob.context)
    for size in (0, 1, 31, 33):
        with pytest.raises(CryptoError, match="membership"):
            bob.receive(sent(evolve(message, membership_tag=bytes(size))))


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_a_confirmation_tag_of_another_length_is_refused(size: int) -> None:
    alice, bob = room("alice", "bob")
    result = alice.commit(public=True)
    assert isinstance(result.message, PublicMessage)
    tag = result.message.confirmation_tag
    assert tag is not None
    with pytest.raises(CryptoError, match="confirmation"):
        bob.secrets.check_confirmation(bob.suite, bob.context, (tag + b"\0")[:size])
