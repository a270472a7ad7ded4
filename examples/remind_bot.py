"""Reminders that survive a restart: `!remind 10m TEXT`, `!reminders`, `!forget NUMBER`.

    trio-chat pki issue remind --bot
    python examples/remind_bot.py localhost:8443 --cert pki/remind.crt --key pki/remind.key

What it promises: a reminder that was confirmed is on disk. It is said once, at its time or,
if the bot did not run then, as soon as it runs again, with how many minutes late. Said means
that the server has it on disk; should the bot die between that and noting it, it finds the
reminder in the room's log when it is back. Only one that the log no longer holds is said twice.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import trio

import trio_chat
from trio_chat.errors import ChatError, ConfigError
from trio_chat.protocol.frames import Message

USAGE = "!remind 10m TEXT (or 1h30m, 2d, 17:30), !reminders, !forget NUMBER"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
LONGEST = 1000  # characters of a reminder


@attrs.frozen
class Reminder:
    """One reminder, as it is in the file."""

    number: int  # never used twice
    at: float  # seconds since 1970
    user: str
    room: str
    seq: int  # of the message that asked for it: it is said after that
    text: str

    def words(self, now: float) -> str:
        """Return what is said; no other message of ours begins like this."""
        late = int((now - self.at) // 60)
        remark = f" ({late} min late)" if late else ""
        return f"reminder {self.number} for {self.user}: {self.text}{remark}"


class Book:
    """The reminders, in memory and in a file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0  # the last number given out
        self.reminders: list[Reminder] = []
        try:
            if path.exists():
                kept = json.loads(path.read_bytes())
                self.last = kept["last"]
                self.reminders = [Reminder(**each) for each in kept["reminders"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from None

    def save(self) -> None:
        """Write the file: whoever reads it finds the old one or the new one, never half."""
        kept = {"last": self.last, "reminders": [attrs.asdict(each) for each in self.reminders]}
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from None

    def due(self, now: float) -> list[Reminder]:
        """Return those whose time has come, the oldest first."""
        return sorted((r for r in self.reminders if r.at <= now), key=lambda r: r.at)

    def wait(self, now: float) -> float:
        """Return how long to wait for the next one; a minute at most: clocks can be set."""
        return max(0.0, min([60.0, *(r.at - now for r in self.reminders)]))

    def answer(self, message: Message, now: float) -> str | None:
        """Do what a message asks for and return the answer; None if it asks nothing."""
        asker = (message.sender, message.room)  # nobody sees what was noted elsewhere
        mine = [r for r in self.reminders if (r.user, r.room) == asker]
        match message.text.split(maxsplit=2):
            case ["!remind", when, text] if len(text) <= LONGEST and (at := moment(when, now)):
                self.last += 1
                self.reminders.append(Reminder(self.last, at, *asker, message.seq, text))
                return f"noted as {self.last}, for {clock(at)}"
            case ["!reminders"]:
                lines = [f"{r.number}  {clock(r.at)}  {r.text[:60]}" for r in mine]
                return "\n".join(lines[:100]) or "you have none here"
            case ["!forget", number] if number in {str(r.number) for r in mine}:
                self.reminders = [r for r in self.reminders if str(r.number) != number]
                return f"forgot {number}"
            case ["!remind", *_] | ["!forget", *_]:
                return USAGE
        return None


def moment(when: str, now: float) -> float | None:
    """Return when `10m`, `1h30m` or `17:30` is; None if that is no time."""
    if re.fullmatch(r"([0-9]{1,4}[smhd]){1,4}", when):  # 110 years at most: a date there is
        return now + sum(int(n) * UNITS[u] for n, u in re.findall(r"([0-9]+)([smhd])", when))
    if time_of_day := re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", when):
        hour, minute = map(int, time_of_day.groups())
        today = datetime.fromtimestamp(now)
        at = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
        return (at if at > today else at + timedelta(days=1)).timestamp()
    return None


def clock(at: float) -> str:
    """Return a moment as people here write it."""
    return f"{datetime.fromtimestamp(at):%a %d %b %H:%M:%S}"


async def remind(options: argparse.Namespace) -> None:
    """Listen and remind until cancelled."""
    book = Book(options.state)
    async with trio_chat.connect(
        options.address,
        cert=options.cert,
        key=options.key,
        ca=options.ca,
        device=None,  # one certificate, one bot: a second copy takes the place of the first
    ) as client:
        await client.join(options.room)
        print(f"remind_bot: {client.user} is in {options.room} at {client.address}", flush=True)
        for reminder in book.due(time.time()):
            if await was_said(client, reminder):
                book.reminders.remove(reminder)
        while True:
            for reminder in book.due(time.time()):
                room = await client.join(reminder.room)  # if we are in it, this just returns it
                await room.send(reminder.words(time.time()), form="notice")
                book.reminders.remove(reminder)
                await trio.to_thread.run_sync(book.save)
            event = None
            with trio.move_on_after(book.wait(time.time())):
                event = await anext(client)
            if isinstance(event, Message) and await is_command(client, event):
                words = book.answer(event, time.time())
                if words is not None:
                    await trio.to_thread.run_sync(book.save)  # first note, then confirm
                    room = await client.join(event.room)
                    await room.send(words, form="notice")


async def was_said(client: trio_chat.Client, reminder: Reminder) -> bool:
    """Did an earlier run say it, and die before it could note that?"""
    room = await client.join(reminder.room)
    beginning, before = reminder.words(reminder.at), None
    while page := await room.history(before=before, limit=200):
        mine = [m for m in page if isinstance(m, Message) and m.sender == client.user]
        if any(message.text.startswith(beginning) for message in mine):
            return True
        before = page[0].seq
        if before <= reminder.seq:
            break
    return False


async def is_command(client: trio_chat.Client, message: Message) -> bool:
    """Only people get answers, and notices never do: so two bots cannot talk for ever."""
    if message.form == "notice" or message.sender == client.user or message.text[:1] != "!":
        return False
    person = await client.whois(message.sender)
    return not any("bot" in member.roles for member in person.here)


async def main(options: argparse.Namespace) -> None:
    """Run the bot until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remind, options)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Remind people of what they asked for.")
    parser.add_argument("address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--cert", required=True, metavar="FILE", help="the bot's certificate")
    parser.add_argument("--key", required=True, metavar="FILE", help="its private key")
    parser.add_argument("--ca", metavar="FILE", help="the CA [ca.crt beside the certificate]")
    parser.add_argument("--room", default="lobby", metavar="ROOM", help="where it sits [lobby]")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("remind_bot.json"),
        metavar="FILE",
        help="where it keeps the reminders [remind_bot.json]",
    )
    problem: str | None = None
    try:
        trio.run(main, parser.parse_args())
    except* ChatError as problems:
        problem = f"remind_bot: error: {problems.exceptions[0]}"
    sys.exit(problem)
