"""What somebody without a certificate can do: get one, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.errors import Refused, WrongCertificate
from trio_chat.protocol.frames import Ca, Command, Enrol, Login, Register
from trio_chat.server import accounts, enrolment

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["serve_stranger"]

_HANDLERS: dict[type[Command], Callable[[Server, Connection, Any], Awaitable[None]]] = {
    Ca: enrolment.tell_authority,
    Enrol: enrolment.enrol,
    Register: accounts.register,
    Login: accounts.login,
}


async def serve_stranger(server: Server, connection: Connection, frame: Command) -> None:
    """Do what somebody without a certificate asks.

    Raises:
        Refused: anything but getting one; the connection ends.
    """
    if wait := connection.bucket.take(connection.heard):
        await connection.hold_back(wait)
    if isinstance(frame, Register | Login):  # others may be before it where passwords are hashed
        connection.scope.deadline = trio.current_time() + server.limits.hello_timeout
    try:
        handler = _HANDLERS.get(type(frame))
        if handler is None:
            raise WrongCertificate(
                "the server wants a certificate and got none; get one with an invite, by "
                "`trio-chat join HOST:PORT --invite TOKEN`"
            )
        await handler(server, connection, frame)
        connection.proven = connection.proven or not isinstance(frame, Ca)
    except Refused as error:
        error.id = getattr(frame, "id", None)
        raise
