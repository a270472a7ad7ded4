"""Handlers of encrypted rooms: what is said there, and what lies beside their logs.

The server orders and keeps what it cannot read. Welcomes, infos and blobs go through the
room to the log together with their commit, and are read from there; the room keeps none.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import attrs
import trio

from trio_chat.chat.epochs import Commit, Sealed
from trio_chat.chat.ledger import Entry, sealed_rest
from trio_chat.errors import BadFrame, NoBlob, NoGroup, NoWelcome, Refused, TooMany, WrongMode
from trio_chat.protocol.frames import (
    Blob,
    GetBlob,
    GetInfo,
    GetWelcome,
    Info,
    MlsWelcome,
    Ok,
    PutBlob,
    SendSealed,
)
from trio_chat.server.checks import check_voice, cursor_of
from trio_chat.server.uploads import Upload, next_part
from trio_chat.store import PART

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.room import Room
    from trio_chat.server.server import Server

__all__ = ["Pledge", "get_blob", "get_info", "get_welcome", "put_blob", "send"]

ENDS = frozenset({"commit", "create"})  # an epoch
WELCOMED = 1000  # devices that have Welcomes in one commit


async def send(server: Server, connection: Connection, frame: SendSealed) -> None:
    """Put a line into its room's inbox; its echo or an `error` answers it."""
    cursor = cursor_of(connection, frame.room)
    room = cursor.room
    _check_mode(room)
    commit: Commit | None = None
    ticket: Connection | Pledge = connection
    if frame.kind == "message":
        check_voice(server, connection, room)
    if frame.kind in ENDS:
        commit, upload = _commit(connection, room, frame)
        ticket = Pledge(connection, upload)
    elif frame.welcomes is not None or frame.info is not None or frame.tree is not None:
        raise BadFrame("only `commit` and `create` bring `welcomes`, `info` and `tree`")
    rest = sealed_rest(cursor.who, frame.n, frame.epoch, frame.kind, frame.body)
    sealed = Sealed(frame.epoch, frame.kind, commit)
    await connection.post(room, Entry(connection.device, frame.n, rest, None, ticket, sealed))


def _commit(connection: Connection, room: Room, frame: SendSealed) -> tuple[Commit, Upload | None]:
    if frame.info is None or frame.tree is None:
        raise BadFrame(f"`{frame.kind}` wants `info` and `tree`")
    welcomes = [(each.to, each.body) for each in frame.welcomes or ()]
    if sum(len(devices) for devices, _ in welcomes) > WELCOMED:
        raise TooMany(f"one commit lets in at most {WELCOMED} devices")
    upload = connection.upload
    if upload is None or not upload.whole or (upload.room, upload.digest) != (room.key, frame.tree):
        return Commit(frame.info, frame.tree, welcomes), None
    upload.hold()
    return Commit(frame.info, frame.tree, welcomes, upload.data), upload


@attrs.frozen
class Pledge:
    """A commit's ticket: lets go of its blob when its fate is known."""

    connection: Connection
    upload: Upload | None

    def accepted(self, seq: int) -> None:
        """It is in the log, and the blob is the room's."""
        if self.upload is not None and self.connection.upload is self.upload:
            self.connection.drop_upload()
        self.let_go()

    def refused(self, error: Refused) -> None:
        """It is not; the connection may try again with the same blob."""
        self.let_go()
        self.connection.refused(error)

    def let_go(self) -> None:
        """Have done with it."""
        if self.upload is not None:
            self.upload.let_go()


async def put_blob(server: Server, connection: Connection, frame: PutBlob) -> None:
    """Take a part of a blob; the first part of another one takes the place of the last."""
    room = cursor_of(connection, frame.room).room
    _check_mode(room)
    try:
        data = base64.b64decode(frame.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadFrame("`data` is not base64") from None
    if len(data) > PART:
        raise BadFrame(f"a part may have {PART} bytes")
    if not frame.offset:
        connection.drop_upload()
        person = connection.identity.key
        connection.upload = server.uploads.begin(person, room.key, frame.blob, frame.size)
    upload = next_part(connection.upload, room.key, frame.blob, frame.size)
    try:
        upload.add(frame.offset, data, trio.current_time())
    except BadFrame:
        if len(upload.data) == upload.size and not upload.whole:
            connection.drop_upload()
        raise
    connection.say(Ok(id=frame.id))


async def get_blob(server: Server, connection: Connection, frame: GetBlob) -> None:
    """Answer with a part of a blob that the room has."""
    room = cursor_of(connection, frame.room).room
    found = await server.store.read_blob(room.id, frame.blob, frame.offset)
    if found is None:
        raise NoBlob("the room has no such blob, or has it no longer")
    size, data = found
    connection.say(
        Blob(
            room=room.name,
            blob=frame.blob,
            size=size,
            offset=frame.offset,
            data=base64.b64encode(data).decode(),
            id=frame.id,
        )
    )


async def get_info(server: Server, connection: Connection, frame: GetInfo) -> None:
    """Answer with what the newest commit said of the group."""
    room = cursor_of(connection, frame.room).room
    found = await server.store.read_info(room.id)
    if found is None:
        raise NoGroup("nobody has begun the room's group; `create` begins it")
    connection.say(
        Info(
            room=room.name,
            epoch=found.epoch,
            seq=found.seq,
            body=found.body,
            tree=found.tree,
            id=frame.id,
        )
    )


async def get_welcome(server: Server, connection: Connection, frame: GetWelcome) -> None:
    """Answer with the newest Welcome for this device."""
    room = cursor_of(connection, frame.room).room
    found = await server.store.read_welcome(room.id, connection.device)
    if found is None:
        raise NoWelcome("there is no Welcome for this device; a member has to add it")
    connection.say(
        MlsWelcome(
            room=room.name,
            epoch=found.epoch,
            seq=found.seq,
            body=found.body,
            tree=found.tree,
            id=frame.id,
        )
    )


def _check_mode(room: Room) -> None:
    if room.mode != "encrypted":
        raise WrongMode("the room is plain: say `text`, and nothing else is kept")
