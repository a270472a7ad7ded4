"""A raw peer: JSON lines over Trio's TLS, without any of the client's code."""

from __future__ import annotations

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

    async def say(self, kind: str, **fields: Any) -> None:
        fields = {key.removesuffix("_"): value for key, value in fields.items()}
        await self.write(json.dumps({"type": kind, **fields}).encode() + b"\n")

    async def post(self, room: str, text: str, **fields: Any) -> int:
        """Send with the next counter, which is returned; does not wait for the echo."""
        self.said[room] += 1
        await self.say("send", room=room, n=self.said[room], text=text, **fields)
        return self.said[room]

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

    async def expect(self, kind: str, **fields: Any) -> Frame:
        """The next frame, which must be of that type and have these fields."""
        frame = await self.read()
        wanted = {"type": kind, **{key.removesuffix("_"): fields[key] for key in fields}}
        assert {key: frame.get(key) for key in wanted} == wanted, frame
        return frame

    async def until(self, kind: str, **fields: Any) -> Frame:
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

    async def ask(self, kind: str, **fields: Any) -> Frame:
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
