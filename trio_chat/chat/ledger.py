"""A room's order: who may say what comes next, and what its number is.

Turns what members want to say into numbered entries of the log, as the bytes that every
member will get. In an encrypted room it compares epochs while it numbers, so of those who end
the same epoch one is first. Pure: what it returns takes effect with `commit`, once the log
has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from trio_chat.chat.epochs import Sealed, judge
from trio_chat.errors import Duplicate, OutOfOrder, Refused
from trio_chat.protocol.codec import encode_object, encode_text

__all__ = [
    "Act",
    "Draft",
    "Entry",
    "Ledger",
    "Numbered",
    "act_rest",
    "author",
    "first_chunk",
    "message_rest",
    "sealed_rest",
    "topic_rest",
]


@attrs.define(eq=False)
class Entry:
    """Something a member wants in the log, written out but for number and time.

    Nobody changes it; it is not frozen because one is made for every message.

    Attributes:
        device: The wire's id of the device; the counter belongs to it.
        n: Its counter, or None for an entry without one.
        rest: The line's bytes after `time`: sender, device and content.
        topic: The room's new topic, if that is what it is.
        ticket: Whatever the caller wants back with the entry's fate.
        sealed: What there is to know of a line of an encrypted room.
        act: What takes effect with it, if it is one of moderation.
    """

    device: str
    n: int | None
    rest: bytes
    topic: str | None
    ticket: object
    sealed: Sealed | None = None
    act: Act | None = None


@attrs.frozen(eq=False)
class Act:
    """What takes effect with an entry: it and the entry are in the log together, or neither.

    Attributes:
        type: The entry's, on the wire.
        check: Says why it may not be, when its turn has come: what was allowed when it was asked
            for may not be any more.
        changes: What the store writes with it.
        apply: Called once the log has it.
    """

    type: str
    check: Callable[[float], Refused | None]
    changes: tuple[Callable[[Any], object], ...]
    apply: Callable[[], None]


@attrs.frozen
class Numbered:
    """One batch, ready for the log: `last - first + 1` lines in `body`.

    Attributes:
        commits: Those of `entries` that each ended an epoch, with their numbers.
        acts: What takes effect with them.
    """

    first: int
    last: int
    body: bytes
    counters: dict[str, int]
    topic: str | None
    entries: list[Entry]
    commits: list[tuple[int, Entry]] = attrs.field(factory=list)
    acts: list[Act] = attrs.field(factory=list)


@attrs.frozen
class Draft:
    """A batch, if anything was accepted, and what was refused, in order.

    Where the batch has commits, what was refused may be so because of them.
    """

    batch: Numbered | None
    refused: list[tuple[Entry, Refused]]


@attrs.define
class Ledger:
    """The numbers of one room: its newest entry, and the last counter of each device.

    Attributes:
        epoch: How many commits the log has taken.
        trees: The blobs that the room has, for a commit to name.
    """

    room: str
    seq: int
    counters: dict[str, int]
    topic: str = ""
    epoch: int = 0
    trees: frozenset[str] = frozenset()
    _message: bytes = attrs.field(init=False)
    _other: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        name = encode_text(self.room)
        self._message = b'{"type":"message","room":%s,"seq":' % name
        self._other = b'{"type":%%s,"room":%s,"seq":' % name.replace(b"%", b"%%")

    def draft(self, entries: Sequence[Entry], now: float) -> Draft:
        """Number `entries` in order; nothing changes until `commit`.

        A device's counter is contiguous: what repeats or skips one is refused and leaves
        the counter where it was. So does what is of another epoch.
        """
        stamp = b',"time":%.3f' % now
        seq = self.seq
        counters: dict[str, int] = {}
        accepted: list[Entry] = []
        lines: list[bytes] = []
        refused: list[tuple[Entry, Refused]] = []
        topic = None
        commits: list[tuple[int, Entry]] = []
        fresh: set[str] = set()
        acts: list[Act] = []
        for entry in entries:
            n = entry.n
            if n is not None:
                last = counters.get(entry.device)
                if last is None:
                    last = self.counters.get(entry.device, 0)
                if n != last + 1:
                    refused.append((entry, self._out_of_line(n, last)))
                    continue
                if (sealed := entry.sealed) is not None:
                    epoch, trees = self.epoch + len(commits), (self.trees, fresh)
                    error = judge(sealed, n, self.room, epoch=epoch, seq=seq, trees=trees)
                    if error is not None:
                        refused.append((entry, error))
                        continue
                    if sealed.commit is not None:
                        commits.append((seq + 1, entry))
                        fresh.add(sealed.commit.tree)
                counters[entry.device] = n
                start = self._message
            else:
                start = self._other % encode_text(entry.act.type if entry.act else "topic")
                topic = topic if entry.topic is None else entry.topic
                if entry.act is not None:
                    acts.append(entry.act)
            seq += 1
            lines.append(b"%s%d%s%s" % (start, seq, stamp, entry.rest))
            accepted.append(entry)
        if not accepted:
            return Draft(None, refused)
        body = b"".join(lines)
        batch = Numbered(self.seq + 1, seq, body, counters, topic, accepted, commits, acts)
        return Draft(batch, refused)

    def commit(self, batch: Numbered) -> None:
        """The log has `batch`: go on from there."""
        self.seq = batch.last
        self.counters.update(batch.counters)
        self.epoch += len(batch.commits)
        if batch.topic is not None:
            self.topic = batch.topic

    def _out_of_line(self, n: int, last: int) -> Refused:
        if n <= last:
            return Duplicate(
                f"n {n} was used before; the last one taken is {last}",
                room=self.room,
                n=n,
                last=last,
            )
        return OutOfOrder(
            f"n {n} skips some; {last + 1} comes next", room=self.room, n=n, expected=last + 1
        )


def first_chunk(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return the first of `entries`, about `most` bytes, at least one, and none after an act."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.rest) + 128
        if count and size > most:
            return list(entries[:count])
        if entry.act is not None:
            return list(entries[: count + 1])
    return list(entries)


def author(user: str, device: str) -> bytes:
    """Return the part of a line that says who: made once per member."""
    return b',"from":%s,"device":%s' % (encode_text(user), encode_text(device))


def message_rest(who: bytes, n: int, text: str, form: str | None) -> bytes:
    """Return the end of a message's line, from its author on."""
    if form is None:
        return b'%s,"n":%d,"text":%s}\n' % (who, n, encode_text(text))
    return b'%s,"n":%d,"text":%s,"form":%s}\n' % (who, n, encode_text(text), encode_text(form))


def sealed_rest(who: bytes, n: int, epoch: int, kind: str, body: str) -> bytes:
    """Return the end of the line of something that the server cannot read."""
    words = (who, n, epoch, encode_text(kind), encode_text(body))
    return b'%s,"n":%d,"epoch":%d,"kind":%s,"body":%s}\n' % words


def act_rest(who: bytes, fields: Mapping[str, object]) -> bytes:
    """Return the end of a line of moderation, from its author on; None is left out."""
    told = {name: value for name, value in fields.items() if value is not None}
    return b"%s,%s\n" % (who, encode_object(told)[1:])


def topic_rest(who: bytes, text: str) -> bytes:
    """Return the end of a topic's line, from its author on."""
    return b'%s,"text":%s}\n' % (who, encode_text(text))
