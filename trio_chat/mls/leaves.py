"""What is asked of a leaf node and of a key package (RFC 9420, sections 5.3.1, 7.2, 7.3 and 10.1).

The authentication service of section 5.3.1 is a callable that the application gives:

    authenticate(credential, signature_key, replaces)

`replaces` is the credential that this one takes the place of, or None. It returns if the
credential is valid for the key, and else raises ProtocolError. It is asked about all leaves of a
group that we join, those of Adds, Updates and commits, and about external senders; and, where a
group follows another one, whether its members could take the place of that one's.

Members who answer differently part ways, and who refuses one leaf of a tree cannot join at all.
So what depends on a clock or on a list of what was revoked is better judged of `Group.members()`,
and of an epoch's `change` before going on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from trio_chat.mls.codec import evolve
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.nodes import (
    MLS10,
    BasicCredential,
    Capabilities,
    Extension,
    ExtensionType,
    KeyPackage,
    KeyPackageSource,
    LeafNode,
    RequiredCapabilities,
    X509Credential,
    check_extensions,
    credential_type,
    decode_required_capabilities,
)
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.suite import CipherSuite
from trio_chat.mls.tree import RatchetTree

CredentialValue: TypeAlias = BasicCredential | X509Credential
Authenticate: TypeAlias = Callable[[CredentialValue, bytes, CredentialValue | None], object]

# What need not be named in capabilities, since every client has it (section 7.2).
_DEFAULT_EXTENSIONS = frozenset(ExtensionType)
_DEFAULT_PROPOSALS = frozenset(range(1, 8))


def sign_leaf(
    suite: CipherSuite, leaf: LeafNode, key: SignatureKey, group_id: bytes = b"", index: int = 0
) -> LeafNode:
    """Return the leaf with a signature by the owner of its key."""
    content = leaf.to_be_signed(group_id, index)
    return evolve(leaf, signature=suite.sign_with_label(key, b"LeafNodeTBS", content))


def check_leaf(
    suite: CipherSuite, leaf: LeafNode, source: type, group_id: bytes = b"", index: int = 0
) -> None:
    """Check a leaf by itself (section 7.3): its source, keys, signature and extensions.

    Args:
        suite: The group's cipher suite.
        leaf: The leaf.
        source: The class its source must be of, which depends on where the leaf was found.
        group_id: Its group, where the source is not a key package.
        index: And its place there.

    Raises:
        ProtocolError: A rule is broken.
        CryptoError: A key is not acceptable, or the signature does not hold.
    """
    if not isinstance(leaf.source, source):
        raise ProtocolError("a leaf node was made for something else")
    suite.check_encryption_key(leaf.encryption_key)
    content = leaf.to_be_signed(group_id, index)
    suite.verify_with_label(leaf.signature_key, b"LeafNodeTBS", content, leaf.signature)
    check_extensions(leaf.extensions, "leaf node")
    capabilities = leaf.capabilities
    if MLS10 not in capabilities.versions:  # cipher suites, section 7.3 does not ask for
        raise ProtocolError("a leaf node does not support the group's version")
    if credential_type(leaf.credential) not in capabilities.credentials:
        raise ProtocolError("a leaf node does not support its own credential")
    _check_supported(capabilities, leaf.extensions, "its own")


def check_key_package(suite: CipherSuite, package: KeyPackage) -> None:
    """Check a key package by itself (section 10.1); its lifetime is the caller's to judge.

    Raises:
        ProtocolError: A rule is broken.
        CryptoError: A key is not acceptable, or a signature does not hold.
    """
    if package.version != MLS10 or package.cipher_suite != suite.number:
        raise ProtocolError("a key package is of another version or cipher suite")
    leaf = package.leaf_node
    check_leaf(suite, leaf, KeyPackageSource)
    content = package.to_be_signed()
    suite.verify_with_label(leaf.signature_key, b"KeyPackageTBS", content, package.signature)
    suite.check_encryption_key(package.init_key)
    if package.init_key == leaf.encryption_key:
        raise ProtocolError("a key package uses one key for two things")
    check_extensions(package.extensions, "key package")


def check_capabilities(tree: RatchetTree, extensions: tuple[Extension, ...]) -> None:
    """Check that each member supports the group's extensions and all members' credentials.

    Section 7.3. Members have few capabilities that differ, so each is looked at once.
    """
    profiles = {(leaf.capabilities, credential_type(leaf.credential)) for _, leaf in tree.leaves()}
    required = decode_required_capabilities(extensions)
    in_use = {credential for _, credential in profiles}
    for capabilities in {capabilities for capabilities, _ in profiles}:
        if not in_use.issubset(capabilities.credentials):
            raise ProtocolError("a member does not support another's credential")
        _check_supported(capabilities, extensions, "the group's")
        _check_required(capabilities, required)


def _check_supported(
    capabilities: Capabilities, extensions: Iterable[Extension], whose: str
) -> None:
    kinds = {extension.extension_type for extension in extensions} - _DEFAULT_EXTENSIONS
    if not kinds.issubset(capabilities.extensions):
        raise ProtocolError(f"a leaf node does not support {whose} extensions")


def _check_required(capabilities: Capabilities, required: RequiredCapabilities) -> None:
    """Section 11.1."""
    extensions = set(required.extension_types) - _DEFAULT_EXTENSIONS
    proposals = set(required.proposal_types) - _DEFAULT_PROPOSALS
    if not (
        extensions.issubset(capabilities.extensions)
        and proposals.issubset(capabilities.proposals)
        and set(required.credential_types).issubset(capabilities.credentials)
    ):
        raise ProtocolError("a leaf node lacks a capability that the group requires")
