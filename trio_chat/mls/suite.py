"""Cipher suites (RFC 9420, sections 5.1 and 17.1): every primitive with MLS's labels on it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache

import attrs
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from trio_chat.mls import kem, signature
from trio_chat.mls.codec import opaque
from trio_chat.mls.errors import CryptoError, ProtocolError
from trio_chat.mls.hpke import AEAD, HPKE, KDF, KEM
from trio_chat.mls.signature import Scheme, SignatureKey


@attrs.frozen(eq=False)
class CipherSuite:
    """The functions of one suite, named as in section 5.1."""

    number: int
    name: str
    kem: KEM = attrs.field(repr=False)
    aead: AEAD = attrs.field(repr=False)
    kdf: KDF = attrs.field(repr=False)
    scheme: Scheme = attrs.field(repr=False)
    _hpke: HPKE = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_hpke", HPKE(self.kem, self.kdf, self.aead))

    @property
    def hash_size(self) -> int:
        """Nh: the size of hashes, of MACs and of nearly every secret, in bytes."""
        return self.kdf.size

    def hash(self, data: bytes) -> bytes:
        """Hash."""
        return hashlib.new(self.kdf.hash, data).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        """MAC: HMAC with the suite's hash."""
        return hmac.digest(key, data, self.kdf.hash)

    def random_secret(self) -> bytes:
        """Return a fresh secret of Nh bytes."""
        return secrets.token_bytes(self.hash_size)

    # Section 8: the key derivation functions.

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        """KDF.Extract."""
        return self.kdf.extract(salt, ikm)

    def expand_with_label(self, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
        """ExpandWithLabel."""
        info = length.to_bytes(2, "big") + _labeled(label) + opaque(context)
        return self.kdf.expand(secret, info, length)

    def derive_secret(self, secret: bytes, label: bytes) -> bytes:
        """DeriveSecret."""
        return self.expand_with_label(secret, label, b"", self.hash_size)

    def derive_tree_secret(
        self, secret: bytes, label: bytes, generation: int, length: int
    ) -> bytes:
        """DeriveTreeSecret (section 9)."""
        return self.expand_with_label(secret, label, generation.to_bytes(4, "big"), length)

    # Section 5.1.2: signing.

    def generate_signature_key(self) -> SignatureKey:
        """Return a fresh signature key."""
        return self.scheme.generate()

    def sign_with_label(self, key: SignatureKey, label: bytes, content: bytes) -> bytes:
        """SignWithLabel."""
        return key.sign(_labeled(label) + opaque(content))

    def verify_with_label(
        self, public: bytes, label: bytes, content: bytes, signature: bytes
    ) -> None:
        """VerifyWithLabel: raise CryptoError unless the signature holds."""
        self.check_signature_key(public)
        if not self.scheme.verify(public, _labeled(label) + opaque(content), signature):
            raise CryptoError(f"the signature of {label.decode()} does not hold")

    def check_signature_key(self, public: bytes) -> None:
        """Refuse a malformed public key, or one of small order, with CryptoError."""
        self.scheme.check_public_key(public)

    # Section 5.1.3: public key encryption.

    def generate_key_pair(self) -> tuple[bytes, bytes]:
        """Return a fresh HPKE private key and its public one."""
        return self.kem.derive_key_pair(secrets.token_bytes(max(self.hash_size, 32)))

    def derive_key_pair(self, secret: bytes) -> tuple[bytes, bytes]:
        """KEM.DeriveKeyPair: return the private and the public key."""
        return self.kem.derive_key_pair(secret)

    def check_encryption_key(self, public: bytes) -> None:
        """Refuse a malformed public key, or one of low order, with CryptoError."""
        self.kem.check_public_key(public)

    def encrypt_with_label(
        self, public: bytes, label: bytes, context: bytes, plaintext: bytes
    ) -> tuple[bytes, bytes]:
        """EncryptWithLabel: return the KEM output and the ciphertext."""
        return self._hpke.seal(public, _labeled(label) + opaque(context), plaintext)

    def decrypt_with_label(
        self, private: bytes, label: bytes, context: bytes, kem_output: bytes, ciphertext: bytes
    ) -> bytes:
        """DecryptWithLabel."""
        info = _labeled(label) + opaque(context)
        return self._hpke.open(private, info, kem_output, ciphertext)

    def export_send(self, public: bytes, label: bytes) -> tuple[bytes, bytes]:
        """Return a KEM output and what it exports (section 8.3)."""
        return self._hpke.export_send(public, label, self.hash_size)

    def export_receive(self, private: bytes, kem_output: bytes, label: bytes) -> bytes:
        """Return what a KEM output exports (section 8.3)."""
        return self._hpke.export_receive(private, kem_output, label, self.hash_size)

    # Section 5.2: references.

    def ref_hash(self, label: bytes, value: bytes) -> bytes:
        """RefHash."""
        return self.hash(opaque(label) + opaque(value))


@lru_cache(maxsize=128)
def _labeled(label: bytes) -> bytes:
    return opaque(b"MLS 1.0 " + label)


def same(one: bytes, other: bytes) -> bool:
    """Compare tags or secrets in constant time; other lengths are other values."""
    return hmac.compare_digest(one, other)


_KEMS: dict[str, KEM] = {
    "DHKEMX25519": kem.X25519,
    "DHKEMP256": kem.P256,
    "DHKEMX448": kem.X448,
    "DHKEMP521": kem.P521,
    "DHKEMP384": kem.P384,
    "MLKEM768X25519": kem.X_WING,
}
_AEADS = {
    "AES128GCM": AEAD(1, AESGCM, 16),
    "AES256GCM": AEAD(2, AESGCM, 32),
    "CHACHA20POLY1305": AEAD(3, ChaCha20Poly1305, 32),
}
_KDFS = {"SHA256": kem.SHA256, "SHA384": kem.SHA384, "SHA512": kem.SHA512}
_SCHEMES: dict[str, Scheme] = {
    "Ed25519": signature.ED25519,
    "P256": signature.P256,
    "Ed448": signature.ED448,
    "P521": signature.P521,
    "P384": signature.P384,
}


def _suite(number: int, name: str) -> CipherSuite:
    _, _, first, second, third, last = name.split("_")
    return CipherSuite(number, name, _KEMS[first], _AEADS[second], _KDFS[third], _SCHEMES[last])


SUITES = {
    number: _suite(number, name)
    for number, name in (
        (1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"),
        (2, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"),
        (3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519"),
        (4, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448"),
        (5, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521"),
        (6, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448"),
        (7, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384"),
    )
}

# Of the range for private use. There are no official vectors for it, its KEM and KDF are drafts,
# and its signatures are Ed25519: confidentiality only. So nobody gets it without asking.
EXPERIMENTAL = _suite(0xF04D, "MLS_128_MLKEM768X25519_AES256GCM_SHA256_Ed25519")


def find_suite(number: int, *, experimental: bool = False) -> CipherSuite:
    """Return the suite of the number.

    Args:
        number: As in the registry of section 17.1.
        experimental: Whether the post-quantum suite may be had.

    Raises:
        ProtocolError: There is no such suite here.
    """
    if experimental and number == EXPERIMENTAL.number:
        return EXPERIMENTAL
    try:
        return SUITES[number]
    except KeyError:
        raise ProtocolError(f"cipher suite {number} is not supported") from None
