"""`trio_chat.protocol.codec`: any bytes are a frame or one error; what is encoded is read back."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_type_hints

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import CODES, ProtocolError
from trio_chat.protocol import frames
from trio_chat.protocol.codec import decode_command, decode_event, encode
from trio_chat.protocol.fields import Access, Device, Digest, Kind, Mode, Password
from trio_chat.protocol.frames import COMMANDS, EVENTS, Send, SendSealed, WelcomeFor
from trio_chat.protocol.moderation import Role, Seconds

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(1, 2**53 - 1),
    float: st.floats(0, 2**40),
    bool: st.booleans(),
    dict[str, Any]: st.dictionaries(TEXT, TEXT | st.integers(0, 9), max_size=3),
    list[str]: st.lists(TEXT, max_size=3),
    list[Any]: st.lists(st.dictionaries(TEXT, TEXT | st.integers(0, 9)), max_size=2),
    Literal["action", "notice"]: st.sampled_from(["action", "notice"]),
    Kind: st.sampled_from(["message", "proposal", "commit", "create"]),
    Mode: st.sampled_from(["plain", "encrypted"]),
    Digest: st.binary(min_size=32, max_size=32).map(bytes.hex),
    Device: TEXT.map(lambda text: text or "d"),
    list[Device]: st.lists(TEXT.map(lambda text: text or "d"), min_size=1, max_size=2),
}
VALUES |= {
    Access: st.sampled_from(["open", "closed"]),
    Password: TEXT.map(lambda text: text or "p"),
    Role: st.sampled_from(["member", "moderator", "owner"]),
    Seconds: st.floats(0.001, 2**20),
}
NESTED = (
    frames.InputLimit,
    frames.Member,
    frames.RoomInfo,
    WelcomeFor,
    frames.DevicePackage,
    frames.OwnDevice,
    frames.SanctionInfo,
)
for kind in NESTED:
    VALUES[kind] = st.deferred(lambda kind=kind: frame(kind))  # type: ignore[misc]
    VALUES[list[kind]] = st.lists(VALUES[kind], max_size=2)  # type: ignore[valid-type]


def frame(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a frame's class, from its fields."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{f.name: value_of(hints[f.name]) for f in attrs.fields(kind)})


def value_of(hint: Any) -> st.SearchStrategy[Any]:
    if hint in VALUES:
        return VALUES[hint]
    if hasattr(hint, "__metadata__"):
        return value_of(hint.__origin__)  # a number with its bounds
    (plain,) = [each for each in get_args(hint) if each is not type(None)]
    return st.none() | value_of(plain)


BOTH_WAYS = [
    pytest.param(kind, decode, id=f"{side}-{kind.__name__}")
    for side, decode, kinds in (
        ("command", decode_command, (*COMMANDS.values(), SendSealed)),
        ("event", decode_event, EVENTS.values()),
    )
    for kind in kinds
]


@pytest.mark.parametrize(("kind", "decode"), BOTH_WAYS)
def test_what_is_encoded_is_read_back(kind: type[Any], decode: Any) -> None:
    @given(frame(kind))
    def check(value: Any) -> None:
        line = encode(value)
        assert line.startswith(b'{"type":"%s"' % kind.type.encode())
        assert line.endswith(b"}\n")
        assert line.count(b"\n") == 1
        assert decode(line) == value
        assert decode(b" " + line) == value  # not only in the canonical spelling

    check()


def is_error_or_frame(line: bytes) -> None:
    for decode, kinds in ((decode_command, COMMANDS), (decode_event, EVENTS)):
        found = attempt(decode, line)
        if isinstance(found, ProtocolError):
            assert found.code in CODES
            assert str(found)
            assert found.id is None or len(found.id) <= 64
        else:
            assert type(found) is kinds[found.type] or type(found) is SendSealed


def attempt(decode: Any, line: bytes) -> Any:
    """The frame, or the one error that decoding may raise."""
    try:
        return decode(line)
    except ProtocolError as error:
        return error


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_a_frame(line: bytes) -> None:
    is_error_or_frame(line)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = sorted(
    {
        field.name
        for kind in (*COMMANDS.values(), SendSealed, *EVENTS.values())
        for field in attrs.fields(kind)
    }
)


@given(
    st.sampled_from(sorted(COMMANDS.keys() | EVENTS.keys())),
    st.dictionaries(st.sampled_from([*NAMES, "from", "x"]), ANYTHING, max_size=6),
)
def test_any_object_is_an_error_or_a_frame(name: str, fields: dict[str, Any]) -> None:
    is_error_or_frame(json.dumps({"type": name, **fields}).encode())
    is_error_or_frame(json.dumps({**fields, "type": name}).encode())


SEALED = b'{"type":"send","room":"r","n":1,"epoch":%s,"kind":"%s","body":%s}'
SEND = b'{"type":"send","room":"r","n":%s,"text":%s}'


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"send"',
        b"{}",
        b'{"type":null}',
        b'{"type":["send"]}',
        b'{"type":"send"}',
        b'{"type":"send"',
        b"{'type':'send'}",
        b'{"type":"send"}{"type":"send"}',
        SEND % (b"1", b'"\xff"'),
        SEND % (b"1", b'"\xed\xa0\x80"'),
        SEND % (b"1", b'"\\ud800"'),
        SEND % (b"1", b'"a\0b"'),
        SEND % (b"1", b"NaN"),
        SEND % (b"1", b"7"),
        SEND % (b"0", b'""'),
        SEND % (b"-1", b'""'),
        SEND % (b"1.5", b'""'),
        SEND % (b"true", b'""'),
        SEND % (b'"1"', b'""'),
        SEND % (b"9007199254740992", b'""'),
        SEND % (b"9" * 5000, b'""'),
        SEND % (b"1e400", b'""'),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"send","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"type":"hello","protocol":1,"client":"' + b"x" * 129 + b'"}',
        b'{"type":"join","room":"r","after":-1}',
        b'{"type":"join","room":"r","id":"' + b"x" * 65 + b'"}',
        b'{"type":"send","room":"r","n":1,"text":"","form":"loud"}',
        b"\xef\xbb\xbf" + SEND % (b"1", b'""'),
        SEALED % (b"0", b"message", b'"","tree":"0f"'),
        SEALED % (b"0", b"whisper", b'""'),
        SEALED % (b"-1", b"message", b'""'),
        SEALED % (b"0", b"message", b"null"),
        SEALED % (b"0", b"commit", b'"","welcomes":[{"to":[""],"body":""}]'),
        SEALED % (b"0", b"commit", b'"","welcomes":[{"to":["%s"],"body":""}]' % (b"x" * 66)),
        b'{"type":"create","room":"r","mode":"hidden"}',
    ],
)
def test_malformed_lines_are_one_error(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_command(line)
    assert caught.value.code == "bad-frame"


def test_an_unknown_type_is_told_apart_and_keeps_its_id() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_command(b'{"type":"from-the-future","id":"7"}')
    assert (caught.value.code, caught.value.id) == ("unknown-type", "7")


def test_a_malformed_command_keeps_its_id_and_quotes_no_value() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_command(b'{"type":"join","id":"7","room":["secret"],"password":"secret"}')
    assert caught.value.id == "7"
    assert "secret" not in str(caught.value)
    with pytest.raises(ProtocolError) as caught:
        decode_command(b'{"type":"join","id":"7","room":"r","after":-12345}')
    assert "12345" not in str(caught.value)


def test_of_a_key_given_twice_the_last_counts() -> None:
    found = decode_command(b'{"type":"send","room":"a","room":"b","n":1,"text":"x"}')
    assert found == Send(room="b", n=1, text="x")


def test_send_is_of_two_shapes_and_text_decides() -> None:
    line = b'{"type":"send","room":"r","n":1,"epoch":0,"kind":"message","body":"eA=="}'
    sealed = SendSealed(room="r", n=1, epoch=0, kind="message", body="eA==")
    assert decode_command(line) == decode_command(b" " + line) == sealed
    both = line[:-1] + b',"text":"x"}'
    assert decode_command(both) == decode_command(b" " + both) == Send("r", 1, "x")


def test_no_frame_shows_what_was_said_in_a_traceback() -> None:
    sealed = SendSealed(room="r", n=1, epoch=0, kind="commit", body="secret", info="secret")
    message = frames.Message(room="r", seq=1, time=1.0, text="secret", body="secret")
    assert "secret" not in repr(sealed) + repr(message)


def test_nul_is_text_when_it_is_escaped() -> None:
    assert decode_command(SEND % (b"1", b'"a\\u0000b"')) == Send(room="r", n=1, text="a\0b")


def test_unknown_fields_are_ignored() -> None:
    line = b'{"type":"ping","from":"x","colour":{"deep":[1]}}'
    assert decode_command(line) == frames.Ping()


def test_the_wire_spells_the_sender_from() -> None:
    message = frames.Message(room="r", seq=1, time=1.5, sender="alice", device="d", n=1, text="x")
    assert b'"from":"alice"' in encode(message)
    assert b"sender" not in encode(message)


def test_what_is_absent_is_left_out_and_nothing_is_spaced() -> None:
    assert encode(frames.Ok(id="1")) == b'{"type":"ok","id":"1"}\n'
    assert encode(frames.Closing("shutdown", 2.0)) == (
        b'{"type":"closing","reason":"shutdown","retry_after":2.0}\n'
    )
