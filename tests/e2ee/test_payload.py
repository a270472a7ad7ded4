"""What is said in an encrypted room, as bytes: one encoding each, bounds, and room for more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.e2ee.payload import (
    MAX_SIZE,
    TEXT_SIZE,
    TOPIC_SIZE,
    VERIFY_SIZE,
    Payload,
    Succession,
    Text,
    Topic,
    Unknown,
    Verify,
    decode_payload,
    encode_payload,
)
from trio_chat.mls import DecodeError

pack = msgspec.msgpack.encode

texts = st.text(st.characters(codec="utf-8"), max_size=50)
payloads = st.one_of(
    st.builds(Text, texts, st.sampled_from(("action", "notice", None))),
    st.builds(Topic, texts),
    st.builds(Verify, st.binary(max_size=100)),
    st.builds(Succession, *[st.binary(max_size=100)] * 3),
)


@given(payloads)
def test_a_payload_comes_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@given(payloads, st.data())
def test_whatever_the_bytes_there_is_one_payload_or_a_decode_error(
    payload: Payload, data: st.DataObject
) -> None:
    found = bytearray(encode_payload(payload))
    at = data.draw(st.integers(0, len(found) - 1))
    found[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    check_bytes(bytes(found))


@given(st.binary(max_size=40))
def test_noise_is_a_decode_error_or_a_payload(data: bytes) -> None:
    check_bytes(data)
    check_bytes(b"\x92\xa4text" + data)
    check_bytes(b"\x92\xa4text\x81" + data)


def check_bytes(data: bytes) -> None:
    try:
        payload = decode_payload(data)
    except DecodeError:
        return
    encoded = encode_payload(payload)
    assert decode_payload(encoded) == payload
    assert len(encoded) <= len(data)  # fields from the future, if any, are gone


def test_the_encoding_is_compact_and_does_not_change() -> None:
    assert encode_payload(Text("hi")) == b"\x92\xa4text\x81\xa4text\xa2hi"
    action = b"\x92\xa4text\x82\xa4text\xa2hi\xa4form\xa6action"
    assert encode_payload(Text("hi", "action")) == action
    assert encode_payload(Topic("")) == b"\x92\xa5topic\x81\xa4text\xa0"
    statement = b"\x92\xaasuccession\x83\xa3old\xc4\x011\xa3new\xc4\x012\xa9signature\xc4\x013"
    assert encode_payload(Succession(b"1", b"2", b"3")) == statement
    assert encode_payload(Verify(b"\0")) == b"\x92\xa6verify\x81\xa4step\xc4\x01\0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x92\xa4text\x81\xa4text\xa2hi\0",  # something follows
        b"\x92\xa4text\x81\xa4text\xa3hi",  # it ends too early
        b"\x92\xa4text\x81\xa4text\xd9\x02hi",  # a longer length
        b"\x92\xa4text\x82\xa4text\xa2hi\xa4form\xc0",  # a field that says nothing
        b"\x92\xa4text\x82\xa4form\xa6action\xa4text\xa2hi",  # another order
        b"\x92\xa4text\x82\xa4text\xa2ho\xa4text\xa2hi",  # a field twice
        b"\x92\xa4text\x81\xa4text\xa2\xff\xff",  # no UTF-8
        b"\x92\xa4text\x81\xa4text\xa3\xed\xa0\x80",
        pack({"kind": "text", "text": "hi"}),
        pack("text"),
        pack(["text"]),
        pack(["text", {}]),
        pack(["text", []]),
        pack(["text", {"text": "hi"}, 0]),
        pack(["text", {"text": b"hi"}]),
        pack(["text", {"text": 1}]),
        pack(["text", {"text": None}]),
        pack(["text", {"text": "hi", "form": "shout"}]),
        pack(["text", {1: "hi"}]),
        pack(["topic", {"text": "x", "form": 1, 2: 3}]),
        pack(["verify", {"step": "text"}]),
        pack(["", {}]),
        pack(["Text", {}]),
        pack(["text\n", {}]),
        pack(["x" * 33, {}]),
        pack([1, {}]),
        b"\x92\xa4more\x81\xa1x" + b"\x91" * 50_000 + b"\xc0",  # nested without end
        b"\x92\xa4more\xdf\xff\xff\xff\xff",  # promises more than there is
    ],
)
def test_anything_else_is_a_decode_error_that_quotes_nothing(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_payload(data)
    assert "hi" not in str(caught.value).split()
    assert "shout" not in str(caught.value)


def test_what_a_later_version_says_is_kept_whole() -> None:
    data = pack(["react", {"to": 7, "with": ["x", {"y": b"\0"}]}])
    assert decode_payload(data) == Unknown("react", data)
    assert encode_payload(Unknown("react", data)) == data


def test_what_a_later_version_adds_to_a_kind_is_passed_over() -> None:
    data = pack(["text", {"reply": 7, "text": "hi", "x": {}, "form": "notice", "z": None}])
    assert decode_payload(data) == Text("hi", "notice")


@pytest.mark.parametrize(
    ("payload", "over"),
    [
        (Text("ä" * (TEXT_SIZE // 2)), ["text", {"text": "ä" * (TEXT_SIZE // 2) + "x"}]),
        (Topic("ä" * TOPIC_SIZE), ["topic", {"text": "ä" * TOPIC_SIZE + "x"}]),
        (Verify(bytes(VERIFY_SIZE)), ["verify", {"step": bytes(VERIFY_SIZE + 1)}]),
        (
            Succession(b"", bytes(4096), b""),
            ["succession", {"old": b"", "new": bytes(4097), "signature": b""}],
        ),
        (
            Unknown("more", pack(["more", {"x": bytes(MAX_SIZE - 14)}])),
            ["more", {"x": bytes(MAX_SIZE - 13)}],
        ),
    ],
    ids=lambda case: type(case).__name__,
)
def test_sizes_are_bounded(payload: Payload, over: Any) -> None:
    data = encode_payload(payload)
    assert decode_payload(data) == payload
    with pytest.raises(DecodeError, match=r"too large|wrong fields"):
        decode_payload(pack(over))


def test_what_nobody_would_take_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="too long"):
        Text("ä" * TEXT_SIZE)
    for wrong in (Topic("x" * (TOPIC_SIZE + 1)), Verify(bytes(VERIFY_SIZE + 1))):
        with pytest.raises(ValueError, match="wrong fields"):
            encode_payload(wrong)
    for surrogate in (Text("\ud800"), Topic("\ud800")):
        with pytest.raises(ValueError, match="surrogates"):
            encode_payload(surrogate)


def test_no_text_gets_into_a_log() -> None:
    secret = "canary"
    for payload in (Text(secret), Topic(secret), Verify(secret.encode())):
        assert secret not in repr(payload)
        unknown = Unknown("more", encode_payload(payload))
        assert secret not in repr(unknown)
