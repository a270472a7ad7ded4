"""The server: what all its connections share, and how it begins and ends.

Nurseries, from the outside in: the store's, then one for rooms and connections, then one
for accepting and for the clock. Draining cancels the innermost, tells the connections, and
puts a deadline on the rest; nothing outlives `serve`.
"""

from __future__ import annotations

import itertools
import logging
import socket
import time

import attrs
import trio

from trio_chat import __version__, names
from trio_chat.chat.sanctions import Sanctions
from trio_chat.errors import ConfigError
from trio_chat.limits import Limits
from trio_chat.pki import Enroller
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import PROTOCOL, CrlChanged, Direct, Event, InputLimit, Welcome
from trio_chat.server.accounts import Accounts
from trio_chat.server.admission import Admission
from trio_chat.server.config import ServerConfig
from trio_chat.server.connection import Connection
from trio_chat.server.desk import Desk
from trio_chat.server.directory import Claims
from trio_chat.server.doors import Doors
from trio_chat.server.enrolment import open_enroller
from trio_chat.server.listener import accept, open_listeners
from trio_chat.server.pulse import (
    expire_history,
    keep_pulse,
    watch_revocations,
    write_down_people,
)
from trio_chat.server.revocation import Revocations
from trio_chat.server.room import FAIRNESS, Room
from trio_chat.server.room_passwords import RoomPasswords
from trio_chat.server.rooms import Rooms, have_rooms
from trio_chat.server.uploads import Uploads
from trio_chat.store import Store, load_or_make_key, open_store
from trio_chat.tls import TappedContext, server_context

__all__ = ["Server", "Statistics", "serve"]

log = logging.getLogger("trio_chat.server")

TOGETHER = 64  # newcomers written down at once: a task each
SOON = 2.0  # s after which a client may come back when the server restarts


@attrs.frozen(kw_only=True)
class Statistics:
    """How much of everything there is now."""

    connections: int
    unauthenticated: int
    behind: int
    people: int
    rooms: int
    uptime: float  # seconds


class Server:
    """A running server. No public constructor: `nursery.start(serve, config)` gives one.

    Attributes:
        addresses: Where it listens, as (host, port).
        modes: The modes of the rooms that it was told to have, which may be others than told.
        connections: Those that have been welcomed.
        people: The same by person.
        enroller: Who signs for those who are invited; None if nobody can.
        sanctions: Who is banned from the server, or muted everywhere.
        desk: Where orders of admins are carried out, if it takes any.
        stopped: Set when it has ended and its database can be opened by another.
    """

    def __init__(
        self,
        config: ServerConfig,
        enroller: Enroller | None,
        context: TappedContext,
        revocations: Revocations,
        store: Store,
        nursery: trio.Nursery,
        stopped: trio.Event,
    ) -> None:
        self.config = config
        self.enroller = enroller
        self.signing = trio.CapacityLimiter(1)  # at the CA's files; the disk is the limit
        self.context = context
        self.revocations = revocations
        self.store = store
        self.nursery = nursery
        self.rooms = Rooms(store, config.limits, self._heed, nursery)
        self.admission: Admission[Connection] = Admission(config.limits)
        self.uploads = Uploads(config.limits)
        self.claims = Claims(config.limits)
        self.accounts = Accounts(config.limits)
        self.doors = Doors(store)
        self.room_passwords = RoomPasswords(config.limits)
        self.sanctions = Sanctions()
        self.stopped = stopped
        self.modes: dict[str, str] = {}
        self.desk: Desk | None = None
        self.addresses: list[tuple[str, int]] = []
        self.connections: dict[Connection, None] = {}
        self.people: dict[names.Key, list[Connection]] = {}
        self._devices: dict[str, Connection] = {}
        self._names: dict[names.Key, str] = {}  # people that were ever here, as far as asked
        self._newcomers: dict[names.Key, str] = {}
        self._started = trio.current_time()
        self._accepting = trio.CancelScope()
        self._draining = False
        self._list_remembered = False

    # --- for whoever embeds it -----------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.config.limits

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.addresses[0][1]

    @property
    def draining(self) -> bool:
        """Has it been told to stop?"""
        return self._draining

    def statistics(self) -> Statistics:
        """Count what there is."""
        return Statistics(
            connections=len(self.connections),
            unauthenticated=self.admission.waiting_count,
            behind=sum(each.behind for each in self.connections),
            people=len(self.people),
            rooms=len(self.rooms),
            uptime=trio.current_time() - self._started,
        )

    def drain(self) -> None:
        """Stop: accept nobody, tell everybody, commit what was accepted, end. Twice: at once."""
        if self._draining:
            self.nursery.cancel_scope.cancel()
            return
        self._draining = True
        self._accepting.cancel()
        for connection in list(self.connections):
            connection.end("shutdown", retry_after=SOON)
        for waiting in list(self.admission.waiting.values()):
            for connection in list(waiting):
                connection.make_room()
        self.nursery.cancel_scope.deadline = trio.current_time() + self.limits.drain_timeout

    async def reload(self, config: ServerConfig) -> None:
        """Take over certificates, revocation list, limits and rooms: all or nothing.

        Connections that are there keep what they have; what is revoked now ends.

        Raises:
            ConfigError: something of it cannot be used, or would need a restart.
        """
        for name in ("host", "port", "db", "durability", "ca"):
            if getattr(config, name) != getattr(self.config, name):
                raise ConfigError(f"a change of `{name}` needs a restart")
        enroller = open_enroller(config.ca)
        context = _context(config, enroller)
        revocations = Revocations(config.crl, config.ca)
        revocations.load(seen=self.revocations.seen)
        self.modes = await have_rooms(self.store, config)
        changed = revocations.text != self.revocations.text
        self.config, self.context, self.revocations = config, context, revocations
        for each in (self.rooms, self.admission, self.uploads, self.claims, self.accounts):
            each.limits = config.limits
        self.room_passwords.limits = config.limits
        self.enroller = enroller
        self.end_revoked()
        if changed:
            await self.tell_of_list()

    # --- connections ---------------------------------------------------------------------

    def receive(self, sock: socket.socket, address: str) -> None:
        """Serve an accepted socket."""
        slots = self.admission.slots_for(address, trio.current_time())
        connection = Connection(self, sock, address, slots)
        self.admission.apply(connection)
        self.nursery.start_soon(connection.run, name=f"connection {connection.id}")

    async def register(self, connection: Connection) -> bool:
        """Let a connection in as its device; return false if there are too many.

        An older connection of the same device is ended first, and has left every room when
        this returns, so what it said is in its rooms' order already.
        """
        key = connection.identity.key
        device = connection.device  # one key is one device, whatever its certificates say
        while (older := self._devices.get(device)) is not None:
            older.end("taken-over")
            await older.left()
        limits = self.limits
        same_person = self.people.get(key, ())
        if (
            len(same_person) >= limits.connections_per_identity
            or self.admission.here[connection.address] >= limits.connections_per_address
        ):
            return False
        self._devices[device] = connection
        self.people.setdefault(key, []).append(connection)
        self.connections[connection] = None
        self.admission.withdraw(connection)
        self.admission.here[connection.address] += 1
        if key not in self._names:
            self._names[key] = self._newcomers[key] = connection.identity.user
        return True

    def forget(self, connection: Connection, authenticated: bool) -> None:
        """Free what `receive` and `register` took."""
        self.admission.withdraw(connection)
        if not authenticated:
            self.admission.fail(connection.address, trio.current_time())
        if connection not in self.connections:
            return
        del self.connections[connection]
        key = connection.identity.key
        del self._devices[connection.device]
        self.people[key].remove(connection)
        if not self.people[key]:
            del self.people[key]
        self.admission.here[connection.address] -= 1
        if not self.admission.here[connection.address]:
            del self.admission.here[connection.address]

    def welcome(self, connection: Connection, bot: bool) -> Welcome:
        """Return the answer to a connection's `hello`."""
        limits = self.limits
        return Welcome(
            protocol=PROTOCOL,
            server=f"trio-chat/{__version__}",
            user=connection.identity.user,
            device=connection.device,
            roles=sorted(connection.identity.roles),
            log=self.store.log_id,
            time=round(time.time(), 3),
            input=InputLimit(
                limits.bot_input_burst if bot else limits.input_burst,
                limits.bot_input_rate if bot else limits.input_rate,
            ),
            text_size=limits.text_size,
        )

    def end_revoked(self) -> None:
        """End the connections whose certificates are on the list now."""
        for connection in list(self.connections):
            if self.revocations.revokes(connection.identity):
                connection.end("revoked")

    async def tell_of_list(self) -> None:
        """Tell everybody that there is another revocation list."""
        line = encode(CrlChanged())
        for number, connection in enumerate(list(self.connections), 1):
            if not connection.far_behind:
                connection.say_line(line)
            if number % FAIRNESS == 0:
                await trio.lowlevel.checkpoint()

    async def remember_list(self) -> None:
        """Write down that there is a revocation list: it must not just vanish."""
        if self.revocations.seen and not self._list_remembered:
            await self.store.put("crl", b"seen", rev=None)
            self._list_remembered = True

    # --- people --------------------------------------------------------------------------

    async def knows(self, person: names.Key) -> bool:
        """Was this person ever here?"""
        if person in self._names:
            return True
        found = await self.store.get(f"person:{person}")
        if found is not None:
            self._names[person] = found.data.decode()
        return found is not None

    def name_of(self, person: names.Key) -> str | None:
        """Return the name as that person spells it, if it is in memory."""
        return self._names.get(person)

    def tell(self, person: names.Key, frame: Event) -> None:
        """Tell all connections of a person, but those that are owed too much already."""
        for connection in self.people.get(person, ()):
            if not connection.far_behind:
                connection.say(frame)

    async def remember_people(self) -> None:
        """Write down who has come for the first time; called by the clock and at the end."""
        while self._newcomers:
            async with trio.open_nursery() as nursery:
                for person, name in itertools.islice(self._newcomers.items(), TOGETHER):
                    nursery.start_soon(self._remember, person, name)

    async def _remember(self, person: names.Key, name: str) -> None:
        await self.store.put(f"person:{person}", name.encode(), rev=None)
        self._newcomers.pop(person, None)

    def _heed(self, room: Room) -> None:
        """Note that something was said in a room."""
        self.admission.talked = room.touched
        if names.is_direct(room.name):
            self._tell_absent(room)

    def _tell_absent(self, room: Room) -> None:
        """Tell the two of a two-person room that there is something, where it is not open."""
        for person in room.key[1:].split("+"):
            key = names.Key(person)
            peer = names.peer_of(room.name, person)
            assert peer is not None
            frame = Direct(room=room.name, user=self._names.get(peer, peer), seq=room.ledger.seq)
            for connection in self.people.get(key, ()):
                if connection not in room.cursors and room.name not in connection.noticed:
                    connection.noticed |= {room.name}
                    connection.say(frame)


async def serve(
    config: ServerConfig, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run a server until it is drained or cancelled; `task_status` gives the `Server`.

    Raises:
        ConfigError: a file or option is wrong, or the address cannot be had.
        StoreError: the database cannot be opened or written any more.
    """
    enroller = open_enroller(config.ca)
    context = _context(config, enroller)
    key = load_or_make_key(config.db)
    stopped = trio.Event()
    try:
        async with open_store(config.db, key=key, durability=config.durability) as store:
            revocations = Revocations(config.crl, config.ca)
            revocations.load(seen=await store.get("crl") is not None)
            modes = await have_rooms(store, config)
            listeners = open_listeners(config.host, config.port)
            try:
                async with trio.open_nursery() as nursery:
                    server = Server(config, enroller, context, revocations, store, nursery, stopped)
                    server.modes = modes
                    server.sanctions = Sanctions(await store.read_sanctions())
                    server.addresses = [each.getsockname()[:2] for each in listeners]
                    await server.remember_list()
                    await server.doors.load()
                    await _run(server, listeners, task_status)
            finally:
                _close(listeners)
    finally:
        stopped.set()


async def _run(
    server: Server, listeners: list[socket.socket], task_status: trio.TaskStatus[Server]
) -> None:
    """Accept until drained; connections and rooms go on in the server's nursery."""
    with server._accepting:
        async with trio.open_nursery() as clock:
            for listener in listeners:
                clock.start_soon(accept, server, listener)
            clock.start_soon(keep_pulse, server)
            clock.start_soon(watch_revocations, server)
            clock.start_soon(expire_history, server)
            task_status.started(server)
    _close(listeners)
    await write_down_people(server)


def _context(config: ServerConfig, enroller: Enroller | None) -> TappedContext:
    return server_context(
        config.cert,
        config.key,
        config.ca,
        passphrase=config.passphrase,
        strangers=enroller is not None,
    )


def _close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        if listener.fileno() >= 0:
            trio.lowlevel.notify_closing(listener)
            listener.close()
