"""One connection: `hello` and `welcome`, then frames both ways until it ends.

It keeps the connection alive and measures it; what the frames mean is the session's. Exactly
one task writes, because a cancelled write leaves half a frame on the wire. May know streams
and the codec, not rooms or who waits for what.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Awaitable, Callable

import attrs
import msgspec
import trio

from trio_chat.client.dialling import Dialled
from trio_chat.client.refusals import FINAL, broken, refusal
from trio_chat.client.state import UnknownEntry
from trio_chat.errors import (
    BadFrame,
    Banned,
    ChatError,
    ProtocolError,
    Refused,
    TextTooLong,
    Unreachable,
)
from trio_chat.limits import Limits
from trio_chat.protocol.codec import decode_event, encode
from trio_chat.protocol.frames import (
    PROTOCOL,
    Closing,
    Command,
    Error,
    Event,
    Hello,
    Ping,
    Pong,
    Welcome,
)
from trio_chat.protocol.lines import LineBuffer
from trio_chat.text import safe

__all__ = ["Connection", "Ending", "check_line", "open_connection"]

OPEN_TIMEOUT = 20.0  # seconds for dialling, the handshake and `welcome` together
IDLE_INTERVAL = 30.0  # seconds of silence before a ping
DEAD_TIMEOUT = 90.0  # seconds without a byte before the server counts as gone
_CLOSE_TIMEOUT = 1.0  # seconds for saying goodbye
_LINE_LIMIT = 4 * 1024 * 1024  # bytes; a page of history is one line
_FRAME_SIZE = Limits().frame_size - 64  # bytes of a line of ours, but for its `id`
_CHUNK = 65_536  # bytes read at once
# Bytes in one TLS record. It is read whole or not at all: on a line that breaks again and
# again, a long one would never get through.
_RECORD = 2048

_log = logging.getLogger("trio_chat.client")
_PONG = encode(Pong())
_entry = msgspec.json.Decoder(UnknownEntry)

Incoming = Event | UnknownEntry


@attrs.frozen
class Ending:
    """Why a connection ended: a sentence, when to come back (seconds), and if ever."""

    reason: str
    retry_after: float | None = None
    final: bool = False
    hint: str = ""

    @classmethod
    def by(cls, error: ChatError) -> Ending:
        """Return what an error makes of a connection, or of the attempt to have one."""
        retry_after = error.retry_after if isinstance(error, Refused) else None
        final = isinstance(error, FINAL) or (isinstance(error, Banned) and retry_after is None)
        return cls(str(error), retry_after, final, error.hint)


_TAKEN_OVER = Ending("another client took over this device", final=True)


def check_line(frame: Command) -> None:
    """Refuse what the server would close the connection over, or what cannot be written.

    Raises:
        BadFrame: a text in it is no Unicode.
        TextTooLong: its line is longer than servers read by default.
    """
    try:
        size = len(encode(frame))
    except UnicodeEncodeError:
        raise BadFrame("the text holds lone surrogates, which are no characters") from None
    if size > _FRAME_SIZE:
        raise TextTooLong(f"the text is too long for a line of {_FRAME_SIZE} bytes; split it")


class Connection:
    """A connection that the server has welcomed. No public constructor: `open_connection`.

    Attributes:
        welcome: The server's greeting.
        fingerprint: SHA-256 of the server's SubjectPublicKeyInfo, hexadecimal.
        latency: Seconds from the last ping to its pong, None before the first.
    """

    def __init__(
        self, dialled: Dialled, welcome: Welcome, lines: LineBuffer, early: list[bytes]
    ) -> None:
        self.welcome = welcome
        self.fingerprint = dialled.fingerprint
        self.latency: float | None = None
        self._stream = dialled.stream
        self._lines = lines
        self._early = early
        self._unwritten: list[bytes] = []
        self._wake = trio.Event()
        self._pinged = -math.inf
        self._heard = trio.current_time()
        self._paused = False
        self._ending: Ending | None = None

    def write(self, frame: Command) -> None:
        """Have a frame written; never waits."""
        self._unwritten.append(encode(frame))
        self._wake.set()

    async def run(
        self, handle: Callable[[Incoming], None], handled: Callable[[], Awaitable[None]]
    ) -> Ending:
        """Serve the connection until it ends, and say why it did.

        Args:
            handle: Takes each frame; a `ChatError` out of it ends the connection.
            handled: Awaited after each read; while it waits, nothing more is read.
        """
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._write_loop, self._heartbeat):
                    nursery.start_soon(self._until_end, nursery.cancel_scope, task)
                await self._until_end(nursery.cancel_scope, self._read_loop, handle, handled)
        finally:
            if self._ending is None:  # we end it: say goodbye
                await self.aclose()
            else:
                await trio.aclose_forcefully(self._stream)
        return self._ending or Ending("the connection ended")

    async def aclose(self) -> None:
        """Say goodbye, within a second, even when cancelled."""
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):  # close_notify may block
            try:
                await self._stream.aclose()
            except (trio.BrokenResourceError, trio.BusyResourceError):
                await trio.aclose_forcefully(self._stream)

    async def _until_end(
        self, scope: trio.CancelScope, task: Callable[..., Awaitable[Ending]], *args: object
    ) -> None:
        """Run one task; the first to end ends the connection, and its reason counts."""
        ending = await task(*args)
        self._ending = self._ending or ending
        scope.cancel()

    async def _read_loop(
        self, handle: Callable[[Incoming], None], handled: Callable[[], Awaitable[None]]
    ) -> Ending:
        lines = self._early
        while True:
            try:
                for line in lines:
                    ending = self._read(line, handle)
                    if ending is not None:
                        return ending
                if self._lines.too_long:
                    raise ProtocolError("the server sent a line without end")
            except ChatError as error:
                return Ending.by(error)
            self._paused = True
            await handled()
            self._paused = False
            self._heard = trio.current_time()
            try:
                data = await self._stream.receive_some(_CHUNK)
            except trio.BrokenResourceError as error:
                return Ending(str(broken(error)))
            self._heard = trio.current_time()
            if not data:
                return Ending("the server closed the connection")
            lines = self._lines.feed(bytes(data))

    def _read(self, line: bytes, handle: Callable[[Incoming], None]) -> Ending | None:
        frame = _decode(line)
        match frame:
            case None:
                return None
            case Ping():
                if _PONG not in self._unwritten:  # else a server that does not read could fill it
                    self.write(Pong())
            case Pong() if self._pinged > -math.inf:
                self.latency = trio.current_time() - self._pinged
            case Closing():
                handle(frame)
                if frame.reason == "taken-over":
                    return _TAKEN_OVER
                final = frame.reason == "banned" and frame.retry_after is None
                reason = f"the server said: {safe(frame.reason, 100)}"
                return Ending(reason, frame.retry_after, final)
            case _:
                handle(frame)
        return None

    async def _write_loop(self) -> Ending:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data, self._unwritten = b"".join(self._unwritten), []
            try:
                for start in range(0, len(data), _RECORD):
                    await self._stream.send_all(data[start : start + _RECORD])
            except trio.BrokenResourceError as error:
                return Ending(str(broken(error)))

    async def _heartbeat(self) -> Ending:
        """Ping at once, to measure, and after each silence; give up after a long one.

        While the program does not take its events we do not read, and so hear nothing:
        then we ping as a sign of life, and do not judge the server.
        """
        self._ping()
        while True:
            now = trio.current_time()
            heard = now if self._paused else self._heard
            if now - heard >= DEAD_TIMEOUT:
                return Ending(f"nothing heard from the server for {DEAD_TIMEOUT:.0f} s")
            quiet = max(self._heard, self._pinged)
            if now - quiet >= IDLE_INTERVAL:
                self._ping()
                quiet = now
            await trio.sleep_until(min(quiet + IDLE_INTERVAL, heard + DEAD_TIMEOUT))

    def _ping(self) -> None:
        self._pinged = trio.current_time()
        self.write(Ping())


async def open_connection(
    dial: Callable[[], Awaitable[Dialled]], *, program: str, device: str | None
) -> Connection:
    """Dial, say `hello` and nothing else, and wait for `welcome`.

    Raises:
        Unreachable, NotTrusted, CertificateRefused, ConfigError: as `dialling.dial`, and
            for the alerts that come in place of `welcome`.
        Refused: the server says in words that it does not let us in.
    """
    with trio.move_on_after(OPEN_TIMEOUT):
        dialled = await dial()
        try:
            return await _greet(dialled, Hello(PROTOCOL, program, device))
        except BaseException:
            await trio.aclose_forcefully(dialled.stream)
            raise
    raise Unreachable(f"no answer within {OPEN_TIMEOUT:.0f} s")


async def _greet(dialled: Dialled, hello: Hello) -> Connection:
    """Say `hello` while reading: an alert must be read though the peer is gone already."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say, dialled.stream, encode(hello))
        answer = await _answer(dialled)
        nursery.cancel_scope.cancel()
    if isinstance(answer, Connection):
        return answer
    raise answer


async def _say(stream: trio.abc.SendStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):  # reading will say why
        await stream.send_all(data)


async def _answer(dialled: Dialled) -> Connection | ChatError:
    """Return the connection, or why there is none."""
    lines = LineBuffer(_LINE_LIMIT)
    try:
        while True:
            data = await dialled.stream.receive_some(_CHUNK)
            if not data:
                return Unreachable("the server closed the connection without a word")
            found = lines.feed(bytes(data))
            if found:
                return _welcomed(dialled, _decode(found[0]), lines, found[1:])
            if lines.too_long:
                return Unreachable("what answers there does not say `welcome`")
    except trio.BrokenResourceError as error:
        return broken(error)
    except ProtocolError as error:
        return Unreachable(f"what answers there does not speak the protocol: {error}")


def _welcomed(
    dialled: Dialled, first: Incoming | None, lines: LineBuffer, early: list[bytes]
) -> Connection | ChatError:
    match first:
        case Welcome():
            return Connection(dialled, first, lines, early)
        case Error():
            return refusal(first)
        case Closing():
            return Refused(
                f"the server said: {safe(first.reason, 100)}", retry_after=first.retry_after
            )
        case _:
            return Unreachable("what answers there does not say `welcome`")


def _decode(line: bytes) -> Incoming | None:
    """Read a line; of a frame that we do not know, only a place in a room's log counts."""
    try:
        return decode_event(line)
    except ProtocolError as error:
        if error.code != "unknown-type":
            raise
    try:
        return _entry.decode(line)
    except msgspec.MsgspecError:
        _log.debug("a frame of an unknown type was skipped")
        return None
