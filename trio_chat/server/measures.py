"""Handlers of the orders that change something: each is written down by the desk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from cryptography import x509

from trio_chat import names
from trio_chat.errors import ConfigError, NoUser
from trio_chat.limits import Limits
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import Server as ServerSays
from trio_chat.server.checks import check_size
from trio_chat.server.config import ServerConfig
from trio_chat.server.orders import Announce, Backup, Drain, Kick, Lockdown, Reload, Revoke, Unlock
from trio_chat.server.pulse import look_at_list
from trio_chat.server.room import FAIRNESS
from trio_chat.store import back_up, load_or_make_key

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.desk import Desk
    from trio_chat.server.server import Server

__all__ = [
    "Done",
    "Files",
    "announce",
    "backup",
    "drain",
    "kick",
    "lockdown",
    "reload",
    "revoke",
    "unlock",
]

COME_BACK = 60.0  # s after which somebody who was kicked may come back


@attrs.frozen
class Done:
    """An order was carried out.

    Attributes:
        result: The answer.
        outcome: The same for the audit log, in words.
        afterwards: What is to happen when the answer has been given.
    """

    result: dict[str, Any]
    outcome: str = ""
    afterwards: Callable[[], None] | None = None


async def kick(desk: Desk, order: Kick) -> Done:
    """End the connections of a person or a device, and say that it was an admin."""
    found = list(_connections_of(desk.server, order.who))
    if not found:
        raise NoUser(f"{order.who} is not here; `admin users` lists who is")
    text = "an admin has ended this connection"
    for connection in found:
        connection.say(ServerSays(f"{text}: {order.reason}" if order.reason else text))
        connection.end("kicked", retry_after=COME_BACK)
    return Done({"ended": len(found)}, f"{len(found)} connections")


def _connections_of(server: Server, who: str) -> Iterator[Connection]:
    """Yield whose user is, or whose device is called, `who`."""
    user, slash, device = who.partition("/")
    for each in list(server.people.get(names.key(user), ())):
        called = (each.device, each.device.partition(".")[2], each.identity.device_name or "")
        if not slash or (device and names.key(device) in map(names.key, called)):
            yield each


async def announce(desk: Desk, order: Announce) -> Done:
    """Say something to everybody; who is behind gets it later."""
    check_size(order.text, desk.server.limits.text_size)
    told = await _tell_everybody(desk.server, order.text)
    return Done({"told": told}, f"{told} connections")


async def _tell_everybody(server: Server, text: str) -> int:
    line = encode(ServerSays(text))
    everybody = list(server.connections)
    for number, connection in enumerate(everybody, 1):
        connection.say_line(line)
        if number % FAIRNESS == 0:
            await trio.lowlevel.checkpoint()
    return len(everybody)


async def drain(desk: Desk, order: Drain) -> Done:
    """Stop the server, now or soon; a later order takes the place of an earlier one."""
    if desk.plan is not None:
        desk.plan.cancel()
        desk.plan = desk.stopping = None
    if not order.delay:
        return Done({"seconds": 0.0}, "now", desk.server.drain)
    await _tell_everybody(desk.server, f"this server stops in {_duration(order.delay)}")
    desk.plan, desk.stopping = trio.CancelScope(), trio.current_time() + order.delay
    desk.nursery.start_soon(_drain_later, desk.server, desk.plan, desk.stopping)
    return Done({"seconds": order.delay}, f"in {order.delay:g} s")


async def _drain_later(server: Server, scope: trio.CancelScope, at: float) -> None:
    with scope:
        await trio.sleep_until(at)
        server.drain()


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


async def reload(desk: Desk, order: Reload) -> Done:
    """Take over what has changed in the files, all or nothing, and say what it was."""
    before = desk.server.config
    config = await trio.to_thread.run_sync(desk.tools.configure)
    files = await trio.to_thread.run_sync(Files.read, config)
    await desk.server.reload(config)
    changes = [*_differences(before, config), *_differences_of(desk.files, files)]
    desk.files = files
    told = "; ".join(f"{name}: {old} -> {new}" for name, old, new in changes)
    keys = ("name", "old", "new")
    result = {"changes": [dict(zip(keys, each, strict=True)) for each in changes]}
    return Done(result, told or "nothing has changed")


_Change = tuple[str, str, str]


def _differences(old: ServerConfig, new: ServerConfig) -> Iterator[_Change]:
    """Yield what another configuration says otherwise: name, old, new. No secrets."""
    for field in attrs.fields(ServerConfig):
        if field.repr and field.name != "limits":
            yield from _change(field.name, getattr(old, field.name), getattr(new, field.name))
    for field in attrs.fields(Limits):
        name = f"limits.{field.name}"
        yield from _change(name, getattr(old.limits, field.name), getattr(new.limits, field.name))


@attrs.frozen
class Files:
    """What the files say that are named in a configuration, as far as people care."""

    certificate: str
    authority: str
    revoked: str

    @classmethod
    def read(cls, config: ServerConfig) -> Files:
        """Read them; what cannot be read is a dash."""
        return cls(_certificate(config.cert), _certificate(config.ca), _list_number(config.crl))


def _differences_of(old: Files, new: Files) -> Iterator[_Change]:
    for field in attrs.fields(Files):
        yield from _change(field.name, getattr(old, field.name), getattr(new, field.name))


def _change(name: str, old: object, new: object) -> Iterator[_Change]:
    if old != new:
        yield name, _shown(old), _shown(new)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _certificate(path: Path) -> str:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return "-"
    return f"{found.serial_number:x} until {found.not_valid_after_utc:%Y-%m-%d}"


def _list_number(path: Path) -> str:
    try:
        found = x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError):
        return "-"
    end = found.next_update_utc
    return f"{len(found)} certificates" + (f", good until {end:%Y-%m-%d}" if end else "")


async def revoke(desk: Desk, order: Revoke) -> Done:
    """Put certificates on the list, and end their connections at once."""
    server = desk.server
    here = list(server.connections)
    serials = await trio.to_thread.run_sync(desk.tools.revoke, order.what, order.certificate)
    await look_at_list(server)  # now, and not at the clock's next look
    ended = sum(server.revocations.revokes(each.identity) for each in here)
    result = {"serials": serials, "ended": ended}
    return Done(result, f"{', '.join(serials)}; {ended} connections")


async def backup(desk: Desk, order: Backup) -> Done:
    """Copy the database while it is in use; the copy is checked before it has its name."""
    target = Path(order.path)
    if not target.is_absolute():
        raise ConfigError("the path of a backup begins with /")
    database = desk.server.config.db
    key = await trio.to_thread.run_sync(load_or_make_key, database)
    size = await back_up(database, target, key=key)
    return Done({"path": str(target), "size": size, "key": f"{database}.key"}, f"{size} bytes")


async def lockdown(desk: Desk, order: Lockdown) -> Done:
    """Let in nobody new from now on; who is here stays, and may come back."""
    await desk.server.doors.lock()
    return Done({"since": desk.server.doors.since})


async def unlock(desk: Desk, order: Unlock) -> Done:
    """Be open again."""
    locked = desk.server.doors.since is not None
    await desk.server.doors.unlock()
    return Done({"was_locked": locked})
