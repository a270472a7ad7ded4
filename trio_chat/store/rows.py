"""The values that go into the log and come out of it.

Plain attrs classes and nothing else: may know neither Trio nor SQLite. Sequence numbers
count the lines of one room from 1; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from attrs import validators

from trio_chat import names
from trio_chat.chat.epochs import Commit
from trio_chat.chat.sanctions import Sanction
from trio_chat.errors import StoreError

__all__ = [
    "Batch",
    "Change",
    "Conflict",
    "GroupInfo",
    "KeyPackage",
    "RoomRow",
    "RoomState",
    "RoomSummary",
    "Slice",
    "Statistics",
    "Turns",
    "Value",
    "Welcome",
]

Change = Callable[[Any], object]
"""An operation that is done in the transaction of another."""


class Conflict(StoreError):
    """Somebody else was first: the entry of the directory is not at the revision expected.

    Attributes:
        rev: The revision it is at, 0 where there is none.
    """

    def __init__(self, text: str, *, rev: int) -> None:
        super().__init__(text)
        self.rev = rev


@attrs.frozen
class RoomRow:
    """A room as it was created, with its present topic."""

    id: int
    name: str
    mode: str
    topic: str
    access: str = "open"


@attrs.frozen
class RoomState:
    """What a room's broadcaster needs to go on.

    Attributes:
        first: The oldest sequence number kept; `seq + 1` where none is.
        seq: The last sequence number given out, 0 in a new room.
        counters: Device -> the last counter accepted from it.
        epoch: How many commits the log has taken.
        trees: The blobs there are.
        people: Person -> role, of those on the room's list.
        password: The hash to compare a password with, if the room wants one.
        sanctions: Bans and mutes.
    """

    first: int
    seq: int
    counters: dict[str, int]
    topic: str
    epoch: int = 0
    trees: frozenset[str] = frozenset()
    people: dict[names.Key, str] = attrs.field(factory=dict)
    password: str | None = attrs.field(default=None, repr=False)
    sanctions: Sequence[Sanction] = ()


@attrs.frozen
class RoomSummary:
    """A line of a list of rooms."""

    name: str
    mode: str
    topic: str
    seq: int
    access: str = "open"
    locked: bool = False


@attrs.frozen
class Turns:
    """The commits of one batch, by number, the first of which ends `epoch`."""

    epoch: int
    commits: Sequence[tuple[int, Commit]] = attrs.field(validator=validators.min_len(1))


@attrs.frozen
class GroupInfo:
    """What the newest commit of a room, number `seq`, says of the epoch it began."""

    epoch: int
    seq: int
    body: str = attrs.field(repr=False)
    tree: str


@attrs.frozen
class Welcome:
    """What lets a device into the epoch that a commit, number `seq`, began."""

    epoch: int
    seq: int
    body: str = attrs.field(repr=False)
    tree: str


@attrs.frozen
class KeyPackage:
    """A device's key package; `last`: the one that is given out again and again."""

    device: str
    package: str = attrs.field(repr=False)
    last: bool


def _has_its_lines(batch: Batch, _attribute: attrs.Attribute[bytes], body: bytes) -> None:
    if not body.endswith(b"\n") or body.count(b"\n") != batch.last - batch.first + 1:
        raise ValueError("a batch has last - first + 1 lines, each with its line feed")


def _is_unicode(_batch: Batch, _attribute: attrs.Attribute[Any], topic: str | None) -> None:
    if topic is not None:
        topic.encode()


@attrs.frozen(kw_only=True)
class Batch:
    """What one broadcast adds to the log of a room: line k of `body` is number `first + k`.

    Attributes:
        counters: Device -> the counter of its last line in here.
        topic: The room's topic from now on, or None where it stays.
        turns: The commits in here, if there are any.
        changes: What else is to be written with it: of `trio_chat.store`, `SetRole`,
            `PutSanction`, `LiftSanction` and `AddAudit`.
    """

    room: int
    first: int = attrs.field(validator=validators.ge(1))
    last: int
    time: float
    body: bytes = attrs.field(validator=_has_its_lines, repr=False)
    counters: Mapping[str, int] = attrs.field(factory=dict)
    topic: str | None = attrs.field(default=None, validator=_is_unicode, repr=False)
    turns: Turns | None = None
    changes: Sequence[Change] = ()

    @property
    def size(self) -> int:
        """About how many bytes it is, with what its commits bring along."""
        beside = sum(commit.size for _, commit in self.turns.commits) if self.turns else 0
        return len(self.body) + beside


@attrs.frozen
class Slice:
    """Lines of a room that follow each other, as they were broadcast."""

    first: int
    last: int
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Value:
    """An entry of the directory and its revision, which starts at 1."""

    rev: int
    data: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Statistics:
    """How the writer is doing, since it was opened.

    Attributes:
        commits: Transactions that were committed.
        failures: Transactions that were rolled back.
        operations: Operations done in those that were committed.
        rows: Batches appended.
        waiting: Operations that wait for a transaction, or are in the present one.
        last_commit: Seconds that the last transaction took in the database's thread.
        slowest_commit: The most seconds that one took.
        unclean: Deleted text may still be in the write-ahead log; the next `expire` tries again.
    """

    commits: int
    failures: int
    operations: int
    rows: int
    waiting: int
    last_commit: float
    slowest_commit: float
    unclean: bool
