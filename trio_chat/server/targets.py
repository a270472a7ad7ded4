"""Whom a ban, a mute or a kick means: from what somebody wrote to what is proven."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from trio_chat import names
from trio_chat.chat.sanctions import Subject, address_subject, device_subject, user_subject
from trio_chat.errors import BadFrame, NoUser

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["ADDRESS", "Target", "find_target", "read_target", "split_subject"]

ADDRESS = "address:"
"""What an address begins with where a name could stand as well: `10.0.0.1` is a name, too."""
_SHOWN = 8  # digits of an id that lists show


@attrs.frozen(kw_only=True)
class Target:
    """Who is meant.

    Attributes:
        user, device, address: As they are shown; of a device its name, or what its id begins with.
        person: Whose standing counts; None for an address.
    """

    subject: Subject
    person: names.Key | None = None
    user: str | None = None
    device: str | None = None
    address: str | None = None

    def __str__(self) -> str:
        if self.address is not None:
            return ADDRESS + self.address
        return f"{self.user}/{self.device}" if self.device is not None else f"{self.user}"

    @property
    def whole(self) -> bool:
        """Is it a person, with all their devices?"""
        return self.person is not None and self.device is None

    def meets(self, connections: Iterable[Connection]) -> list[Connection]:
        """Return those that are meant. Addresses of admins never are."""
        return [
            each
            for each in connections
            if self.subject in each.suspect.subjects()
            and not (self.address is not None and each.is_admin)
        ]


async def _find_person(server: Server, user: str, known: bool) -> tuple[names.Key, str]:
    key = names.key(user)
    if not await server.knows(key) and known:
        raise NoUser("nobody of that name has ever been here; `/users` lists who is")
    return key, server.name_of(key) or key


async def find_target(
    server: Server,
    user: str | None,
    device: str | None,
    address: str | None,
    *,
    known: bool = True,
) -> Target:
    """Return who is meant by one of a user, a user's device, and an address.

    Where something is ended that was begun once, nobody has to be `known`: a name is written down
    a little after somebody has come, and a ban of theirs may be older than what is left of that.

    Raises:
        BadFrame: it is not one of these.
        NoUser: nobody of that name was ever here.
        BadName: that is no address, or no device.
    """
    if address is not None:
        if user is not None or device is not None:
            raise BadFrame("either `user` or `address`, not both")
        return _address(address_subject(address))
    if user is None:
        raise BadFrame("it wants a `user` or an `address`")
    person, name = await _find_person(server, user, known)
    if device is None:
        return Target(subject=user_subject(person), person=person, user=name)
    subject = _device(server, person, device)
    shown = subject.rpartition("/")[2]
    return Target(subject=subject, person=person, user=name, device=shown)


def _address(subject: Subject) -> Target:
    return Target(subject=subject, address=subject.removeprefix(ADDRESS))


def _device(server: Server, person: names.Key, device: str) -> Subject:
    """Return the subject of a device as people write it, who see its name or part of its id.

    What an installation calls itself is its own word: its key is meant then.
    """
    for each in server.people.get(person, ()):
        whole, own = each.device, each.device.partition(".")[2]
        if device in (own, whole[:_SHOWN], whole[:_SHOWN] + whole[32:]):
            return device_subject(person, whole)
    subject = device_subject(person, device)
    if len(subject.rpartition("/")[2]) != 32:
        names.check_name(device)
    return subject


async def read_target(server: Server, who: str, *, known: bool = True) -> Target:
    """Return whom an order means: USER, USER/DEVICE, or `address:` and an address."""
    if who.startswith(ADDRESS):
        return await find_target(server, None, None, who.removeprefix(ADDRESS))
    user, slash, device = who.partition("/")
    return await find_target(server, user, device if slash else None, None, known=known)


def split_subject(subject: Subject) -> Iterator[tuple[str, str]]:
    """Yield what a subject says, as the fields `user`, `device` and `address`."""
    kind, _, rest = subject.partition(":")
    if kind != "device":
        yield kind, rest
        return
    user, _, device = rest.partition("/")
    yield "user", user
    yield "device", device
