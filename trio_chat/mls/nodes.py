"""What the ratchet tree is made of: credentials, leaf and parent nodes, key packages, paths.

RFC 9420, sections 5.3, 7.1, 7.2, 7.6, 10 and 13, as data only: who checks it is `leaves`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Annotated

from trio_chat.mls.codec import U16, U32, U64, Tagged, decode, encode, encode_until, opaque, struct
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.suite import CipherSuite

MLS10 = 1  # ProtocolVersion mls10


# Section 5.3: credentials. Their meaning is known to the authentication service alone.


@struct
class BasicCredential:
    """An identity, as bytes."""

    identity: bytes


@struct
class Certificate:
    """One certificate, in DER."""

    cert_data: bytes


@struct
class X509Credential:
    """A chain of certificates, the leaf's first."""

    certificates: tuple[Certificate, ...]


_CREDENTIALS = {1: BasicCredential, 2: X509Credential}
Credential = Annotated[BasicCredential | X509Credential, Tagged(2, _CREDENTIALS)]


def credential_type(credential: BasicCredential | X509Credential) -> int:
    """Return the number of a credential's type in the registry."""
    return 1 if isinstance(credential, BasicCredential) else 2


# Section 13: extensions.


class ExtensionType(enum.IntEnum):
    """The extension types of section 17.3."""

    APPLICATION_ID = 1
    RATCHET_TREE = 2
    REQUIRED_CAPABILITIES = 3
    EXTERNAL_PUB = 4
    EXTERNAL_SENDERS = 5


@struct
class Extension:
    """An extension, undecoded."""

    extension_type: U16
    extension_data: bytes


@struct
class RequiredCapabilities:
    """The required_capabilities extension (section 11.1)."""

    extension_types: tuple[U16, ...] = ()
    proposal_types: tuple[U16, ...] = ()
    credential_types: tuple[U16, ...] = ()

    def as_extension(self) -> Extension:
        """Return the extension that carries it."""
        return Extension(ExtensionType.REQUIRED_CAPABILITIES, encode(self))


@struct
class ExternalSender:
    """An entry of the external_senders extension (section 12.1.8.1)."""

    signature_key: bytes
    credential: Credential


def find_extension(extensions: Iterable[Extension], kind: int) -> bytes | None:
    """Return the data of the extension of that type."""
    for extension in extensions:
        if extension.extension_type == kind:
            return extension.extension_data
    return None


# Where the types of the RFC may stand (section 17.3): nowhere else.
_PLACES: dict[int, str] = {
    ExtensionType.APPLICATION_ID: "leaf node",
    ExtensionType.RATCHET_TREE: "GroupInfo",
    ExtensionType.REQUIRED_CAPABILITIES: "GroupContext",
    ExtensionType.EXTERNAL_PUB: "GroupInfo",
    ExtensionType.EXTERNAL_SENDERS: "GroupContext",
}


def check_extensions(extensions: tuple[Extension, ...], place: str) -> None:
    """Refuse two extensions of one type (section 13), or one that belongs elsewhere."""
    kinds = {extension.extension_type for extension in extensions}
    if len(kinds) != len(extensions):
        raise ProtocolError(f"there are two extensions of one type in a {place}")
    if any(_PLACES.get(kind, place) != place for kind in kinds):
        raise ProtocolError(f"there is an extension in a {place} that belongs elsewhere")


# Section 7: nodes.


@struct
class Capabilities:
    """What a client supports (section 7.2); what the RFC itself defines may be left out.

    All but credential types: each must be named.
    """

    versions: tuple[U16, ...] = (MLS10,)
    cipher_suites: tuple[U16, ...] = ()
    extensions: tuple[U16, ...] = ()
    proposals: tuple[U16, ...] = ()
    credentials: tuple[U16, ...] = (1, 2)


@struct
class KeyPackageSource:
    """A leaf node from a key package, with its lifetime in seconds since 1970.

    There is no clock here: who fetches a key package asks `covers`.
    """

    not_before: U64 = 0
    not_after: U64 = 2**64 - 1

    def covers(self, now: float) -> bool:
        """Return whether `now` lies in the lifetime."""
        return self.not_before <= now <= self.not_after


@struct
class UpdateSource:
    """A leaf node from an Update proposal."""


@struct
class CommitSource:
    """A leaf node from a commit's path."""

    parent_hash: bytes


_SOURCES = {1: KeyPackageSource, 2: UpdateSource, 3: CommitSource}


@struct
class LeafNode:
    """A member (section 7.2)."""

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: Annotated[KeyPackageSource | UpdateSource | CommitSource, Tagged(1, _SOURCES)]
    extensions: tuple[Extension, ...]
    signature: bytes

    def to_be_signed(self, group_id: bytes, index: int) -> bytes:
        """Return the LeafNodeTBS; the place in the group counts but for key packages."""
        content = encode_until(self, "signature")
        if isinstance(self.source, KeyPackageSource):
            return content
        return content + opaque(group_id) + index.to_bytes(4, "big")


@struct
class ParentNode:
    """An inner node (section 7.1)."""

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[U32, ...]


Node = Annotated[LeafNode | ParentNode, Tagged(1, {1: LeafNode, 2: ParentNode})]


# Section 10: key packages.


@struct
class KeyPackage:
    """What lets others add a client while it is away."""

    version: U16
    cipher_suite: U16
    init_key: bytes
    leaf_node: LeafNode
    extensions: tuple[Extension, ...]
    signature: bytes

    def to_be_signed(self) -> bytes:
        """Return the KeyPackageTBS."""
        return encode_until(self, "signature")

    def reference(self, suite: CipherSuite) -> bytes:
        """Return the KeyPackageRef (section 5.2)."""
        return suite.ref_hash(b"MLS 1.0 KeyPackage Reference", encode(self))


# Section 7.6: update paths.


@struct
class HPKECiphertext:
    """A message to one public key."""

    kem_output: bytes
    ciphertext: bytes


@struct
class UpdatePathNode:
    """A new public key, and its path secret for everybody below the other child."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HPKECiphertext, ...]


@struct
class UpdatePath:
    """A committer's new leaf, and a new node for each of its filtered direct path."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]


def decode_external_senders(extensions: Iterable[Extension]) -> tuple[ExternalSender, ...]:
    """Return the senders outside of the group that its context lets propose."""
    data = find_extension(extensions, ExtensionType.EXTERNAL_SENDERS)
    return () if data is None else decode(tuple[ExternalSender, ...], data)


def decode_required_capabilities(extensions: Iterable[Extension]) -> RequiredCapabilities:
    """Return what a group demands of its members (section 11.1)."""
    data = find_extension(extensions, ExtensionType.REQUIRED_CAPABILITIES)
    return RequiredCapabilities() if data is None else decode(RequiredCapabilities, data)
