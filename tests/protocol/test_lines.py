"""`trio_chat.protocol.lines`: reading whole equals reading in any pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.protocol.lines import LineBuffer

BYTES = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xc3", b"bcdefgh"])).map(b"".join)


def read(pieces: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    buffer = LineBuffer(limit)
    lines = [line for piece in pieces for line in buffer.feed(piece)]
    return lines, buffer.too_long


def whole(data: bytes, limit: int) -> tuple[list[bytes], bool]:
    """What ought to come out, said as simply as can be."""
    lines: list[bytes] = []
    *done, rest = data.split(b"\n")
    for line in done:
        if len(line) > limit:
            return lines, True
        lines.append(line.removesuffix(b"\r"))
    return lines, len(rest) > limit


@given(BYTES, st.integers(1, 12), st.data())
def test_any_split_reads_the_same(data: bytes, limit: int, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    expected = whole(data, limit)
    assert read([data], limit) == expected
    assert read(pieces, limit) == expected
    assert read([data[i : i + 1] for i in range(len(data))], limit) == expected


def test_a_line_over_the_limit_is_not_kept() -> None:
    buffer = LineBuffer(10)
    assert buffer.feed(b"ok\n" + b"x" * 1000) == [b"ok"]
    assert buffer.too_long
    assert buffer._part == b""
    assert buffer.feed(b"\nmore\n") == []


def test_the_limit_may_be_raised_between_lines() -> None:
    buffer = LineBuffer(4)
    assert buffer.feed(b"1234\n") == [b"1234"]
    buffer.limit = 8
    assert buffer.feed(b"12345678\n") == [b"12345678"]
    assert not buffer.too_long
