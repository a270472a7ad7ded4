"""How help looks: one list, one line an argument, and the whole on a screen of 80 by 24."""

from __future__ import annotations

import argparse

__all__ = ["Formatter", "arguments"]


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are written, and help on the line of its argument."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)


def arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Return the one list of a command's arguments; `-h` is one of them.

    `--debug` is everywhere, and is told in the help of the whole.
    """
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    group = parser.add_argument_group("arguments")
    if not parser.add_help:
        group.add_argument("-h", "--help", action="help", help="show this")
    return group
