"""Private keys: made, read, written. ECDSA P-256 by default, Ed25519 and RSA as well.

May know files and `cryptography`, but neither certificates nor terminals: whoever calls
has asked for the passphrase.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from trio_chat.errors import ConfigError
from trio_chat.files import read_private

__all__ = [
    "KEY_TYPES",
    "KeyType",
    "PrivateKey",
    "PublicKey",
    "check_public_key",
    "dump_key",
    "generate_key",
    "hash_for",
    "is_encrypted",
    "load_key",
]

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
KeyType = Literal["p256", "ed25519", "rsa"]
KEY_TYPES: tuple[KeyType, ...] = ("p256", "ed25519", "rsa")

_RSA_MADE = 3072  # bits; NIST SP 800-57 part 1, table 2: as strong as P-256
_RSA_ACCEPTED = 2048  # bits; what OpenSSL's security level 2 takes in a handshake
_CURVES = ("secp256r1", "secp384r1", "secp521r1")  # the ones of TLS 1.3, RFC 8446 4.2.3


def generate_key(key_type: KeyType = "p256") -> PrivateKey:
    """Make a new key."""
    match key_type:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "rsa":
            return rsa.generate_private_key(65537, _RSA_MADE)
        case _:
            assert_never(key_type)


def dump_key(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return the key as PKCS #8 in PEM, encrypted if there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def load_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """Read a private key that only its owner may read.

    A passphrase for a key that needs none is ignored.

    Raises:
        ConfigError: it cannot be read, others can read it, it is no key of a kind we
            use, or the passphrase is missing or wrong.
    """
    pem = read_private(path)
    encrypted = is_encrypted(pem)
    if encrypted and passphrase is None:
        raise ConfigError(
            f"{path} is encrypted and there is no passphrase", hint="--passphrase-file FILE"
        )
    try:
        key = serialization.load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise ConfigError(f"the passphrase does not open {path}") from None
        raise ConfigError(f"{path} holds no private key in PEM") from None
    if not isinstance(key, PrivateKey):
        raise ConfigError(f"{path} is no ECDSA, Ed25519 or RSA key")
    return key


def is_encrypted(pem: bytes) -> bool:
    """Is a passphrase needed to open this key? PKCS #8 and the older OpenSSL form."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def check_public_key(key: object) -> PublicKey:
    """Return a public key that we certify, or raise `ConfigError`."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_ACCEPTED:
        raise ConfigError(f"an RSA key needs at least {_RSA_ACCEPTED} bits, not {key.key_size}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
        raise ConfigError(f"TLS 1.3 has no signatures with the curve {key.curve.name}")
    if not isinstance(key, PublicKey):
        raise ConfigError("the key is no ECDSA, Ed25519 or RSA key")
    return key


def hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    """Return the hash to sign with; Ed25519 brings its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
