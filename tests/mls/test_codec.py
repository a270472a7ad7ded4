from __future__ import annotations

import enum
from typing import Annotated

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.mls.clients import bundle, room, sent, welcomed
from trio_chat.mls import Add, DecodeError, decode_message, encode_message
from trio_chat.mls.codec import (
    U8,
    U16,
    Fixed,
    Reader,
    Tagged,
    UInt,
    When,
    decode,
    encode,
    encode_as,
    encode_length,
    encode_until,
    evolve,
    struct,
)


class Colour(enum.IntEnum):
    RED = 1


@struct
class Dot:
    x: U8


@struct
class Line:
    length: U16


def is_long(value: Everything) -> bool:
    return isinstance(value.shape, Line)


@struct
class Everything:
    name: bytes
    dots: tuple[Dot, ...]
    maybe: Dot | None
    four: Annotated[bytes, Fixed(4)]
    colour: Annotated[Colour, UInt(1)]
    shape: Annotated[Dot | Line, Tagged(2, {1: Dot, 7: Line})]
    only_long: Annotated[bytes | None, When(is_long)]


@struct(secret=True)
class Secret:
    key: bytes


SAMPLE = Everything(b"ab", (Dot(1), Dot(2)), Dot(3), b"four", Colour.RED, Line(258), b"!")
ENCODED = "026162 020102 0103 666f7572 01 00070102 0121"


def test_each_kind_has_its_format() -> None:
    assert encode(SAMPLE) == bytes.fromhex(ENCODED)
    assert decode(Everything, bytes.fromhex(ENCODED)) == SAMPLE


def test_a_field_with_a_condition_is_not_there_where_it_does_not_hold() -> None:
    short = evolve(SAMPLE, shape=Dot(9), only_long=None, maybe=None)
    assert encode(short) == bytes.fromhex("026162 020102 00 666f7572 01 000109")
    assert decode(Everything, encode(short)) == short


def test_what_a_signature_covers_ends_before_it() -> None:
    assert encode_until(SAMPLE, "dots") == b"\x02ab"


@pytest.mark.parametrize(
    "data",
    [
        "026162 020102 0203 666f7572 01 00070102 0121",  # neither there nor not
        "026162 020102 0103 666f7572 02 00070102 0121",  # no such colour
        "026162 020102 0103 666f7572 01 00080102 0121",  # no such variant
        ENCODED + "00",  # bytes after it
        "026162 030102",  # a vector longer than what holds it
        "",
    ],
)
def test_what_is_no_value_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        decode(Everything, bytes.fromhex(data))


def test_bytes_that_end_too_early_are_refused_wherever_they_do() -> None:
    whole = bytes.fromhex(ENCODED)
    for end in range(len(whole)):
        with pytest.raises(DecodeError):
            decode(Everything, whole[:end])


@pytest.mark.parametrize("length", [0, 63, 64, 16383, 16384, 2**30 - 1])
def test_a_length_is_written_in_the_fewest_bytes(length: int) -> None:
    reader = Reader(encode_length(length))
    assert reader.length() == length
    assert not reader


@pytest.mark.parametrize("data", ["4001", "403f", "80000001", "80003fff", "c000000000000000", "ff"])
def test_a_length_in_more_bytes_or_too_many_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        Reader(bytes.fromhex(data)).length()


def test_a_vector_that_is_too_long_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="longer"):
        encode_length(2**30)


def test_an_item_must_not_reach_out_of_its_vector() -> None:
    with pytest.raises(DecodeError):
        decode(tuple[Line, ...], bytes.fromhex("0300010000"))


def test_a_number_that_does_not_fit_is_the_callers_mistake() -> None:
    with pytest.raises(OverflowError):
        encode(Dot(256))


def test_a_secret_is_not_shown() -> None:
    assert "6b6579" not in repr(Secret(b"key"))
    assert "key" not in repr(Secret(b"key"))
    assert encode(Secret(b"key")) == b"\x03key"


def test_a_struct_is_an_immutable_value() -> None:
    with pytest.raises(AttributeError):
        SAMPLE.name = b"other"  # type: ignore[misc]  # that is what is tested
    assert hash(SAMPLE) == hash(decode(Everything, encode(SAMPLE)))


@hypothesis.given(st.binary(max_size=200))
def test_bytes_decode_to_nothing_or_to_what_encodes_to_them(data: bytes) -> None:
    try:
        value = decode(tuple[Everything, ...], data)
    except DecodeError:
        return
    assert encode_as(tuple[Everything, ...], value) == data


def _messages() -> list[bytes]:
    """Return a message of each kind."""
    alice, bob = room("alice", "bob")
    result = alice.commit(Add(bundle("carol").key_package), ratchet_tree=True)
    return [
        encode_message(bundle("dave").key_package),
        encode_message(welcomed(result)),
        encode_message(sent(result.message)),
        encode_message(bob.commit(public=True).message),
        encode_message(bob.propose(bob.make_update(), public=True)),
        encode_message(bob.group_info(external=True, ratchet_tree=True)),
    ]


MESSAGES = _messages()


@hypothesis.given(st.data())
def test_a_changed_message_decodes_to_nothing_or_to_what_encodes_to_it(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(MESSAGES)))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    message = message[: data.draw(st.integers(0, len(message)))]
    try:
        value = decode_message(bytes(message))
    except DecodeError:
        return
    assert encode_message(value) == bytes(message)


def test_a_message_of_another_version_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_message(b"\0\2" + MESSAGES[0][2:])
