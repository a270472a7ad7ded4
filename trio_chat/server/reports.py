"""Handlers of the orders that only ask. Their answers are plain data, for JSON."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from cryptography import x509

from trio_chat import __version__, names
from trio_chat.server.measures import Done
from trio_chat.server.orders import PAGE, Audit, Rooms, Status, Tree, Users, VerifyAudit
from trio_chat.server.tree import running_tasks
from trio_chat.store import AuditChain, AuditRow

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.desk import Desk
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["audit", "rooms", "status", "tree", "users", "verify_audit"]

Fields = dict[str, Any]


async def status(desk: Desk, order: Status) -> Done:
    """Tell how the server is, in numbers."""
    server = desk.server
    config = server.config
    ends, size = await trio.to_thread.run_sync(_look_at_files, (config.cert, config.ca), config.db)
    now = time.time()
    expires = server.revocations.expires
    store = server.store.statistics()
    stopping = None if desk.stopping is None else max(desk.stopping - trio.current_time(), 0.0)
    return Done(
        {
            "server": f"trio-chat/{__version__}",
            "pid": os.getpid(),
            "time": now,
            "addresses": [list(each) for each in server.addresses],
            **attrs.asdict(server.statistics()),
            "draining": server.draining,
            "drains_in": stopping,
            "locked_since": server.doors.since,
            "tasks": sum(1 for _ in running_tasks()),
            "memory": _resident(),
            "database": {"size": size, "log": server.store.log_id, **attrs.asdict(store)},
            "durability": config.durability,
            "certificate_ends": ends[0],
            "ca_ends": ends[1],
            "crl_ends": None if expires == float("inf") else expires,
            "crl_problem": server.revocations.problem(now),
        }
    )


def _look_at_files(
    certificates: tuple[Path, ...], database: Path
) -> tuple[list[float | None], int]:
    """Return when these certificates end, and how many bytes the database has."""
    size = 0
    for end in ("", "-wal"):
        try:
            size += Path(f"{database}{end}").stat().st_size
        except OSError:
            continue
    return [_end_of(path) for path in certificates], size


def _end_of(path: Path) -> float | None:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None
    return found.not_valid_after_utc.timestamp()


def _resident() -> int | None:
    """Return the bytes of memory in use; where only the most ever used is known, those."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


async def tree(desk: Desk, order: Tree) -> Done:
    """List the running tasks, each below the one whose nursery it runs in."""
    details = dict(_details(desk.server))
    return Done(
        {
            "tasks": [
                {
                    "depth": depth,
                    "name": task.name,
                    "age": round(desk.ages.age(task), 3),
                    **details.get(task.name, {}),
                }
                for depth, task in running_tasks()
            ]
        }
    )


def _details(server: Server) -> Iterator[tuple[str, Fields]]:
    """Yield what there is to say of some tasks, by their names."""
    for room in server.rooms:
        yield f"room {room.name}", _of_room(room)
    for each in server.connections:
        yield (
            f"connection {each.id}",
            {"user": each.identity.user, "rooms": len(each.cursors), "behind": each.behind},
        )


def _of_room(room: Room) -> Fields:
    waiting = room.inbox.statistics()
    return {
        "members": len(room.cursors),
        "queue": waiting.current_buffer_used,
        "senders": waiting.tasks_waiting_send,
    }


async def rooms(desk: Desk, order: Rooms) -> Done:
    """List a page of the rooms; two-person rooms only while somebody is in them."""
    server = desk.server
    rows = await server.store.every_room(order.after, order.limit)
    listed = [
        {"room": row.name, "mode": row.mode, "topic": row.topic, "seq": row.seq} for row in rows
    ]
    if not order.after:
        direct = sorted(room.name for room in server.rooms if names.is_direct(room.name))
        listed = [_active_room(server, name) for name in direct] + listed
    found = [{**each, **_presence(server, str(each["room"]))} for each in listed]
    more = names.key(rows[-1].name) if len(rows) == order.limit else None
    return Done({"rooms": found, "next": more})


def _active_room(server: Server, name: str) -> Fields:
    room = server.rooms.active(name)
    assert room is not None
    return {"room": name, "mode": room.mode, "topic": "", "seq": room.ledger.seq}


def _presence(server: Server, name: str) -> Fields:
    room = server.rooms.active(name)
    return _of_room(room) if room else {"members": 0, "queue": 0, "senders": 0}


async def users(desk: Desk, order: Users) -> Done:
    """List who is connected, device by device."""
    now = trio.current_time()
    found = sorted(desk.server.connections, key=lambda each: (each.identity.key, each.device))
    return Done({"users": [_user(each, now) for each in found]})


def _user(connection: Connection, now: float) -> Fields:
    identity = connection.identity
    return {
        "user": identity.user,
        "device": connection.device,
        "name": identity.device_name,
        "roles": sorted(identity.roles),
        "address": connection.address,
        "rooms": len(connection.cursors),
        "nick": connection.nick,
        "away": connection.away,
        "behind": connection.behind,
        "here": round(now - connection.since, 3),
        "silent": round(now - connection.heard, 3),
        "serial": f"{identity.serial:x}",
    }


async def audit(desk: Desk, order: Audit) -> Done:
    """Read entries of the audit log."""
    store = desk.server.store
    newest = await store.last_audit()
    after = max(newest - order.limit, 0) if order.after is None else order.after
    rows = await store.read_audit(after, order.limit)
    return Done({"entries": [{**row.fields(), "hash": row.hash} for row in rows], "newest": newest})


async def verify_audit(desk: Desk, order: VerifyAudit) -> Done:
    """Follow the hashes from the first entry; stop at the first that is wrong."""
    chain = AuditChain()
    begun: set[int] = set()
    problem = None
    while problem is None and (rows := await desk.server.store.read_audit(chain.n, PAGE)):
        for row in rows:
            problem = chain.follow(row)
            if problem is not None:
                break
            _match(row, begun)
    return Done(
        {"entries": chain.n, "hash": chain.hash, "problem": problem, "unfinished": sorted(begun)}
    )


def _match(row: AuditRow, begun: set[int]) -> None:
    """Keep the numbers of entries whose outcome has not come yet."""
    fields = row.fields()
    if fields.get("of") is not None:
        begun.discard(fields["of"])
    elif fields.get("outcome") == "begun":
        begun.add(row.n)
