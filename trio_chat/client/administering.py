"""Giving a server orders, with the certificate of an admin."""

from __future__ import annotations

from typing import Any

from trio_chat.client.client import Client
from trio_chat.errors import ConfigError
from trio_chat.protocol.frames import Administer, Administered

__all__ = ["administer"]


async def administer(client: Client, command: str, **arguments: Any) -> dict[str, Any]:
    """Give the server an order, as `trio-chat admin` does, and return its answer.

    Raises:
        Forbidden: our certificate does not have the role admin.
        Refused: it was not done, and why.
        ConfigError: the same, for a reason that lies in the server's files.
        Unreachable: the connection was lost; whether it was done is not known.
    """
    reply = await client._ask(Administer(command, arguments), repeat=False)
    assert isinstance(reply, Administered)
    if reply.result is None:
        raise ConfigError(reply.failure or "it was not done", hint=reply.hint or "")
    return reply.result
