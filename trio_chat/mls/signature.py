"""Signatures: Ed25519, Ed448 and ECDSA, as RFC 9420, section 5.1.2, wants their keys and values.

OpenSSL accepts Edwards public keys of small order, under which one signature verifies every
message: they are refused by list where keys enter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trio_chat.mls.errors import CryptoError


@attrs.frozen(repr=False, eq=False)
class SignatureKey:
    """A private signature key, loaded once, and the bytes of its public key."""

    scheme: Scheme
    private: bytes
    public: bytes
    loaded: Any

    def __repr__(self) -> str:
        return f"<SignatureKey {self.public.hex()}>"

    def sign(self, message: bytes) -> bytes:
        """Sign `message`."""
        return self.scheme.sign(self.loaded, message)


def _small_order(prime: int, size: int, *others: int) -> frozenset[bytes]:
    """Return the encodings, unreduced ones too, of the y of points of small order."""
    values = {0, 1, prime - 1, prime, prime + 1, *others}
    return frozenset(value.to_bytes(size, "little") for value in values)


_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7  # of order 8
_SMALL_25519 = _small_order(2**255 - 19, 32, _Y8, 2**255 - 19 - _Y8)
_SMALL_448 = _small_order(2**448 - 2**224 - 1, 57)


@attrs.frozen
class EdDSA:
    """Ed25519 and Ed448 (RFC 8032)."""

    private_class: type[ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey]
    public_class: type[ed25519.Ed25519PublicKey | ed448.Ed448PublicKey]
    size: int  # of a key, bytes
    small_order: frozenset[bytes] = attrs.field(repr=False)

    def generate(self) -> SignatureKey:
        """Return a fresh key."""
        return self._key(self.private_class.generate())

    def load(self, private: bytes) -> SignatureKey:
        """Return the key of its private bytes, or raise CryptoError."""
        if len(private) != self.size:
            raise CryptoError("a private key has the wrong length")
        return self._key(self.private_class.from_private_bytes(private))

    def _key(self, loaded: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) -> SignatureKey:
        public = loaded.public_key().public_bytes_raw()
        return SignatureKey(self, loaded.private_bytes_raw(), public, loaded)

    def sign(self, loaded: Any, message: bytes) -> bytes:
        """Sign with a loaded private key."""
        signature: bytes = loaded.sign(message)
        return signature

    def check_public_key(self, public: bytes) -> None:
        """Refuse a malformed or dangerous public key with CryptoError."""
        if len(public) != self.size:
            raise CryptoError("a signature key has the wrong length")
        y = public[:-1] + bytes([public[-1] & 0x7F])  # the highest bit is the sign of x
        if y in self.small_order:
            raise CryptoError("a signature key is of small order")

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether a signature holds."""
        try:
            self.public_class.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@attrs.frozen
class ECDSA:
    """ECDSA over a NIST curve; its signatures are in DER."""

    curve: ec.EllipticCurve
    hash: hashes.HashAlgorithm
    size: int  # of a coordinate, bytes

    def generate(self) -> SignatureKey:
        """Return a fresh key."""
        return self._key(ec.generate_private_key(self.curve))

    def load(self, private: bytes) -> SignatureKey:
        """Return the key of its private bytes, or raise CryptoError."""
        try:
            return self._key(ec.derive_private_key(int.from_bytes(private, "big"), self.curve))
        except ValueError:
            raise CryptoError("a private key is out of range") from None

    def _key(self, loaded: ec.EllipticCurvePrivateKey) -> SignatureKey:
        private = loaded.private_numbers().private_value.to_bytes(self.size, "big")
        public = loaded.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return SignatureKey(self, private, public, loaded)

    def sign(self, loaded: Any, message: bytes) -> bytes:
        """Sign with a loaded private key."""
        signature: bytes = loaded.sign(message, ec.ECDSA(self.hash))
        return signature

    def check_public_key(self, public: bytes) -> None:
        """Refuse a malformed or dangerous public key with CryptoError."""
        if len(public) != 2 * self.size + 1:
            raise CryptoError("a signature key has the wrong length")
        try:
            _point(self.curve, public)
        except ValueError:
            raise CryptoError("a signature key is not on its curve") from None

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Return whether a signature holds."""
        try:
            _point(self.curve, public).verify(signature, message, ec.ECDSA(self.hash))
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=256)  # checking a point costs as much as half a verification
def _point(curve: ec.EllipticCurve, public: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, public)


Scheme: TypeAlias = EdDSA | ECDSA

ED25519 = EdDSA(ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey, 32, _SMALL_25519)
ED448 = EdDSA(ed448.Ed448PrivateKey, ed448.Ed448PublicKey, 57, _SMALL_448)
P256 = ECDSA(ec.SECP256R1(), hashes.SHA256(), 32)
P384 = ECDSA(ec.SECP384R1(), hashes.SHA384(), 48)
P521 = ECDSA(ec.SECP521R1(), hashes.SHA512(), 66)
