"""`trio-chat`: finds the subcommand, runs it, and says in two lines what went wrong.

A subcommand is a module of this package with `USAGE`, `SUMMARY`, `EPILOG`,
`add_arguments(parser)` and `run(options) -> int`. Its top imports nothing heavy: `--help`
takes no time.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from trio_chat import __version__
from trio_chat.cli.help import Formatter
from trio_chat.errors import ChatError
from trio_chat.text import safe

__all__ = ["SUBCOMMANDS", "build_parser", "main"]

SUBCOMMANDS = ("serve", "join", "send", "passwd", "invite", "pki", "admin", "demo")

_EPILOG = """\
examples:
  trio-chat serve --room lobby --ca pki/ca.crt  a server; makes the CA too
  trio-chat join localhost:8443 --cert pki/alice.crt --key pki/alice.key
  trio-chat invite bob                          the line with which bob gets in
`trio-chat COMMAND --help` tells more, `COMMAND --debug` shows tracebacks.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="trio-chat",
        description="Chat for people who own their certificate authority.",
        epilog=_EPILOG,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trio-chat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in SUBCOMMANDS:
        module = importlib.import_module(f"trio_chat.cli.{name}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY[0].upper() + module.SUMMARY[1:] + ".",
            epilog=module.EPILOG,
            usage=module.USAGE,
            formatter_class=Formatter,
            add_help=False,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, debug=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status.

    0 done, 1 failed, 2 usage, 69 no server, 77 not permitted, 130 interrupted.
    """
    _open_streams()
    options = build_parser().parse_args(argv)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except ChatError as error:
        if options.debug:
            raise
        _complain(error)
        return getattr(error, "exit_status", 1)
    except BrokenPipeError:
        # Whoever read our output has left: say no more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _open_streams() -> None:
    """Have UTF-8 on both streams whatever the locale, and streams where they were closed."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _complain(error: ChatError) -> None:
    print(f"trio-chat: error: {safe(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"trio-chat: hint: {safe(error.hint)}", file=sys.stderr)
