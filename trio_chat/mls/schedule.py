"""The key schedule (RFC 9420, section 8): from one epoch's secrets to the next one's.

init_secret, commit_secret  ->  joiner_secret
joiner_secret, psk_secret   ->  member secret -> welcome_secret, epoch_secret -> all others
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_chat.mls.codec import U16, encode, encode_until, opaque, struct
from trio_chat.mls.errors import CryptoError
from trio_chat.mls.messages import (
    AuthenticatedContent,
    GroupContext,
    PreSharedKeyID,
)
from trio_chat.mls.suite import CipherSuite, same


def joiner_secret(
    suite: CipherSuite, init_secret: bytes, commit_secret: bytes, context: GroupContext
) -> bytes:
    """Return what a commit makes of the last epoch's init secret."""
    extracted = suite.extract(init_secret, commit_secret)
    return suite.expand_with_label(extracted, b"joiner", encode(context), suite.hash_size)


def member_secret(suite: CipherSuite, joiner: bytes, psk: bytes) -> bytes:
    """Return the secret between joiner_secret and epoch_secret, which the RFC does not name."""
    return suite.extract(joiner, psk)


def welcome_key(suite: CipherSuite, member: bytes) -> tuple[bytes, bytes]:
    """Return the key and the nonce that the GroupInfo in a Welcome is under (12.4.3.1)."""
    secret = suite.derive_secret(member, b"welcome")
    aead = suite.aead
    return (
        suite.expand_with_label(secret, b"key", b"", aead.key_size),
        suite.expand_with_label(secret, b"nonce", b"", aead.nonce_size),
    )


@struct(secret=True)
class EpochSecrets:
    """An epoch's secrets (section 8, table 4), but for the encryption_secret."""

    sender_data_secret: bytes
    exporter_secret: bytes
    external_secret: bytes
    confirmation_key: bytes
    membership_key: bytes
    resumption_psk: bytes
    epoch_authenticator: bytes
    init_secret: bytes

    @classmethod
    def derive(
        cls, suite: CipherSuite, member: bytes, context: GroupContext
    ) -> tuple[EpochSecrets, bytes]:
        """Return the secrets and the encryption_secret, which the secret tree consumes."""
        epoch = suite.expand_with_label(member, b"epoch", encode(context), suite.hash_size)
        return cls.from_epoch_secret(suite, epoch)

    @classmethod
    def from_epoch_secret(cls, suite: CipherSuite, epoch: bytes) -> tuple[EpochSecrets, bytes]:
        """Return the secrets that a known epoch_secret gives, as that of a new group."""
        secrets = cls(*[suite.derive_secret(epoch, label) for label in _LABELS])
        return secrets, suite.derive_secret(epoch, b"encryption")

    def confirmation_tag(self, suite: CipherSuite, context: GroupContext) -> bytes:
        """Return the tag that proves that its maker has these secrets (section 6.1)."""
        return suite.mac(self.confirmation_key, context.confirmed_transcript_hash)

    def check_confirmation(self, suite: CipherSuite, context: GroupContext, tag: bytes) -> None:
        """Refuse a wrong confirmation tag with CryptoError."""
        if not same(self.confirmation_tag(suite, context), tag):
            raise CryptoError("a confirmation tag does not hold")

    def external_key_pair(self, suite: CipherSuite) -> tuple[bytes, bytes]:
        """Return the key pair that external commits are made to (section 8.3)."""
        return suite.derive_key_pair(self.external_secret)

    def export(self, suite: CipherSuite, label: bytes, context: bytes, length: int) -> bytes:
        """MLS-Exporter (section 8.5)."""
        secret = suite.derive_secret(self.exporter_secret, label)
        return suite.expand_with_label(secret, b"exported", suite.hash(context), length)


_LABELS = (
    b"sender data",
    b"exporter",
    b"external",
    b"confirm",
    b"membership",
    b"resumption",
    b"authentication",
    b"init",
)

_EXTERNAL_INIT = b"MLS 1.0 external init secret"


def external_init(suite: CipherSuite, external_pub: bytes) -> tuple[bytes, bytes]:
    """Return a KEM output for an ExternalInit proposal and its init_secret (section 8.3)."""
    return suite.export_send(external_pub, _EXTERNAL_INIT)


def external_init_secret(suite: CipherSuite, secrets: EpochSecrets, kem_output: bytes) -> bytes:
    """Return the init_secret of an ExternalInit proposal, for members."""
    private, _ = secrets.external_key_pair(suite)
    return suite.export_receive(private, kem_output, _EXTERNAL_INIT)


# Section 8.2: transcript hashes.


def confirmed_transcript_hash(
    suite: CipherSuite, interim: bytes, commit: AuthenticatedContent
) -> bytes:
    """Return the hash of all commits up to this one's signature."""
    return suite.hash(interim + encode_until(commit, "confirmation_tag"))


def interim_transcript_hash(suite: CipherSuite, confirmed: bytes, tag: bytes) -> bytes:
    """Return the hash of all commits up to this one's confirmation tag."""
    return suite.hash(confirmed + opaque(tag))


# Section 8.4: pre-shared keys.


@struct
class _PSKLabel:
    id: PreSharedKeyID
    index: U16
    count: U16


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyID, bytes]]) -> bytes:
    """Return the secret that combines the pre-shared keys, in the commit's order."""
    secret = bytes(suite.hash_size)
    for index, (name, psk) in enumerate(psks):
        extracted = suite.extract(bytes(suite.hash_size), psk)
        label = encode(_PSKLabel(name, index, len(psks)))
        derived = suite.expand_with_label(extracted, b"derived psk", label, suite.hash_size)
        secret = suite.extract(derived, secret)
    return secret
