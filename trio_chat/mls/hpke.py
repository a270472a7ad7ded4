"""HPKE in base mode (RFC 9180), as much of it as MLS uses: no additional data, one message.

`cryptography` has HPKE, but neither `DeriveKeyPair` nor the exporter, which MLS needs for every
commit and every external commit. With those written, sealing is the last line of the same key
schedule; so one implementation serves all suites, and the tests hold it against
`cryptography`'s own and against the official vectors. The key encapsulation is in `kem`.
"""

from __future__ import annotations

import abc
import hmac

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from trio_chat.mls.errors import CryptoError


@attrs.frozen
class KDF:
    """HKDF (RFC 5869) over one hash function, and HPKE's labels around it (section 4)."""

    id: int
    hash: str
    size: int  # Nh, bytes

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        """HKDF-Extract."""
        return hmac.digest(salt or bytes(self.size), ikm, self.hash)

    def expand(self, prk: bytes, info: bytes, length: int) -> bytes:
        """HKDF-Expand to `length` bytes."""
        if length <= self.size:
            return hmac.digest(prk, info + b"\1", self.hash)[:length]
        if length > 255 * self.size:
            raise ValueError(f"{length} bytes are more than HKDF gives")
        block, blocks = b"", b""
        for counter in range(1, -(-length // self.size) + 1):
            block = hmac.digest(prk, block + info + bytes([counter]), self.hash)
            blocks += block
        return blocks[:length]

    def labeled_extract(self, suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        """LabeledExtract, for the given suite_id."""
        return self.extract(salt, b"HPKE-v1" + suite + label + ikm)

    def labeled_expand(
        self, suite: bytes, prk: bytes, label: bytes, info: bytes, length: int
    ) -> bytes:
        """LabeledExpand, for the given suite_id."""
        head = length.to_bytes(2, "big") + b"HPKE-v1"
        return self.expand(prk, head + suite + label + info, length)


@attrs.frozen
class AEAD:
    """An AEAD with nonces of 12 bytes."""

    id: int
    cipher: type[AESGCM | ChaCha20Poly1305]
    key_size: int  # Nk, bytes
    nonce_size = 12  # Nn, bytes

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt; the tag comes last."""
        return self.cipher(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """Decrypt, or raise CryptoError."""
        try:
            return self.cipher(key).decrypt(nonce, ciphertext, aad)
        except InvalidTag:
            raise CryptoError("a ciphertext cannot be opened") from None


class KEM(abc.ABC):
    """A key encapsulation mechanism; keys are in the forms of RFC 9180, section 7.1.

    Whoever is given a public key refuses, with CryptoError, what no honest peer can have made.
    """

    id: int

    @abc.abstractmethod
    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        """Return the private and the public key that `ikm` determines."""

    @abc.abstractmethod
    def public_key(self, private: bytes) -> bytes:
        """Return the public key of a private one."""

    @abc.abstractmethod
    def check_public_key(self, public: bytes) -> None:
        """Refuse a malformed public key, or one of low order, with CryptoError."""

    @abc.abstractmethod
    def encap(self, public: bytes) -> tuple[bytes, bytes]:
        """Return a fresh shared secret and its encapsulation."""

    @abc.abstractmethod
    def decap(self, encapsulated: bytes, private: bytes) -> bytes:
        """Return the shared secret of an encapsulation."""


@attrs.frozen
class HPKE:
    """One suite: SetupBaseS or SetupBaseR, then one seal, open or export (section 5)."""

    kem: KEM
    kdf: KDF
    aead: AEAD
    _id: bytes = attrs.field(init=False)

    @_id.default
    def _suite_id(self) -> bytes:
        numbers = (self.kem.id, self.kdf.id, self.aead.id)
        return b"HPKE" + b"".join(number.to_bytes(2, "big") for number in numbers)

    def seal(self, public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt to a public key; return the KEM output and the ciphertext."""
        shared, encapsulated = self.kem.encap(public)
        key, nonce = self._key_and_nonce(shared, info)
        return encapsulated, self.aead.seal(key, nonce, b"", plaintext)

    def open(self, private: bytes, info: bytes, encapsulated: bytes, ciphertext: bytes) -> bytes:
        """Decrypt what was sealed to the private key's public one, or raise CryptoError."""
        key, nonce = self._key_and_nonce(self.kem.decap(encapsulated, private), info)
        return self.aead.open(key, nonce, b"", ciphertext)

    def export_send(self, public: bytes, context: bytes, length: int) -> tuple[bytes, bytes]:
        """Return the KEM output and the secret exported to the key's owner; info is empty."""
        shared, encapsulated = self.kem.encap(public)
        return encapsulated, self._export(shared, context, length)

    def export_receive(
        self, private: bytes, encapsulated: bytes, context: bytes, length: int
    ) -> bytes:
        """Return the secret that a KEM output exports."""
        return self._export(self.kem.decap(encapsulated, private), context, length)

    def _schedule(self, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
        """KeySchedule in mode_base: return its secret and its context."""
        extract = self.kdf.labeled_extract
        context = (
            b"\0"
            + extract(self._id, b"", b"psk_id_hash", b"")
            + extract(self._id, b"", b"info_hash", info)
        )
        return extract(self._id, shared, b"secret", b""), context

    def _key_and_nonce(self, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
        secret, context = self._schedule(shared, info)
        expand = self.kdf.labeled_expand
        return (
            expand(self._id, secret, b"key", context, self.aead.key_size),
            expand(self._id, secret, b"base_nonce", context, self.aead.nonce_size),
        )

    def _export(self, shared: bytes, context: bytes, length: int) -> bytes:
        secret, schedule = self._schedule(shared, b"")
        expand = self.kdf.labeled_expand
        exporter = expand(self._id, secret, b"exp", schedule, self.kdf.size)
        return expand(self._id, exporter, b"sec", context, length)
