from __future__ import annotations

import pytest

from trio_chat.mls import EXPERIMENTAL, SUITES, ProtocolError
from trio_chat.mls.suite import find_suite, same


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7])
def test_each_suite_of_the_registry_is_found(number: int) -> None:
    assert find_suite(number).number == number
    assert repr(SUITES[number].number) in repr(SUITES[number])


def test_the_experimental_suite_must_be_asked_for() -> None:
    with pytest.raises(ProtocolError):
        find_suite(EXPERIMENTAL.number)
    assert find_suite(EXPERIMENTAL.number, experimental=True) is EXPERIMENTAL
    assert EXPERIMENTAL.number >= 0xF000  # private use


def test_there_is_no_other() -> None:
    for number in (0, 8, 0xFFFF):
        with pytest.raises(ProtocolError):
            find_suite(number, experimental=True)


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_a_tag_of_another_length_is_another_tag(size: int) -> None:
    tag = SUITES[1].mac(b"key", b"data")
    assert same(tag, bytes(tag))
    assert not same(tag, (tag + b"\0")[:size])
    assert not same(tag, tag[:-1] + bytes([tag[-1] ^ 1]))


def test_no_more_is_expanded_than_hkdf_has() -> None:
    suite = SUITES[1]
    assert len(suite.expand_with_label(bytes(32), b"x", b"", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="HKDF"):
        suite.expand_with_label(bytes(32), b"x", b"", 255 * 32 + 1)
