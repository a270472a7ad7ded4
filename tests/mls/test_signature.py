from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from trio_chat.mls import SUITES, CryptoError, signature
from trio_chat.mls.suite import CipherSuite

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def torsion() -> set[int]:
    """Return the y of all points of small order of edwards25519, computed from the curve."""

    def recover(y: int) -> int | None:
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        if x * x % P != square:
            x = x * pow(2, (P - 1) // 4, P) % P
        return x if x * x % P == square else None

    def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        (a, b), (c, d) = one, other
        t = D * a * b * c * d
        return (
            (a * d + b * c) * pow(1 + t, -1, P) % P,
            (b * d + a * c) * pow(1 - t, -1, P) % P,
        )

    order = 2**252 + 27742317777372353535851937790883648493
    found: set[int] = set()
    for y in range(2, 60):
        x = recover(y)
        if x is None:
            continue
        point, result, n = (x, y), (0, 1), order
        while n:
            if n & 1:
                result = add(result, point)
            point, n = add(point, point), n >> 1
        for _ in range(8):
            found.add(result[1])
            result = add(result, result)
    return found


def test_all_small_order_points_of_ed25519_are_listed() -> None:
    assert len(torsion()) == 5  # 1, -1, 0 and two of order 8; each of the last with x and -x
    listed = signature.ED25519.small_order
    assert {int.from_bytes(key, "little") % P for key in listed} == torsion()


@pytest.mark.parametrize("key", sorted(signature.ED25519.small_order), ids=bytes.hex)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_an_ed25519_key_of_small_order_is_refused(key: bytes, sign: int) -> None:
    key = key[:-1] + bytes([key[-1] | sign])
    with pytest.raises(CryptoError, match="small order"):
        SUITES[1].check_signature_key(key)
    with pytest.raises(CryptoError, match="small order"):
        SUITES[1].verify_with_label(key, b"", b"", bytes(64))


def test_openssl_would_take_one_signature_for_all_messages() -> None:
    identity = b"\1" + bytes(31)
    forged = identity + bytes(32)
    key = ed25519.Ed25519PublicKey.from_public_bytes(identity)
    key.verify(forged, b"one message")
    key.verify(forged, b"and another")


@pytest.mark.parametrize("key", sorted(signature.ED448.small_order), ids=bytes.hex)
def test_an_ed448_key_of_small_order_is_refused(key: bytes) -> None:
    with pytest.raises(CryptoError, match="small order"):
        SUITES[4].check_signature_key(key)


@every_suite
def test_a_signature_holds_for_its_key_label_and_content_alone(suite: CipherSuite) -> None:
    key, other = suite.generate_signature_key(), suite.generate_signature_key()
    made = suite.sign_with_label(key, b"a label", b"a content")
    suite.verify_with_label(key.public, b"a label", b"a content", made)
    for public, label, content, signed in (
        (other.public, b"a label", b"a content", made),
        (key.public, b"another", b"a content", made),
        (key.public, b"a label", b"another", made),
        (key.public, b"a label", b"a content", made[:-1] + bytes([made[-1] ^ 1])),
        (key.public, b"a label", b"a content", made[:-1]),
        (key.public, b"a label", b"a content", b""),
        (key.public[:-1], b"a label", b"a content", made),
        (b"", b"a label", b"a content", made),
    ):
        with pytest.raises(CryptoError):
            suite.verify_with_label(public, label, content, signed)


@every_suite
def test_a_key_is_loaded_from_its_bytes_and_not_shown(suite: CipherSuite) -> None:
    key = suite.generate_signature_key()
    assert suite.scheme.load(key.private).public == key.public
    assert key.private.hex() not in repr(key)
    if suite.number in (1, 3, 4, 6):
        with pytest.raises(CryptoError):
            suite.scheme.load(key.private[:-1])
