"""Who gets in, by address: before anybody has proven who they are. Pure bookkeeping.

Whole networks sit behind one address, so an address is never refused for what it does before
a handshake is done; where too many of its connections failed, it gets one place on the CPU
at a time, which costs nobody else anything.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Generic, Protocol, TypeVar

import trio

from trio_chat.limits import Limits

__all__ = ["Admission", "Applicant"]


class Applicant(Protocol):
    """A connection that has not said `hello` yet."""

    @property
    def address(self) -> str:
        """Where it comes from, without the port."""

    def make_room(self) -> None:
        """Go: too many are waiting."""


A = TypeVar("A", bound=Applicant)

SILENCE = 5.0  # s without a message
ADDRESSES = 10_000  # whose failures are remembered; over it the one that failed first is forgotten


class Admission(Generic[A]):
    """Counts connections by address, from accepting them to their end."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.talked = float("-inf")  # when something was last said in any room
        self.slots = trio.Semaphore(limits.handshakes_at_once)
        self.waiting: dict[str, dict[A, None]] = {}
        self.here: Counter[str] = Counter()  # authenticated connections by address
        self._failures: dict[str, deque[float]] = {}
        self._single: dict[str, trio.Semaphore] = {}

    def apply(self, applicant: A) -> None:
        """A connection was accepted. Over the limit the oldest of the busiest address goes."""
        self.waiting.setdefault(applicant.address, {})[applicant] = None
        if self.waiting_count > self.limits.unauthenticated:
            busiest = max(self.waiting.values(), key=len)
            oldest = next(iter(busiest))
            self.withdraw(oldest)
            oldest.make_room()

    def withdraw(self, applicant: A) -> None:
        """It is no longer waiting: let in, or gone. Idempotent."""
        same = self.waiting.get(applicant.address)
        if same is not None and same.pop(applicant, 0) is None and not same:
            del self.waiting[applicant.address]

    @property
    def waiting_count(self) -> int:
        """How many have not said `hello` yet."""
        return sum(map(len, self.waiting.values()))

    def slots_for(self, address: str, now: float) -> trio.Semaphore | None:
        """Return the places on the CPU where `address` may shake hands.

        None where it need not wait for one: in a silence nobody would notice.
        """
        if self.failures(address, now) < self.limits.failures_per_address:
            self._single.pop(address, None)
            return self.slots if now < self.talked + SILENCE else None
        return self._single.setdefault(address, trio.Semaphore(1))

    def fail(self, address: str, now: float) -> None:
        """A connection ended without a valid certificate."""
        times = self._failures.setdefault(address, deque(maxlen=self.limits.failures_per_address))
        times.append(now)
        if len(self._failures) > ADDRESSES:
            oldest = next(iter(self._failures))
            del self._failures[oldest]
            self._single.pop(oldest, None)

    def failures(self, address: str, now: float) -> int:
        """Count the failed connections of `address` in the window, up to the limit."""
        times = self._failures.get(address)
        if times is None:
            return 0
        while times and times[0] < now - self.limits.failures_window:
            times.popleft()
        if not times:
            del self._failures[address]
        return len(times)

    def forget(self, now: float) -> None:
        """Drop what the window no longer covers, so that memory does not grow with time."""
        for address in list(self._failures):
            if not self.failures(address, now):
                self._single.pop(address, None)
