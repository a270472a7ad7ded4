"""The one writer: all that waits, of all rooms, in one transaction; then everybody is woken.

    submit ──> queue ──> run: take the queue ──> one hop to the database's thread ──> wake
                              BEGIN, every operation, COMMIT (or ROLLBACK) in one function

The writer owns the writing connection: nothing else touches it. It cannot be cancelled,
only closed; those who wait can be cancelled at any time. Knows nothing of rooms.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

import apsw
import attrs
import trio

from trio_chat.errors import ChatError, StoreError
from trio_chat.store.database import Database, explain
from trio_chat.store.rows import Statistics

__all__ = ["Operation", "Transaction", "Writer"]

T = TypeVar("T")

_GROUP_OPERATIONS = 4096  # at most in one transaction, so that no one waits for too many others
_GROUP_BYTES = 16 * 1024 * 1024  # likewise: what the write-ahead log grows by at once
_ROOMS_REMEMBERED = 100_000  # last sequence numbers kept in memory

# What one operation can cause that is no fault of its neighbours.
_OF_ONE = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.SQLError,
    apsw.TooBigError,
    ChatError,
    OverflowError,
    TypeError,
    ValueError,
)


@attrs.define
class Transaction:
    """What an operation works with: the connection, inside a transaction.

    Attributes:
        db: The connection; used synchronously, in its own thread.
        rows: Batches appended so far.
        clean: Set by an operation that wants the write-ahead log emptied after the commit.
    """

    db: apsw.Connection
    _known: dict[int, int]
    rows: int = 0
    clean: bool = False
    _fresh: dict[int, int] = attrs.field(factory=dict)

    def one(self, statement: str, *bindings: apsw.SQLiteValue) -> Any:
        """Return the first row, or its one value if it has one column, or None."""
        return self.db.execute(statement, bindings).get

    def run(self, statement: str, *bindings: apsw.SQLiteValue) -> None:
        """Execute a statement that has no result."""
        self.db.execute(statement, bindings)

    def last(self, room: int) -> int | None:
        """Return the last sequence number of a room, if it is known already."""
        return self._fresh.get(room, self._known.get(room))

    def set_last(self, room: int, seq: int) -> None:
        """Remember the last sequence number of a room, if this is committed."""
        self._fresh[room] = seq

    def committed(self) -> None:
        """Make what was remembered known to the transactions that follow."""
        if len(self._known) > _ROOMS_REMEMBERED:
            self._known.clear()
        self._known.update(self._fresh)


Operation = Callable[[Transaction], T]
"""A function run inside a transaction, in the database's thread.

It refuses with a `ChatError`, before it has changed anything.
"""


@attrs.define
class _Answer:
    """What came of one operation."""

    value: Any = None
    error: BaseException | None = None


@attrs.define(eq=False)
class _Waiting:
    """An operation in the queue, and who waits for it."""

    operation: Operation[Any]
    size: int
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: _Answer | None = None
    abandoned: bool = False


@attrs.define(eq=False)
class Writer:
    """The task that commits, and the queue in front of it.

    `run` is started once, in the nursery of whoever opened the database, and ends after
    `close`.
    """

    _database: Database
    _queue: deque[_Waiting] = attrs.field(factory=deque)
    _present: list[_Waiting] = attrs.field(factory=list)
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _closed: bool = False
    _thread: _Thread = attrs.field(factory=lambda: _Thread())

    async def submit(self, operation: Operation[T], *, size: int = 0) -> T:
        """Have an operation committed, and return what it returned.

        Cancelled, it has either not been begun and never will be, or is committed whole.

        Args:
            operation: What to do.
            size: About how many bytes it writes.

        Raises:
            ChatError: the operation refused.
            StoreError: it cannot be committed, and nothing of it is there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StoreError("the log is closed")
        waiting = _Waiting(operation, size)
        self._queue.append(waiting)
        self._wake.set()
        try:
            await waiting.done.wait()
        finally:
            waiting.abandoned = True  # too late if it has been taken: then nobody looks
        answer = cast(_Answer, waiting.answer)
        if answer.error is not None:
            raise answer.error
        return cast(T, answer.value)

    async def run(self) -> None:
        """Commit what waits until the writer is closed and nothing waits any more.

        Raises:
            StoreError: a transaction could neither be committed nor rolled back. Nothing that
                is written after that can be trusted, so the process is to end.
        """
        try:
            # One shield around everything: a call to the database that is cancelled half-way
            # may leave its transaction open, and later ones would be lost inside it. A shield
            # also hides the deadlines outside, which the database's thread would act on.
            with trio.CancelScope(shield=True):
                while True:
                    if self._queue:
                        await self._commit(self._take())
                    elif self._closed:
                        return
                    else:
                        self._wake = trio.Event()
                        await self._wake.wait()
        finally:
            self._fail_all()

    def close(self) -> None:
        """Take nothing more; `run` ends when all that waits is done."""
        self._closed = True
        self._wake.set()

    def statistics(self) -> Statistics:
        """Return how the writer is doing."""
        waiting = [*self._present, *(w for w in self._queue if not w.abandoned)]
        return self._thread.statistics(waiting=len(waiting))

    def _take(self) -> list[_Waiting]:
        """Take what waits and is still wanted, as much as one transaction may hold."""
        group: list[_Waiting] = []
        size = 0
        while self._queue and len(group) < _GROUP_OPERATIONS and size < _GROUP_BYTES:
            waiting = self._queue.popleft()
            if not waiting.abandoned:
                group.append(waiting)
                size += waiting.size
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        if not group:
            return
        self._present = group
        operations = [waiting.operation for waiting in group]
        answers = await self._database.run(functools.partial(self._thread.commit, operations))
        self._present = []
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer = answer
            waiting.done.set()

    def _fail_all(self) -> None:
        """Wake whoever still waits: the writer is gone. Nobody does after an orderly end."""
        self._closed = True
        for waiting in (*self._present, *self._queue):
            waiting.answer = _Answer(error=StoreError("the log has failed", hint=_RESTART))
            waiting.done.set()
        self._present = []
        self._queue.clear()


_RESTART = "look into the server's log and restart it"


class _Stuck(StoreError):
    """A transaction could not be ended: no answer to anybody, but the end of the process."""


@attrs.define(eq=False)
class _Thread:
    """The half of the writer that lives in the database's thread: no Trio in here."""

    _lasts: dict[int, int] = attrs.field(factory=dict)
    _commits: int = 0
    _failures: int = 0
    _operations: int = 0
    _rows: int = 0
    _last_commit: float = 0.0
    _slowest_commit: float = 0.0
    _unclean: bool = False

    def commit(self, operations: list[Operation[Any]], db: apsw.Connection) -> list[_Answer]:
        """Do all of them in one transaction, or each in its own if one spoils it."""
        started = time.perf_counter()
        try:
            answers = self._transact(operations, db)
        except _Stuck:
            raise
        except _OF_ONE as error:
            self._failures += 1
            if len(operations) > 1:
                return [answer for one in operations for answer in self.commit([one], db)]
            return [_Answer(error=_as_chat_error(error))]
        except apsw.Error as error:
            self._failures += 1
            # One instance each: an exception that several tasks raise collects their tracebacks.
            return [_Answer(error=_as_chat_error(error)) for _ in operations]
        self._last_commit = time.perf_counter() - started
        self._slowest_commit = max(self._slowest_commit, self._last_commit)
        self._commits += 1
        self._operations += len(operations)
        return answers

    def statistics(self, *, waiting: int) -> Statistics:
        return Statistics(
            commits=self._commits,
            failures=self._failures,
            operations=self._operations,
            rows=self._rows,
            waiting=waiting,
            last_commit=self._last_commit,
            slowest_commit=self._slowest_commit,
            unclean=self._unclean,
        )

    def _transact(self, operations: list[Operation[Any]], db: apsw.Connection) -> list[_Answer]:
        transaction = Transaction(db, self._lasts)
        try:
            db.execute("BEGIN IMMEDIATE")
            answers = [_attempt(operation, transaction) for operation in operations]
            db.execute("COMMIT")
        finally:
            _leave(db)
        transaction.committed()
        self._rows += transaction.rows
        if transaction.clean:
            self._clean(db)
        return answers

    def _clean(self, db: apsw.Connection) -> None:
        """Copy the write-ahead log into the database and empty it: what is deleted is gone.

        Somebody may be reading who needs the log as it is; then it stays for the next time.
        """
        try:
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            self._unclean = True
        else:
            self._unclean = False


def _attempt(operation: Operation[Any], transaction: Transaction) -> _Answer:
    """Do one operation; if it refuses and has changed nothing, its neighbours go on."""
    changes = transaction.db.total_changes()
    try:
        return _Answer(value=operation(transaction))
    except ChatError as error:
        if transaction.db.total_changes() != changes:
            raise
        return _Answer(error=error)


def _leave(db: apsw.Connection) -> None:
    """End the transaction if it has not been committed; by any means."""
    if db.in_transaction:
        with contextlib.suppress(apsw.Error):
            db.execute("ROLLBACK")
    if db.in_transaction:
        raise _Stuck("a transaction could not be ended", hint=_RESTART)


def _as_chat_error(error: BaseException) -> ChatError:
    match error:
        case ChatError():
            return error
        case apsw.Error():
            told = explain(error)
        case _:
            told = StoreError(f"that cannot be stored: {type(error).__name__}")
    told.__cause__ = error
    return told
