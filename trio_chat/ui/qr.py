"""A safety number as a QR code, in lines of text. May know segno, which need not be there.

Each character is two modules, one above the other. What is light is drawn, the margin too, as a
terminal's ground is dark; on a light one it is the other way round.
"""

from __future__ import annotations

from itertools import zip_longest

from trio_chat.errors import ConfigError

__all__ = ["qr_lines"]

_MARGIN = 4  # modules, as ISO/IEC 18004 wants it
# Whether the upper and the lower module are drawn.
_BLOCKS = {(True, True): "\u2588", (True, False): "\u2580", (False, True): "\u2584"}


def qr_lines(number: str, *, light_ground: bool = False) -> list[str]:
    """Return the code of a safety number, 17 lines of 33 characters.

    Args:
        number: Its digits; spaces between them are left out.
        light_ground: Whether the terminal shows dark letters on a light ground.

    Raises:
        ConfigError: segno is not installed.
        ValueError: It is no number.
    """
    digits = "".join(number.split())
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("only digits are shown as a code")
    try:
        import segno
    except ImportError:
        raise ConfigError(
            "QR codes need the package segno, which is not installed",
            hint='pip install "trio-chat[qr]", or compare the digits',
        ) from None
    code = segno.make(digits, micro=False, error="m")
    rows = [
        [bool(dark) == light_ground for dark in row] for row in code.matrix_iter(border=_MARGIN)
    ]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[False] * len(rows[0]))
    return [
        "".join(_BLOCKS.get(modules, " ") for modules in zip(upper, lower, strict=True))
        for upper, lower in pairs
    ]
