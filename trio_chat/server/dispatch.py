"""What each command does: one table from the frame's class to its handler.

A handler gets the server, the connection and the frame. It answers through the connection,
or raises `Refused`, which becomes the reply.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.errors import HelloFirst, Refused, StoreError, StoreUnavailable
from trio_chat.protocol.frames import (
    Administer,
    Away,
    Ban,
    Ca,
    ChangePassword,
    Chat,
    ClaimPackages,
    Command,
    Create,
    Enrol,
    Error,
    GetBlob,
    GetCrl,
    GetInfo,
    GetWelcome,
    Hello,
    History,
    Invite,
    Join,
    Kick,
    Leave,
    List,
    ListDevices,
    ListRooms,
    ListSanctions,
    Login,
    Mute,
    Nick,
    Ping,
    Pong,
    PublishPackages,
    PutBlob,
    Register,
    Relay,
    Renew,
    RevokeDevice,
    Send,
    SendSealed,
    SetRole,
    SetTopic,
    Typing,
    Unban,
    Uninvite,
    Unmute,
    Whois,
)
from trio_chat.server import (
    access,
    accounts,
    delivery,
    directory,
    enrolment,
    lookup,
    membership,
    moderation,
    own_devices,
    talk,
)
from trio_chat.server.administer import administer

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["HANDLERS", "handle"]

log = logging.getLogger("trio_chat.server")


async def handle(server: Server, connection: Connection, frame: Command) -> None:
    """Do what `frame` asks, and say how it went."""
    if type(frame) is Pong and connection.pinged is not None:
        connection.pinged = None  # the sign of life that was asked for; costs nothing
        return
    if wait := connection.bucket.take(connection.heard):
        await connection.hold_back(wait)
    kind = type(frame)
    if kind is not Send and kind is not SendSealed:
        await connection.posted()
    try:
        await HANDLERS[kind](server, connection, frame)
    except Refused as error:
        _refuse(connection, frame, error)
    except StoreError as error:
        log.error("connection %d: %s: %s", connection.id, frame.type, error)
        text = "the server cannot use its database now; nothing has happened, try again later"
        _refuse(connection, frame, StoreUnavailable(text, retry_after=5.0))
    if kind is not Send and kind is not SendSealed:
        connection.heard = trio.current_time()  # the handlers of all others may wait


def _refuse(connection: Connection, frame: Command, error: Refused) -> None:
    connection.say(
        Error(
            code=error.code,
            text=str(error),
            id=getattr(frame, "id", None),
            room=error.room or getattr(frame, "room", None),
            n=error.n or getattr(frame, "n", None),
            epoch=error.epoch,
            seq=error.seq,
            retry_after=error.retry_after,
        )
    )


async def _hello(server: Server, connection: Connection, frame: Hello) -> None:
    raise HelloFirst("hello was said already; it comes first and once")


async def _pong(server: Server, connection: Connection, frame: Pong) -> None:
    """Nobody asked for it; like every command it has its price."""


async def _ping(server: Server, connection: Connection, frame: Ping) -> None:
    connection.say(Pong())


Handler = Callable[["Server", "Connection", Any], Awaitable[None]]

HANDLERS: dict[type[Command], Handler] = {
    Hello: _hello,
    Join: membership.join,
    Leave: membership.leave,
    Create: membership.create,
    Send: talk.send,
    History: lookup.read_history,
    List: lookup.list_users,
    ListRooms: lookup.list_rooms,
    SetTopic: talk.set_topic,
    Typing: talk.typing,
    Away: membership.away,
    Nick: membership.nick,
    Whois: lookup.whois,
    Chat: talk.chat,
    Relay: talk.relay,
    Administer: administer,
    Ping: _ping,
    Pong: _pong,
    SendSealed: delivery.send,
    Invite: access.invite,
    Uninvite: access.uninvite,
    PublishPackages: directory.publish,
    ClaimPackages: directory.claim,
    PutBlob: delivery.put_blob,
    GetBlob: delivery.get_blob,
    GetInfo: delivery.get_info,
    GetWelcome: delivery.get_welcome,
    GetCrl: directory.get_crl,
    Ca: enrolment.tell_authority,
    Enrol: enrolment.enrol,
    Renew: enrolment.renew,
    Register: accounts.register,
    Login: accounts.login,
    ChangePassword: accounts.change_password,
    ListDevices: own_devices.list_devices,
    RevokeDevice: own_devices.revoke_device,
    SetRole: moderation.set_role,
    Kick: moderation.kick,
    Ban: moderation.ban,
    Unban: moderation.unban,
    Mute: moderation.mute,
    Unmute: moderation.unmute,
    ListSanctions: moderation.list_sanctions,
}
