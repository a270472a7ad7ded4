"""One line of JSON to one frame, and back. Whatever the bytes, only `ProtocolError` is raised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from trio_chat.errors import ProtocolError
from trio_chat.protocol.frames import (
    COMMANDS,
    EVENTS,
    Command,
    DevicePackage,
    Event,
    InputLimit,
    Member,
    OwnDevice,
    RoomInfo,
    SanctionInfo,
    Send,
    SendSealed,
    WelcomeFor,
)

__all__ = [
    "decode_command",
    "decode_event",
    "decode_event_object",
    "encode",
    "encode_object",
    "encode_text",
]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_START = b'{"type":"'
_SEND = b'{"type":"send"'
_command_decoders = {
    name.encode(): msgspec.json.Decoder(kind).decode for name, kind in COMMANDS.items()
}
_decode_sealed = msgspec.json.Decoder(SendSealed).decode
_MALFORMED = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, TypeError)


def encode(frame: Command | Event) -> bytes:
    """Return the line of a frame: compact JSON, `type` first, absent fields left out."""
    return _encode(_object(frame)) + b"\n"


def encode_text(text: str) -> bytes:
    """Return `text` as a JSON string, for lines put together by hand where speed counts."""
    return _encode(text)


def encode_object(found: Mapping[str, object]) -> bytes:
    """Return some fields as a JSON object, for the same reason."""
    return _encode(found)


def decode_command(line: bytes) -> Command:
    """Return the command in one line that came from a client.

    Raises:
        ProtocolError: it is no JSON object, of no known type, or not of its type's shape;
            `id` is the command's where it could be read.
    """
    # The canonical spelling names its decoder in its first bytes: one pass over the line.
    if line.startswith(_START):
        decode = _command_decoders.get(line[9 : line.find(b'"', 9)])
        if decode is not None:
            try:
                return decode(line)
            except _MALFORMED:
                pass  # read again, slowly, for its id and a full account of what is wrong
            if line.startswith(_SEND):
                try:
                    return _decode_sealed(line)
                except _MALFORMED:
                    pass
    found = _load(line)
    command: Command = _convert(found, COMMANDS)
    return command


def decode_event(line: bytes) -> Event:
    """Return the frame in one line that came from a server; raises as `decode_command`."""
    return decode_event_object(_load(line))


def decode_event_object(found: dict[str, Any]) -> Event:
    """Return the frame in an object already read, an entry of a page say."""
    event: Event = _convert(found, EVENTS)
    return event


def _load(line: bytes) -> dict[str, Any]:
    try:
        found = _decode(line)
    except _MALFORMED:
        raise ProtocolError("the line is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise ProtocolError("the line is not a JSON object")
    return found


def _convert(found: dict[str, Any], kinds: dict[str, Any]) -> Any:
    name, given = found.get("type"), found.get("id")
    ident = given if isinstance(given, str) and len(given) <= 64 else None
    if not isinstance(name, str):
        raise ProtocolError("a frame's `type` is a string", id=ident)
    kind = kinds.get(name)
    if kind is None:
        raise ProtocolError("there is no frame of that type", code="unknown-type", id=ident)
    if kind is Send and "text" not in found and "kind" in found:
        kind = SendSealed
    if "from" in found:
        found = {("sender" if key == "from" else key): value for key, value in found.items()}
    try:
        return msgspec.convert(found, kind)
    except _MALFORMED as error:
        # It names fields and types; of values it quotes but an unknown word in a choice.
        shape = str(error)
        if "Invalid" in shape or not isinstance(error, msgspec.MsgspecError):
            shape = "a value is not one of those that may stand there"
        raise ProtocolError(f"malformed {kind.type}: {shape}", id=ident) from None


def _object(frame: Command | Event) -> dict[str, Any]:
    found: dict[str, Any] = {"type": frame.type}
    for name, key in _FIELDS[type(frame)]:
        value = getattr(frame, name)
        if value is not None:
            found[key] = _value(value)
    return found


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in value]
    if type(value) in _FIELDS:
        found = {key: getattr(value, name) for name, key in _FIELDS[type(value)]}
        return {key: item for key, item in found.items() if item is not None and item != []}
    return value


def _names(kind: type[attrs.AttrsInstance]) -> tuple[tuple[str, str], ...]:
    """Return (attribute, name on the wire) of each field, in order."""
    fields = [field.name for field in attrs.fields(kind)]
    return tuple((name, "from" if name == "sender" else name) for name in fields)


_FIELDS: dict[type, tuple[tuple[str, str], ...]] = {
    kind: _names(kind)
    for kind in (
        *(*COMMANDS.values(), SendSealed, WelcomeFor),
        *(*EVENTS.values(), InputLimit, Member, RoomInfo, DevicePackage, OwnDevice, SanctionInfo),
    )
}
