"""A chat server inside a Trio program that has work of its own: here, it counts.

    python examples/embedded_server.py                     any free port, a throw-away CA
    python examples/embedded_server.py localhost:8443 --ca pki/ca.crt \\
        --cert pki/counter.crt --key pki/counter.key       your own CA and database

`nursery.start(serve, config)` returns when the server listens; from then on it is one task
among others, and it is gone when its nursery is.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import trio

import trio_chat
from trio_chat.address import Address
from trio_chat.errors import ChatError, ConfigError
from trio_chat.pki import Authority, join_line


async def count(options: argparse.Namespace, address: Address) -> None:
    """The work of this program: count, and say in the room how far it got."""
    async with trio_chat.connect(
        address, cert=options.cert, key=options.key, ca=options.ca, device=None
    ) as client:
        room = await client.join(options.room)
        number = 0
        while True:
            with trio.move_on_after(options.every):
                async for _ in client:
                    pass  # what others say is not for us, but somebody has to take it
            number += 1
            await room.send(f"counted to {number}", form="notice")


async def main(options: argparse.Namespace) -> None:
    """Serve and count until Ctrl-C or SIGTERM."""
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        tempfile.TemporaryDirectory(prefix="embedded_server-") as folder,
    ):
        where = Address.parse(options.address) if options.address else Address("127.0.0.1", 0)
        guest = None
        if options.ca is None:
            authority = Authority.create(Path(folder, "ca.crt"))
            authority.issue_server(["localhost", "127.0.0.1", where.host])
            counter = authority.issue_client("counter", bot=True)
            guest = authority.issue_client("guest")
            options.ca, options.cert, options.key = authority.place.ca, counter.crt, counter.key
        elif options.cert is None or options.key is None:
            raise ConfigError("--ca goes with --cert and --key: who counts")
        config = trio_chat.ServerConfig(
            ca=options.ca, host=where.host, port=where.port, rooms=(options.room,), mode="plain"
        )
        async with trio.open_nursery() as around:
            server = await around.start(trio_chat.serve, config)
            address = Address(where.host, server.port)
            print(f"embedded_server: listening on {address}", flush=True)
            if guest is not None:
                print(f"to join: {join_line(str(address), guest, options.ca)}", flush=True)
            async with trio.open_nursery() as work:
                work.start_soon(count, options, address)
                await anext(signals)
                work.cancel_scope.cancel()
            server.drain()  # everybody is told; then `serve` ends, and with it `around`


def first(problem: BaseException) -> BaseException:
    """Return the first error of a group: one line says enough."""
    return first(problem.exceptions[0]) if isinstance(problem, BaseExceptionGroup) else problem


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Count, and have a chat server inside.")
    parser.add_argument("address", metavar="HOST:PORT", nargs="?", help="where to listen")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="its CA, server.crt beside it")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="the counter's certificate")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key")
    parser.add_argument("--room", default="lobby", metavar="ROOM", help="where it counts [lobby]")
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help="[10]")
    problem: str | None = None
    try:
        trio.run(main, parser.parse_args())
    except* ChatError as problems:
        problem = f"embedded_server: error: {first(problems)}"
    sys.exit(problem)
