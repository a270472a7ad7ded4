"""Handlers of the orders about people: bans and mutes, in a room or on the whole server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_chat.chat.sanctions import Kind
from trio_chat.server import deeds, orders, sentences
from trio_chat.server.acts import OPERATOR
from trio_chat.server.measures import Done
from trio_chat.server.moderation import tell_sanctions
from trio_chat.server.targets import read_target

if TYPE_CHECKING:
    from trio_chat.server.desk import Desk

__all__ = ["ban", "bans", "mute", "unban", "unmute"]


async def ban(desk: Desk, order: orders.Ban) -> Done:
    """Keep somebody out, at once."""
    return await _impose(desk, order, "ban")


async def mute(desk: Desk, order: orders.Mute) -> Done:
    """Let somebody read and say nothing."""
    return await _impose(desk, order, "mute")


async def unban(desk: Desk, order: orders.Unban) -> Done:
    """End a ban."""
    return await _lift(desk, order, "ban")


async def unmute(desk: Desk, order: orders.Unmute) -> Done:
    """End a mute."""
    return await _lift(desk, order, "mute")


async def bans(desk: Desk, order: orders.Bans) -> Done:
    """List who is banned and muted."""
    found = desk.server.sanctions
    if order.room is not None:
        async with desk.server.rooms.hold(order.room) as room:
            found = room.house.sanctions
    told = [attrs.asdict(each) for each in tell_sanctions(found, addresses=True)]
    return Done({"sanctions": told})


async def _impose(desk: Desk, order: orders.Ban | orders.Mute, kind: Kind) -> Done:
    server = desk.server
    target = await read_target(server, order.who)
    if order.room is None:
        met = await sentences.impose(
            server, kind, target, seconds=order.seconds, reason=order.reason
        )
        return Done({"met": met, "who": str(target)}, f"{target}, {met} connections")
    deed = deeds.ban if kind == "ban" else deeds.mute
    async with server.rooms.hold(order.room) as room:
        met = len(target.meets(room.cursors))
        await deed(server, room, OPERATOR, target, seconds=order.seconds, reason=order.reason)
    return Done({"met": met, "who": str(target)}, f"{target}, {met} connections")


async def _lift(desk: Desk, order: orders.Unban | orders.Unmute, kind: Kind) -> Done:
    server = desk.server
    target = await read_target(server, order.who, known=False)
    if order.room is None:
        await sentences.lift(server, kind, target)
    else:
        async with server.rooms.hold(order.room) as room:
            await deeds.lift(server, room, OPERATOR, kind, target)
    return Done({"who": str(target)}, str(target))
