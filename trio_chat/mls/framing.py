"""Message framing (RFC 9420, section 6): signing, tagging, encrypting, and the way back.

Nothing here changes but the ratchets of the secret tree: a sender's own goes on with each message,
a peer's only when the caller says, by `Opened.consume`, that the message was good.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import attrs

from trio_chat.mls.codec import (
    Reader,
    decode,
    decode_from,
    encode,
    encode_as,
    encode_until,
    evolve,
)
from trio_chat.mls.errors import CryptoError, DecodeError, ProtocolError
from trio_chat.mls.messages import (
    CONTENTS,
    Add,
    ApplicationData,
    AuthenticatedContent,
    Commit,
    ContentType,
    External,
    FramedContent,
    GroupContext,
    Member,
    NewMemberCommit,
    NewMemberProposal,
    PrivateMessage,
    PublicMessage,
    SenderData,
    WireFormat,
    content_type,
)
from trio_chat.mls.nodes import MLS10, decode_external_senders
from trio_chat.mls.secrettree import MessageKey, SecretTree, sender_data_key
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.suite import CipherSuite, same
from trio_chat.mls.tree import RatchetTree

_LABEL = b"FramedContentTBS"


# Section 6.1: content authentication.


def _to_be_signed(
    wire_format: WireFormat, content: FramedContent, context: GroupContext | None
) -> bytes:
    """Return the FramedContentTBS; senders outside of the group do not sign its context."""
    head = MLS10.to_bytes(2, "big") + wire_format.to_bytes(2, "big") + encode(content)
    if isinstance(content.sender, Member | NewMemberCommit):
        return head + encode(context)
    return head


def sign_content(
    suite: CipherSuite,
    key: SignatureKey,
    wire_format: WireFormat,
    content: FramedContent,
    context: GroupContext | None,
) -> AuthenticatedContent:
    """Return the content with its signature, and, so far, an empty confirmation tag."""
    signed = _to_be_signed(wire_format, content, context)
    signature = suite.sign_with_label(key, _LABEL, signed)
    tag = b"" if isinstance(content.content, Commit) else None
    return AuthenticatedContent(wire_format, content, signature, tag)


def verify_content(message: AuthenticatedContent, tree: RatchetTree, context: GroupContext) -> None:
    """Check the signature of a content by what its sender is known to be.

    Raises:
        ProtocolError: There is no such sender, or none that may send this.
        CryptoError: The signature does not hold.
    """
    key = _sender_key(message.content, tree, context)
    signed = _to_be_signed(message.wire_format, message.content, context)
    tree.suite.verify_with_label(key, _LABEL, signed, message.signature)


def _sender_key(content: FramedContent, tree: RatchetTree, context: GroupContext) -> bytes:
    match content.sender, content.content:
        case Member(leaf_index=index), _:
            leaf = tree.leaf(index)
            if leaf is None:
                raise ProtocolError("the sender is no member")
            return leaf.signature_key
        case External(sender_index=index), body if content_type(body) is ContentType.PROPOSAL:
            senders = decode_external_senders(context.extensions)
            if index >= len(senders):
                raise ProtocolError("the group knows no such external sender")
            return senders[index].signature_key
        case NewMemberProposal(), Add(key_package=package):
            return package.leaf_node.signature_key
        case NewMemberCommit(), Commit(path=path) if path is not None:
            return path.leaf_node.signature_key
    raise ProtocolError("such a sender cannot send this")


# Section 6.2: public messages.


def _membership_tag(
    suite: CipherSuite, key: bytes, message: AuthenticatedContent, context: GroupContext
) -> bytes:
    """MAC the AuthenticatedContentTBM."""
    signed = _to_be_signed(message.wire_format, message.content, context)
    tail = encode(message).removeprefix(encode_until(message, "signature"))
    return suite.mac(key, signed + tail)


def seal_public(
    suite: CipherSuite, membership_key: bytes, message: AuthenticatedContent, context: GroupContext
) -> PublicMessage:
    """Return the message in clear; a member's gets a membership tag."""
    tag = None
    if isinstance(message.content.sender, Member):
        tag = _membership_tag(suite, membership_key, message, context)
    return PublicMessage(message.content, message.signature, message.confirmation_tag, tag)


def open_public(
    suite: CipherSuite, membership_key: bytes, message: PublicMessage, context: GroupContext
) -> AuthenticatedContent:
    """Return the content, its membership tag checked, its signature not.

    Raises:
        ProtocolError: Application data is not sent in clear.
        CryptoError: The membership tag does not hold.
    """
    if isinstance(message.content.content, ApplicationData):
        raise ProtocolError("application data must be encrypted")
    content = AuthenticatedContent(
        WireFormat.PUBLIC_MESSAGE, message.content, message.signature, message.confirmation_tag
    )
    if isinstance(message.content.sender, Member):
        expected = _membership_tag(suite, membership_key, content, context)
        if not same(expected, message.membership_tag or b""):
            raise CryptoError("a membership tag does not hold")
    return content


# Section 6.3: private messages.


@attrs.frozen(repr=False)
class Opened:
    """A decrypted content, and how to forget the key that it used."""

    content: AuthenticatedContent
    consume: Callable[[], int]


def seal_private(
    suite: CipherSuite,
    secret_tree: SecretTree,
    sender_data_secret: bytes,
    message: AuthenticatedContent,
    padding: int = 0,
) -> PrivateMessage:
    """Encrypt a member's message with the next key of its ratchet.

    Args:
        suite: The group's cipher suite.
        secret_tree: The epoch's; the sender's ratchet goes on.
        sender_data_secret: The epoch's.
        message: What to send.
        padding: The least size of the plaintext, in bytes; what is longer, is filled up to a
            power of two. 0 for none.
    """
    content = message.content
    assert isinstance(content.sender, Member)
    kind = content_type(content.content)
    plaintext = encode_as(CONTENTS[kind], content.content)
    plaintext += encode(message).removeprefix(encode_until(message, "signature"))
    if padding:
        size = max(padding, 1 << (len(plaintext) - 1).bit_length())
        plaintext += bytes(size - len(plaintext))
    key = secret_tree.ratchet(content.sender.leaf_index, kind).next()
    guard = secrets.token_bytes(4)
    sealed = PrivateMessage(
        content.group_id, content.epoch, kind, content.authenticated_data, b"", b""
    )
    ciphertext = suite.aead.seal(key.key, _guarded(key, guard), sealed.content_aad(), plaintext)
    sender_key, nonce = sender_data_key(suite, sender_data_secret, ciphertext)
    sender = encode(SenderData(content.sender.leaf_index, key.generation, guard))
    return evolve(
        sealed,
        encrypted_sender_data=suite.aead.seal(sender_key, nonce, sealed.sender_data_aad(), sender),
        ciphertext=ciphertext,
    )


def open_private(
    suite: CipherSuite,
    secret_tree: SecretTree,
    sender_data_secret: bytes,
    message: PrivateMessage,
    is_member: Callable[[int], bool],
) -> Opened:
    """Decrypt a message; its signature is not checked here.

    Raises:
        CryptoError: It is not from this epoch's members.
        ProtocolError: There is no such member, or the key is gone or too far ahead.
        DecodeError: The plaintext is malformed.
    """
    sender_key, nonce = sender_data_key(suite, sender_data_secret, message.ciphertext)
    sender = decode(
        SenderData,
        suite.aead.open(
            sender_key, nonce, message.sender_data_aad(), message.encrypted_sender_data
        ),
    )
    if not is_member(sender.leaf_index):
        raise ProtocolError("the sender is no member")
    key = secret_tree.peek(sender.leaf_index, message.content_type, sender.generation)
    plaintext = suite.aead.open(
        key.key, _guarded(key, sender.reuse_guard), message.content_aad(), message.ciphertext
    )
    reader = Reader(plaintext)
    body = decode_from(CONTENTS[message.content_type], reader)
    content = FramedContent(
        message.group_id,
        message.epoch,
        Member(sender.leaf_index),
        message.authenticated_data,
        body,
    )
    signature = reader.opaque()
    tag = reader.opaque() if isinstance(body, Commit) else None
    if any(reader.rest()):
        raise DecodeError("padding must be zero")
    opened = AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, content, signature, tag)

    def consume() -> int:
        ratchet = secret_tree.ratchet(sender.leaf_index, message.content_type)
        return ratchet.consume(sender.generation)

    return Opened(opened, consume)


def _guarded(key: MessageKey, guard: bytes) -> bytes:
    """Mix the reuse guard into a nonce (section 6.3.1)."""
    return bytes(a ^ b for a, b in zip(key.nonce, guard, strict=False)) + key.nonce[4:]
