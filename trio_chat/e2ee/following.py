"""The inward half of a conversation: the room's log, entry by entry.

What is read and what it changes are written down together with how far the log is dealt with.
`conversation` has the other half, and says how to use both.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_chat import names
from trio_chat.e2ee.changes import Changes, Cursor, Outgoing
from trio_chat.e2ee.delivery import (
    Began,
    Entered,
    Left,
    LogEntry,
    NotSent,
    Said,
    Trouble,
    Unreadable,
)
from trio_chat.e2ee.footing import PATIENCE, Door, Footing
from trio_chat.e2ee.history import to_entry
from trio_chat.e2ee.membership import may_be_removed, told, unreadable
from trio_chat.e2ee.outbox import MESSAGE, TURNINGS
from trio_chat.e2ee.payload import decode_payload
from trio_chat.e2ee.policy import NotAllowed
from trio_chat.mls import MLSError, Removed

__all__ = ["PATIENCE", "Door", "Follower"]


class Follower(Footing):
    """A room's log, followed; no public constructor, see `Conversation`."""

    # The connection

    def resumed(self, *, log: str, n: int, seq: int, epoch: int, now: float) -> None:
        """Go on: the room is joined.

        Args:
            log: The id of the server's history.
            n: The last counter that it has taken from this device.
            seq: The room's newest entry.
            epoch: The room's epoch.
            now: The time.
        """
        with self._store.event() as changes:
            cursor = self.cursor
            same = cursor is not None and cursor.log == log and cursor.seq <= seq
            self._drop(self._outbox.resumed(changes, n), changes, now)
            self._online = True
            self._goal = seq, epoch
            self._least_epoch = self._waits = 0
            self.wishes.resumed(now)
            if not same:
                self._missed = True
                if cursor is not None:
                    self._forget_ahead(changes)
                    changes.unplace(self.place.name, log, seq)
                    self._lose(changes, "the server has another history now", now)
                self.cursor, self._sure = Cursor(seq, log), 0
                self.membership.epoch = epoch
                changes.set_cursor(self.place.name, self.cursor)
            if not self._outbox.knocked:
                self._forget_ahead(changes)
            if self.door is Door.KNOCKING and self._ahead is None:
                self.door = Door.WELCOME
            outside = self.door is not Door.OUT and self.membership.group is None
            if epoch == 0 and outside:
                self._no_group(now)
            self._arrive(changes, now)

    def offline(self) -> None:
        """The connection is lost."""
        self._online = False

    # The log

    def feed(self, entries: Sequence[LogEntry], now: float) -> int:
        """Take entries of the log; those that are known already are passed over.

        Returns:
            How many were taken: fewer than there are when something is to be asked first.
        """
        taken = 0
        with self._store.event() as changes:
            assert self.cursor is not None
            for entry in entries:
                if self._online and (self.door is Door.WELCOME or self._unsure):
                    break
                if entry.seq > self.cursor.seq + 1:
                    raise ValueError("an entry of the log is missing")
                if entry.seq == self.cursor.seq + 1:
                    self._take(entry, changes, now)
                    if self._unsure:
                        break
                taken += 1
                if entry.seq <= self.cursor.seq:
                    continue
                self.cursor = Cursor(entry.seq, self.cursor.log)
                if self.cursor.seq == (self._goal or (0,))[0]:
                    self._arrive(changes, now)
            changes.set_cursor(self.place.name, self.cursor)
            self._save(changes, now)
            self._drop(self._outbox.made_anew(changes) or (), changes, now)
        return taken

    def skipped(self, seq: int, now: float) -> None:
        """The log is no longer kept up to `seq`."""
        assert self.cursor is not None
        if seq <= self.cursor.seq:
            return
        with self._store.event() as changes:
            self.cursor, self._missed = Cursor(seq, self.cursor.log), True
            changes.set_cursor(self.place.name, self.cursor)
            if self.membership.group is not None:
                self._lose(changes, "what this device had not read is no longer kept", now)
            if self._goal is not None:
                self._arrive(changes, now)

    def _arrive(self, changes: Changes, now: float) -> None:
        """See, once all that was said before the room was joined is dealt with, if it fits."""
        assert self.cursor is not None
        assert self._goal is not None
        seq, epoch = self._goal
        if self.cursor.seq < seq:
            return
        self._goal = None
        ended, self.membership.epoch = self.membership.epoch != epoch, epoch
        self._missed = self._missed or ended
        if ended and self.membership.group is not None:
            why = "a part of the log that this device had not read is no longer kept"
            self._lose(changes, why, now)
        self._account_for(changes, now)

    def _account_for(self, changes: Changes, now: float) -> None:
        """Deal with what the server has taken from us, but did not show in the log."""
        late = self._outbox.overdue()
        for row in late:  # in a part that is no longer kept
            token = self._outbox.settle(changes, row)
            if row.kind == MESSAGE:
                self._tell(self._said(None, row, token, now), changes)
        if any(row.kind in TURNINGS for row in late):
            self._forget_ahead(changes)
            if self.door is Door.KNOCKING:
                self.door = Door.WELCOME

    def _take(self, entry: LogEntry, changes: Changes, now: float) -> None:
        if entry.device == self._account.wire:
            row = self._outbox.echo(entry.n)
            if row is not None and self._is_echo(entry, row):
                token = self._outbox.settle(changes, row)
                self._echo(entry, row, token, changes, now)
            else:
                self._not_ours(entry, row, changes, now)
            return
        match entry.kind:
            case "message":
                found = self.membership.read(entry)
                if self.membership.missed:
                    count = self.membership.missed
                    self.events.append(Trouble(_MISSED.format(count=count, user=entry.user)))
                self._tell(found, changes)
            case "proposal":
                self.membership.propose(entry)
            case "create":
                self._begun(entry, changes, now)
            case "commit":
                self._turned(entry, changes, now)
            case "act":
                pass  # nobody seals what moderators do; it is told as it comes
            case _:
                self._tell(unreadable(entry, _NOT_SEALED), changes)

    def _tell(self, event: Said | Unreadable, changes: Changes) -> None:
        """Record something that was said, and tell it."""
        assert self.cursor is not None
        self.events.append(event)
        changes.record(to_entry(event, room=self.place.name, log=self.cursor.log))

    # Ours

    def _is_echo(self, entry: LogEntry, row: Outgoing) -> bool:
        """Return whether an entry is what we have sent, and where we have sent it."""
        same = (entry.kind, entry.epoch, entry.body) == (row.kind, row.epoch, row.sealed)
        return same and (row.kind in TURNINGS or entry.epoch == self.membership.epoch)

    def _echo(
        self, entry: LogEntry, row: Outgoing, token: int | None, changes: Changes, now: float
    ) -> None:
        """Take what we have sent ourselves."""
        if row.kind == MESSAGE:
            self.wishes.said()
            self._tell(self._said(entry, row, token, now), changes)
        elif row.kind == "proposal":
            if self.wishes.leaving:
                self.wishes.take_back()
                self._give_up(changes, "this device has left the room")
                self.membership.forget(changes)
                self._forget_ahead(changes, entry.epoch)
                self.door = Door.OUT
                self.events.append(Left(entry.seq, self._account.identity.user))
        else:
            self._won(entry, changes, now)

    def _said(self, entry: LogEntry | None, row: Outgoing, token: int | None, now: float) -> Said:
        return Said(
            seq=entry.seq if entry else 0,
            time=entry.time if entry else now,
            user=self._account.identity.user,
            device=self._account.wire,
            n=row.n or 0,
            payload=decode_payload(row.payload),
            id=token,
        )

    def _won(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Our commit has ended the epoch: go on where it leads."""
        ahead, self._ahead, self._lost, self._begin_at = self._ahead, None, 0, 0.0
        membership = self.membership
        if ahead is None or ahead[1] != entry.epoch + 1:
            membership.epoch = entry.epoch + 1
            self._lose(changes, "this device has lost what it needs to read on", now)
            return
        before, was_inside = membership.members, self.door is Door.INSIDE
        users = membership.users
        changes.accept(self.place.name)
        membership.enter(changes, *ahead)
        self.door, self._offers = Door.INSIDE, {}
        done = self.wishes.turned(users, membership.users, now, ours=True)
        self._meet(changes)
        if not was_inside:
            self.events.append(Entered(entry.seq))
        me = self._account.identity.user
        self.events.append(told(entry.seq, me, before, membership.members, done))

    def _not_ours(
        self, entry: LogEntry, row: Outgoing | None, changes: Changes, now: float
    ) -> None:
        """Something came under our name that is not what this device has sent."""
        why = "this device sent it, and has lost its memory since"
        if row is not None:
            why = "the server has changed what this device sent"
            token = self._outbox.settle(changes, row)
            if token is not None:
                self.events.append(NotSent(token, why))
        if entry.kind == "message":
            self._tell(unreadable(entry, why), changes)
        elif entry.kind in TURNINGS:
            self.membership.epoch = entry.epoch + 1
            self._forget_ahead(changes)
            self._lose(changes, why, now)
        elif row is not None and row.kind in TURNINGS:
            self._drop([row], changes, now)

    # Others'

    def _turned(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Somebody else has ended the epoch."""
        membership, before = self.membership, self.membership.members
        self._forget_ahead(changes, entry.epoch)
        if membership.group is None:
            membership.epoch = entry.epoch + 1
            if self.door is Door.WAITING:
                self.door, self._begin_at = Door.WELCOME, now
            elif self.door is Door.INFO or (self.door is Door.BEGIN and not membership.poisoned):
                self.door = Door.WELCOME  # somebody may have let us in
            return
        try:
            group = membership.follow(entry, now)
        except Removed as error:
            by = may_be_removed(membership, error.change, now)
            if by is not None:
                membership.epoch = entry.epoch + 1
                membership.lose(changes)
                self.door = Door.OUT
                self.events.append(Left(entry.seq, by))
                self._give_up(changes, "this device is not in the room any more; join it again")
            elif not self._doubt(entry):
                membership.epoch = entry.epoch + 1
                why = f"{entry.user} has taken this device out, which the room does not allow"
                self._lose(changes, why, now, poisoned=True)
            return
        except NotAllowed as error:
            if not self._doubt(entry):
                membership.epoch = entry.epoch + 1
                self._unwelcome.add(names.key(error.user))
                why = f"a change by {entry.user} is refused: {error}"
                self._lose(changes, why, now, poisoned=True)
            return
        except MLSError as error:
            membership.epoch = entry.epoch + 1
            self._missed = False
            why = f"a change by {entry.user} cannot be followed: {error}"
            self._lose(changes, why, now)
            return
        assert group.change is not None
        after, users = self._account.members(group), membership.users
        actor = (after if group.change.external else before)[group.change.committer]
        membership.enter(changes, group, entry.epoch + 1)
        renewed = group.index in group.change.updated
        done = self.wishes.turned(users, membership.users, now, ours=False, renewed=renewed)
        self._meet(changes)
        self.events.append(told(entry.seq, actor.user, before, after, done))

    def _doubt(self, entry: LogEntry) -> bool:
        """Return whether to get the newest revocation list before a commit is refused."""
        self._unsure = self._sure != entry.seq
        self._sure = entry.seq
        return self._unsure

    def _begun(self, entry: LogEntry, changes: Changes, now: float) -> None:
        """Somebody else has begun the group, or begun it anew."""
        self._forget_ahead(changes, entry.epoch)
        self.membership.lose(changes)
        self.membership.epoch = entry.epoch + 1
        self._offers = {}
        if self.door is Door.WAITING:
            self._begin_at = now
        if self.door is not Door.OUT and self._ahead is None:
            self.door = Door.WELCOME
        self.events.append(Began(entry.seq, entry.user))


_MISSED = "{count} message(s) that {user} has said before this did not come"
_NOT_SEALED = "what stands here is not encrypted, was erased, or is of a kind not known here"
