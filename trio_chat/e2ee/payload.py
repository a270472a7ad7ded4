"""What is said in an encrypted room: the application data of MLS, and what it follows.

A payload is one MessagePack array, `[kind, {field: value, ...}]`. Each has one encoding: the
shortest of every value, the fields in the order of the class, those that say nothing left out;
no other is accepted. A field that we do not know is passed over, and so is, as a whole, a kind
that we do not know: it is kept, to be shown as such, and to be read by who knows it. So kinds
and fields may be added; what they mean never changes.

Text is as its sender wrote it: `text.safe` is for whoever shows it. Who sent it, MLS says.

The authenticated data of a message is empty, or one byte: how many before it its sender has
encrypted that the server did not take (a muted person's, say), so that nobody misses them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import attrs
import msgspec

from trio_chat.e2ee.trust import Succession
from trio_chat.mls import DecodeError

__all__ = [
    "MAX_SIZE",
    "TEXT_SIZE",
    "TOPIC_SIZE",
    "Payload",
    "Succession",
    "Text",
    "Topic",
    "Unknown",
    "Verify",
    "as_gap",
    "beginning",
    "decode_payload",
    "encode_payload",
    "gap_of",
]

MAX_SIZE = 96 * 1024  # bytes of a payload; encrypted, it must fit into a frame
TEXT_SIZE = 64 * 1024  # bytes of UTF-8 in a text, as without encryption
TOPIC_SIZE = 400  # characters, as without encryption
VERIFY_SIZE = 1024  # bytes


def _fits(_payload: object, _field: object, text: str) -> None:
    if len(text) * 4 > TEXT_SIZE and len(text.encode()) > TEXT_SIZE:
        raise ValueError("the text is too long")


@attrs.frozen
class Text:
    """Something said.

    Attributes:
        text: At most `TEXT_SIZE` bytes in UTF-8.
        form: How it is meant: `/me`, or a notice that no bot answers.
    """

    text: str = attrs.field(repr=False, validator=_fits)
    form: Literal["action", "notice"] | None = None


@attrs.frozen
class Topic:
    """The room's new topic."""

    text: Annotated[str, msgspec.Meta(max_length=TOPIC_SIZE)] = attrs.field(repr=False)


@attrs.frozen
class Verify:
    """A step of comparing short strings, as `trust.encode_step` makes it."""

    step: Annotated[bytes, msgspec.Meta(max_length=VERIFY_SIZE)] = attrs.field(repr=False)


@attrs.frozen
class Unknown:
    """A payload of a kind that a later version has.

    Attributes:
        kind: Its name.
        data: All of its encoding.
    """

    kind: str
    data: bytes = attrs.field(repr=False)


_Known: TypeAlias = Text | Topic | Verify | Succession
Payload: TypeAlias = _Known | Unknown

_KINDS: dict[str, type[_Known]] = {
    "text": Text,
    "topic": Topic,
    "verify": Verify,
    "succession": Succession,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}

_Kind = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z-]{0,31}\\Z")]
_decode = msgspec.msgpack.Decoder(tuple[_Kind, dict[str, object]]).decode
_encode = msgspec.msgpack.Encoder().encode
_MALFORMED = (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError)


def encode_payload(payload: Payload) -> bytes:
    """Return the one encoding of a payload.

    Raises:
        ValueError: It is too large, or such that nobody would take it.
    """
    if isinstance(payload, Unknown):
        data = payload.data
    else:
        data = _encode((_NAMES[type(payload)], _fields(payload)))
    try:
        decode_payload(data)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    return data


def decode_payload(data: bytes) -> Payload:
    """Return the payload that `data` is.

    Raises:
        DecodeError: It is none; the text quotes nothing of it.
    """
    if len(data) > MAX_SIZE:
        raise DecodeError("the payload is too large")
    try:
        name, found = _decode(data)
        again = _encode((name, found))
    except _MALFORMED:
        raise DecodeError("the payload is malformed") from None
    if again != data:
        raise DecodeError("the payload is not in its one encoding")
    kind = _KINDS.get(name)
    if kind is None:
        return Unknown(name, data)
    try:
        payload = msgspec.convert(found, kind)
    except _MALFORMED:
        raise DecodeError(f"a payload of the kind {name} has the wrong fields") from None
    known = [item for item in found.items() if item[0] in attrs.fields_dict(kind)]
    if known != list(_fields(payload).items()):
        raise DecodeError("the payload is not in its one encoding")
    return payload


def beginning(kind: type[_Known]) -> bytes:
    """Return what the encoding of each payload of a kind begins with."""
    return b"\x92" + _encode(_NAMES[kind])


def as_gap(count: int) -> bytes:
    """Return the authenticated data of a message before which so many were not taken."""
    return bytes([min(count, 255)]) if count else b""


def gap_of(authenticated_data: bytes) -> int:
    """Return how many messages, says its sender, were not taken before it; 0 of nonsense."""
    return authenticated_data[0] if len(authenticated_data) == 1 else 0


def _fields(payload: _Known) -> dict[str, Any]:
    """Return the fields that say something, in order."""
    return attrs.asdict(payload, filter=lambda _field, value: value is not None)
