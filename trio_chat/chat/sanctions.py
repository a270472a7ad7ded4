"""Bans and mutes: of whom, of which devices, from which addresses, and until when.

A *subject* is who or what is meant, as text, which is how it is kept:

    user:alice             a person, whatever the device
    device:alice/<name>    a device that alice's certificate names so
    device:alice/<32 hex>  all installations that use one key
    address:192.0.2.7      an IPv4 address; of IPv6 the /64 network, which one machine has

Nothing in it is a client's word: what a `hello` says of its device is not looked at. Pure; the
time is passed in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NewType

import attrs

from trio_chat import names
from trio_chat.errors import BadName

__all__ = [
    "Kind",
    "Sanction",
    "Sanctions",
    "Subject",
    "Suspect",
    "address_subject",
    "device_subject",
    "user_subject",
]

Kind = Literal["ban", "mute"]
Subject = NewType("Subject", str)

_KEY = re.compile(r"([0-9a-f]{32})(\.[A-Za-z0-9]{1,32})?", re.ASCII)


@attrs.frozen(kw_only=True)
class Sanction:
    """A ban or a mute that is in force until then; None: until it is lifted.

    Attributes:
        actor: Who did it, as people read it.
        since: When.
    """

    kind: Kind
    subject: Subject
    until: float | None
    actor: str = ""
    reason: str = ""
    since: float = 0.0

    def holds(self, now: float) -> bool:
        """Is it in force?"""
        return self.until is None or now < self.until


@attrs.frozen(kw_only=True)
class Suspect:
    """Somebody's connection, as far as sanctions care; all of it is proven.

    Attributes:
        key: The first half of the key's fingerprint.
        device: The name of the device in the certificate.
    """

    user: names.Key
    key: str
    device: str | None
    address: str

    def subjects(self) -> Iterator[Subject]:
        """Yield everything that this is meant by."""
        yield user_subject(self.user)
        yield Subject(f"device:{self.user}/{self.key}")
        if self.device is not None:
            yield Subject(f"device:{self.user}/{names.key(self.device)}")
        if (found := _network(self.address)) is not None:
            yield Subject(f"address:{found}")


def user_subject(user: str) -> Subject:
    """Return the subject of a person."""
    return Subject(f"user:{names.key(user)}")


def device_subject(user: str, device: str) -> Subject:
    """Return the subject of a device: its certificate's name for it, or its id on the wire."""
    found = _KEY.fullmatch(device)
    return Subject(f"device:{names.key(user)}/{found[1] if found else names.key(device)}")


def address_subject(address: str) -> Subject:
    """Return the subject of an IP address.

    Raises:
        BadName: it is none.
    """
    found = _network(address)
    if found is None:
        raise BadName("that is no IP address")
    return Subject(f"address:{found}")


def _network(address: str) -> str | None:
    """Return an address as it is compared, None if it is none (a unix socket's, say)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


class Sanctions:
    """Those of a room, or of the whole server."""

    def __init__(self, found: Iterable[Sanction] = ()) -> None:
        self._found = {(each.kind, each.subject): each for each in found}

    def __iter__(self) -> Iterator[Sanction]:
        return iter(list(self._found.values()))

    def __bool__(self) -> bool:
        return bool(self._found)

    def put(self, sanction: Sanction) -> None:
        """Have a sanction in force; it takes the place of one of that kind and subject."""
        self._found[sanction.kind, sanction.subject] = sanction

    def lift(self, kind: Kind, subject: Subject) -> None:
        """End a sanction."""
        self._found.pop((kind, subject), None)

    def get(self, kind: Kind, subject: Subject, now: float) -> Sanction | None:
        """Return the sanction of exactly that subject, if it is in force."""
        found = self._found.get((kind, subject))
        return found if found is not None and found.holds(now) else None

    def against(
        self, kind: Kind, who: Suspect, now: float, *, address: bool = True
    ) -> Sanction | None:
        """Return a sanction that meets somebody, the one that lasts longest.

        Without `address`, those of addresses are left out.
        """
        if not self._found:
            return None
        met = [self.get(kind, subject, now) for subject in who.subjects()]
        held = [
            each
            for each in met
            if each is not None and (address or not each.subject.startswith("address:"))
        ]
        return max(held, key=_end, default=None)

    def forget(self, now: float) -> None:
        """Drop those that are over."""
        self._found = {place: each for place, each in self._found.items() if each.holds(now)}


def _end(sanction: Sanction) -> float:
    return float("inf") if sanction.until is None else sanction.until
