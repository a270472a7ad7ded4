"""A raw peer: JSON lines over Trio's TLS, without any of the client's code."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["Connect", "Frame", "Peer"]

Frame = dict[str, Any]

PART = 128 * 1024  # bytes of a blob in one frame
PATIENCE = 20.0  # s after which a test has failed rather than waits


class Peer:
    """One connection. What it reads stays in order; nothing is skipped unasked.

    Attributes:
        frames: What was read past by `until` and `ask`.
        device: Its id, once it has said hello.
        said: The counters it has used, by room.
    """

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], name: str = "") -> None:
        self.stream = stream
        self.name = name
        self.frames: list[Frame] = []
        self.said: Counter[str] = Counter()
        self.device = ""
        self._part = b""
        self._lines: list[bytes] = []
        self._asked = 0

    @classmethod
    async def connect(
        cls,
        port: int,
        context: ssl.SSLContext,
        name: str = "",
        *,
        receive_buffer: int | None = None,
    ) -> Peer:
        """Connect and shake hands; with `receive_buffer` bytes of the kernel's memory."""
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect(("127.0.0.1", port))
            stream = trio.SSLStream(trio.SocketStream(sock), context, server_hostname="localhost")
            with trio.fail_after(PATIENCE):
                await stream.do_handshake()
        except BaseException:
            sock.close()
            raise
        return cls(stream, name)

    # --- writing ---------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def say(self, kind: str, /, **fields: Any) -> None:
        fields = {key.removesuffix("_"): value for key, value in fields.items()}
        await self.write(json.dumps({"type": kind, **fields}).encode() + b"\n")

    async def post(self, room: str, text: str, **fields: Any) -> int:
        """Send with the next counter, which is returned; does not wait for the echo."""
        self.said[room] += 1
        await self.say("send", room=room, n=self.said[room], text=text, **fields)
        return self.said[room]

    # --- in encrypted rooms ----------------------------------------------------------------

    async def seal(self, room: str, kind: str, epoch: int, body: str = "", **fields: Any) -> int:
        """Send something sealed with the next counter, as `post` does."""
        self.said[room] += 1
        sealed = {"n": self.said[room], "epoch": epoch, "kind": kind, "body": body}
        await self.say("send", room=room, **sealed, **fields)
        return self.said[room]

    async def put(self, room: str, data: bytes) -> str:
        """Put a blob, in parts; return its id."""
        digest = hashlib.sha256(data).hexdigest()
        for offset in range(0, len(data), PART):
            part = base64.b64encode(data[offset : offset + PART]).decode()
            fields = {"blob": digest, "size": len(data), "offset": offset, "data": part}
            reply = await self.ask("blob.put", room=room, **fields)
            assert reply["type"] == "ok", reply
        return digest

    async def begin(self, room: str, epoch: int = 0, **fields: Any) -> Frame:
        """Begin a room's group, or begin it anew, and return the echo."""
        tree = await self.put(room, f"tree of {self.name} in {epoch}".encode())
        n = await self.seal(room, "create", epoch, **{"info": "aW5mbw==", "tree": tree, **fields})
        return await self.until("message", room=room, device=self.device, n=n)

    # --- reading ---------------------------------------------------------------------------

    async def line(self) -> bytes | None:
        """The next line without its end; None at the end of the stream."""
        with trio.fail_after(PATIENCE):
            while not self._lines:
                data = await self.stream.receive_some()
                if not data:
                    return None
                *self._lines, self._part = (self._part + bytes(data)).split(b"\n")
        return self._lines.pop(0)

    async def read(self) -> Frame:
        """The next frame; `EOFError` at the end."""
        line = await self.line()
        if line is None:
            raise EOFError(f"the connection of {self.name or 'a peer'} has ended")
        found: Frame = json.loads(line)
        return found

    async def expect(self, kind: str, /, **fields: Any) -> Frame:
        """The next frame, which must be of that type and have these fields."""
        frame = await self.read()
        wanted = {"type": kind, **{key.removesuffix("_"): fields[key] for key in fields}}
        assert {key: frame.get(key) for key in wanted} == wanted, frame
        return frame

    async def until(self, kind: str, /, **fields: Any) -> Frame:
        """The next frame of that type with these fields; others go to `frames`."""
        wanted = {"type": kind, **{key.removesuffix("_"): fields[key] for key in fields}}
        while True:
            frame = await self.read()
            if all(frame.get(key) == value for key, value in wanted.items()):
                return frame
            self.frames.append(frame)

    async def rest(self) -> list[Frame]:
        """Everything until the server ends the stream, however it does."""
        found: list[Frame] = []
        while True:
            try:
                line = await self.line()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return found
            if line is None:
                return found
            found.append(json.loads(line))

    async def quiet(self) -> None:
        """Check that the server has nothing to say: the next thing read is a pong."""
        await self.say("ping")
        await self.expect("pong")

    # --- talking ---------------------------------------------------------------------------

    async def hello(self, device: str | None = None, **fields: Any) -> Frame:
        if device is not None:
            fields["device"] = device
        await self.say("hello", **{"protocol": 1, "client": "test", **fields})
        welcome = await self.expect("welcome")
        self.device = welcome["device"]
        return welcome

    async def ask(self, kind: str, /, **fields: Any) -> Frame:
        """Send a command and return its reply."""
        self._asked += 1
        ident = f"{self._asked}"
        await self.say(kind, id=ident, **fields)
        while True:
            frame = await self.read()
            if frame.get("id") == ident:
                return frame
            self.frames.append(frame)

    async def join(self, room: str, after: int | None = None) -> Frame:
        fields = {} if after is None else {"after": after}
        frame = await self.ask("join", room=room, **fields)
        assert frame["type"] == "joined", frame
        self.said[room] = frame["n"]
        return frame

    async def enter(self, room: str, after: int | None = None) -> Frame:
        """Join, and read on until the room has told everybody, this peer too."""
        joined = await self.join(room, after)
        if joined.get("members") is not None:
            while True:
                frame = await self.until("entered", room=room)
                if self.device in [member["device"] for member in frame["members"]]:
                    break
        return joined

    # --- ending ----------------------------------------------------------------------------

    async def close(self) -> None:
        """Say good-bye, as TLS has it."""
        with trio.move_on_after(1):
            await self.stream.aclose()

    def drop(self) -> None:
        """Vanish: the socket closes, TLS says nothing."""
        self.stream.transport_stream.socket.close()

    def reset(self) -> None:
        """Vanish with a reset (RST)."""
        linger = struct.pack("ii", 1, 0)
        self.stream.transport_stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.drop()


Connect = Callable[..., Awaitable[Peer]]
"""What the fixtures `dial` and `enter` are."""
