"""A server in a few lines, by the rules of docs/protocol.md, and peers that talk through it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random  # noqa: TID251 - repeatable, from a seed

import attrs

from tests.e2ee.makers import NOW, Person
from trio_chat import names
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import (
    Claim,
    Event,
    FetchInfo,
    FetchList,
    FetchWelcome,
    Info,
    LogEntry,
    Offer,
    Parcel,
    Said,
    Send,
    Unreadable,
    Wait,
    Welcomed,
)
from trio_chat.e2ee.identity import Authenticator, Device
from trio_chat.e2ee.payload import Text
from trio_chat.e2ee.people import People
from trio_chat.e2ee.place import Place
from trio_chat.e2ee.store import SealedStore

START = NOW.timestamp()


@attrs.define(eq=False)
class Server:
    """One room, and the directory."""

    room: str
    open: bool = True
    log: list[LogEntry] = attrs.field(factory=list)
    epoch: int = 0
    counters: dict[str, int] = attrs.field(factory=dict)
    info: Info | None = None
    welcomes: dict[str, Welcomed] = attrs.field(factory=dict)
    packages: dict[str, list[bytes]] = attrs.field(factory=dict)  # device -> packages
    owners: dict[str, str] = attrs.field(factory=dict)  # device -> user
    makers: dict[str, str] = attrs.field(factory=dict)  # room -> who made it
    now: float = START
    losers: int = 0
    lists: Authenticator | None = None  # with the newest revocation list

    def take(self, peer: Peer, parcel: Parcel) -> None:
        """Take a parcel, or refuse it."""
        last = self.counters.get(peer.wire, 0)
        if parcel.n != last + 1:
            peer.refused(parcel.n, "out-of-order")
            return
        begins = parcel.kind == "create"
        if parcel.epoch != self.epoch or (self.epoch == 0 and not begins):
            self.losers += parcel.kind in ("commit", "create")
            peer.refused(parcel.n, "stale", self.epoch)
            return
        self.counters[peer.wire] = parcel.n
        entry = LogEntry(
            seq=len(self.log) + 1,
            time=self.now,
            user=peer.user,
            device=peer.wire,
            n=parcel.n,
            epoch=parcel.epoch,
            kind=parcel.kind,
            body=parcel.body,
        )
        self.log.append(entry)
        if parcel.kind in ("commit", "create"):
            assert parcel.info is not None
            assert parcel.tree is not None
            self.epoch += 1
            self.info = Info(epoch=self.epoch, seq=entry.seq, body=parcel.info, tree=parcel.tree)
            for devices, body in parcel.welcomes:
                for device in devices:
                    self.welcomes[device] = Welcomed(
                        epoch=self.epoch, seq=entry.seq, body=body, tree=parcel.tree
                    )

    def claim(self, user: str) -> list[Offer]:
        """Give out one key package of each device of a user."""
        found = []
        for device, packages in self.packages.items():
            if names.key(self.owners[device]) == names.key(user) and packages:
                package = packages.pop(0) if len(packages) > 1 else packages[0]
                found.append(Offer(device, package))
        return found


class Peer:
    """A device in the room: its store, its conversation, and what is on its way between."""

    def __init__(
        self,
        server: Server,
        person: Person,
        folder: Path,
        called: str = "laptop",
        *,
        random: Random | None = None,
    ) -> None:
        self.server = server
        self.person = person
        self.user = person.certificate.subject.rfc4514_string().removeprefix("CN=")
        self.device: Device = person.device(called)
        self.wire = hashlib.sha256(self.device.id).hexdigest()[:32]
        self.path = folder / f"{self.wire}.store"
        self.random = random or Random(self.wire)
        self.authority = Authenticator([person.issuers[-1].certificate])
        self.store: SealedStore
        self.conversation: Conversation
        self.events: list[Event] = []
        self.sent: list[Parcel] = []  # on their way to the server
        self.answers: list[tuple[int, str, int]] = []  # and the errors on their way back
        self.read = 0  # entries on their way
        self.life = 0  # which connection it is
        self.wait: float | None = None
        self.online = False
        self.between: Callable[[], None] = lambda: None  # called between any two steps
        self.open_store()
        with self.store.event() as changes:
            last = self.account.publish(changes, 1, server.now, last_resort=True)
            server.packages[self.wire] = [
                *self.account.publish(changes, 5, server.now),
                *last,
            ]
        server.owners[self.wire] = self.user

    def __repr__(self) -> str:
        return f"<Peer {self.user}/{self.device.name}>"

    def open_store(self) -> None:
        """Start the program."""
        self.store = SealedStore.open(self.path, bytes(32))
        self.account = Account(
            wire=self.wire,
            device=self.device,
            store=self.store,
            authenticator=self.authority,
            people=People(self.store.pins()),
            uniform=self.random.uniform,
        )
        server = self.server
        server.makers.setdefault(server.room, self.user)
        owner = server.room.startswith("~") or server.makers[server.room] == self.user
        place = Place(server.room, self.user, server.open, owner)
        self.conversation = Conversation(self.account, place)

    def restart(self) -> None:
        """End the program without a word, and start it again."""
        self.disconnect()
        self.store.close()
        self.open_store()
        self.connect()

    def crash(self) -> None:
        """End it as a power cut does: with what is on the disk now, and nothing else."""
        online, disk = self.online, self.path.read_bytes()
        self.collect()  # what the program was told, it was told
        self.disconnect()
        self.store.close()
        self.path.write_bytes(disk)
        self.open_store()
        if online:
            self.connect()

    def connect(self) -> None:
        """Join the room."""
        server = self.server
        self.online = True
        self.conversation.resumed(
            log="log",
            n=server.counters.get(self.wire, 0),
            seq=len(server.log),
            epoch=server.epoch,
            now=server.now,
        )
        assert self.conversation.cursor is not None
        self.read = self.conversation.cursor.seq

    def disconnect(self) -> None:
        """Lose the connection, and what was on its way."""
        self.online = False
        self.life += 1
        self.conversation.offline()
        self.sent, self.answers = [], []

    def refused(self, n: int, code: str, epoch: int = 0) -> None:
        self.answers.append((n, code, epoch))

    def deliver(self, count: int = 1000) -> bool:
        """Take some of what the server has for us; return whether there was anything."""
        self.between()
        conversation, server = self.conversation, self.server
        if not self.online:
            return False
        busy = False
        while self.answers:
            n, code, epoch = self.answers.pop(0)
            conversation.refused(n, code, "no", server.now, epoch=epoch)
            busy = True
        assert conversation.cursor is not None
        start = min(self.read, conversation.cursor.seq)
        entries = server.log[start : start + count]
        if entries:
            taken = conversation.feed(entries, server.now)
            self.read = start + taken
            busy = busy or taken > 0
        return busy

    def act(self) -> bool:
        """Do what the conversation wants next; return whether it was anything."""
        conversation, server = self.conversation, self.server
        if not self.online:
            return False
        step, life = conversation.next(server.now), self.life
        self.wait = None
        self.between()
        if self.life != life:
            return True  # nobody is there any more to do it
        match step:
            case Send(parcels):
                self.sent += parcels
            case FetchWelcome():
                conversation.welcomed(server.welcomes.get(self.wire), server.now)
            case FetchInfo():
                conversation.informed(server.info, server.now)
            case FetchList():
                self.account.authenticator = server.lists or self.account.authenticator
                conversation.listed()
            case Claim(users):
                conversation.claimed({user: server.claim(user) for user in users}, server.now)
            case Wait(until):
                self.wait = until
                return False
        return True

    def transmit(self) -> bool:
        """Let the server take the next parcel; return whether there was one."""
        self.between()
        if not self.sent:
            return False
        self.server.take(self, self.sent.pop(0))
        return True

    def collect(self) -> list[Event]:
        """Take the events out."""
        found, self.conversation.events = self.conversation.events, []
        self.events += found
        return found

    def say(self, text: str) -> int:
        return self.conversation.say(Text(text))

    @property
    def heard(self) -> list[str]:
        """What was said here, in order."""
        self.collect()
        return [
            event.payload.text
            for event in self.events
            if isinstance(event, Said) and isinstance(event.payload, Text)
        ]

    @property
    def unread(self) -> list[str]:
        """Why what could not be read could not be."""
        self.collect()
        return [event.reason for event in self.events if isinstance(event, Unreadable)]


def settle(server: Server, *peers: Peer, limit: int = 10_000, count: int = 1000) -> None:
    """Let everything happen, and time pass, until nothing is left to do but wait for long."""
    for _ in range(limit):
        busy = False
        for peer in peers:
            while peer.act():
                busy = True
            while peer.transmit():
                busy = True
            busy = peer.deliver(count) or busy
            busy = peer.act() or busy
        if busy:
            continue
        waits = [peer.wait for peer in peers if peer.online and peer.wait is not None]
        soon = [until for until in waits if until <= server.now + 45]
        if not soon:
            return
        server.now = max(server.now, min(soon))
    raise AssertionError("they never settle")
