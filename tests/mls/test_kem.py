"""Key encapsulation and HPKE, held against `cryptography`'s own; and the keys that are refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519

from trio_chat.mls import EXPERIMENTAL, SUITES, CryptoError, kem
from trio_chat.mls.hpke import HPKE
from trio_chat.mls.suite import CipherSuite

ALL = [*SUITES.values(), EXPERIMENTAL]
every_suite = pytest.mark.parametrize("suite", ALL, ids=lambda suite: suite.name)

KEMS = {0x20: hpke.KEM.X25519, 0x10: hpke.KEM.P256, 0x11: hpke.KEM.P384, 0x12: hpke.KEM.P521}
KDFS = {1: hpke.KDF.HKDF_SHA256, 2: hpke.KDF.HKDF_SHA384, 3: hpke.KDF.HKDF_SHA512}
AEADS = {
    1: hpke.AEAD.AES_128_GCM,
    2: hpke.AEAD.AES_256_GCM,
    3: hpke.AEAD.CHACHA20_POLY1305,
}
IN_BOTH = [suite for suite in SUITES.values() if suite.kem.id in KEMS]


def load(
    suite: CipherSuite, private: bytes
) -> x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey:
    if suite.kem is kem.X25519:
        return x25519.X25519PrivateKey.from_private_bytes(private)
    curve = {0x10: ec.SECP256R1(), 0x11: ec.SECP384R1(), 0x12: ec.SECP521R1()}[suite.kem.id]
    return ec.derive_private_key(int.from_bytes(private, "big"), curve)


@pytest.mark.parametrize("suite", IN_BOTH, ids=lambda suite: suite.name)
def test_hpke_is_that_of_cryptography(suite: CipherSuite) -> None:
    ours = HPKE(suite.kem, suite.kdf, suite.aead)
    theirs = hpke.Suite(KEMS[suite.kem.id], KDFS[suite.kdf.id], AEADS[suite.aead.id])
    private, public = suite.generate_key_pair()
    key = load(suite, private)
    size = KEMS[suite.kem.id].enc_length()
    sealed = theirs.encrypt(b"theirs", key.public_key(), b"info")
    assert ours.open(private, b"info", sealed[:size], sealed[size:]) == b"theirs"
    assert theirs.decrypt(b"".join(ours.seal(public, b"info", b"ours")), key, b"info") == b"ours"


def test_x_wing_is_that_of_cryptography() -> None:
    ours = HPKE(kem.X_WING, kem.SHA256, EXPERIMENTAL.aead)
    theirs = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    private, public = EXPERIMENTAL.generate_key_pair()
    key = hpke.MLKEM768X25519PrivateKey(*kem.X_WING.load(private))
    sealed = theirs.encrypt(b"theirs", key.public_key(), b"info")
    assert ours.open(private, b"info", sealed[:1120], sealed[1120:]) == b"theirs"
    assert theirs.decrypt(b"".join(ours.seal(public, b"info", b"ours")), key, b"info") == b"ours"


@every_suite
def test_what_is_sealed_opens_under_the_same_info_and_no_other(suite: CipherSuite) -> None:
    private, public = suite.generate_key_pair()
    sealed = suite.encrypt_with_label(public, b"a label", b"a context", b"a secret")
    assert suite.decrypt_with_label(private, b"a label", b"a context", *sealed) == b"a secret"
    with pytest.raises(CryptoError):
        suite.decrypt_with_label(private, b"another", b"a context", *sealed)
    with pytest.raises(CryptoError):
        suite.decrypt_with_label(private, b"a label", b"another", *sealed)


@every_suite
def test_both_sides_export_the_same(suite: CipherSuite) -> None:
    private, public = suite.generate_key_pair()
    output, secret = suite.export_send(public, b"a label")
    assert suite.export_receive(private, output, b"a label") == secret
    assert len(secret) == suite.hash_size


@every_suite
def test_the_same_secret_gives_the_same_keys(suite: CipherSuite) -> None:
    secret = bytes(range(64))
    assert suite.derive_key_pair(secret) == suite.derive_key_pair(secret)
    assert suite.derive_key_pair(secret) != suite.derive_key_pair(secret[::-1])


@every_suite
@pytest.mark.parametrize("change", [b"", b"\0", b"cut", b"grown"])
def test_a_key_of_the_wrong_length_is_refused(suite: CipherSuite, change: bytes) -> None:
    private, public = suite.generate_key_pair()
    for key in (public, private):
        wrong = {b"cut": key[:-1], b"grown": key + b"\0"}.get(change, change)
        with pytest.raises(CryptoError):
            suite.check_encryption_key(wrong)
        if key is private and suite.scheme is SUITES[1].scheme:
            with pytest.raises(CryptoError):
                suite.kem.public_key(wrong)
    with pytest.raises(CryptoError):
        suite.decrypt_with_label(private, b"", b"", change, bytes(20))


@pytest.mark.parametrize("public", sorted(kem.X25519.low_order), ids=bytes.hex)
@pytest.mark.parametrize("top", [0, 0x80])
def test_an_x25519_key_of_low_order_is_refused(public: bytes, top: int) -> None:
    public = public[:-1] + bytes([public[-1] | top])
    with pytest.raises(CryptoError):
        SUITES[1].check_encryption_key(public)
    with pytest.raises(CryptoError):
        SUITES[1].encrypt_with_label(public, b"", b"", b"")
    with pytest.raises(CryptoError):
        EXPERIMENTAL.check_encryption_key(EXPERIMENTAL.generate_key_pair()[1][:-32] + public)
    with pytest.raises(ValueError, match="shared key"):  # so says OpenSSL, only later
        x25519.X25519PrivateKey.generate().exchange(
            x25519.X25519PublicKey.from_public_bytes(public)
        )


@pytest.mark.parametrize("public", sorted(kem.X448.low_order), ids=bytes.hex)
def test_an_x448_key_of_low_order_is_refused(public: bytes) -> None:
    with pytest.raises(CryptoError):
        SUITES[4].check_encryption_key(public)
    with pytest.raises(ValueError, match="shared key"):
        x448.X448PrivateKey.generate().exchange(x448.X448PublicKey.from_public_bytes(public))


@pytest.mark.parametrize("number", [2, 5, 7])
def test_a_nist_key_off_its_curve_or_in_another_form_is_refused(number: int) -> None:
    suite = SUITES[number]
    _, public = suite.generate_key_pair()
    half = len(public) // 2
    for wrong in (
        public[:-1] + bytes([public[-1] ^ 1]),
        b"\2" + public[1 : half + 1],  # compressed
        b"\6" + public[1:],  # hybrid
        b"\7" + public[1:],
        b"\4" + bytes(2 * half),
        b"\0",  # the point at infinity
    ):
        with pytest.raises(CryptoError):
            suite.check_encryption_key(wrong)
        with pytest.raises(CryptoError):
            suite.check_signature_key(wrong)


def test_a_private_key_out_of_range_is_refused() -> None:
    for private in (bytes(32), b"\xff" * 32):
        with pytest.raises(CryptoError):
            SUITES[2].kem.public_key(private)
        with pytest.raises(CryptoError):
            SUITES[2].scheme.load(private)


def test_a_lattice_key_that_is_none_is_refused() -> None:
    _, public = EXPERIMENTAL.generate_key_pair()
    with pytest.raises(CryptoError):
        EXPERIMENTAL.check_encryption_key(b"\xff" * 1184 + public[-32:])
