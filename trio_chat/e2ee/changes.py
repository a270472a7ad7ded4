"""What one event writes into a client's store, and the values that lie there.

`store` opens it, says what a transaction is and has the tables in the same order; what may be
written when is told there. Knows SQLite and what groups are as bytes.

An *epoch* is here the room's, as the server counts it: how many commits the room's log has
taken. MLS's own begins anew with each fresh group, and so says nothing about what came first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import apsw
import attrs
import msgspec

from trio_chat.errors import StoreError
from trio_chat.mls import Group, KeyPackageBundle, KeyPackageSource, snapshot, snapshot_bundle

__all__ = ["Changes", "Cursor", "Entry", "Outgoing"]

MEMBERS = "members of "  # and a room: a name to keep something under
_FOREVER = 2**63 - 1  # as far as SQLite counts


@attrs.frozen
class Cursor:
    """How far a room's log was followed.

    Attributes:
        seq: The last entry that is dealt with.
        log: Which log it is of.
    """

    seq: int
    log: str


@attrs.frozen(kw_only=True)
class Outgoing:
    """What is on its way to the server.

    Attributes:
        id: Ascending in the order of queueing, never used twice.
        room: Where to.
        kind: The caller's word for it.
        payload: What was wanted, to be encrypted, also once more.
        n: The counter with which it is sent, once it is sealed.
        epoch: The room's epoch that it is sent in, once it is sealed.
        sealed: The bytes to send, once it is sealed.
    """

    id: int
    room: str
    kind: str
    payload: bytes = attrs.field(repr=False)
    n: int | None = None
    epoch: int | None = None
    sealed: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Entry:
    """One entry of a room's log, as far as it could be read.

    Attributes:
        room: Where it was said.
        log: Which log of the room's it is from.
        seq: Its place there; None for what is only ours.
        time: When, in seconds since 1970.
        user: Whose it is.
        device: And from which device.
        payload: What was said, as it was encoded.
        text: What to find it by.
        failure: Why it could not be read, in words.
    """

    room: str
    log: str
    seq: int | None
    time: float
    user: str
    device: str
    payload: bytes = attrs.field(default=b"", repr=False)
    text: str = attrs.field(default="", repr=False)
    failure: str = ""


OUTGOING = tuple(field.name for field in attrs.fields(Outgoing))
ENTRY = tuple(field.name for field in attrs.fields(Entry))


class Changes:
    """What one event writes; see `SealedStore.event`."""

    def __init__(self, db: apsw.Connection) -> None:
        self._execute = db.execute

    def keep(self, name: str, data: bytes) -> None:
        """Keep something else under a name: our device's key, say."""
        self._execute("REPLACE INTO kept VALUES(?, ?)", (name, data))

    def unkeep(self, name: str) -> None:
        """Forget it."""
        self._execute("DELETE FROM kept WHERE name = ?", (name,))

    # Groups

    def save_group(self, room: str, group: Group, epoch: int) -> None:
        """Write a room's group, and which of the room's epochs it is in.

        Once an event is enough, however much it took or encrypted. The room's next epoch ends
        what our commit would have led to.
        """
        self._write(room, group, epoch, pending=False)
        self._execute("DELETE FROM state WHERE room = ? AND pending AND epoch <= ?", (room, epoch))
        self._prune(room)

    def save_pending(self, room: str, group: Group, epoch: int) -> None:
        """Write the group that our commit leads to, and the room's epoch that this begins."""
        self._write(room, group, epoch, pending=True)
        self._prune(room)

    def accept(self, room: str) -> None:
        """Our commit has won: go on with the group that it leads to, in the room's next epoch."""
        if self._count("state WHERE room = ? AND pending", room):
            self._execute("DELETE FROM state WHERE room = ? AND NOT pending", (room,))
            self._execute("UPDATE state SET pending = 0 WHERE room = ?", (room,))
            self._prune(room)

    def drop_group(self, room: str, *, pending: bool = False) -> None:
        """Forget a room's group, or only what our commit would lead to."""
        self._execute("DELETE FROM state WHERE room = ? AND pending = ?", (room, pending))
        self._prune(room)

    def _write(self, room: str, group: Group, epoch: int, *, pending: bool) -> None:
        digest = group.context.tree_hash
        if not self._count("tree WHERE room = ? AND hash = ?", room, digest):
            self._execute("INSERT INTO tree VALUES(?, ?, ?)", (room, digest, group.ratchet_tree()))
        self._execute(
            "INSERT INTO state VALUES(?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET epoch = excluded.epoch, tree = excluded.tree, data = excluded.data",
            (room, pending, epoch, digest, snapshot(group, ratchet_tree=False)),
        )

    def _prune(self, room: str) -> None:
        self._execute(
            "DELETE FROM tree WHERE room = ?1 AND hash NOT IN"
            " (SELECT tree FROM state WHERE room = ?1)",
            (room,),
        )

    def _count(self, what: str, *values: Any) -> int:
        count: int = self._execute(f"SELECT count(*) FROM {what}", values).get  # noqa: S608  # ours
        return count

    def keep_members(self, room: str, members: Mapping[str, Collection[str]]) -> None:
        """Keep who is known to be in a room's group, which dropping the group does not end.

        Args:
            room: The room.
            members: The fingerprints of each user's keys, by the user's own key.
        """
        found = {user: sorted(members[user]) for user in sorted(members)}
        self.keep(MEMBERS + room, msgspec.msgpack.encode(found))

    # Key packages

    def add_bundle(self, bundle: KeyPackageBundle, *, last_resort: bool = False) -> None:
        """Keep a key package with its private keys, before it is published."""
        source = bundle.key_package.leaf_node.source
        expires = source.not_after if isinstance(source, KeyPackageSource) else 0
        reference = bundle.key_package.reference(bundle.suite)
        self._execute(
            "INSERT INTO bundle VALUES(?, ?, ?, ?)",
            (reference, last_resort, min(expires, _FOREVER), snapshot_bundle(bundle)),
        )

    def use_bundle(self, reference: bytes) -> None:
        """Erase a key package by which we have joined, unless it is a last resort."""
        self._execute("DELETE FROM bundle WHERE reference = ? AND NOT last_resort", (reference,))

    def expire_bundles(self, before: float) -> None:
        """Erase the key packages, last resorts too, that were over before that time."""
        self._execute("DELETE FROM bundle WHERE expires < ?", (before,))

    # People

    def pin(self, user: str, data: bytes) -> None:
        """Keep what is known of a user's identity."""
        self._execute("REPLACE INTO pin VALUES(?, ?)", (user, data))

    def unpin(self, user: str) -> None:
        """Forget it."""
        self._execute("DELETE FROM pin WHERE user = ?", (user,))

    # Rooms' logs

    def set_cursor(self, room: str, cursor: Cursor) -> None:
        """Say how far a room's log was followed; together with what came of that."""
        self._execute("REPLACE INTO cursor VALUES(?, ?, ?)", (room, cursor.seq, cursor.log))

    def queue(self, room: str, kind: str, payload: bytes) -> int:
        """Put something into the outbox, to be encrypted when it can be sent; return its id."""
        self._execute(
            "INSERT INTO outbox(room, kind, payload) VALUES(?, ?, ?)", (room, kind, payload)
        )
        return self._execute("SELECT last_insert_rowid()").get  # type: ignore[no-any-return]  # an int

    def seal(self, outgoing: int, epoch: int, n: int, sealed: bytes) -> None:
        """Write what is about to be sent; the group whose keys it has used, in the same event.

        Args:
            outgoing: Its id in the outbox.
            epoch: The room's that it is sent in.
            n: The counter that it is sent with.
            sealed: The bytes that may be sent once the event is over.
        """
        self._execute(
            "UPDATE outbox SET n = ?, epoch = ?, sealed = ? WHERE id = ?",
            (n, epoch, sealed, outgoing),
        )
        if not self._count("outbox WHERE id = ?", outgoing):
            raise StoreError("what is to be sent is not in the outbox")

    def unsend(self, outgoing: int) -> None:
        """The server did not take it: it needs another counter, and other bytes in a new epoch."""
        self._execute("UPDATE outbox SET n = NULL WHERE id = ?", (outgoing,))

    def unseal(self, outgoing: int) -> None:
        """The server did not take it: it is to be encrypted again."""
        self._execute(
            "UPDATE outbox SET n = NULL, epoch = NULL, sealed = NULL WHERE id = ?", (outgoing,)
        )

    def settle(self, outgoing: int) -> None:
        """It has arrived, or is not to be sent any more."""
        self._execute("DELETE FROM outbox WHERE id = ?", (outgoing,))

    def record(self, entry: Entry) -> None:
        """Add an entry to the history; that one place in a log comes twice is an error."""
        places = ", ".join("?" * len(ENTRY))
        self._execute(
            f"INSERT INTO history({', '.join(ENTRY)}) VALUES({places})",
            attrs.astuple(entry),
        )

    def unplace(self, room: str, log: str, after: int) -> None:
        """What was at these places of a log is not there any more; what was read is kept."""
        self._execute(
            "UPDATE history SET seq = NULL WHERE room = ? AND log = ? AND seq > ?",
            (room, log, after),
        )

    def forget(self, before: float, *, room: str | None = None) -> None:
        """Erase the history before a time, of one room or of all."""
        self._execute(
            "DELETE FROM history WHERE time < ?1 AND (?2 IS NULL OR room = ?2)", (before, room)
        )
