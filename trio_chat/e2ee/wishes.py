"""What we want of a room's group, and when it is due: people in and out, and fresh keys.

A wish outlives lost races: each commit of ours carries out what is still to be done. Fresh keys
heal what a thief of old ones could read; they are due after joining, after an absence, and after
so many messages or so much time (RFC 9420, section 16.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Literal, TypeAlias

import attrs
import msgspec

from trio_chat import names
from trio_chat.e2ee.changes import Changes
from trio_chat.e2ee.outbox import new_id
from trio_chat.e2ee.store import SealedStore

__all__ = ["Invite", "Kick", "Leave", "Wish", "Wishes"]

ABSENCE = 3600.0  # seconds away, after which our keys are renewed
USE = 86400.0  # seconds of use likewise
MESSAGES = 100  # sent likewise
SPREAD = 30.0  # seconds over which those who come back together renew theirs
SKIPPED = 16  # messages that were not sent in one epoch, likewise
RANK = 2.0  # seconds between members who could all do the same thing
RANKS = 8

Uniform: TypeAlias = Callable[[float, float], float]


@attrs.frozen
class Invite:
    """Have a user's devices in the group."""

    user: str = attrs.field(converter=names.key)


@attrs.frozen
class Kick:
    """Have none of a user's devices in it."""

    user: str = attrs.field(converter=names.key)


@attrs.frozen
class Leave:
    """Be out of it ourselves."""


Wish: TypeAlias = Invite | Kick | Leave
Because: TypeAlias = Literal["void", "wish", "proposal", "renewal", "update"]


class Wishes:
    """The wishes of one room.

    Attributes:
        leaving: Do we want to be out of the group?
        gap: How many messages in a row were encrypted in this epoch, and not taken.
    """

    def __init__(self, store: SealedStore, room: str, uniform: Uniform) -> None:
        self.leaving = False
        self._name = f"update of {room}"
        self._uniform = uniform
        self._wishes: dict[int, Wish] = {}
        self._skipped = 0  # messages that were encrypted and not taken
        self.gap = 0
        self._heard: float | None = None  # when to commit what others propose
        self._void: float | None = None  # when to take out who must go
        self._update: float | None = None  # when to renew our keys
        kept = store.kept(self._name)
        found = msgspec.msgpack.decode(kept, type=tuple[float, int, float]) if kept else None
        self._turned, self._sent, self._seen = found or (0.0, 0, 0.0)

    # Wishes

    def add(self, wish: Wish) -> int:
        """Want something; return an id for it."""
        token = new_id()
        if isinstance(wish, Leave):
            self.leaving = True
        self._wishes[token] = wish
        return token

    def take_back(self) -> list[int]:
        """Want nothing of it any more; return the ids."""
        ids, self._wishes, self.leaving = list(self._wishes), {}, False
        return ids

    def give_up(self, users: Collection[str]) -> list[tuple[int, str]]:
        """Want these users in no longer; return the ids of these wishes, and whom they were for."""
        found = [
            (token, wish.user)
            for token, wish in self._wishes.items()
            if isinstance(wish, Invite) and wish.user in users
        ]
        for token, _ in found:
            del self._wishes[token]
        return found

    @property
    def invited(self) -> tuple[str, ...]:
        """Whom we want in."""
        return tuple({wish.user for wish in self._wishes.values() if isinstance(wish, Invite)})

    @property
    def unwanted(self) -> set[str]:
        """Whom we want out."""
        return {wish.user for wish in self._wishes.values() if isinstance(wish, Kick)}

    # What happens

    def resumed(self, now: float) -> None:
        """We are back: keys that have lain about are to be renewed."""
        if self._seen and now - self._seen > ABSENCE:
            self.update(now)

    def update(self, now: float) -> None:
        """Renew our keys soon."""
        if self._update is None:
            self._update = now + self._uniform(0.0, SPREAD)

    def heard(self, now: float, members: int) -> None:
        """Somebody has proposed something; if nobody commits it, we do."""
        if self._heard is None:
            self._heard = now + self._uniform(0.0, RANK * min(members, RANKS))

    def said(self) -> None:
        """A message of ours is in the log."""
        self._sent += 1
        self.gap = 0

    def skipped(self) -> None:
        """A message was encrypted, and is not sent; others cannot skip many of its keys."""
        self._skipped += 1
        self.gap += 1

    def turned(
        self,
        before: Collection[str],
        users: Collection[str],
        now: float,
        *,
        ours: bool,
        renewed: bool = False,
    ) -> list[int]:
        """An epoch has begun; return the ids of the wishes that came true.

        Args:
            before: Who was there in the last one.
            users: Who is in this one.
            now: The time.
            ours: Whether it is by a commit of ours.
            renewed: Whether it brought an Update of ours, if it is not.
        """
        self._heard = self._void = None
        self._skipped = self.gap = 0
        if ours or renewed:
            self._turned, self._sent, self._update = now, 0, None
        # Who was there already may have other devices, which only our own commit brings.
        come = users if ours else set(users).difference(before)
        done = [token for token, wish in self._wishes.items() if _is_true(wish, users, come)]
        for token in done:
            del self._wishes[token]
        return done

    def proposed(self, now: float) -> None:
        """Fresh keys of ours are proposed; if nobody commits that, we do."""
        self._update = now + self._uniform(SPREAD, 2 * SPREAD)

    def save(self, changes: Changes, now: float) -> None:
        """Write down what decides about renewing."""
        self._seen = now
        kept = msgspec.msgpack.encode((self._turned, self._sent, self._seen))
        changes.keep(self._name, kept)

    # What is due

    def due(
        self,
        now: float,
        *,
        void: bool,
        proposals: bool,
        renewal: bool,
        talking: bool,
        members: int,
    ) -> tuple[float, Because | None]:
        """Return when to commit, and why; infinity and None if there is no reason.

        Args:
            now: The time.
            void: Must somebody go before anything is encrypted?
            proposals: Is there something of others' to commit?
            renewal: Do we have another certificate than the group knows?
            talking: Is there something to say?
            members: How many could do it as well as we.
        """
        reasons: list[tuple[float, Because]] = []
        if void:
            if self._void is None:
                self._void = now + self._uniform(0.0, RANK * min(members, RANKS))
            reasons.append((now if talking else self._void, "void"))
        if self._wishes:
            reasons.append((now, "wish"))
        if proposals:
            self.heard(now, members)
            reasons.append((now if talking else self._heard or now, "proposal"))
        if renewal or self._skipped >= SKIPPED:
            reasons.append((now, "renewal"))
        if self._sent >= MESSAGES or (self._sent and self._turned and now > self._turned + USE):
            self.update(now)
        if self._update is not None:
            reasons.append((self._update, "update"))
        return min(reasons, default=(math.inf, None))


def _is_true(wish: Wish, users: Collection[str], come: Collection[str]) -> bool:
    match wish:
        case Invite(user=user):
            return user in come
        case Kick(user=user):
            return user not in users
    return False
