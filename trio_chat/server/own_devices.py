"""A person's devices, as their certificates tell, and the end of one that was lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat import names
from trio_chat.errors import BadFrame, ConfigError, Forbidden, NoEnrolment, NoUser
from trio_chat.identity import ADMIN
from trio_chat.pki import Entry, Place, list_issued, serial_text
from trio_chat.protocol.frames import Devices, ListDevices, Ok, OwnDevice, RevokeDevice
from trio_chat.server import orders

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["list_devices", "revoke_device"]

_SHORTEST = 8  # digits of a device's id or of a serial number that tell it from others


async def list_devices(server: Server, connection: Connection, frame: ListDevices) -> None:
    """List one's own devices; an admin may look at anybody's."""
    user = _whose(connection, frame.user)
    found = await _devices(server, user)
    if not found:
        raise NoUser(f"no certificate of {user} is valid now")
    connection.say(Devices(user=user, devices=found, id=frame.id))


async def revoke_device(server: Server, connection: Connection, frame: RevokeDevice) -> None:
    """Revoke the certificates of one device; its connections end before the answer."""
    user = _whose(connection, frame.user)
    found = [each for each in await _devices(server, user) if _is_called(each, frame.device)]
    if not found:
        raise NoUser(f"{user} has no device of that name; `/devices` lists them")
    if len(found) > 1:
        which = ", ".join(each.serial for each in found)
        raise BadFrame(f"that can be any of several; say which by its number: {which}")
    (device,) = found
    if connection.identity.fingerprint.startswith(device.device):
        raise Forbidden("that is the device you are using; revoke it from another one")
    if server.desk is None:
        raise Forbidden("this server takes no orders")
    shown = f"{user}/{device.name or device.device}"
    actor = f"user {connection.identity.user} ({connection.device})"
    order = orders.RevokeDevice(what=device.serial, shown=f"{shown} {device.serial}")
    try:
        await server.desk.do(actor, order)
    except ConfigError:
        raise NoEnrolment(
            "the server has no key to sign its revocation list with; whoever has the CA's key "
            f"types: trio-chat pki revoke {device.serial}"
        ) from None
    connection.say(Ok(id=frame.id))


def _whose(connection: Connection, user: str | None) -> str:
    """Return whose devices it is about.

    Raises:
        Forbidden: somebody else's, and who asks is no admin.
    """
    identity = connection.identity
    if user is None or names.key(user) == identity.key:
        return identity.user
    if ADMIN not in identity.roles:
        raise Forbidden("these are somebody else's devices; an admin may do that")
    return names.check_name(user)


async def _devices(server: Server, user: str) -> list[OwnDevice]:
    try:
        issued = await trio.to_thread.run_sync(_books, server, limiter=server.signing)
    except ConfigError:
        issued = []  # then those that are here
    now = dt.datetime.now(dt.UTC)
    here = {
        each.identity.fingerprint: each.identity for each in server.people.get(names.key(user), ())
    }
    newest: dict[str, OwnDevice] = {}
    for entry in issued:
        if names.key(entry.name) == names.key(user) and _counts(entry, now):
            assert entry.fingerprint is not None
            assert entry.not_after is not None
            device = OwnDevice(
                device=entry.fingerprint[:32],
                serial=f"0x{serial_text(entry.serial)}",
                here=entry.fingerprint in here,
                name=entry.device,
                until=entry.not_after.timestamp(),
            )
            before = newest.get(entry.fingerprint)
            if before is None or (before.until or 0) < entry.not_after.timestamp():
                newest[entry.fingerprint] = device
    for fingerprint, identity in here.items():
        if fingerprint not in newest:  # issued elsewhere, by plain `openssl` say
            serial = f"0x{serial_text(identity.serial)}"
            newest[fingerprint] = OwnDevice(
                device=fingerprint[:32], serial=serial, here=True, name=identity.device_name
            )
    return sorted(newest.values(), key=lambda each: (not each.here, each.name or "", each.serial))


def _books(server: Server) -> list[Entry]:
    """Return all that was issued; read anew only if it has changed, for reading takes long."""
    place = Place(server.config.ca)
    stamp = [_changed(path) for path in (place.issued, place.crl, place.ca)]
    before, found = server.accounts.books
    if stamp != before:
        found = list_issued(place)
        server.accounts.books = (stamp, found)
    return found


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _counts(entry: Entry, now: dt.datetime) -> bool:
    """Can it still be used?"""
    ended = entry.not_after is None or entry.not_after <= now
    return entry.kind == "client" and entry.revoked is None and not ended


def _is_called(device: OwnDevice, word: str) -> bool:
    return any(word == each for each in _words(device, len(word)))


def _words(device: OwnDevice, length: int) -> Iterator[str]:
    """Yield what a device may be called by a word of that length."""
    if device.name is not None:
        yield device.name
    yield from (device.serial, device.serial.removeprefix("0x"), device.serial.lower())
    if length >= _SHORTEST:
        yield device.device[:length]
