"""Textbook asyncio streams over TLS: for each message, for each member, write and drain."""

from __future__ import annotations

import asyncio  # noqa: TID251  # this is the peer to compare with

from common import dump, loads, options, tls

rooms: dict[str, set] = {}


async def handler(reader, writer):
    name = room = None
    try:
        while line := await reader.readline():
            m = loads(line)
            if m["t"] == "hello":
                name = m["u"]
                writer.write(dump({"t": "welcome"}))
                await writer.drain()
            elif m["t"] == "join":
                room = m["r"]
                rooms.setdefault(room, set()).add(writer)
                writer.write(dump({"t": "joined", "r": room}))
                await writer.drain()
            elif m["t"] == "msg":
                line = dump({"t": "msg", "r": room, "u": name, "x": m["x"]})
                for member in list(rooms[room]):
                    try:
                        member.write(line)
                        await member.drain()
                    except ConnectionError:  # one member's, not the room's
                        rooms[room].discard(member)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        if room:
            rooms[room].discard(writer)
        writer.close()


async def main(o):
    server = await asyncio.start_server(handler, "127.0.0.1", o.port, ssl=tls(o), backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main(options()))
