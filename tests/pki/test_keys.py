from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from trio_chat.errors import ConfigError
from trio_chat.files import create_private
from trio_chat.pki.keys import (
    check_public_key,
    dump_key,
    generate_key,
    is_encrypted,
    load_key,
)


def test_the_default_key_is_ecdsa_p256() -> None:
    key = generate_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_survives_writing_and_reading(tmp_path: Path, passphrase: bytes | None) -> None:
    key = generate_key("ed25519")
    create_private(tmp_path / "a.key", dump_key(key, passphrase))
    assert is_encrypted((tmp_path / "a.key").read_bytes()) is (passphrase is not None)
    assert load_key(tmp_path / "a.key", passphrase).public_key() == key.public_key()


def test_a_passphrase_for_a_plain_key_is_ignored(tmp_path: Path) -> None:
    create_private(tmp_path / "a.key", dump_key(generate_key()))
    load_key(tmp_path / "a.key", b"needless")


@pytest.mark.parametrize(
    ("passphrase", "text"), [(None, "is encrypted"), (b"wrong", "does not open")]
)
def test_an_encrypted_key_wants_its_passphrase(
    tmp_path: Path, passphrase: bytes | None, text: str
) -> None:
    create_private(tmp_path / "a.key", dump_key(generate_key(), b"right"))
    with pytest.raises(ConfigError, match=text) as caught:
        load_key(tmp_path / "a.key", passphrase)
    assert "right" not in str(caught.value)


def test_the_older_openssl_form_of_encryption_is_recognised(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"old")
    )
    create_private(tmp_path / "a.key", pem)
    assert is_encrypted(pem)
    assert load_key(tmp_path / "a.key", b"old").public_key() == key.public_key()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "a.key", dump_key(generate_key()))
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(ConfigError, match="others can read") as caught:
        load_key(tmp_path / "a.key")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'a.key'}"


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "a.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n")
    with pytest.raises(ConfigError, match="holds no private key"):
        load_key(tmp_path / "a.key")


def test_a_key_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    key = x25519.X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_private(tmp_path / "a.key", pem)
    with pytest.raises(ConfigError, match="no ECDSA, Ed25519 or RSA"):
        load_key(tmp_path / "a.key")


def test_only_keys_that_tls_can_use_are_certified() -> None:
    check_public_key(ed25519.Ed25519PrivateKey.generate().public_key())
    for key, text in [
        (rsa.generate_private_key(65537, 1024).public_key(), "2048 bits"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1"),
        (x25519.X25519PrivateKey.generate().public_key(), "no ECDSA"),
        (dsa.DSAPublicNumbers(1, dsa.DSAParameterNumbers(1, 1, 1)), "no ECDSA"),
    ]:
        with pytest.raises(ConfigError, match=text):
            check_public_key(key)
