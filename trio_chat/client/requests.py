"""What somebody waits for: tickets, and the table of commands that have no reply yet.

Pure objects: no Trio, no clock. A ticket is waited on by the Trio part, which watches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs

from trio_chat import names
from trio_chat.errors import ChatError
from trio_chat.protocol.frames import (
    Administer,
    Administered,
    Away,
    Ban,
    Blob,
    ChangePassword,
    ClaimPackages,
    Create,
    Crl,
    Devices,
    Enrolled,
    Event,
    GetBlob,
    GetCrl,
    GetInfo,
    GetWelcome,
    History,
    Info,
    Invite,
    Join,
    Joined,
    KeyPackages,
    Kick,
    Leave,
    List,
    ListDevices,
    ListRooms,
    ListSanctions,
    MlsWelcome,
    Mute,
    Nick,
    Ok,
    Packages,
    Page,
    Person,
    PublishPackages,
    PutBlob,
    Renew,
    RevokeDevice,
    Rooms,
    Sanctions,
    SetRole,
    SetTopic,
    Typing,
    Unban,
    Uninvite,
    Unmute,
    Users,
    Whois,
)

__all__ = ["REPLIES", "Asking", "Reply", "Request", "Requests", "Ticket"]

T = TypeVar("T")

Asking = (
    Join
    | Leave
    | Create
    | History
    | List
    | ListRooms
    | SetTopic
    | Typing
    | Away
    | Nick
    | Whois
    | Renew
    | Invite
    | Uninvite
    | PublishPackages
    | ClaimPackages
    | PutBlob
    | GetBlob
    | GetInfo
    | GetWelcome
    | GetCrl
    | Administer
    | ChangePassword
    | ListDevices
    | RevokeDevice
    | SetRole
    | Kick
    | Ban
    | Unban
    | Mute
    | Unmute
    | ListSanctions
)
"""The commands that carry an `id` and get one reply with it."""

Reply = (
    Joined
    | Ok
    | Page
    | Users
    | Rooms
    | Person
    | KeyPackages
    | Packages
    | Blob
    | Info
    | MlsWelcome
    | Crl
    | Enrolled
    | Administered
    | Devices
    | Sanctions
)
"""What answers them, when they are done."""

REPLIES: tuple[type[Reply], ...] = Reply.__args__

_REPLIES: dict[type, type] = {
    Join: Joined,
    History: Page,
    List: Users,
    ListRooms: Rooms,
    Whois: Person,
    Renew: Enrolled,
    PublishPackages: KeyPackages,
    ClaimPackages: Packages,
    GetBlob: Blob,
    GetInfo: Info,
    GetWelcome: MlsWelcome,
    GetCrl: Crl,
    Administer: Administered,
    ListDevices: Devices,
    ListSanctions: Sanctions,
}


@attrs.define(eq=False, kw_only=True)
class Ticket(Generic[T]):
    """A result that comes later, once: a value or an error.

    Attributes:
        waiters: How many tasks wait for it. With none, it may still be settled.
    """

    done: bool = False
    waiters: int = 0
    _value: T | None = attrs.field(default=None, repr=False)
    _error: ChatError | None = None
    _watchers: list[Callable[[], None]] = attrs.field(factory=list, repr=False)

    def resolve(self, value: T) -> None:
        """Settle it with a value; the first settlement counts."""
        if not self.done:
            self._value = value
            self._settle()

    def fail(self, error: ChatError) -> None:
        """Settle it with an error; the first settlement counts."""
        if not self.done:
            self._error = error
            self._settle()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when it is settled, now if it is."""
        if self.done:
            watcher()
        else:
            self._watchers.append(watcher)

    def result(self) -> T:
        """Return the value of a settled ticket, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled: the value is a T

    def abandoned(self) -> None:
        """Learn that the last waiter has gone, before it was settled."""

    def _settle(self) -> None:
        self.done = True
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()


@attrs.define(eq=False, kw_only=True)
class Request(Ticket[Event]):
    """A command that has no reply yet.

    Attributes:
        frame: The command, with its `id`.
        repeat: May it be sent again on another connection? (It changes nothing, or
            twice is the same as once.)
        internal: The client asks for itself; nobody waits.
    """

    frame: Asking
    repeat: bool
    internal: bool = False

    def wants(self, reply: Event) -> bool:
        """Is that what the protocol answers to this command, when it is done?"""
        asked = self.frame
        if isinstance(asked, Join) and isinstance(reply, Joined):
            return names.key(asked.room) == names.key(reply.room)
        return isinstance(reply, _REPLIES.get(type(asked), Ok))


class Requests:
    """The open requests of one client, by `id`, in the order they were made."""

    def __init__(self) -> None:
        self._open: dict[str, Request] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, frame: Asking, *, repeat: bool, internal: bool = False) -> Request:
        """Give `frame` the next `id` and remember it until its reply comes."""
        self._made += 1
        ident = str(self._made)
        found: Any = attrs.evolve(frame, id=ident)
        request = Request(frame=found, repeat=repeat, internal=internal)
        self._open[ident] = request
        return request

    def answered(self, ident: str | None) -> Request | None:
        """Take out the request that a reply with this `id` answers, if there is one."""
        return None if ident is None else self._open.pop(ident, None)

    def find(self, wanted: Callable[[Asking], bool]) -> Request | None:
        """Return the first open request whose command is wanted."""
        return next((r for r in self._open.values() if wanted(r.frame)), None)

    def lost(self, error: Callable[[], ChatError]) -> None:
        """The connection is gone: keep what is repeated and still waited for, fail the rest."""
        for ident, request in list(self._open.items()):
            if not (request.repeat and request.waiters):
                del self._open[ident]
                request.fail(error())

    def frames(self) -> list[Asking]:
        """Return the commands of the open requests, to be sent again."""
        return [request.frame for request in self._open.values()]

    def fail(self, error: Callable[[], ChatError]) -> None:
        """Fail them all: no reply will come."""
        requests, self._open = self._open, {}
        for request in requests.values():
            request.fail(error())
