"""The handler of `admin`: orders of people whose certificates have that role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.errors import ConfigError, Forbidden, TooMany
from trio_chat.identity import ADMIN
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import Administer, Administered
from trio_chat.server.orders import read_order

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["administer"]


async def administer(server: Server, connection: Connection, frame: Administer) -> None:
    """Carry out an order as `admin.sock` does; nobody else learns even which there are."""
    identity = connection.identity
    if ADMIN not in identity.roles:
        raise Forbidden("only certificates with the admin role may do that")
    if server.desk is None:
        raise Forbidden("this server takes no orders")
    order = read_order(frame.command, frame.arguments or {})
    actor = f"user {identity.user} ({connection.device})"
    try:
        done = await server.desk.do(actor, order)
    except ConfigError as error:
        answer = Administered(failure=str(error), hint=error.hint or None, id=frame.id)
        connection.say(answer)
        return
    line = encode(Administered(result=done.result, id=frame.id))
    try:
        # After an order that ended this very connection, `closing` was the last word.
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(line) > server.limits.frame_size:
            raise TooMany("the answer is longer than a frame; ask on the server's machine")
        connection.say_line(line)
    finally:
        if done.afterwards is not None:
            done.afterwards()
