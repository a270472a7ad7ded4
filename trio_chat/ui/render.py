"""Events to lines of safe text: what both faces show. Pure functions, no terminal.

A `Line` is a row of spans, each with one of a fixed set of styles; whatever came from the
network passes `text.safe` here and nowhere else. A message's own line breaks become
continuation lines, which are indented, so no message can forge a line of somebody else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs

from trio_chat import names
from trio_chat.client import Connected, Gap, Offline, RoomClosed, RoomReset
from trio_chat.errors import ChatError
from trio_chat.protocol.frames import (
    AwayChanged,
    Closing,
    Entered,
    Kicked,
    Left,
    Member,
    Message,
    ModeChanged,
    NickChanged,
    Person,
    Relayed,
    RoleChanged,
    RoomInfo,
    Server,
    Topic,
)
from trio_chat.text import SafeText, safe, safe_lines

__all__ = [
    "INDENT",
    "PRIVATE",
    "PRIVATE_PLAIN",
    "Line",
    "Reader",
    "Span",
    "Style",
    "as_result",
    "day",
    "error",
    "fingerprint",
    "happened",
    "member_mark",
    "notice",
    "person",
    "remarks",
    "render",
    "result",
    "rooms",
    "users",
    "where",
    "wrap",
]

Style = Literal["", "time", "room", "name", "own", "notice", "private", "error"]
"""How a span is meant; a face has a fixed look for each. Never made from anybody's text."""

Kind = Literal["event", "result", "talk"]
"""What a line is: something that happened, an answer to a command, or talk to the user."""

Span = tuple[Style, SafeText]
"""A piece of a line."""

INDENT = "      "
"""What a continuation line starts with: as wide as the time."""

PRIVATE = SafeText("[private]")
PRIVATE_PLAIN = SafeText("[private, readable by the server]")
"""Of two-person rooms that were made before there were encrypted ones."""


@attrs.frozen
class Line:
    """One line of a screen."""

    kind: Kind
    spans: tuple[Span, ...]

    @property
    def text(self) -> SafeText:
        """The line without its styles."""
        return SafeText("".join(text for _, text in self.spans))


@attrs.frozen
class Reader:
    """Who reads: what a line says depends on it.

    Attributes:
        user: The reader's own name.
        room: The room that is open; lines of others name theirs.
        local: Turns seconds since 1970 into local time.
    """

    user: str
    room: str | None = None
    local: Callable[[float], time.struct_time] = time.localtime

    def is_me(self, user: str) -> bool:
        """Is that the reader?"""
        return names.key(user) == names.key(self.user)

    def clock(self, moment: float) -> Span:
        """Return HH:MM of the reader's day; of nonsense, `--:--`."""
        try:
            return ("time", SafeText(time.strftime("%H:%M ", self.local(moment))))
        except (OverflowError, ValueError, OSError):
            return ("time", SafeText("--:-- "))

    def day(self, moment: float) -> str:
        """Return the reader's date of a moment; of nonsense, an empty string."""
        try:
            return time.strftime("%Y-%m-%d", self.local(moment))
        except (OverflowError, ValueError, OSError):
            return ""


def render(event: object, reader: Reader) -> list[Line]:
    """Return the lines of one event; none for what is not shown in lines (typing, counts)."""
    match event:
        case Message():
            return _message(event, reader)
        case Topic(sender=sender, text=text):
            what = f"{safe(sender, 64)} has set the topic: {safe(text)}"
            return [happened(reader, event.room, what, reader.clock(event.time))]
        case Kicked() | RoleChanged() | ModeChanged():
            from trio_chat.ui.deeds import words

            clock = reader.clock(event.time)
            return [happened(reader, event.room, words(event, reader), clock)]
        case Entered(members=members):
            return [
                happened(reader, event.room, f"{user} has entered") for user in _people(members)
            ]
        case Left(members=members):
            return [happened(reader, event.room, f"{user} has left") for user in _people(members)]
        case AwayChanged(text=None):
            return [happened(reader, event.room, f"{safe(event.user, 64)} is back")]
        case AwayChanged(text=text):
            what = f"{safe(event.user, 64)} is away: {safe(text or '', 200)}"
            return [happened(reader, event.room, what)]
        case NickChanged(nick=nick):
            what = f'is also called "{safe(nick, 64)}"' if nick else "bears no other name now"
            return [happened(reader, event.room, f"{safe(event.user, 64)} {what}")]
        case Gap(first=first, last=last):
            count = f"message {first} is" if first == last else f"messages {first} to {last} are"
            return [happened(reader, event.room, f"{count} no longer kept")]
        case RoomReset():
            return [happened(reader, event.room, "the server has begun another history")]
        case RoomClosed(room=room, reason=reason):
            return error(f"you are no longer in {room}: {reason}", f"/join {room}")
        case Server(text=text):
            return [
                Line("event", (("notice", SafeText("-- the server: ")), ("", line)))
                for line in safe_lines(text)
            ]
        case Relayed(sender=sender, alg=alg):
            return notice(f"{sender} has sent something opaque ({alg}); nothing here reads it")
        case Connected():
            return notice("connected")
        case Offline(reason=reason, retry_in=wait):
            when = "now" if wait < 1 else f"in {wait:.0f} s"
            return notice(f"offline: {reason}; trying again {when}")
        case Closing(reason=reason):
            return notice(f"the server closes this connection: {reason}")
        case _:
            return []


def notice(text: str) -> list[Line]:
    """Return talk to the user, in one line: a topic or a reason must not forge another."""
    return [Line("talk", (("notice", safe(f"-- {text}")),))]


def result(text: str) -> list[Line]:
    """Return what a command answers, one line for each of `text`."""
    return [Line("result", (("", line),)) for line in safe_lines(text)]


def error(problem: ChatError | str, hint: str = "") -> list[Line]:
    """Return what went wrong and what to do next."""
    hint = hint or (problem.hint if isinstance(problem, ChatError) else "")
    lines = [Line("talk", (("error", SafeText(f"error: {safe(str(problem), 1000)}")),))]
    if hint:
        lines.append(Line("talk", (("error", SafeText(f"hint: {safe(hint, 1000)}")),)))
    return lines


def day(date: str) -> list[Line]:
    """Return the line between two days."""
    return [Line("talk", (("notice", SafeText(f"---- {safe(date)} ----")),))]


def users(members: Iterable[Member], reader: Reader, where: str) -> list[Line]:
    """Return who is there: one line for each person, with their devices."""
    devices: dict[names.Key, list[Member]] = {}
    for member in members:
        devices.setdefault(names.key(member.user), []).append(member)
    count = "1 person" if len(devices) == 1 else f"{len(devices)} people"
    lines = result(f"{count} {where}:")
    for _, here in sorted(devices.items()):
        spans: list[Span] = [("", SafeText("  "))]
        own = reader.is_me(here[0].user)
        spans.append(("own" if own else "name", safe(here[0].user, 64)))
        on = "on " + ", ".join(sorted(member_mark(member) for member in here))
        about = (["you"] if own else []) + remarks(here, on)
        spans.append(("", safe(" (" + "; ".join(about) + ")", 1000)))
        lines.append(Line("result", tuple(spans)))
    return lines


def remarks(here: Sequence[Member], on: str) -> list[str]:
    """Return what is to be said of somebody by those of their devices that are here: `on`."""
    found = sorted({role for member in here for role in member.roles})
    found += [f'called "{nick}"' for nick in sorted({m.nick for m in here if m.nick})]
    found += [on]
    if all(member.away is not None for member in here):
        found += [f"away: {here[0].away}"]
    return found


def member_mark(member: Member) -> str:
    """Return how people tell a device: its certificate's name, or the start of its id."""
    return safe(member.name or member.device.rpartition(".")[2][:8] or "?", 64)


def rooms(found: Iterable[RoomInfo], reader: Reader, joined: Iterable[str]) -> list[Line]:
    """Return the rooms one may see, those one is in marked with `*`."""
    inside = {names.key(room) for room in joined}
    lines: list[Line] = []
    for info in found:
        if info.user is not None or names.is_direct(info.room):
            with_whom = info.user or names.peer_of(info.room, reader.user) or info.room
            what: Span = ("private", safe(f"{with_whom} {_private(info.room)}", 200))
        else:
            count = "1 connection" if info.count == 1 else f"{info.count} connections"
            topic = f": {info.topic}" if info.topic else ""
            lock = ", wants a password" if info.locked else ""
            what = ("", safe(f"{info.room} ({info.mode}, {count}{lock}){topic}", 1000))
        mark = "* " if names.key(info.room) in inside else "  "
        lines.append(Line("result", (("room", SafeText(mark)), what)))
    return lines or result("there are no rooms yet")


def person(found: Person, reader: Reader) -> list[Line]:
    """Return who somebody is: presence, devices and the fingerprints of their keys."""
    if not found.here:
        lines = result(f"{safe(found.user, 64)} is not here now")
    else:
        lines = users(found.here, reader, "of that name here")[1:]
    for digest in found.fingerprints:
        lines += result(f"  key {fingerprint(digest)}")
    return lines


def fingerprint(digest: str) -> SafeText:
    """Return hexadecimal digits in groups of four, for reading aloud."""
    digits = safe(digest, 128)
    return SafeText(" ".join(digits[at : at + 4] for at in range(0, len(digits), 4)))


def wrap(line: Line, width: int, measure: Callable[[str], int]) -> tuple[Span, ...]:
    """Return the spans of a line, broken between words so that each row fits in `width`.

    Rows after the first are indented: left to the terminal, a message padded with blanks
    to the right length could draw a false line of somebody else at the left margin. A word
    longer than a row (a link) is left whole, so that it can be copied.

    Args:
        line: What to break.
        width: Columns of the terminal.
        measure: The columns that a piece of text takes.
    """
    spans: list[Span] = []
    column = 0
    for style, text in line.spans:
        pieces: list[str] = []
        for piece in re.findall(r"\s+|\S+", text):
            size = measure(piece)
            if column + size <= width:
                column += size
            elif piece.isspace():
                piece, column = "\n" + INDENT, len(INDENT)
            elif column > len(INDENT) and column + size > width and size + len(INDENT) <= width:
                piece, column = "\n" + INDENT + piece, len(INDENT) + size
            else:
                column = (column + size) % max(width, 1)
            pieces.append(piece)
        spans.append((style, SafeText("".join(pieces))))
    return tuple(spans)


def _message(message: Message, reader: Reader) -> list[Line]:
    start: list[Span] = [reader.clock(message.time)]
    private = names.is_direct(message.room)
    if not private:
        start += where(reader, message.room)
    if message.erased:
        return [Line("event", (*start, ("notice", SafeText("-- a message was erased"))))]
    own = reader.is_me(message.sender)
    sender = safe(message.sender, 64)
    style: Style = "own" if own else "name"
    lines = safe_lines(message.text)
    if private:
        peer = safe(names.peer_of(message.room, reader.user) or "?", 64)
        start.append(("private", _private(message.room)))
        arrow = f" you -> {peer}: " if own else f" {sender} -> you: "
        if message.form == "action":
            arrow += f"* {'you' if own else sender} "
        start.append((style, SafeText(arrow)))
    elif message.form == "action":
        start.append((style, SafeText(f"* {sender} ")))
    elif message.form == "notice":
        start.append((style, SafeText(f"-{sender}- ")))
    else:
        start.append((style, SafeText(f"<{sender}> ")))
    body: Style = "private" if private else ""
    first = Line("event", (*start, (body, lines[0])))
    more = [Line("event", ((body, SafeText(INDENT + line)),)) for line in lines[1:]]
    return [first, *more]


def _private(room: str) -> SafeText:
    return PRIVATE_PLAIN if room.startswith(names.PLAIN_DIRECT) else PRIVATE


def as_result(line: Line) -> Line:
    """Return a line of something that was said as a part of an answer."""
    return attrs.evolve(line, kind="result")


def happened(reader: Reader, room: str, what: str, clock: Span | None = None) -> Line:
    """Return a line of something that happened in a room; `what` is safe."""
    start = [clock] if clock else []
    return Line("event", (*start, *where(reader, room), ("notice", SafeText(f"-- {what}"))))


def where(reader: Reader, room: str) -> list[Span]:
    """Name the room of a line, unless it is the one that is open."""
    if reader.room is not None and names.key(room) == names.key(reader.room):
        return []
    if names.is_direct(room):
        return [("private", SafeText(f"[{safe(names.peer_of(room, reader.user) or '?', 64)}] "))]
    return [("room", SafeText(f"[{safe(room, 64)}] "))]


def _people(members: Iterable[Member]) -> list[SafeText]:
    """Return each person once, in order."""
    return list({names.key(m.user): safe(m.user, 64) for m in members}.values())
