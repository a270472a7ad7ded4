"""Certificate requests (PKCS #10, RFC 2986): made by who keeps the key, read by who signs it.

Nothing is taken from one but the key, and that its maker holds it. May know files.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from trio_chat import names
from trio_chat.errors import ConfigError
from trio_chat.files import create_private, replace_file
from trio_chat.pki.keys import (
    KeyType,
    PublicKey,
    check_public_key,
    dump_key,
    generate_key,
    hash_for,
)

__all__ = ["csr_key", "make_request", "read_csr"]


def make_request(
    name: str, key_file: Path, *, key_type: KeyType = "p256", passphrase: bytes | None = None
) -> Path:
    """Make a key at `key_file` and a request beside it; return the request's path.

    Raises:
        BadName: nobody may be called so.
        ConfigError: one of the files is there already, or cannot be written.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.check_user(name))])
    csr_file = key_file.with_name(f"{key_file.name.removesuffix('.key')}.csr")
    if csr_file.exists():
        raise ConfigError(f"{csr_file} is there already", hint="move it and its key away first")
    key = generate_key(key_type)
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hash_for(key))
    create_private(key_file, dump_key(key, passphrase))
    replace_file(csr_file, csr.public_bytes(Encoding.PEM))
    return csr_file


def read_csr(path: Path) -> PublicKey:
    """Return the public key of a certificate request, the one thing taken from it.

    Raises:
        ConfigError: it cannot be read, is no request, or its maker does not hold the key.
    """
    try:
        return csr_key(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None


def csr_key(pem: bytes, what: str) -> PublicKey:
    """The same for a request at hand, which errors call `what`."""
    try:
        request = x509.load_pem_x509_csr(pem)
        key = check_public_key(request.public_key())
        proven = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{what} holds no certificate request in PEM") from None
    if not proven:
        raise ConfigError(f"{what} is not signed by the key in it")
    return key
