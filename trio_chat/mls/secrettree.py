"""The secret tree (RFC 9420, section 9): a key for each message, gone once it was used.

This is the one part of an epoch that changes: its ratchets go forward, never back.
"""

from __future__ import annotations

import attrs

from trio_chat.mls import treemath
from trio_chat.mls.codec import U32, struct
from trio_chat.mls.errors import ProtocolError
from trio_chat.mls.messages import ContentType
from trio_chat.mls.suite import CipherSuite

MAX_SKIP = 32  # generations, ahead of the last one seen, and kept for those that come late


@struct(secret=True)
class MessageKey:
    """The key and the nonce of one generation."""

    generation: U32
    key: bytes
    nonce: bytes


@attrs.define(repr=False)
class Ratchet:
    """One sender's keys of one kind, one for each generation.

    Attributes:
        secret: Of `generation`, the next one.
        skipped: Keys of earlier generations that nobody has used yet, oldest first.
    """

    suite: CipherSuite
    secret: bytes
    max_skip: int = MAX_SKIP
    generation: int = 0
    skipped: dict[int, MessageKey] = attrs.field(factory=dict)

    def next(self) -> MessageKey:
        """Return the next key, to encrypt with, and go on."""
        if self.generation == 2**32 - 1:
            raise ProtocolError("an epoch has no more message keys for us: commit first")
        key = self._key(self.secret, self.generation)
        self._step()
        return key

    def peek(self, generation: int) -> MessageKey:
        """Return a key to try to decrypt with; nothing changes until `consume`.

        Raises:
            ProtocolError: It was used or is forgotten, or is too far ahead.
        """
        if generation < self.generation:
            try:
                return self.skipped[generation]
            except KeyError:
                raise ProtocolError("a message key was used before, or is forgotten") from None
        if generation - self.generation > self.max_skip:
            raise ProtocolError("a message is too far ahead of its sender's last one")
        secret = self.secret
        for passed in range(self.generation, generation):
            secret = self._next_secret(secret, passed)
        return self._key(secret, generation)

    def consume(self, generation: int) -> int:
        """Forget the key of `generation`, which has done its work, and keep those skipped.

        Returns:
            How many were skipped for it; less than 0 if it was itself skipped before.
        """
        ahead = generation - self.generation
        if ahead < 0:
            del self.skipped[generation]
            return ahead
        while self.generation < generation:
            self.skipped[self.generation] = self._key(self.secret, self.generation)
            self._step()
        self._step()
        while len(self.skipped) > self.max_skip:
            del self.skipped[next(iter(self.skipped))]
        return ahead

    def _step(self) -> None:
        self.secret = self._next_secret(self.secret, self.generation)
        self.generation += 1

    def _key(self, secret: bytes, generation: int) -> MessageKey:
        derive = self.suite.derive_tree_secret
        aead = self.suite.aead
        return MessageKey(
            generation,
            derive(secret, b"key", generation, aead.key_size),
            derive(secret, b"nonce", generation, aead.nonce_size),
        )

    def _next_secret(self, secret: bytes, generation: int) -> bytes:
        derive = self.suite.derive_tree_secret
        return derive(secret, b"secret", generation, self.suite.hash_size)


@attrs.define(repr=False)
class SecretTree:
    """The secrets of a tree's nodes, each erased when its children's are derived.

    Attributes:
        secrets: By node, as far as derived and not used up.
        ratchets: Of the leaves that have been asked for.
    """

    suite: CipherSuite
    leaf_count: int
    secrets: dict[int, bytes]
    max_skip: int = MAX_SKIP
    ratchets: dict[int, tuple[Ratchet, Ratchet]] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls, suite: CipherSuite, leaf_count: int, encryption_secret: bytes, max_skip: int = MAX_SKIP
    ) -> SecretTree:
        """Return the tree that an encryption_secret is the root of."""
        root = treemath.root(leaf_count)
        return cls(suite, leaf_count, {root: encryption_secret}, max_skip)

    def ratchet(self, leaf: int, kind: ContentType) -> Ratchet:
        """Return a member's ratchet for handshake or for application messages, to go on with."""
        if leaf not in self.ratchets:
            self.ratchets[leaf] = self._plant(leaf, self.secrets)
        return self.ratchets[leaf][kind is ContentType.APPLICATION]

    def peek(self, leaf: int, kind: ContentType, generation: int) -> MessageKey:
        """Return a key to try to decrypt with; nothing changes, not even what is derived."""
        ratchets = self.ratchets.get(leaf) or self._plant(leaf, self.secrets.copy())
        return ratchets[kind is ContentType.APPLICATION].peek(generation)

    def _plant(self, leaf: int, secrets: dict[int, bytes]) -> tuple[Ratchet, Ratchet]:
        """Make a member's ratchets out of the lowest secret above it, which is used up."""
        size = self.suite.hash_size
        expand = self.suite.expand_with_label
        x = 2 * leaf
        path = [x, *treemath.direct_path(x, self.leaf_count)]
        known = next(place for place, above in enumerate(path) if above in secrets)
        for above in reversed(path[1 : known + 1]):
            secret = secrets.pop(above)
            secrets[treemath.left(above)] = expand(secret, b"tree", b"left", size)
            secrets[treemath.right(above)] = expand(secret, b"tree", b"right", size)
        secret = secrets.pop(x)
        handshake = expand(secret, b"handshake", b"", size)
        application = expand(secret, b"application", b"", size)
        return (
            Ratchet(self.suite, handshake, self.max_skip),
            Ratchet(self.suite, application, self.max_skip),
        )


def sender_data_key(
    suite: CipherSuite, sender_data_secret: bytes, ciphertext: bytes
) -> tuple[bytes, bytes]:
    """Return the key and the nonce for the sender data of a ciphertext (section 6.3.2)."""
    sample = ciphertext[: suite.hash_size]
    expand = suite.expand_with_label
    return (
        expand(sender_data_secret, b"key", sample, suite.aead.key_size),
        expand(sender_data_secret, b"nonce", sample, suite.aead.nonce_size),
    )
