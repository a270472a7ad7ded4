"""Accepting connections: our own loop, because it is the door that a storm runs in."""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import ConfigError

if TYPE_CHECKING:
    from trio_chat.server.server import Server

__all__ = ["accept", "open_listeners"]

log = logging.getLogger("trio_chat.server")

AT_ONCE = 8  # connections accepted in one go, before others get a turn
BACKLOG = 4096
DEAD_AFTER = 90_000  # ms that sent bytes may stay unconfirmed (TCP_USER_TIMEOUT)
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for every address of `host`, all on the same port.

    Raises:
        ConfigError: the name is unknown, the port taken or not ours to take.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror}") from None
    sockets: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        if port == 0 and sockets:
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            for each in (sock, *sockets):
                each.close()
            raise ConfigError(
                f"cannot listen on {address[0]} port {port}: {error.strerror}",
                hint="choose another with --port, or 0 for any that is free",
            ) from None
        sockets.append(sock)
    return sockets


async def accept(server: Server, listener: socket.socket) -> None:
    """Accept connections until cancelled; each runs in the server's nursery."""
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            for _ in range(AT_ONCE):
                sock, address = listener.accept()
                _tune(sock)
                server.receive(sock, str(address[0]))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _FULL:
                continue  # that one went away before it was accepted
            log.error("cannot accept connections: %s", error.strerror)
            await trio.sleep(0.1)  # until some of those there are have gone


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER)
    except OSError:
        pass  # gone already; reading will tell
