"""An echo: in the room it answers `!echo TEXT`, and in private it repeats everything.

    trio-chat pki issue echo --bot
    python examples/echo_bot.py localhost:8443 --cert pki/echo.crt --key pki/echo.key

The smallest useful bot. Reconnecting is the library's work: after an outage the events go on
where they stopped, so nothing is answered twice and nothing is left out.
"""

from __future__ import annotations

import argparse
import signal
import sys

import trio

import trio_chat
from trio_chat import ChatError, Message


async def echo(options: argparse.Namespace) -> None:
    """Answer until cancelled."""
    async with trio_chat.connect(
        options.address,
        cert=options.cert,
        key=options.key,
        ca=options.ca,
        device=None,  # one certificate, one bot: a second copy takes the place of the first
    ) as client:
        await client.join(options.room)
        print(f"echo_bot: {client.user} is in {options.room} at {client.address}", flush=True)
        async for event in client:
            if isinstance(event, Message):
                room = await client.join(event.room)  # we are in it: this just returns it
                words = wanted(event.text, private=room.peer is not None)
                if words and await is_for_bots(client, event):
                    await room.send(words, form="notice")


def wanted(text: str, *, private: bool) -> str:
    """Return what to repeat of a message; nothing if it is not for us."""
    if private:
        return text.removeprefix("!echo ")
    command, _, words = text.partition(" ")
    return words if command == "!echo" else ""


async def is_for_bots(client: trio_chat.Client, message: Message) -> bool:
    """Only people get answers, and notices never do: so two bots cannot talk for ever."""
    if message.form == "notice" or message.sender == client.user:
        return False
    person = await client.whois(message.sender)
    return not any("bot" in member.roles for member in person.here)


async def main(options: argparse.Namespace) -> None:
    """Run the bot until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, options)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Echo what people say to it.")
    parser.add_argument("address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--cert", required=True, metavar="FILE", help="the bot's certificate")
    parser.add_argument("--key", required=True, metavar="FILE", help="its private key")
    parser.add_argument("--ca", metavar="FILE", help="the CA [ca.crt beside the certificate]")
    parser.add_argument("--room", default="lobby", metavar="ROOM", help="where it sits [lobby]")
    problem: str | None = None
    try:
        trio.run(main, parser.parse_args())
    except* ChatError as problems:
        problem = f"echo_bot: error: {problems.exceptions[0]}"
    sys.exit(problem)
