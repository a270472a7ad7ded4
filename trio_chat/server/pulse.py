"""What happens by the clock: heartbeats, counts of large rooms, the revocation list, retention.

One task each for the whole server, none for a connection: an idle connection costs nothing
but its place in a list.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import StoreError
from trio_chat.limits import Limits
from trio_chat.protocol.frames import Ping
from trio_chat.server.room import FAIRNESS
from trio_chat.store import AuditEntry

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = [
    "expire_history",
    "keep_pulse",
    "look_at_list",
    "watch_revocations",
    "write_down_people",
]

log = logging.getLogger("trio_chat.server")

TICK = 1.0  # s between looks at rooms and connections
TAIL_IDLE = 10.0  # s after which a silent room's newest messages leave memory
WATCH = 0.5  # s between looks at the revocation list
EXPIRE = 3600.0  # s between clearings of old history


async def keep_pulse(server: Server) -> None:
    """Ask silent connections for a sign of life, end dead ones, tell large rooms' counts."""
    while True:
        await trio.sleep(TICK)
        now = trio.current_time()
        for number, connection in enumerate(list(server.connections), 1):
            _beat(connection, server.limits, now)
            if connection.upload is not None and connection.upload.is_idle(now):
                connection.drop_upload()
            if number % FAIRNESS == 0:
                await trio.lowlevel.checkpoint()
        for room in server.rooms:
            if (count := room.roster.tell_count()) is not None:
                room.cast(count)
            if room.touched < now - TAIL_IDLE:
                room.drop_tail()
        server.admission.forget(now)
        server.claims.forget(now)
        server.accounts.forget(now)
        server.room_passwords.forget(now)
        await write_down_people(server)


def _beat(connection: Connection, limits: Limits, now: float) -> None:
    """Ask, end, or leave alone. Whoever is asked has time to answer, however long it was silent."""
    silent = now - connection.heard
    if connection.wire.blocked or connection.busy:
        # Not its fault; the kernel decides (TCP_USER_TIMEOUT). But whoever is behind
        # for longer than anything is kept will never catch up.
        connection.pinged = None
        if silent > limits.retention:
            connection.end("behind for too long")
    elif silent < limits.heartbeat_interval:
        connection.pinged = None
    elif connection.pinged is None:
        connection.pinged = now
        connection.say(Ping())
    elif now - connection.pinged > limits.heartbeat_timeout - limits.heartbeat_interval:
        connection.end("silent")


async def write_down_people(server: Server) -> None:
    """Write down who has come for the first time."""
    try:
        await server.doors.remember()
        await server.remember_people()
    except* StoreError as group:
        log.error("cannot write down who was here: %s", group.exceptions[0])


async def watch_revocations(server: Server) -> None:
    """Look at the list all the time; end what it revokes within a second."""
    told: str | None = None
    while True:
        await trio.sleep(WATCH)
        if await look_at_list(server):
            await _write_down_revoked(server)
        problem = server.revocations.problem(time.time())
        if problem != told:
            told, path = problem, server.revocations.path
            if problem is None:
                log.info("revocation list %s is in order again", path)
            else:
                log.error("revocation list %s: %s; nobody new is let in", path, problem)
        await _remember_list(server)


async def look_at_list(server: Server) -> bool:
    """Take over a list that has changed; return whether more are revoked now, and have ended."""
    before = server.revocations.text
    grown = server.revocations.refresh()
    if grown:
        server.end_revoked()
    if server.revocations.text != before:
        await server.tell_of_list()
    return grown


async def _write_down_revoked(server: Server) -> None:
    """Put into the audit log that somebody else has changed the list, `pki revoke` say."""
    serials = ", ".join(f"0x{serial:X}" for serial in server.revocations.added[:20])
    entry = AuditEntry(
        time=round(time.time(), 3),
        actor="revocation list",
        action="revoke",
        target=serials,
        outcome=f"done: {len(server.revocations.added)} certificates",
    )
    try:
        await server.store.add_audit(entry)
    except StoreError as error:
        log.error("cannot write down what was revoked: %s", error)


async def _remember_list(server: Server) -> None:
    try:
        await server.remember_list()
    except StoreError as error:
        log.error("cannot write down that there is a revocation list: %s", error)


async def expire_history(server: Server) -> None:
    """Delete what is older than retention, at start and every hour."""
    while True:
        try:
            firsts = dict(await server.store.expire(time.time() - server.limits.retention))
            for room in server.rooms:
                if room.id in firsts:
                    room.first = firsts[room.id]
                    room.drop_tail()
            await _expire_beside(server)
        except StoreError as error:
            log.error("cannot delete old history: %s", error)
        await trio.sleep(EXPIRE)


async def _expire_beside(server: Server) -> None:
    """Delete old Welcomes and their blobs, key packages, and bans and mutes that are over."""
    now, limits = time.time(), server.limits
    trees = await server.store.expire_welcomes(now - limits.retention)
    for room in server.rooms:
        if room.id in trees:
            room.ledger.trees &= trees[room.id]
    await server.store.expire_packages(now - limits.key_package_life)
    await server.store.expire_sanctions(now)
    for sanctions in (server.sanctions, *(room.house.sanctions for room in server.rooms)):
        sanctions.forget(now)
