"""A host: greets people who enter, and answers `!help` and `!time`.

    trio-chat pki issue host --bot
    python examples/welcome_bot.py localhost:8443 --cert pki/host.crt --key pki/host.key

It greets people, not devices: a second one of somebody who is here is no news, and neither
is somebody whose connection was away for less than a minute.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterable

import attrs
import trio

import trio_chat
from trio_chat.client import Connected
from trio_chat.errors import ChatError
from trio_chat.protocol.frames import Entered, Left, Member, Message

GRACE = 60.0  # seconds; who is back within them is not greeted again
HELP = "!time says what time it is here; !help says this"


@attrs.define
class Door:
    """Who is here, device by device, and when the others left."""

    here: dict[str, str] = attrs.field(factory=dict)  # device -> user
    left_at: dict[str, float] = attrs.field(factory=dict)  # user -> seconds on Trio's clock

    def look_around(self, members: Iterable[Member], now: float) -> None:
        """We are new here ourselves, or back: whoever is here now was here before us."""
        self.left_at.update(dict.fromkeys(self.here.values(), now))
        self.here = {member.device: member.user for member in members}

    def entered(self, members: Iterable[Member], now: float) -> list[str]:
        """Note that devices came; return the people to greet."""
        self.left_at = {user: at for user, at in self.left_at.items() if now - at < GRACE}
        news = {}
        for member in members:
            known = member.user in self.here.values() or member.user in self.left_at
            if not known and "bot" not in member.roles:
                news[member.user] = True  # a dictionary keeps the order and drops doubles
            self.here[member.device] = member.user
        return list(news)

    def left(self, members: Iterable[Member], now: float) -> None:
        """Note that devices went."""
        for member in members:
            self.here.pop(member.device, None)
            self.left_at[member.user] = now


async def welcome(options: argparse.Namespace) -> None:
    """Greet and answer until cancelled."""
    async with trio_chat.connect(
        options.address,
        cert=options.cert,
        key=options.key,
        ca=options.ca,
        device=None,  # one certificate, one bot: a second copy takes the place of the first
    ) as client:
        lobby = await client.join(options.room)
        print(f"welcome_bot: {client.user} is in {lobby.name} at {client.address}", flush=True)
        door = Door()
        async for event in client:
            match event:
                case Connected():  # also the very first time
                    door.look_around(await client.users(lobby.name), trio.current_time())
                case Entered(room=lobby.name, members=members):
                    if people := door.entered(members, trio.current_time()):
                        await lobby.send(f"welcome, {', '.join(people)}! {HELP}", form="notice")
                case Left(room=lobby.name, members=members):
                    door.left(members, trio.current_time())
                case Message(text="!help" | "!time") if await is_for_bots(client, event):
                    room = await client.join(event.room)  # we are in it: this just returns it
                    clock = time.strftime("it is %H:%M:%S (UTC%z), %A %d %B %Y")
                    await room.send(HELP if event.text == "!help" else clock, form="notice")


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
            nursery.start_soon(welcome, options)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Greet people and tell them the time.")
    parser.add_argument("address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--cert", required=True, metavar="FILE", help="the bot's certificate")
    parser.add_argument("--key", required=True, metavar="FILE", help="its private key")
    parser.add_argument("--ca", metavar="FILE", help="the CA [ca.crt beside the certificate]")
    parser.add_argument("--room", default="lobby", metavar="ROOM", help="where it sits [lobby]")
    problem: str | None = None
    try:
        trio.run(main, parser.parse_args())
    except* ChatError as problems:
        problem = f"welcome_bot: error: {problems.exceptions[0]}"
    sys.exit(problem)
