"""Where an admin's orders are carried out, whatever brought them, and written down.

Each order that changes something is in the audit log before it takes effect, and again when
it is known how it went. One that cannot be written down is not carried out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_chat.errors import ChatError, StoreError
from trio_chat.server import judgements, measures, orders, reports
from trio_chat.server.config import ServerConfig
from trio_chat.server.measures import Done, Files
from trio_chat.server.orders import Order
from trio_chat.server.tree import Ages
from trio_chat.store import AuditEntry
from trio_chat.text import safe

if TYPE_CHECKING:
    from trio_chat.server.server import Server

__all__ = ["HANDLERS", "Desk", "Tools"]

log = logging.getLogger("trio_chat.server")

_OUTCOME = 500  # characters of an error's text that are written down
_PATIENCE = 5.0  # s for an outcome to be written down when everything else is cancelled


@attrs.frozen
class Tools:
    """What an admin's orders need of the program around the server.

    Attributes:
        configure: Reads the configuration anew. Raises `ConfigError`.
        revoke: Puts the certificates on the list that the words or the PEM stand for, and
            returns their serial numbers as text. Runs in a thread. Raises `ConfigError`.
    """

    configure: Callable[[], ServerConfig]
    revoke: Callable[[str, str | None], list[str]]


class Desk:
    """Carries out the orders of admins.

    Attributes:
        ages: How long each task has been running, since this was made.
        stopping: Trio's clock when the server is to be drained, if that is planned.
        plan: Cancelling it calls that off.
    """

    def __init__(self, server: Server, tools: Tools, nursery: trio.Nursery) -> None:
        """`nursery` is for what is to happen later; it ends no later than the server."""
        self.server = server
        self.tools = tools
        self.nursery = nursery
        self.ages = Ages.install()
        self.files = Files.read(server.config)
        self.stopping: float | None = None
        self.plan: trio.CancelScope | None = None
        server.desk = self  # for what comes by the connections of admins

    async def do(self, actor: str, order: Order) -> Done:
        """Carry out an order of `actor`, who may do everything; the caller has seen to that.

        What is to happen after the answer has been given, is the caller's to call.

        Raises:
            ChatError: it was not done, and why.
        """
        handler = HANDLERS[type(order)]
        if not order.audited:
            return await handler(self, order)
        n = await self._write_down(actor, order, "begun", None)
        try:
            done = await handler(self, order)
        except ChatError as error:
            await self._write_outcome(actor, order, f"failed: {error}", n)
            raise
        except trio.Cancelled:
            await self._write_outcome(actor, order, "failed: called off before its end", n)
            raise
        await self._write_outcome(
            actor, order, f"done: {done.outcome}" if done.outcome else "done", n
        )
        return done

    async def _write_outcome(self, actor: str, order: Order, outcome: str, n: int) -> None:
        """Write down how it went. If that fails it is done all the same, and the log has it."""
        log.info("%s, audit entry %d, %s: %s", actor, n, order.name, safe(outcome))
        try:
            # Whoever asked may be gone, by this very order: it is written down all the same.
            with trio.CancelScope(shield=True), trio.move_on_after(_PATIENCE):
                await self._write_down(actor, order, outcome[:_OUTCOME], n)
        except StoreError as error:
            log.error("the outcome of audit entry %d cannot be written down: %s", n, error)

    async def _write_down(self, actor: str, order: Order, outcome: str, of: int | None) -> int:
        return await self.server.store.add_audit(
            AuditEntry(
                time=round(time.time(), 3),
                actor=actor,
                action=order.name,
                target=order.target,
                outcome=outcome,
                of=of,
            )
        )


Handler = Callable[[Desk, Any], Awaitable[Done]]

HANDLERS: dict[type[Order], Handler] = {
    orders.Status: reports.status,
    orders.Tree: reports.tree,
    orders.Rooms: reports.rooms,
    orders.Users: reports.users,
    orders.Kick: measures.kick,
    orders.Ban: judgements.ban,
    orders.Unban: judgements.unban,
    orders.Mute: judgements.mute,
    orders.Unmute: judgements.unmute,
    orders.Bans: judgements.bans,
    orders.Announce: measures.announce,
    orders.Drain: measures.drain,
    orders.Reload: measures.reload,
    orders.Revoke: measures.revoke,
    orders.RevokeDevice: measures.revoke,
    orders.Backup: measures.backup,
    orders.Lockdown: measures.lockdown,
    orders.Unlock: measures.unlock,
    orders.Audit: reports.audit,
    orders.VerifyAudit: reports.verify_audit,
}
