"""Key encapsulation: DHKEM over X25519, X448 and the NIST curves (RFC 9180), and X-Wing.

Keys travel and are kept as bytes, in the forms of RFC 9180, section 7.1. A public key is refused
where it enters if no honest peer can have made it: of low order, off its curve, malformed.
"""

from __future__ import annotations

import abc
import hashlib
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trio_chat.mls.errors import CryptoError
from trio_chat.mls.hpke import KDF, KEM

SHA256 = KDF(1, "sha256", 32)
SHA384 = KDF(2, "sha384", 48)
SHA512 = KDF(3, "sha512", 64)


@attrs.frozen
class _DHKEM(KEM):
    """DHKEM (RFC 9180, section 4.1); a subclass brings the Diffie-Hellman group."""

    id: int
    kdf: KDF

    @abc.abstractmethod
    def _generate(self) -> Any:
        """Return a fresh private key, loaded."""

    @abc.abstractmethod
    def _load(self, private: bytes) -> Any: ...

    @abc.abstractmethod
    def _public(self, loaded: Any) -> bytes: ...

    @abc.abstractmethod
    def _exchange(self, loaded: Any, public: bytes) -> bytes: ...

    def public_key(self, private: bytes) -> bytes:
        return self._public(self._load(private))

    def encap(self, public: bytes) -> tuple[bytes, bytes]:
        self.check_public_key(public)
        ephemeral = self._generate()
        encapsulated = self._public(ephemeral)
        dh = self._exchange(ephemeral, public)
        return self._extract_and_expand(dh, encapsulated + public), encapsulated

    def decap(self, encapsulated: bytes, private: bytes) -> bytes:
        self.check_public_key(encapsulated)
        loaded = self._load(private)
        dh = self._exchange(loaded, encapsulated)
        return self._extract_and_expand(dh, encapsulated + self._public(loaded))

    @property
    def _suite(self) -> bytes:
        return b"KEM" + self.id.to_bytes(2, "big")

    def _extract_and_expand(self, dh: bytes, context: bytes) -> bytes:
        prk = self.kdf.labeled_extract(self._suite, b"", b"eae_prk", dh)
        size = self.kdf.size
        return self.kdf.labeled_expand(self._suite, prk, b"shared_secret", context, size)


def _low_order(prime: int, size: int, *others: int) -> frozenset[bytes]:
    """Return all encodings of the coordinates of low order, the unreduced ones too."""
    values = {0, 1, prime - 1, prime, prime + 1, *others}
    return frozenset(value.to_bytes(size, "little") for value in values)


_LOW_25519 = _low_order(
    2**255 - 19,
    32,
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,  # of order 8
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)
_LOW_448 = _low_order(2**448 - 2**224 - 1, 56)


@attrs.frozen
class _Montgomery(_DHKEM):
    """X25519 and X448 (RFC 7748)."""

    private_class: type[x25519.X25519PrivateKey | x448.X448PrivateKey]
    public_class: type[x25519.X25519PublicKey | x448.X448PublicKey]
    size: int  # of a key, bytes
    used_bits: int  # of the last byte of a public key
    low_order: frozenset[bytes] = attrs.field(repr=False)

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        """RFC 9180, section 7.1.3."""
        prk = self.kdf.labeled_extract(self._suite, b"", b"dkp_prk", ikm)
        private = self.kdf.labeled_expand(self._suite, prk, b"sk", b"", self.size)
        return private, self.public_key(private)

    def check_public_key(self, public: bytes) -> None:
        if len(public) != self.size:
            raise CryptoError("a public key has the wrong length")
        if public[:-1] + bytes([public[-1] & self.used_bits]) in self.low_order:
            raise CryptoError("a public key is of low order")

    def _generate(self) -> Any:
        return self.private_class.generate()

    def _load(self, private: bytes) -> Any:
        if len(private) != self.size:
            raise CryptoError("a private key has the wrong length")
        return self.private_class.from_private_bytes(private)

    def _public(self, loaded: Any) -> bytes:
        public: bytes = loaded.public_key().public_bytes_raw()
        return public

    def _exchange(self, loaded: Any, public: bytes) -> bytes:
        try:
            dh: bytes = loaded.exchange(self.public_class.from_public_bytes(public))
        except ValueError:  # not reached: all of them are listed
            raise CryptoError("a public key is of low order") from None
        return dh


@attrs.frozen
class _Weierstrass(_DHKEM):
    """P-256, P-384 and P-521."""

    curve: ec.EllipticCurve
    size: int  # of a private key, bytes
    mask: int  # for the first byte of a candidate

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        """RFC 9180, section 7.1.3: the first candidate below the group's order."""
        prk = self.kdf.labeled_extract(self._suite, b"", b"dkp_prk", ikm)
        for counter in range(256):
            candidate = self.kdf.labeled_expand(
                self._suite, prk, b"candidate", bytes([counter]), self.size
            )
            private = bytes([candidate[0] & self.mask]) + candidate[1:]
            if 0 < int.from_bytes(private, "big") < self.curve.group_order:
                return private, self.public_key(private)
        raise CryptoError("no key pair can be derived")

    def check_public_key(self, public: bytes) -> None:
        self._point(public)

    def _point(self, public: bytes) -> ec.EllipticCurvePublicKey:
        if len(public) != 2 * self.size + 1:  # uncompressed, so a key has one encoding
            raise CryptoError("a public key has the wrong length")
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(self.curve, public)
        except ValueError:
            raise CryptoError("a public key is not on its curve") from None

    def _generate(self) -> Any:
        return ec.generate_private_key(self.curve)

    def _load(self, private: bytes) -> Any:
        try:
            return ec.derive_private_key(int.from_bytes(private, "big"), self.curve)
        except ValueError:
            raise CryptoError("a private key is out of range") from None

    def _public(self, loaded: Any) -> bytes:
        key: ec.EllipticCurvePublicKey = loaded.public_key()
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def _exchange(self, loaded: Any, public: bytes) -> bytes:
        dh: bytes = loaded.exchange(ec.ECDH(), self._point(public))
        return dh


class _XWing(KEM):
    """X-Wing, alias MLKEM768-X25519 (draft-connolly-cfrg-xwing-kem): experimental.

    Holds as long as one of ML-KEM-768 and X25519 does. A private key is a seed of 32 bytes.
    """

    id = 0x647A

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        """draft-ietf-hpke-pq: LabeledDerive with SHAKE256."""
        label = b"DeriveKeyPair"
        head = b"HPKE-v1KEM" + self.id.to_bytes(2, "big")
        labeled = ikm + head + len(label).to_bytes(2, "big") + label + (32).to_bytes(2, "big")
        private = hashlib.shake_256(labeled).digest(32)
        return private, self.public_key(private)

    def public_key(self, private: bytes) -> bytes:
        lattice, curve = self.load(private)
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def check_public_key(self, public: bytes) -> None:
        self._public_halves(public)

    def encap(self, public: bytes) -> tuple[bytes, bytes]:
        lattice, curve = self._public_halves(public)
        secret, ciphertext = lattice.encapsulate()
        ephemeral = x25519.X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = self._combine(secret, ephemeral.exchange(curve), share, public[-32:])
        return shared, ciphertext + share

    def decap(self, encapsulated: bytes, private: bytes) -> bytes:
        if len(encapsulated) != 1088 + 32:
            raise CryptoError("an encapsulated secret has the wrong length")
        share = encapsulated[-32:]
        X25519.check_public_key(share)
        lattice, curve = self.load(private)
        dh = curve.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        ours = curve.public_key().public_bytes_raw()
        return self._combine(lattice.decapsulate(encapsulated[:-32]), dh, share, ours)

    def load(self, seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        """Expand a seed into the keys of both."""
        if len(seed) != 32:
            raise CryptoError("a private key has the wrong length")
        expanded = hashlib.shake_256(seed).digest(96)
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    def _public_halves(
        self, public: bytes
    ) -> tuple[mlkem.MLKEM768PublicKey, x25519.X25519PublicKey]:
        curve = public[-32:]
        X25519.check_public_key(curve)
        try:
            lattice = mlkem.MLKEM768PublicKey.from_public_bytes(public[:-32])
        except ValueError:
            raise CryptoError("a public key is malformed") from None
        return lattice, x25519.X25519PublicKey.from_public_bytes(curve)

    def _combine(self, secret: bytes, dh: bytes, share: bytes, public: bytes) -> bytes:
        return hashlib.sha3_256(secret + dh + share + public + b"\\.//^\\").digest()


X25519 = _Montgomery(
    0x20, SHA256, x25519.X25519PrivateKey, x25519.X25519PublicKey, 32, 0x7F, _LOW_25519
)
X448 = _Montgomery(0x21, SHA512, x448.X448PrivateKey, x448.X448PublicKey, 56, 0xFF, _LOW_448)
P256 = _Weierstrass(0x10, SHA256, ec.SECP256R1(), 32, 0xFF)
P384 = _Weierstrass(0x11, SHA384, ec.SECP384R1(), 48, 0xFF)
P521 = _Weierstrass(0x12, SHA512, ec.SECP521R1(), 66, 0x01)
X_WING = _XWing()
