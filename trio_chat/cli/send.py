"""`trio-chat send`: one message, for scripts and cron."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from trio_chat.cli.credentials import add_connection_arguments, credentials
from trio_chat.cli.help import arguments
from trio_chat.errors import ConfigError, Disconnected, TextTooLong

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio_chat.client import Client

__all__ = ["EPILOG", "SUMMARY", "USAGE", "add_arguments", "run"]

USAGE = "trio-chat send HOST:PORT --room ROOM TEXT [ARGUMENTS]"
SUMMARY = "send one message and wait until the server has it"

EPILOG = """\
examples:
  trio-chat send localhost:8443 --room ops "done" --cert bot.crt --key bot.key
  uptime | trio-chat send localhost --room ops - --cert bot.crt --key bot.key

Exit status 0 means that the server has the message on its disk.
"""

ACKNOWLEDGE_TIMEOUT = 60.0  # seconds, so that cron's jobs do not pile up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `send`."""
    group = arguments(parser)
    add = group.add_argument
    add("address", metavar="HOST:PORT", help="the server; its port is 8443 if left out")
    add("text", metavar="TEXT", help="what to say; - reads standard input")
    add("--room", required=True, metavar="ROOM", help="where to say it")
    add("--notice", action="store_true", help="as a notice, which no bot answers")
    add_connection_arguments(group)


def run(options: argparse.Namespace) -> int:
    """Send, wait for the acknowledgement, and return 0."""
    import trio

    from trio_chat.address import Address
    from trio_chat.client import connect

    where = Address.parse(options.address)
    found = credentials(options, where)
    text = _text(options.text)
    connecting = connect(
        where,
        cert=found.cert,
        key=found.key,
        ca=found.ca,
        pin=found.pin,
        passphrase=found.passphrase,
    )
    trio.run(_send, connecting, options.room, text, options.notice)
    return 0


def _text(given: str) -> str:
    """Return what is to be said.

    Raises:
        TextTooLong: more than a server takes by default; nothing is cut off.
        ConfigError: there is nothing.
    """
    from trio_chat.limits import Limits

    text = given
    if given == "-":
        limit = Limits().text_size
        data = sys.stdin.buffer.read(limit + 2)  # the last line's end does not count
        text = data.decode(errors="replace").removesuffix("\n").removesuffix("\r")
        if len(text.encode()) > limit:
            raise TextTooLong(f"the text is longer than {limit} bytes; nothing was sent")
    if not text.strip():
        raise ConfigError("there is no text to send")
    return text


async def _send(
    connecting: AbstractAsyncContextManager[Client], room: str, text: str, notice: bool
) -> None:
    import trio

    interrupted = False
    try:
        with trio.move_on_after(ACKNOWLEDGE_TIMEOUT) as scope:
            async with connecting as client:
                joined = await client.join(room)
                await joined.send(text, form="notice" if notice else None)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt  # out of the group, so that the exit status is 130
    if scope.cancelled_caught:
        raise Disconnected(
            f"no acknowledgement in {ACKNOWLEDGE_TIMEOUT:.0f} s; the message may have arrived",
            hint="look into the room before sending it again",
        )
