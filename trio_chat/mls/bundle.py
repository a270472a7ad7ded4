"""A key package together with its private keys: what a client keeps until it is added."""

from __future__ import annotations

import attrs

from trio_chat.mls.codec import evolve
from trio_chat.mls.errors import CryptoError
from trio_chat.mls.leaves import CredentialValue, sign_leaf
from trio_chat.mls.nodes import (
    MLS10,
    Capabilities,
    Extension,
    KeyPackage,
    KeyPackageSource,
    LeafNode,
)
from trio_chat.mls.signature import SignatureKey
from trio_chat.mls.suite import SUITES, CipherSuite


@attrs.frozen(repr=False, eq=False)
class KeyPackageBundle:
    """A key package (RFC 9420, section 10) and its three private keys.

    Erase it once it was used to join: who has the init key can read the Welcome.
    """

    suite: CipherSuite
    key_package: KeyPackage
    init_private: bytes
    leaf_private: bytes
    signature_key: SignatureKey

    def __attrs_post_init__(self) -> None:
        package = self.key_package
        leaf = package.leaf_node
        kem = self.suite.kem
        if (
            kem.public_key(self.init_private) != package.init_key
            or kem.public_key(self.leaf_private) != leaf.encryption_key
            or self.signature_key.public != leaf.signature_key
        ):
            raise CryptoError("a private key is not that of the key package")

    def __repr__(self) -> str:
        return f"<KeyPackageBundle {self.key_package.reference(self.suite).hex()}>"

    @classmethod
    def create(
        cls,
        credential: CredentialValue,
        signature_key: SignatureKey,
        *,
        suite: CipherSuite = SUITES[1],
        capabilities: Capabilities | None = None,
        lifetime: KeyPackageSource | None = None,
        extensions: tuple[Extension, ...] = (),
        leaf_extensions: tuple[Extension, ...] = (),
    ) -> KeyPackageBundle:
        """Make a key package with fresh keys.

        Args:
            credential: Who we are.
            signature_key: The key that the credential is for.
            suite: The cipher suite.
            capabilities: What we support beside the suite; the suite is added to them.
            lifetime: When it may be used; always, if not given.
            extensions: Of the key package.
            leaf_extensions: Of its leaf node.
        """
        capabilities = capabilities or Capabilities()
        if suite.number not in capabilities.cipher_suites:
            suites = (*capabilities.cipher_suites, suite.number)
            capabilities = evolve(capabilities, cipher_suites=suites)
        init_private, init_key = suite.generate_key_pair()
        leaf_private, encryption_key = suite.generate_key_pair()
        leaf = LeafNode(
            encryption_key,
            signature_key.public,
            credential,
            capabilities,
            lifetime or KeyPackageSource(),
            leaf_extensions,
            b"",
        )
        leaf = sign_leaf(suite, leaf, signature_key)
        package = KeyPackage(MLS10, suite.number, init_key, leaf, extensions, b"")
        signature = suite.sign_with_label(signature_key, b"KeyPackageTBS", package.to_be_signed())
        package = evolve(package, signature=signature)
        return cls(suite, package, init_private, leaf_private, signature_key)
