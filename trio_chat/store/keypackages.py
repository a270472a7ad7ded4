"""Key packages: what each device has left to be given out, each to one taker.

Functions of a transaction, and of a read-only connection. May know the tables and the values,
but no Trio and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import apsw
import attrs

from trio_chat import names
from trio_chat.store.database import rows_of
from trio_chat.store.rows import KeyPackage
from trio_chat.store.writer import Transaction

__all__ = ["Claim", "ExpirePackages", "Publish", "count"]

_STEP = 1000  # that expire in one transaction


@attrs.frozen(kw_only=True)
class Publish:
    """Leave key packages of a device.

    Attributes:
        keep: The newest so many of a device are kept.
        devices: So many of a person have any; above it, the one that left some longest ago
            loses its.
    """

    user: names.Key
    device: str
    packages: Sequence[str]
    last: str | None
    now: float
    keep: int
    devices: int

    def __call__(self, transaction: Transaction) -> None:
        """Do it. What is there already, as after a repeated request, is not there twice."""
        self._make_room(transaction)
        owner = (self.user, self.device)
        statement = "SELECT package FROM key_package WHERE user = ? AND device = ? AND last = 0"
        with rows_of(transaction.db, statement, *owner) as rows:
            present = {package for (package,) in rows}
        given = dict.fromkeys(self.packages[-self.keep :])
        new = [package for package in given if package not in present]
        insert = "INSERT INTO key_package(user, device, last, time, package) VALUES(?, ?, ?, ?, ?)"
        transaction.db.executemany(insert, [(*owner, 0, self.now, package) for package in new])
        transaction.run(
            "DELETE FROM key_package WHERE id IN (SELECT id FROM key_package"
            " WHERE user = ? AND device = ? AND last = 0 ORDER BY id DESC LIMIT -1 OFFSET ?)",
            *(*owner, self.keep),
        )
        if self.last is not None:
            transaction.run(
                "DELETE FROM key_package WHERE user = ? AND device = ? AND last = 1", *owner
            )
            transaction.run(insert, *owner, 1, self.now, self.last)

    def _make_room(self, transaction: Transaction) -> None:
        transaction.run(
            "DELETE FROM key_package WHERE user = ?1 AND device IN (SELECT device FROM key_package"
            " WHERE user = ?1 AND device <> ?2 GROUP BY device"
            " ORDER BY max(id) DESC LIMIT -1 OFFSET ?3)",
            *(self.user, self.device, self.devices - 1),
        )


@attrs.frozen
class Claim:
    """Take one key package of each device of a person, the oldest not left before `since`.

    Where a device has none, the one of last resort is given and stays.
    """

    user: names.Key
    since: float

    def __call__(self, transaction: Transaction) -> list[KeyPackage]:
        """Do it; in one transaction, so nobody else is given the same ones."""
        statement = "SELECT DISTINCT device FROM key_package WHERE user = ? ORDER BY device"
        with rows_of(transaction.db, statement, self.user) as rows:
            devices = [device for (device,) in rows]
        found = (self._take(transaction, device) for device in devices)
        return [package for package in found if package is not None]

    def _take(self, transaction: Transaction, device: str) -> KeyPackage | None:
        place = (self.user, device, self.since)
        package = transaction.one(
            "DELETE FROM key_package WHERE id = (SELECT id FROM key_package"
            " WHERE user = ? AND device = ? AND last = 0 AND time >= ? ORDER BY id LIMIT 1)"
            " RETURNING package",
            *place,
        )
        if package is not None:
            return KeyPackage(device, package, last=False)
        package = transaction.one(
            "SELECT package FROM key_package"
            " WHERE user = ? AND device = ? AND last = 1 AND time >= ? LIMIT 1",
            *place,
        )
        return None if package is None else KeyPackage(device, package, last=True)


@attrs.frozen
class ExpirePackages:
    """Delete key packages left before `before`, some in one step."""

    before: float

    def __call__(self, transaction: Transaction) -> bool:
        """Take one step; return whether there was anything to delete."""
        transaction.run(
            "DELETE FROM key_package WHERE id IN"
            " (SELECT id FROM key_package WHERE time < ? ORDER BY time LIMIT ?)",
            *(self.before, _STEP),
        )
        return transaction.db.changes() > 0


def count(user: names.Key, device: str, since: float, db: apsw.Connection) -> int:
    """Return how many key packages of a device there are, the last resort not counted."""
    statement = (
        "SELECT count(*) FROM key_package WHERE user = ? AND device = ? AND last = 0 AND time >= ?"
    )
    with rows_of(db, statement, user, device, since) as rows:
        return cast(int, next(rows)[0])
