"""The server's design with everything left out but its hot paths: what they can do at best.

Only public hooks are used:

* `trio.SSLStream` takes any Stream as its transport. `Wire` is a lean one over a nonblocking
  socket and `trio.lowlevel.wait_readable` and `wait_writable`.
* SSLStream makes its SSLObject with `ssl_context.wrap_bio()`. `Context.wrap_bio` gives that an
  outgoing MemoryBIO of ours, so all that is sent (handshake, key updates, data, close_notify)
  leaves through `Wire.flush()`, in order, from any task, without a task switch.

A prototype: no policy for names, no limit on lines, no log files.
"""

from __future__ import annotations

import collections
import json
import math
import socket
import ssl

import trio
from common import calm_collector, dump, options, tls
from trio.lowlevel import wait_readable, wait_writable

OUTBOX = 4 << 20  # bytes; a member that is further behind is cut off
CHUNK = 65536  # bytes

scan = json.JSONDecoder().scan_once
quote = json.encoder.encode_basestring


class Context(ssl.SSLContext):
    """Remembers the SSLObject and the two BIOs that it made last."""

    last = None

    def wrap_bio(self, incoming, outgoing, server_side=False, server_hostname=None, session=None):
        outgoing = ssl.MemoryBIO()
        obj = super().wrap_bio(incoming, outgoing, server_side=server_side)
        self.last = (obj, incoming, outgoing)
        return obj


class Wire(trio.abc.Stream):
    """Transport under SSLStream, and the place that data is written from."""

    __slots__ = (
        "bio", "dead", "flushing", "incoming", "name", "nursery", "obj", "queue", "queued",
        "room", "scope", "send", "sock", "stream", "tail",
    )  # fmt: skip

    def __init__(self, sock, context, nursery):
        self.sock = sock
        self.send = sock.send
        self.nursery = nursery
        self.tail = b""  # ciphertext that the kernel would not take
        self.queue = None  # plaintext (shared blobs) behind it
        self.queued = 0
        self.flushing = self.dead = False
        self.name = self.room = None
        self.stream = trio.SSLStream(self, context, server_side=True)
        self.obj, self.incoming, self.bio = context.last

    # -- the transport, for SSLStream

    async def receive_some(self, max_bytes=None):
        self.flush()
        while True:
            await wait_readable(self.sock)
            try:
                return self.sock.recv(CHUNK)
            except BlockingIOError:
                pass
            except OSError as e:
                raise trio.BrokenResourceError from e

    async def send_all(self, data):
        raise AssertionError("everything leaves through our own BIO")

    async def wait_send_all_might_not_block(self):
        await wait_writable(self.sock)

    async def aclose(self):
        self.flush()
        self.dead = True
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    # -- writing, without a task switch

    def flush(self):
        """Hand to the kernel whatever ciphertext is in the BIO."""
        data = self.bio.read()
        if self.tail:
            self.tail += data
            return
        if data:
            try:
                n = self.send(data)
            except BlockingIOError:
                n = 0
            except OSError:
                self.kill()
                return
            if n != len(data):
                self.tail = data[n:]
                self.block()

    def push(self, blob):
        """Write one blob of whole lines, or queue it behind what is blocked."""
        if self.flushing:
            self.queue.append(blob)
            self.queued += len(blob)
            if self.queued > OUTBOX:
                self.kill()
            return
        try:
            self.obj.write(blob)
            data = self.bio.read()
            n = self.send(data)
        except BlockingIOError:
            n = 0
        except (OSError, ssl.SSLError):
            self.kill()
            return
        if n != len(data):
            self.tail = data[n:]
            self.block()

    def block(self):
        if not self.flushing:
            self.flushing = True
            if self.queue is None:
                self.queue = collections.deque()
            self.nursery.start_soon(self.unblock)

    async def unblock(self):
        queue = self.queue
        while not self.dead:
            try:
                await wait_writable(self.sock)
                n = self.send(self.tail)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                self.kill()
                return
            self.tail = self.tail[n:]
            if self.tail:
                continue
            if not queue:
                break
            parts, size = [], 0
            while queue and size < 131072:
                blob = queue.popleft()
                parts.append(blob)
                size += len(blob)
            self.queued -= size
            self.obj.write(b"".join(parts))
            self.tail = self.bio.read()
        self.flushing = False

    def kill(self):
        if not self.dead:
            self.dead = True
            self.scope.cancel()


class Room:
    """What is said in a room, gathered while the last of it is written."""

    def __init__(self, name):
        self.name = name
        self.members = {}
        self.tx, self.rx = trio.open_memory_channel(math.inf)
        self.post = self.tx.send_nowait

    async def run(self):
        """Take all that waits, join it once, write the same bytes to everyone."""
        receive_nowait = self.rx.receive_nowait
        async for line in self.rx:
            batch = [line]
            try:
                while True:
                    batch.append(receive_nowait())
            except trio.WouldBlock:
                pass
            blob = b"".join(batch)
            await self.keep(blob, len(batch))
            for push in self.members.values():
                push(blob)

    async def keep(self, blob, lines):
        """Called with each batch before it is written to anyone."""


class Server:
    """The listening socket, the connections and the rooms."""

    def __init__(self, context, nursery, make_room=Room):
        self.context = context
        self.nursery = nursery
        self.make_room = make_room
        self.rooms = {}

    async def serve(self, port):
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        listener.setblocking(False)
        calm_collector()
        while True:
            await wait_readable(listener)
            try:
                for _ in range(8):
                    self.nursery.start_soon(self.handle, listener.accept()[0])
            except BlockingIOError:
                pass

    async def handle(self, sock):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(sock, self.context, self.nursery)
        try:
            with trio.CancelScope() as wire.scope:
                with trio.fail_after(30):
                    await wire.stream.do_handshake()
                wire.flush()
                await self.read(wire)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass
        finally:
            if wire.room:
                wire.room.members.pop(wire, None)
            if not wire.dead:
                trio.lowlevel.notify_closing(sock)
            wire.dead = True
            sock.close()

    async def read(self, wire):
        """Take every record that is there at one go, split once, act on each line."""
        part = b""
        prefix = b""
        read, incoming, sock, push = wire.obj.read, wire.incoming, wire.sock, wire.push
        while True:
            if wire.name:
                await wait_readable(sock)
                try:
                    data = sock.recv(CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                incoming.write(data)
                try:
                    chunk = read(CHUNK)
                except ssl.SSLWantReadError:
                    wire.flush()
                    continue
            else:
                chunk = await wire.stream.receive_some(CHUNK)
            if not chunk:
                return
            chunks = [part, chunk]
            try:
                while incoming.pending:
                    chunks.append(read(CHUNK))
            except ssl.SSLWantReadError:
                pass
            lines = b"".join(chunks).split(b"\n")
            part = lines.pop()
            for line in lines:
                m = scan(line.decode(), 0)[0]
                t = m["t"]
                if t == "msg":
                    wire.room.post(b"%s%s}\n" % (prefix, quote(m["x"]).encode()))
                elif t == "hello":
                    wire.name = m["u"]
                    push(dump({"t": "welcome"}))
                elif t == "join":
                    name = m["r"]
                    wire.room = self.room(name)
                    wire.room.members[wire] = push
                    prefix = f'{{"t":"msg","r":{quote(name)},"u":{quote(wire.name)},"x":'.encode()
                    push(dump({"t": "joined", "r": name}))

    def room(self, name):
        if name not in self.rooms:
            self.rooms[name] = self.make_room(name)
            self.nursery.start_soon(self.rooms[name].run)
        return self.rooms[name]


def make_context(o):
    """The context of `tls`, with our BIO, and without the tickets that cost each handshake."""
    context = tls(o, Context)
    context.num_tickets = 0
    return context


async def main(o):
    async with trio.open_nursery() as nursery:
        await Server(make_context(o), nursery).serve(o.port)


if __name__ == "__main__":
    trio.run(main, options())
