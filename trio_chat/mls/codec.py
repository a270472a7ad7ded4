"""The TLS presentation language (RFC 9420, section 2.1): a struct's annotations are its format.

    @struct
    class GroupContext:
        group_id: bytes                      # opaque group_id<V>
        epoch: U64                           # uint64
        extensions: tuple[Extension, ...]    # Extension extensions<V>
        parent: LeafNode | None              # optional<LeafNode>
        reuse_guard: Annotated[bytes, Fixed(4)]            # opaque reuse_guard[4]
        usage: Annotated[ResumptionPSKUsage, UInt(1)]      # an enum of one byte
        tag: Annotated[bytes | None, When(is_commit)]      # select (...) { case commit: ... }
        sender: Annotated[Member | External, Tagged(1, {1: Member, 2: External})]

A tagged union is told by the Python type of its value. Every value has exactly one encoding,
and decoding accepts no other: so what was decoded encodes to the same bytes, and a signature
can be checked over the re-encoding. The formats of MLS do not nest without end, so neither
does decoding; what is allocated is bounded by the bytes that are there.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, dataclass_transform, overload

import attrs

from trio_chat.mls.errors import DecodeError

T = TypeVar("T")


class Reader:
    """A cursor over bytes that refuses to run past its end."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._pos = start
        self._end = len(data) if end is None else end

    def __bool__(self) -> bool:
        return self._pos < self._end

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        start = self._pos
        stop = start + count
        if stop > self._end:
            raise DecodeError("the bytes end too early")
        self._pos = stop
        return self._data[start:stop]

    def uint(self, size: int) -> int:
        """Return the next `size` bytes as a number."""
        return int.from_bytes(self.take(size), "big")

    def length(self) -> int:
        """Return a variable-size length (section 2.1.2), which must be of minimal size."""
        first = self.uint(1)
        if first < 0x40:
            return first
        if first < 0x80:
            value, least = (first & 0x3F) << 8 | self.uint(1), 1 << 6
        elif first < 0xC0:
            value, least = (first & 0x3F) << 24 | self.uint(3), 1 << 14
        else:
            raise DecodeError("a length of more than 30 bits")
        if value < least:
            raise DecodeError("a length is not encoded in the fewest bytes")
        return value

    def opaque(self) -> bytes:
        """Return the bytes of a vector, `opaque x<V>`."""
        return self.take(self.length())

    def vector(self) -> Reader:
        """Return a reader of the next vector's content, and go past it."""
        length = self.length()
        start = self._pos
        self._pos += length
        if self._pos > self._end:
            raise DecodeError("a vector is longer than what holds it")
        return Reader(self._data, start, self._pos)

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(self._end - self._pos)


def encode_length(length: int) -> bytes:
    """Encode a length in the fewest bytes (section 2.1.2)."""
    if length < 1 << 6:
        return length.to_bytes(1, "big")
    if length < 1 << 14:
        return (length | 1 << 14).to_bytes(2, "big")
    if length < 1 << 30:
        return (length | 1 << 31).to_bytes(4, "big")
    raise ValueError("a vector longer than 2**30 - 1 bytes")


class _Codec(typing.Protocol):
    """How the values of one type are written and read."""

    def encode(self, value: Any, /) -> bytes: ...
    def decode(self, reader: Reader, /) -> Any: ...


@attrs.frozen
class UInt:
    """`uint8` to `uint64`."""

    size: int  # bytes

    def encode(self, value: int) -> bytes:
        """Write `value` in `size` bytes, or raise OverflowError."""
        return value.to_bytes(self.size, "big")

    def decode(self, reader: Reader) -> int:
        """Read `size` bytes."""
        return reader.uint(self.size)


@attrs.frozen
class Fixed:
    """`opaque x[size]`."""

    size: int

    def encode(self, value: bytes) -> bytes:
        """Write `value`, which must have the size."""
        assert len(value) == self.size
        return value

    def decode(self, reader: Reader) -> bytes:
        """Read `size` bytes."""
        return reader.take(self.size)


@attrs.frozen(eq=False)
class Tagged:
    """A union told by a number of `size` bytes, from the number to the variant's type."""

    size: int
    variants: Mapping[int, Any]


@attrs.frozen(eq=False)
class When:
    """A field that is there if `condition` holds for the fields before it, and else None."""

    condition: Callable[[Any], bool]


U8 = Annotated[int, UInt(1)]
U16 = Annotated[int, UInt(2)]
U32 = Annotated[int, UInt(4)]
U64 = Annotated[int, UInt(8)]


def opaque(value: bytes) -> bytes:
    """Encode `opaque value<V>`."""
    return encode_length(len(value)) + value


class _Opaque:
    encode = staticmethod(opaque)

    def decode(self, reader: Reader) -> bytes:
        return reader.opaque()


@attrs.frozen
class _Vector:
    item: _Codec

    def encode(self, value: tuple[Any, ...]) -> bytes:
        body = b"".join(map(self.item.encode, value))
        return encode_length(len(body)) + body

    def decode(self, reader: Reader) -> tuple[Any, ...]:
        body = reader.vector()
        decode = self.item.decode
        items = []
        while body:
            items.append(decode(body))
        return tuple(items)


@attrs.frozen
class _Optional:
    item: _Codec

    def encode(self, value: Any) -> bytes:
        return b"\0" if value is None else b"\1" + self.item.encode(value)

    def decode(self, reader: Reader) -> Any:
        match reader.uint(1):
            case 0:
                return None
            case 1:
                return self.item.decode(reader)
        raise DecodeError("an optional value is neither there nor not")


@attrs.frozen
class _Enum:
    kind: type[enum.IntEnum]
    size: int

    def encode(self, value: int) -> bytes:
        return int(value).to_bytes(self.size, "big")

    def decode(self, reader: Reader) -> enum.IntEnum:
        number = reader.uint(self.size)
        try:
            return self.kind(number)
        except ValueError:
            raise DecodeError(f"{self.kind.__name__} has no value {number}") from None


class _Union:
    def __init__(self, tagged: Tagged) -> None:
        self._size = tagged.size
        self._by_tag = {tag: _codec(kind) for tag, kind in tagged.variants.items()}
        self._by_type: dict[type, tuple[bytes, _Codec]] = {}
        for tag, kind in tagged.variants.items():
            for variant in _classes(kind):
                self._by_type[variant] = tag.to_bytes(tagged.size, "big"), self._by_tag[tag]

    def encode(self, value: Any) -> bytes:
        tag, codec = self._by_type[type(value)]
        return tag + codec.encode(value)

    def decode(self, reader: Reader) -> Any:
        tag = reader.uint(self._size)
        codec = self._by_tag.get(tag)
        if codec is None:
            raise DecodeError(f"no variant has the number {tag}")
        return codec.decode(reader)


class _Struct:
    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._fields: list[tuple[str, _Codec]] = []
        self._conditions: dict[str, Callable[[Any], bool]] = {}
        for name, kind in typing.get_type_hints(cls, include_extras=True).items():
            for extra in getattr(kind, "__metadata__", ()):
                if isinstance(extra, When):
                    self._conditions[name] = extra.condition
                    kind = _without_none(kind.__origin__)
            self._fields.append((name, _codec(kind)))
        self._decoders = [codec.decode for _, codec in self._fields]

    def encode(self, value: Any, until: str | None = None) -> bytes:
        parts = []
        for name, codec in self._fields:
            if name == until:
                break
            condition = self._conditions.get(name)
            if condition is None or condition(value):
                parts.append(codec.encode(getattr(value, name)))
        return b"".join(parts)

    def decode(self, reader: Reader) -> Any:
        if not self._conditions:
            return self._cls(*[decode(reader) for decode in self._decoders])
        values: dict[str, Any] = {}
        for name, codec in self._fields:
            condition = self._conditions.get(name)
            there = condition is None or condition(SimpleNamespace(**values))
            values[name] = codec.decode(reader) if there else None
        return self._cls(**values)


def _without_none(kind: Any) -> Any:
    (kind,) = (arg for arg in typing.get_args(kind) if arg is not types.NoneType)
    return kind


def _classes(kind: Any) -> tuple[type, ...]:
    """Return the classes whose instances are values of `kind`."""
    if hasattr(kind, "__metadata__"):
        return _classes(kind.__origin__)
    return typing.get_args(kind) or (kind,)


@cache
def _codec(kind: Any) -> _Codec:
    """Compile an annotation."""
    if hasattr(kind, "__metadata__"):
        (extra,) = kind.__metadata__
        if isinstance(extra, Tagged):
            return _Union(extra)
        origin = kind.__origin__
        if isinstance(extra, UInt) and issubclass(origin, enum.IntEnum):
            return _Enum(origin, extra.size)
        return typing.cast("_Codec", extra)
    if kind is bytes:
        return _Opaque()
    if typing.get_origin(kind) is tuple:
        return _Vector(_codec(typing.get_args(kind)[0]))
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _Optional(_codec(_without_none(kind)))
    if attrs.has(kind):
        return _Struct(kind)
    raise TypeError(f"{kind!r} has no wire format")


@overload
@dataclass_transform(frozen_default=True)
def struct(cls: type[T]) -> type[T]: ...


@overload
@dataclass_transform(frozen_default=True)
def struct(*, secret: bool) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True)
def struct(cls: type[T] | None = None, *, secret: bool = False) -> Any:
    """Make a class an immutable value whose annotations are its format; a secret one hides it."""

    def wrap(cls: type[T]) -> type[T]:
        if secret:
            cls.__repr__ = _hidden  # type: ignore[method-assign]  # for all of the class
        return attrs.frozen(cls, repr=not secret, cache_hash=True)

    return wrap if cls is None else wrap(cls)


def evolve(value: T, **changes: Any) -> T:
    """Return a struct with other values in some of its fields."""
    return attrs.evolve(value, **changes)  # type: ignore[misc]  # a struct is one


def _hidden(self: object) -> str:
    return f"<{type(self).__name__}>"


def encode(value: Any) -> bytes:
    """Encode a struct."""
    kind: Any = type(value)
    return _codec(kind).encode(value)


def encode_until(value: Any, field: str) -> bytes:
    """Encode the fields of a struct that come before `field`: what its signature covers."""
    kind: Any = type(value)
    return typing.cast("_Struct", _codec(kind)).encode(value, field)


def encode_as(kind: Any, value: Any) -> bytes:
    """Encode `value` as the annotation `kind` says."""
    return _codec(kind).encode(value)


@overload
def decode(kind: type[T], data: bytes) -> T: ...
@overload
def decode(kind: object, data: bytes) -> Any: ...
def decode(kind: Any, data: bytes) -> Any:
    """Decode `data`, all of it.

    Raises:
        DecodeError: It is not exactly one value of the annotation `kind`.
    """
    reader = Reader(data)
    value = _codec(kind).decode(reader)
    if reader:
        raise DecodeError("bytes follow the value")
    return value


def decode_from(kind: Any, reader: Reader) -> Any:
    """Read one value of the annotation `kind`."""
    return _codec(kind).decode(reader)
