"""The server's end of a socket: TLS over a nonblocking socket, written without waiting.

`Wire` is the transport under `trio.SSLStream`, which shakes hands. What is said after that
goes past it, straight between the kernel and TLS: what the server says synchronously
(encrypt, hand to the kernel, done), what the peer says with one wait for the socket.
Where the kernel takes no more, the wire is `blocked`: it keeps the ciphertext that is
left over, and its owner writes nothing more until `drain` has returned. Knows nothing of
frames.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import trio
from trio.lowlevel import wait_readable, wait_writable

from trio_chat.tls import TappedContext

__all__ = ["Slots", "Wire", "cut"]

CHUNK = 65_536  # bytes read at once from who is about to be closed
# Bytes encrypted at once, in what is pushed to many and in what is said to one: OpenSSL's
# buffer keeps the largest size it ever had, and most of those who are told much say little.
RECORD = 16_384
SAID = 2048
IOV_MAX = 1024  # parts that the kernel takes at once
UNREAD = 65_536  # bytes of TLS's own answers kept for a peer that asks on and does not read


class Slots(Protocol):
    """Places on the CPU for handshakes: `trio.Semaphore` is one."""

    def acquire_nowait(self) -> None:
        """Take a place if there is one, or raise `trio.WouldBlock`."""

    async def acquire(self) -> None:
        """Wait for a place."""

    def release(self) -> object:
        """Give it back."""


class Wire(trio.abc.Stream):
    """One accepted connection.

    Attributes:
        stream: The TLS stream over it: the handshake is its business.
        blocked: Did the kernel refuse some of the last write? Then nothing may be written
            until `drain` has returned.
        dead: Has writing failed? What is written then goes nowhere; reading will tell.
    """

    __slots__ = (
        "_chunk",
        "_end",
        "_in_slot",
        "_incoming",
        "_outgoing",
        "_read",
        "_receive_into",
        "_send",
        "_slots",
        "_sock",
        "_tail",
        "_tls",
        "_unread",
        "_ways",
        "blocked",
        "dead",
        "on_blocked",
        "stream",
    )

    def __init__(self, sock: socket.socket, context: TappedContext, slots: Slots | None) -> None:
        self._sock = sock
        self._send = sock.send
        self._receive_into = sock.recv_into
        self._chunk = context.chunk
        self._slots = slots
        self._in_slot = False
        self._tail = b""
        self._end: ssl.SSLError | None = None  # why nothing more can be read
        self._unread = 0  # bytes of the tail that TLS itself added while blocked
        self.blocked = False
        self.dead = False
        self.on_blocked: Callable[[], None] = _nothing
        self.stream = trio.SSLStream(self, context, server_side=True)
        self._tls, self._incoming, self._outgoing = context.tapped
        self._read = self._tls.read
        # Together, because what is written goes through all of them, thousands of times a second.
        self._ways = (self._tls.write, self._outgoing.read, sock.send)

    async def handshake(self) -> None:
        """Shake hands; whatever comes of it, what TLS has to say is handed to the kernel.

        Raises:
            trio.BrokenResourceError: it failed; the peer has been sent the alert.
        """
        try:
            # TLS is asked when it has something to go by, not before.
            self._incoming.write(await self.receive_some())
            await self.stream.do_handshake()
        finally:
            self._leave_slot()
            self._slots = None
            self.flush()

    def peer_certificate(self) -> bytes | None:
        """Return the peer's certificate in DER, verified, once hands are shaken."""
        return self._tls.getpeercert(binary_form=True)

    # --- writing, synchronously --------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Encrypt `data` and hand it to the kernel. Must not be called while `blocked`."""
        self.push(cut(data, SAID if len(data) <= RECORD else RECORD))

    def push(self, records: list[bytes]) -> None:
        """Write what has been `cut`, as `write` does: cut once, to be written to many."""
        write, read, send = self._ways
        parts: list[bytes] = []
        try:
            if len(records) == 1:
                write(records[0])
                ciphertext = read()
                parts.append(ciphertext)
                taken = send(ciphertext)
                if taken == len(ciphertext):
                    return
            else:
                for record in records:
                    write(record)
                    parts.append(read())
                taken = _send_parts(self._sock, parts)
                if taken == sum(map(len, parts)):
                    return
        except BlockingIOError:
            taken = 0
        except (OSError, ssl.SSLError):
            self.dead = True
            return
        self._block(b"".join(parts)[taken:])

    def flush(self) -> None:
        """Hand to the kernel what TLS itself has to say: alerts, key updates, close_notify."""
        ciphertext = self._outgoing.read()
        if self.blocked:
            self._tail += ciphertext
            self._unread += len(ciphertext)
        elif ciphertext and not self.dead:
            try:
                taken = self._send(ciphertext)
            except BlockingIOError:
                taken = 0
            except OSError:
                self.dead = True
                return
            if taken != len(ciphertext):
                self._block(ciphertext[taken:])

    async def drain(self) -> None:
        """Wait until the kernel has taken everything; `blocked` is false then.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        if not self.blocked:
            await trio.lowlevel.checkpoint()
        while self.blocked:
            await wait_writable(self._sock)
            try:
                taken = self._send(self._tail)
            except BlockingIOError:
                continue
            except OSError as error:
                self.dead = True
                raise trio.BrokenResourceError from error
            self._tail = self._tail[taken:]
            self.blocked = bool(self._tail)
        self._unread = 0

    def _block(self, rest: bytes) -> None:
        self._tail = rest
        self.blocked = True
        self.on_blocked()

    # --- reading -----------------------------------------------------------------------

    async def receive(self) -> bytes:
        """Return all that has come and can be decrypted now; empty at the peer's close.

        Raises:
            trio.BrokenResourceError: the peer went without saying so, sent what is no TLS,
                or asks TLS for answers (new keys) again and again and reads none of them.
        """
        if self._incoming.pending:  # as when it came together with the end of the handshake
            await trio.lowlevel.checkpoint()
        while not (data := self._decrypt()):
            if self._end is not None:
                if isinstance(self._end, ssl.SSLZeroReturnError):
                    return b""
                raise trio.BrokenResourceError from self._end
            if self._unread > UNREAD:
                self.dead = True
                raise trio.BrokenResourceError
            await wait_readable(self._sock)
            try:
                size = self._receive_into(self._chunk)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error
            if size:
                self._incoming.write(self._chunk[:size])
            else:
                self._end = ssl.SSLEOFError()
        return data

    def _decrypt(self) -> bytes:
        """Return what can be decrypted; note if nothing can come after it."""
        parts: list[bytes] = []
        incoming = self._incoming
        try:
            while incoming.pending and self._end is None:
                part = self._read(RECORD)
                if not part:
                    raise ssl.SSLZeroReturnError
                parts.append(part)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still on its way
        except ssl.SSLError as error:
            self._end = error.with_traceback(None)
        if self._outgoing.pending:
            self.flush()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # --- what trio.SSLStream asks for --------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return ciphertext as it comes, during the handshake.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        self.flush()
        self._leave_slot()
        while True:
            await wait_readable(self._sock)
            if self._slots is not None:
                try:
                    self._slots.acquire_nowait()
                except trio.WouldBlock:
                    await self._slots.acquire()
                self._in_slot = True
            try:
                return self._sock.recv(RECORD)
            except BlockingIOError:
                self._leave_slot()
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Never has anything to send: what leaves is in the tapped buffer, see `flush`."""
        self.flush()
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes more."""
        await wait_writable(self._sock)

    async def aclose(self) -> None:
        """Close the socket at once, after what TLS still had to say."""
        self.flush()
        self.close()
        await trio.lowlevel.checkpoint()

    # --- ending ------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket; idempotent."""
        self.dead = True
        self._leave_slot()
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        # A connection is 100 kB of TLS, and its parts refer to each other: take them apart,
        # so that under a storm of connections memory does not wait for the cycle collector.
        self.on_blocked = _nothing
        vars(self.stream).clear()

    async def linger(self, seconds: float, last: bytes = b"") -> None:
        """Say good-bye, after the `last` lines, so that the peer hears it; then close.

        Closing a socket with unread input resets the connection, and the last line, the
        one that says why, would be lost: so stop writing, read on for a moment, close.
        """
        try:
            with trio.move_on_after(seconds, shield=True):
                await self.drain()
                if last:
                    self.write(last)
                with contextlib.suppress(ssl.SSLError, OSError):
                    self._tls.unwrap()
                self.flush()
                await self.drain()
                self._sock.shutdown(socket.SHUT_WR)
                for _ in range(64):
                    await wait_readable(self._sock)
                    if not self._sock.recv(CHUNK):
                        break
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone already
        finally:
            self.close()

    def _leave_slot(self) -> None:
        if self._in_slot and self._slots is not None:
            self._in_slot = False
            self._slots.release()


def cut(data: bytes, size: int = RECORD) -> list[bytes]:
    """Cut `data` into what is encrypted at once, for `Wire.push`."""
    if len(data) <= size:
        return [data]
    return [data[start : start + size] for start in range(0, len(data), size)]


def _send_parts(sock: socket.socket, parts: list[bytes]) -> int:
    """Send as many bytes as the kernel takes, at once; put together where it cannot do that."""
    if hasattr(sock, "sendmsg"):
        return sock.sendmsg(parts[:IOV_MAX])
    return sock.send(b"".join(parts))


def _nothing() -> None:
    pass
