"""What travels: proposals, commits, and the messages around them (RFC 9420, sections 6 and 12).

Data only. `decode_message` and `encode_message` are the outermost layer, MLSMessage.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

from trio_chat.mls.codec import (
    U16,
    U32,
    U64,
    Fixed,
    Tagged,
    UInt,
    When,
    decode,
    encode,
    encode_until,
    struct,
)
from trio_chat.mls.nodes import (
    Extension,
    HPKECiphertext,
    KeyPackage,
    LeafNode,
    UpdatePath,
)
from trio_chat.mls.suite import CipherSuite

# Section 8.1: the group context.


@struct
class GroupContext:
    """What all members of an epoch agree on."""

    version: U16
    cipher_suite: U16
    group_id: bytes
    epoch: U64
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: tuple[Extension, ...]


# Section 8.4: pre-shared keys.


class ResumptionPSKUsage(enum.IntEnum):
    """What a resumption PSK is used for."""

    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@struct
class ExternalPSK:
    """A key that the application knows by a name."""

    psk_id: bytes


@struct
class ResumptionPSK:
    """A key of an epoch of a group."""

    usage: Annotated[ResumptionPSKUsage, UInt(1)]
    psk_group_id: bytes
    psk_epoch: U64


@struct
class PreSharedKeyID:
    """Which key, and a nonce."""

    psk: Annotated[ExternalPSK | ResumptionPSK, Tagged(1, {1: ExternalPSK, 2: ResumptionPSK})]
    psk_nonce: bytes


# Section 12.1: proposals.


@struct
class Add:
    """Add the client of a key package (12.1.1)."""

    key_package: KeyPackage


@struct
class Update:
    """Put a new leaf in place of the sender's (12.1.2)."""

    leaf_node: LeafNode


@struct
class Remove:
    """Remove a member (12.1.3)."""

    removed: U32


@struct
class PreSharedKey:
    """Mix a pre-shared key into the key schedule (12.1.4)."""

    psk: PreSharedKeyID


@struct
class ReInit:
    """End the group, to begin anew under other parameters (12.1.5)."""

    group_id: bytes
    version: U16
    cipher_suite: U16
    extensions: tuple[Extension, ...]


@struct
class ExternalInit:
    """A new member's share of the next epoch's secret (12.1.6)."""

    kem_output: bytes


@struct
class GroupContextExtensions:
    """Put other extensions in place of the group's (12.1.7)."""

    extensions: tuple[Extension, ...]


ProposalValue: TypeAlias = (
    Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions
)
_PROPOSALS = {
    1: Add,
    2: Update,
    3: Remove,
    4: PreSharedKey,
    5: ReInit,
    6: ExternalInit,
    7: GroupContextExtensions,
}
Proposal = Annotated[ProposalValue, Tagged(2, _PROPOSALS)]


@struct
class ProposalRef:
    """A proposal that was sent before, by the hash of its message (section 5.2)."""

    reference: bytes


# Section 12.4: commits.

ProposalOrRef = Annotated[ProposalValue | ProposalRef, Tagged(1, {1: Proposal, 2: ProposalRef})]


@struct
class Commit:
    """What begins the next epoch."""

    proposals: tuple[ProposalOrRef, ...]
    path: UpdatePath | None


# Section 6: framing.


class WireFormat(enum.IntEnum):
    """The kinds of MLSMessage."""

    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5


class ContentType(enum.IntEnum):
    """The kinds of content."""

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


@struct
class Member:
    """A member, by its leaf."""

    leaf_index: U32


@struct
class External:
    """One of the group's external senders, by its place in the extension."""

    sender_index: U32


@struct
class NewMemberProposal:
    """A client that proposes to add itself."""


@struct
class NewMemberCommit:
    """A client that joins by an external commit."""


SenderValue: TypeAlias = Member | External | NewMemberProposal | NewMemberCommit
_SENDERS = {1: Member, 2: External, 3: NewMemberProposal, 4: NewMemberCommit}
Sender = Annotated[SenderValue, Tagged(1, _SENDERS)]


@struct(secret=True)
class ApplicationData:
    """What members say to each other."""

    data: bytes


ContentValue: TypeAlias = ApplicationData | ProposalValue | Commit
CONTENTS = {1: ApplicationData, 2: Proposal, 3: Commit}


def content_type(content: ContentValue) -> ContentType:
    """Return which kind of content it is."""
    match content:
        case ApplicationData():
            return ContentType.APPLICATION
        case Commit():
            return ContentType.COMMIT
    return ContentType.PROPOSAL


@struct
class FramedContent:
    """A content, by whom, where and when."""

    group_id: bytes
    epoch: U64
    sender: Sender
    authenticated_data: bytes
    content: Annotated[ContentValue, Tagged(1, CONTENTS)]


def _is_commit(message: AuthenticatedContent | PublicMessage) -> bool:
    return isinstance(message.content.content, Commit)


def _is_by_member(message: PublicMessage) -> bool:
    return isinstance(message.content.sender, Member)


@struct
class AuthenticatedContent:
    """A framed content with its FramedContentAuthData (section 6.1)."""

    wire_format: Annotated[WireFormat, UInt(2)]
    content: FramedContent
    signature: bytes
    confirmation_tag: Annotated[bytes | None, When(_is_commit)]

    def reference(self, suite: CipherSuite) -> ProposalRef:
        """Return the ProposalRef (section 5.2)."""
        return ProposalRef(suite.ref_hash(b"MLS 1.0 Proposal Reference", encode(self)))


@struct
class PublicMessage:
    """A signed message (section 6.2)."""

    content: FramedContent
    signature: bytes
    confirmation_tag: Annotated[bytes | None, When(_is_commit)]
    membership_tag: Annotated[bytes | None, When(_is_by_member)]


@struct
class PrivateMessage:
    """A signed and encrypted message (section 6.3)."""

    group_id: bytes
    epoch: U64
    content_type: Annotated[ContentType, UInt(1)]
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes

    def content_aad(self) -> bytes:
        """Return the PrivateContentAAD (section 6.3.1)."""
        return encode_until(self, "encrypted_sender_data")

    def sender_data_aad(self) -> bytes:
        """Return the SenderDataAAD (section 6.3.2)."""
        return encode_until(self, "authenticated_data")


@struct
class SenderData:
    """Whose ratchet, and where in it (section 6.3.2)."""

    leaf_index: U32
    generation: U32
    reuse_guard: Annotated[bytes, Fixed(4)]


# Section 12.4.3: adding members.


@struct
class GroupInfo:
    """A group's state for those who join, signed by a member."""

    group_context: GroupContext
    extensions: tuple[Extension, ...]
    confirmation_tag: bytes
    signer: U32
    signature: bytes

    def to_be_signed(self) -> bytes:
        """Return the GroupInfoTBS."""
        return encode_until(self, "signature")


@struct(secret=True)
class PathSecret:
    """The secret of the lowest node above both the committer and the new member."""

    path_secret: bytes


@struct(secret=True)
class GroupSecrets:
    """What a new member needs beside the GroupInfo."""

    joiner_secret: bytes
    path_secret: PathSecret | None
    psks: tuple[PreSharedKeyID, ...]


@struct
class EncryptedGroupSecrets:
    """The group secrets for the owner of one key package."""

    new_member: bytes
    encrypted_group_secrets: HPKECiphertext


@struct
class Welcome:
    """What a commit has for those it adds.

    The secrets may be dealt out over several Welcomes with the same GroupInfo.
    """

    cipher_suite: U16
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes


MLSMessage: TypeAlias = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage
_MESSAGES = {1: PublicMessage, 2: PrivateMessage, 3: Welcome, 4: GroupInfo, 5: KeyPackage}


@struct
class _Versioned:
    version: Annotated[_Version, UInt(2)]
    message: Annotated[MLSMessage, Tagged(2, _MESSAGES)]


class _Version(enum.IntEnum):
    MLS10 = 1


def encode_message(message: MLSMessage) -> bytes:
    """Encode a message as an MLSMessage."""
    return encode(_Versioned(_Version.MLS10, message))


def decode_message(data: bytes) -> MLSMessage:
    """Decode an MLSMessage.

    Raises:
        DecodeError: The bytes are none, or of an unknown version.
    """
    return decode(_Versioned, data).message
