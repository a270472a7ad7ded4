"""Orders over mutual TLS, with an admin's certificate: `--at HOST:PORT`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Self

import trio

from trio_chat.address import Address
from trio_chat.cli.admin_client import NotPermitted, NotRunning
from trio_chat.cli.credentials import credentials
from trio_chat.client import administer, connect
from trio_chat.errors import Forbidden, Unreachable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio_chat.client import Client

__all__ = ["RemoteTalk"]

_PATIENCE = 30.0  # s for a connection and an answer that takes no time


class RemoteTalk:
    """Asks as `Talk` does, over a connection for each order."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._address = Address.parse(options.at)
        self._found = credentials(options, self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def ask(self, command: str, *, patient: bool = False, **arguments: Any) -> dict[str, Any]:
        """Give an order and return what the server answers; `patient` waits for ever.

        Raises:
            NotRunning, NotPermitted: nobody is there, or one may not.
            ChatError: it was not done, and why.
        """
        connecting = connect(
            self._address,
            cert=self._found.cert,
            key=self._found.key,
            ca=self._found.ca,
            pin=self._found.pin,
            passphrase=self._found.passphrase,
            reconnect=False,
        )
        patience = float("inf") if patient else _PATIENCE
        try:
            return trio.run(_order, connecting, patience, command, arguments)
        except Unreachable as error:
            raise NotRunning(str(error), hint=error.hint) from None
        except Forbidden as error:
            raise NotPermitted(
                str(error), hint="trio-chat pki issue NAME --admin makes a certificate that may"
            ) from None
        except trio.TooSlowError:
            raise NotRunning(f"{self._address} has not answered for {_PATIENCE:.0f} s") from None

    def wait_for_end(self) -> bool:
        """Return False: from here it cannot be seen."""
        return False


async def _order(
    connecting: AbstractAsyncContextManager[Client],
    patience: float,
    command: str,
    arguments: dict[str, Any],
) -> dict[str, Any]:
    interrupted = False
    result: dict[str, Any] = {}
    try:
        with trio.fail_after(patience):
            async with connecting as client:
                result = await administer(client, command, **arguments)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise KeyboardInterrupt  # out of the group, so that the exit status is 130
    return result
