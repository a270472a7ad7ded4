"""What is on its way to a room: written down, sealed, sent, and taken by the server or not.

The rules of the wire: the counter `n` is contiguous, a refused parcel does not use its number
up, and those that were sent behind it are refused for that. So after a refusal nothing is sent
until all that flies is answered; then what was refused goes out again, in its old order: the
same bytes as long as the epoch is the same, or else the others would miss too many keys to read
what comes next. What is sealed for an epoch that is over is sealed anew.
"""

from __future__ import annotations

import itertools
from collections import deque

import attrs

from trio_chat.e2ee.changes import Changes, Outgoing
from trio_chat.e2ee.store import SealedStore

__all__ = ["MESSAGE", "TURNINGS", "Outbox", "new_id"]

TURNINGS = ("commit", "create")  # the kinds that end an epoch
MESSAGE = "message"  # the kind of what people say; all others are made anew when refused

new_id = itertools.count(1).__next__
"""Return an id that no other has in this run of the program."""


class Outbox:
    """The outgoing side of one room.

    Attributes:
        taken: The last counter that the server has taken from this device.
    """

    def __init__(self, store: SealedStore, room: str) -> None:
        self.taken = 0
        self._room = room
        self._given = 0
        self._sealed: dict[int, Outgoing] = {}  # by counter
        self._waiting: deque[Outgoing] = deque()  # written down, and to be sealed
        self._unwritten: deque[tuple[int, bytes]] = deque()  # (id, payload)
        self._refused: set[int] = set()
        self._callers: dict[int, int] = {}  # row -> what `say` returned
        for row in store.outbox(room):
            if row.n is None:
                self._waiting.append(row)
            else:
                self._sealed[row.n] = row

    # What there is

    @property
    def waiting(self) -> int:
        """How many messages are to be sealed."""
        return len(self._waiting) + len(self._unwritten)

    @property
    def flying(self) -> int:
        """How many parcels have no answer yet."""
        return sum(n > self.taken for n in self._sealed)

    @property
    def draining(self) -> bool:
        """Was something refused, so that nothing may be sent before the rest is answered?"""
        return bool(self._refused)

    @property
    def knocked(self) -> bool:
        """Is there a commit of ours of which it is not known yet whether it was taken?"""
        return any(row.kind in TURNINGS for row in self._sealed.values())

    def caller(self, row: Outgoing) -> int | None:
        """Return what `say` returned for a row, if that was in this run of the program."""
        return self._callers.get(row.id)

    # Sending

    def say(self, payload: bytes) -> int:
        """Queue something; return an id for it. It is written down when it is sealed."""
        token = new_id()
        self._unwritten.append((token, payload))
        return token

    def take_back(self, token: int) -> bool:
        """Do not send what `say` returned this for; false if it may be on its way already."""
        for each in self._unwritten:
            if each[0] == token:
                self._unwritten.remove(each)
                return True
        return False

    def withdraw(self, changes: Changes) -> tuple[list[int], int]:
        """Drop all that waits to be sealed.

        Returns:
            What `say` returned for it, and of how many messages that is not known any more.
        """
        rows = [self.settle(changes, row) for row in self._waiting]
        tokens = [token for token in rows if token is not None]
        unknown = len(rows) - len(tokens)
        tokens += [token for token, _ in self._unwritten]
        self._waiting.clear()
        self._unwritten.clear()
        return tokens, unknown

    def peek(self, changes: Changes, limit: int) -> list[Outgoing]:
        """Return the next messages to be sealed, at most `limit`, all written down."""
        while self._unwritten and len(self._waiting) < limit:
            token, payload = self._unwritten.popleft()
            row = self.write(changes, MESSAGE, payload)
            self._waiting.append(row)
            self._callers[row.id] = token
        return list(itertools.islice(self._waiting, limit))

    def write(self, changes: Changes, kind: str, payload: bytes = b"") -> Outgoing:
        """Write something down that is about to be sealed."""
        row = changes.queue(self._room, kind, payload)
        return Outgoing(id=row, room=self._room, kind=kind, payload=payload)

    def seal(self, changes: Changes, row: Outgoing, epoch: int, sealed: bytes) -> int:
        """Give a row its counter and its bytes; return the counter."""
        self._given += 1
        row = attrs.evolve(row, n=self._given, epoch=epoch, sealed=sealed)
        changes.seal(row.id, epoch, self._given, sealed)
        if self._waiting and self._waiting[0].id == row.id:
            self._waiting.popleft()
        self._sealed[self._given] = row
        return self._given

    # What becomes of it

    def resumed(self, changes: Changes, taken: int) -> list[Outgoing]:
        """The room is joined again, and the server has taken the counters up to `taken`.

        Returns:
            What has to be made anew, because the server did not take it and is no message.
        """
        self._refused.clear()
        self.taken = taken
        return self._put_back(changes)

    def echo(self, n: int) -> Outgoing | None:
        """The server has taken `n`: return what that was, if it is known."""
        if n > self._given:
            return None  # which cannot be: it takes no counter that was not given
        self.taken = max(self.taken, n)
        self._refused.discard(n)
        return self._sealed.pop(n, None)

    def settle(self, changes: Changes, row: Outgoing) -> int | None:
        """Forget a row that has arrived, or never will; return what `say` returned for it."""
        changes.settle(row.id)
        return self._callers.pop(row.id, None)

    def overdue(self) -> list[Outgoing]:
        """Take out what the server has taken but did not echo in what it still has of the log."""
        found = [row for n, row in self._sealed.items() if n <= self.taken]
        for row in found:
            del self._sealed[row.n or 0]
        return found

    def refused(self, n: int) -> Outgoing | None:
        """The server has not taken `n`; return what that was, if it was in flight."""
        if n not in self._sealed or n <= self.taken:
            return None
        self._refused.add(n)
        return self._sealed[n]

    def drop(self, n: int) -> Outgoing:
        """Take out a refused parcel that is not to be sent again."""
        self._refused.discard(n)
        self._refused.add(0)  # the ones behind it are refused for it all the same
        return self._sealed.pop(n)

    def made_anew(self, changes: Changes) -> list[Outgoing] | None:
        """Once all that flew is answered, put back what was refused; see `resumed`.

        Returns:
            None while answers are still to come.
        """
        if not self._refused or any(
            n > self.taken and n not in self._refused for n in self._sealed
        ):
            return None
        self._refused.clear()
        return self._put_back(changes)

    def _put_back(self, changes: Changes) -> list[Outgoing]:
        back = [self._sealed.pop(n) for n in sorted(self._sealed) if n > self.taken]
        self._given = self.taken
        others = [row for row in back if row.kind != MESSAGE]
        for row in others:
            changes.settle(row.id)
        messages = [row for row in back if row.kind == MESSAGE]
        for row in messages:
            changes.unsend(row.id)
        again = [attrs.evolve(row, n=None) for row in messages]
        self._waiting = deque(sorted((*again, *self._waiting), key=lambda row: row.id))
        return others
