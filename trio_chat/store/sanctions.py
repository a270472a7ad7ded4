"""Bans and mutes, kept: functions of a transaction or a connection, run in its thread.

Room 0 stands for the whole server. May know the tables and the values, but no Trio.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import attrs

from trio_chat.chat.sanctions import Kind, Sanction, Subject
from trio_chat.store.database import rows_of
from trio_chat.store.rows import Change
from trio_chat.store.writer import Transaction

__all__ = [
    "EVERYWHERE",
    "ExpireSanctions",
    "LiftSanction",
    "PutSanction",
    "Together",
    "read_sanctions",
]

EVERYWHERE = 0
"""Stands for the whole server where a room's number stands else."""


@attrs.frozen
class PutSanction:
    """Keep a ban or mute; it takes the place of one of that kind and subject."""

    room: int
    sanction: Sanction

    def __call__(self, transaction: Transaction) -> None:
        """Do it."""
        found = self.sanction
        transaction.run(
            "INSERT OR REPLACE INTO sanction(kind, room, subject, until, since, actor, reason)"
            " VALUES(?, ?, ?, ?, ?, ?, ?)",
            found.kind,
            self.room,
            found.subject,
            found.until,
            found.since,
            found.actor,
            found.reason,
        )


@attrs.frozen
class LiftSanction:
    """End a ban or mute; none is no error."""

    room: int
    kind: Kind
    subject: Subject

    def __call__(self, transaction: Transaction) -> None:
        """Do it."""
        statement = "DELETE FROM sanction WHERE room = ? AND kind = ? AND subject = ?"
        transaction.run(statement, self.room, self.kind, self.subject)


def read_sanctions(room: int, db: apsw.Connection) -> list[Sanction]:
    """Return those of a room."""
    statement = "SELECT kind, subject, until, since, actor, reason FROM sanction WHERE room = ?"
    with rows_of(db, statement, room) as rows:
        return [
            Sanction(
                kind=kind, subject=subject, until=until, since=since, actor=actor, reason=reason
            )
            for kind, subject, until, since, actor, reason in rows
        ]


@attrs.frozen
class ExpireSanctions:
    """Delete those that were over before that time."""

    before: float

    def __call__(self, transaction: Transaction) -> None:
        """Do it."""
        transaction.run("DELETE FROM sanction WHERE until < ?", self.before)


@attrs.frozen
class Together:
    """Several changes in one transaction."""

    changes: Sequence[Change]

    def __call__(self, transaction: Transaction) -> None:
        """Do them all."""
        for change in self.changes:
            change(transaction)
