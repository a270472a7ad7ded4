"""Handlers of what devices leave for each other: key packages; and the revocation list."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from trio_chat import names
from trio_chat.errors import NoUser, TextTooLong, TooMany
from trio_chat.limits import Limits
from trio_chat.protocol.frames import (
    ClaimPackages,
    Crl,
    DevicePackage,
    GetCrl,
    KeyPackages,
    Packages,
    PublishPackages,
)

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["Claims", "claim", "get_crl", "publish"]

PACKAGE_SIZE = 16 * 1024  # characters of base64
HOUR = 3600.0


class Claims:
    """Who has claimed key packages in the last hour, and how often."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._times: dict[names.Key, deque[float]] = {}

    def take(self, person: names.Key, now: float) -> None:
        """Note a claim of a person.

        Raises:
            TooMany: there were too many.
        """
        times = self._times.setdefault(person, deque())
        while times and times[0] <= now - HOUR:
            times.popleft()
        if len(times) >= self.limits.claims_per_hour:
            wait = max(1.0, round(times[0] + HOUR - now, 1))
            raise TooMany("too many key packages claimed; try again later", retry_after=wait)
        times.append(now)

    def forget(self, now: float) -> None:
        """Drop those of more than an hour ago."""
        for person, times in list(self._times.items()):
            if times[-1] <= now - HOUR:
                del self._times[person]


async def publish(server: Server, connection: Connection, frame: PublishPackages) -> None:
    """Keep key packages of this device; answer with how many there are."""
    limits = server.limits
    for package in (*frame.packages, frame.last or ""):
        if len(package) > PACKAGE_SIZE:
            raise TextTooLong(f"a key package may have {PACKAGE_SIZE} characters")
    person, device, now = connection.identity.key, connection.device, time.time()
    if frame.packages or frame.last is not None:
        await server.store.publish_packages(
            person,
            device,
            frame.packages,
            frame.last,
            now=now,
            keep=limits.key_packages,
            devices=limits.key_package_devices,
        )
    count = await server.store.count_packages(person, device, now - limits.key_package_life)
    connection.say(KeyPackages(count=count, id=frame.id))


async def claim(server: Server, connection: Connection, frame: ClaimPackages) -> None:
    """Hand out one key package of each device of a person."""
    person = names.key(frame.user)
    if not await server.knows(person):
        raise NoUser("nobody of that name has ever been here; `/users` lists who is")
    server.claims.take(connection.identity.key, trio.current_time())
    since = time.time() - server.limits.key_package_life
    found = await server.store.claim_packages(person, since)
    packages = [
        DevicePackage(device=each.device, package=each.package, last=each.last) for each in found
    ]
    user = server.name_of(person) or frame.user
    connection.say(Packages(user=user, packages=packages, id=frame.id))


async def get_crl(server: Server, connection: Connection, frame: GetCrl) -> None:
    """Answer with the revocation list in force."""
    connection.say(Crl(server.revocations.text, frame.id))
