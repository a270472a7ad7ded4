"""The messages of one room that are not acknowledged yet, and their counters.

The rule of the wire: `n` is contiguous per device and room, and a refused message does not
use its number up. So a message gets its number when it is written, not before, and

* after a reconnect, what the server has taken (`n <= joined.n`) waits for its echo in the
  replay, and the rest is numbered from `joined.n + 1` and written again, in order;
* after a refusal, the messages behind it that were written already are *doomed*: the server
  answers each with `out-of-order`. Until the last of these answers is here nothing is
  written; then they are numbered anew. So an answer never meets the wrong message.

Pure objects: no Trio, no clock, no bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from trio_chat.client.requests import Ticket
from trio_chat.errors import ChatError, Duplicate, OutOfOrder, ProtocolError, Refused
from trio_chat.protocol.fields import Form
from trio_chat.protocol.frames import Message, Send

__all__ = ["Outbox", "Pending"]


@attrs.define(eq=False, kw_only=True)
class Pending(Ticket[Message]):
    """One message on its way; settled with its echo.

    `n` is None until it is written on this connection or known to be taken.
    """

    outbox: Outbox = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    form: Form | None = None
    n: int | None = None

    def abandoned(self) -> None:
        """Take it back if it was never written; else the server may have it already."""
        self.outbox.withdraw(self)


class Outbox:
    """Messages of one room in the order of their sending."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.ready = False  # is the room joined on the present connection?
        self._last = 0  # the last counter that was given out, or taken by the server
        self._pending: list[Pending] = []
        self._doomed: set[int] = set()
        self._floor = 0  # the counter before the refused one, while any are doomed

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What is not acknowledged, oldest first."""
        return tuple(self._pending)

    def add(self, text: str, form: Form | None) -> Pending:
        """Queue a message; `flush` says when to write it."""
        pending = Pending(outbox=self, text=text, form=form)
        self._pending.append(pending)
        return pending

    def flush(self) -> list[Send]:
        """Number what may be written now, and return it; it counts as written."""
        if not self.ready or self._doomed:
            return []
        frames = []
        for pending in self._pending:
            if pending.n is None:
                self._last += 1
                pending.n = self._last
                frames.append(Send(self.room, pending.n, pending.text, pending.form))
        return frames

    def withdraw(self, pending: Pending) -> None:
        """Forget a message that nobody waits for, unless it may have been written."""
        if pending.n is None and pending in self._pending:
            self._pending.remove(pending)

    def lost(self) -> None:
        """Write nothing until `resume`: the connection is gone."""
        self.ready = False

    def resume(self, taken: int) -> None:
        """The room is joined again and the server has taken the counters up to `taken`."""
        self._restart(taken, taken)

    def reset(self, taken: int) -> None:
        """The room has another history: no counter given out before counts."""
        self._restart(taken, 0)

    def echo(self, message: Message) -> None:
        """Settle the message that this is the echo of."""
        found = self._numbered(message.n)
        if found is not None:
            self._pending.remove(found)
            found.resolve(message)
        self.settle(message.n - 1, message)

    def settle(self, taken: int, like: Message) -> None:
        """Settle what was taken but will not be echoed: it is no longer kept, or erased.

        Its sender gets a message with `seq` 0; `like` lends sender and device.
        """
        for pending in self.pending:
            if pending.n is not None and pending.n <= taken:
                self._pending.remove(pending)
                pending.resolve(
                    attrs.evolve(
                        like, seq=0, n=pending.n, text=pending.text, form=pending.form, erased=False
                    )
                )

    def refused(self, n: int, error: Refused) -> None:
        """The server did not take the message `n`.

        Raises:
            ProtocolError: that cannot be; joining again tells what it has taken.
        """
        found = self._numbered(n)
        if found is None:
            return
        if n in self._doomed:
            self._doomed.discard(n)
            if not isinstance(error, OutOfOrder):
                self._fail(found, error)
        elif isinstance(error, Duplicate):
            self._fail(found, error)
            self._last = max(self._last, error.last or 0)
            return
        else:
            self._doom(found, n, error)
        if not self._doomed:
            self._renumber()

    def fail(self, error: Callable[[], ChatError], *, written_only: bool = False) -> None:
        """Fail every message, or those that were written."""
        for pending in self.pending:
            if pending.n is not None or not written_only:
                self._fail(pending, error())

    def _doom(self, found: Pending, n: int, error: Refused) -> None:
        floor = n - 1
        if isinstance(error, OutOfOrder) and error.expected is not None:
            floor = max(0, error.expected - 1)
        if any(p.n is not None and floor < p.n < n for p in self._pending):
            raise ProtocolError("the server lost count of the messages")
        self._fail(found, error)
        self._floor = floor
        self._doomed = {p.n for p in self._pending if p.n is not None and p.n > n}

    def _renumber(self) -> None:
        self._last = self._floor
        for pending in self.pending:
            if pending.n is not None and pending.n > self._floor:
                self._unwritten(pending)

    def _restart(self, taken: int, waiting_for_echo: int) -> None:
        self.ready = True
        self._last = taken
        self._doomed.clear()
        for pending in self.pending:
            if pending.n is not None and pending.n > waiting_for_echo:
                self._unwritten(pending)

    def _unwritten(self, pending: Pending) -> None:
        """The server has not taken it and never will under its old number."""
        pending.n = None
        if not pending.waiters:
            self._pending.remove(pending)  # its sender gave up: it is not sent again

    def _numbered(self, n: int) -> Pending | None:
        return next((p for p in self._pending if p.n == n), None)

    def _fail(self, pending: Pending, error: ChatError) -> None:
        self._pending.remove(pending)
        pending.fail(error)
