"""A server that lies: between real clients and a real server, with the certificates of both.

It is what whoever runs the server can do: it reads every frame, and each `rule` says what is
passed on in its place.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from tests.peer import Frame
from tests.people import People
from trio_chat.tls import ALPN

__all__ = ["Link", "Villain"]

Rule = Callable[["Link", Frame], "Frame | list[Frame] | None"]


class Link:
    """One client's connection."""

    def __init__(self, name: str, near: trio.SSLStream[Any], far: trio.SSLStream[Any]) -> None:
        self.name = name
        self.scope = trio.CancelScope()
        self._near, self._far = near, far
        self._locks = {near: trio.Lock(), far: trio.Lock()}

    async def tell(self, *found: Frame) -> None:
        """Say something to the client."""
        await self._write(self._near, found)

    async def ask(self, *found: Frame) -> None:
        """Say something to the server in the client's name."""
        await self._write(self._far, found)

    def cut(self) -> None:
        """Break the line."""
        self.scope.cancel()

    async def _write(self, stream: trio.SSLStream[Any], found: Any) -> None:
        data = b"".join(json.dumps(each).encode() + b"\n" for each in found)
        async with self._locks[stream]:
            if data:
                await stream.send_all(data)

    async def carry(self, up: list[Rule], down: list[Rule]) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, self._near, self._far, up)
                nursery.start_soon(self._pump, self._far, self._near, down)

    async def _pump(
        self, source: trio.SSLStream[Any], sink: trio.SSLStream[Any], rules: list[Rule]
    ) -> None:
        part = b""
        try:
            while data := await source.receive_some():
                *lines, part = (part + bytes(data)).split(b"\n")
                for line in lines:
                    found: list[Frame] = [json.loads(line)]
                    for rule in rules:
                        found = [new for old in found for new in _as_list(rule(self, old))]
                    await self._write(sink, found)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.scope.cancel()


def _as_list(found: Frame | list[Frame] | None) -> list[Frame]:
    return [] if found is None else [found] if isinstance(found, dict) else found


@attrs.define
class Villain:
    """Stands between; `up` and `down` may be changed at any time.

    Attributes:
        up, down: What becomes of frames to the server, and of those to the clients, in order.
        links: The connections that there are.
        port: Where clients find it.
        target: Where the server is; it may move.
    """

    people: People
    target: Callable[[], int]
    up: list[Rule] = attrs.field(factory=list)
    down: list[Rule] = attrs.field(factory=list)
    links: list[Link] = attrs.field(factory=list)
    port: int = 0

    def link(self, name: str) -> Link:
        return next(each for each in self.links if each.name == name)

    async def run(self, *, task_status: trio.TaskStatus[Villain]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        place = self.people.authority.place
        context.load_cert_chain(place.server_certificate, place.server_key)
        context.load_verify_locations(place.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols([ALPN])
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_ssl_over_tcp, self._serve, 0, context, host="127.0.0.1")
            listeners = await nursery.start(serve)
            self.port = listeners[0].transport_listener.socket.getsockname()[1]
            task_status.started(self)

    async def _serve(self, near: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await near.do_handshake()
            subject = near.getpeercert()["subject"]
            name = next(value for part in subject for key, value in part if key == "commonName")
            plain = await trio.open_tcp_stream("127.0.0.1", self.target())
        except (OSError, trio.BrokenResourceError):
            await trio.aclose_forcefully(near)
            return
        far = trio.SSLStream(plain, self.people.context(name), server_hostname="localhost")
        link = Link(name, near, far)
        self.links.append(link)
        try:
            await link.carry(self.up, self.down)
        finally:
            self.links.remove(link)
            with trio.CancelScope(shield=True):  # closes at once
                await trio.aclose_forcefully(near)
                await trio.aclose_forcefully(far)
