"""A server made of memory: rooms, counters and logs as the protocol says, and faults on order.

It speaks over memory streams, so no test opens a socket; it obeys the rules of the wire
strictly (contiguous counters, one reply per command) and fails the test that breaks one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import msgspec
import pytest
import trio
import trio.testing

from trio_chat.address import Address
from trio_chat.client import Client
from trio_chat.client.backoff import Backoff
from trio_chat.client.connecting import run_client
from trio_chat.client.dialling import Dialled
from trio_chat.client.session import Session
from trio_chat.errors import ChatError
from trio_chat.protocol import frames as f
from trio_chat.protocol.codec import decode_command, encode
from trio_chat.protocol.lines import LineBuffer

LIVE = 200  # characters; a longer text is refused, to test refusals


@attrs.define(eq=False)
class FakeRoom:
    name: str
    entries: list[Any] = attrs.field(factory=list)
    counters: dict[str, int] = attrs.field(factory=dict)
    topic: str = ""
    first: int = 1

    @property
    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries]


@attrs.define(eq=False)
class Peer:
    """The server's end of one connection."""

    server: FakeServer
    stream: trio.StapledStream[Any, Any]
    client_side: trio.StapledStream[Any, Any]
    device: str = ""
    welcomed: bool = False
    rooms: set[str] = attrs.field(factory=set)
    closed: bool = False

    def say(self, *found: Any) -> None:
        for frame in found:
            server = self.server
            if self.closed:
                return
            server.said += 1
            if server.cut_said == server.said or (
                server.cut_every and server.said % server.cut_every == 0
            ):
                self.close()
                return
            self.client_side.receive_stream.put_data(encode(frame))

    def say_raw(self, data: bytes) -> None:
        self.client_side.receive_stream.put_data(data)

    def close(self) -> None:
        """Cut the connection in both directions; what was said before still arrives."""
        if not self.closed:
            self.closed = True
            self.client_side.receive_stream.put_eof()
            self.stream.receive_stream.close()
            self.stream.send_stream.close()


@attrs.define(eq=False)
class FakeServer:
    nursery: trio.Nursery
    user: str = "alice"
    log: str = "log-1"
    rooms: dict[str, FakeRoom] = attrs.field(factory=dict)
    peers: list[Peer] = attrs.field(factory=list)
    heard: list[Any] = attrs.field(factory=list)
    greetings: deque[Any] = attrs.field(factory=deque)  # in place of `welcome`
    failures: deque[ChatError] = attrs.field(factory=deque)  # of dialling
    dialled: list[float] = attrs.field(factory=list)  # Trio's clock at each attempt
    overrides: dict[type, Callable[[Peer, Any], None]] = attrs.field(factory=dict)
    silent: bool = False  # answers no ping
    direct: list[f.RoomInfo] = attrs.field(factory=list)
    said: int = 0
    taken: int = 0
    cut_said: int | None = None  # in place of saying the k-th frame, cut
    cut_every: int = 0  # the same, in place of each k-th frame
    cut_heard: int | None = None  # having heard the k-th frame, cut before doing anything

    async def dial(self) -> Dialled:
        await trio.lowlevel.checkpoint()
        self.dialled.append(trio.current_time())
        if self.failures:
            raise self.failures.popleft()
        client_side, server_side = trio.testing.memory_stream_pair()
        peer = Peer(self, server_side, client_side)
        self.nursery.start_soon(self._serve, peer)
        return Dialled(client_side, "ab" * 32)

    def client(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        session = Session(options.pop("cursors", None), options.pop("log", None))
        return run_client(
            Address("fake", 1),
            self.dial,
            session,
            device=options.pop("device", None),
            backoff=options.pop("backoff", Backoff(uniform=lambda low, high: high)),
            **options,
        )

    @property
    def peer(self) -> Peer:
        """The newest connection."""
        return self.peers[-1]

    def room(self, name: str) -> FakeRoom:
        return self.rooms.setdefault(name, FakeRoom(name))

    def post(self, name: str, text: str, sender: str = "bob") -> f.Message:
        """Somebody else says something."""
        return self._append(self.room(name), sender, f"{sender}-device", 1, text, None)

    def hang_up(self) -> None:
        self.peer.close()

    async def _serve(self, peer: Peer) -> None:
        self.peers.append(peer)
        lines = LineBuffer(1 << 20)
        try:
            while not peer.closed:
                data = await peer.stream.receive_some()
                if not data:
                    break
                for line in lines.feed(bytes(data)):
                    if not peer.closed:
                        self._hear(peer, decode_command(line))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        peer.closed = True

    def _hear(self, peer: Peer, frame: Any) -> None:
        self.taken += 1
        if self.cut_heard == self.taken:
            peer.close()
            return
        self.heard.append(frame)
        override = self.overrides.get(type(frame))
        if override is not None:
            override(peer, frame)
        else:
            self.handle(peer, frame)

    def handle(self, peer: Peer, frame: Any) -> None:
        match frame:
            case f.Hello():
                self._hello(peer, frame)
            case f.Ping():
                if not self.silent:
                    peer.say(f.Pong())
            case f.Pong():
                pass
            case f.Join():
                self._join(peer, frame)
            case f.Send():
                self._send(peer, frame)
            case f.ListRooms():
                peer.say(f.Rooms(rooms=self.direct, id=frame.id))
            case f.History():
                self._history(peer, frame)
            case f.Chat():
                peer.say(f.Server(f"echo: {frame.text}"))
            case f.Leave():
                peer.rooms.discard(frame.room)
                peer.say(f.Ok(id=frame.id))
            case f.Whois():
                peer.say(f.Person(user=frame.user, here=[], fingerprints=[], id=frame.id))
            case _:
                peer.say(f.Ok(id=frame.id))

    def _hello(self, peer: Peer, frame: f.Hello) -> None:
        assert not peer.welcomed, "hello came twice"
        if self.greetings and (greeting := self.greetings.popleft()) is not None:
            peer.say(greeting)
            peer.close()
            return
        peer.device = f"{self.user}.{frame.device}" if frame.device else f"{self.user}-device"
        for other in self.peers:
            if other is not peer and other.device == peer.device and not other.closed:
                other.say(f.Closing("taken-over"))
                other.close()
        peer.welcomed = True
        peer.say(
            f.Welcome(
                protocol=1,
                server="fake",
                user=self.user,
                device=peer.device,
                roles=[],
                log=self.log,
                time=0.0,
                input=f.InputLimit(20, 5.0),
                text_size=1000,
            )
        )

    def _join(self, peer: Peer, frame: f.Join) -> None:
        assert peer.welcomed, "a frame before welcome"
        found = self.rooms.get(frame.room)
        if found is None:
            peer.say(f.Error(code="no-room", text="no room", room=frame.room, id=frame.id))
            return
        assert frame.room not in peer.rooms, "joined twice"
        peer.rooms.add(frame.room)
        seq = len(found.entries)
        peer.say(
            f.Joined(
                room=found.name,
                mode="plain",
                topic=found.topic,
                role="member",
                log=self.log,
                first=found.first,
                seq=seq,
                n=found.counters.get(peer.device, 0),
                count=1,
                members=[f.Member(user=self.user, device=peer.device)],
                id=frame.id,
            )
        )
        if frame.after is not None and frame.after <= seq:
            after = max(frame.after, found.first - 1)
            peer.say(*found.entries[after:])

    def _send(self, peer: Peer, frame: f.Send) -> None:
        found = self.rooms[frame.room]
        assert frame.room in peer.rooms, "send before joined"
        last = found.counters.get(peer.device, 0)
        refusal: dict[str, Any] = {"room": frame.room, "n": frame.n, "text": "no"}
        if len(frame.text) > LIVE:
            peer.say(f.Error(code="text-too-long", **refusal))
        elif frame.n <= last:
            peer.say(f.Error(code="duplicate", last=last, **refusal))
        elif frame.n > last + 1:
            peer.say(f.Error(code="out-of-order", expected=last + 1, **refusal))
        else:
            found.counters[peer.device] = frame.n
            self._append(found, self.user, peer.device, frame.n, frame.text, frame.form)

    def _append(
        self, found: FakeRoom, sender: str, device: str, n: int, text: str, form: Any
    ) -> f.Message:
        entry = f.Message(
            room=found.name,
            seq=len(found.entries) + 1,
            time=1.0,
            sender=sender,
            device=device,
            n=n,
            text=text,
            form=form,
        )
        found.entries.append(entry)
        for peer in self.peers:
            if found.name in peer.rooms and not peer.closed:
                peer.say(entry)
        return entry

    def _history(self, peer: Peer, frame: f.History) -> None:
        found = self.rooms[frame.room]
        limit = min(frame.limit or 3, 3)  # small pages
        kept = [e for e in found.entries if e.seq >= found.first]
        if frame.after is not None:
            page = [e for e in kept if e.seq > frame.after][:limit]
        else:
            before = frame.before if frame.before is not None else len(found.entries) + 1
            page = [e for e in kept if e.seq < before][-limit:]
        peer.say(
            f.Page(
                room=found.name,
                first=found.first,
                seq=len(found.entries),
                entries=[msgspec.json.decode(encode(entry)) for entry in page],
                id=frame.id,
            )
        )


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeServer:
    return FakeServer(nursery)
