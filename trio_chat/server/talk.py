"""Handlers of what is said: messages, topics, typing, to the server, to one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trio_chat import names
from trio_chat.chat.ledger import Entry, message_rest, topic_rest
from trio_chat.errors import Forbidden, NoUser, Refused, WrongMode
from trio_chat.protocol.codec import encode
from trio_chat.protocol.frames import (
    Chat,
    Error,
    Ok,
    Relay,
    Relayed,
    Send,
    SetTopic,
    Typing,
    TypingNow,
)
from trio_chat.protocol.frames import Server as ServerSays
from trio_chat.server.checks import check_length, check_size, check_voice, cursor_of

if TYPE_CHECKING:
    from trio_chat.server.connection import Connection
    from trio_chat.server.server import Server

__all__ = ["chat", "relay", "send", "set_topic", "typing"]

TOPIC_SIZE = 400  # characters


async def send(server: Server, connection: Connection, frame: Send) -> None:
    """Put a message into its room's inbox; its echo or an `error` answers it."""
    cursor = cursor_of(connection, frame.room)
    if cursor.room.mode != "plain":
        raise WrongMode("the room is encrypted: join it with a program that can encrypt")
    check_voice(server, connection, cursor.room)
    check_size(frame.text, server.limits.text_size)
    rest = message_rest(cursor.who, frame.n, frame.text, frame.form)
    await connection.post(cursor.room, Entry(connection.device, frame.n, rest, None, connection))


async def set_topic(server: Server, connection: Connection, frame: SetTopic) -> None:
    """Put a topic into its room's inbox; answered when it is in the log."""
    cursor = cursor_of(connection, frame.room)
    if cursor.room.mode != "plain":
        raise Forbidden("the topic of an encrypted room is not for the server to read")
    check_voice(server, connection, cursor.room)
    check_length(frame.text, TOPIC_SIZE, "a topic")
    receipt = _Receipt(connection, frame)
    rest = topic_rest(cursor.who, frame.text)
    await connection.post(cursor.room, Entry(connection.device, None, rest, frame.text, receipt))


@attrs.frozen
class _Receipt:
    """Answers a command when its entry's fate is known."""

    connection: Connection
    frame: SetTopic

    def accepted(self, seq: int) -> None:
        self.connection.say(Ok(seq=seq, id=self.frame.id))

    def refused(self, error: Refused) -> None:
        self.connection.say(
            Error(code=error.code, text=str(error), room=self.frame.room, id=self.frame.id)
        )


async def typing(server: Server, connection: Connection, frame: Typing) -> None:
    """Tell the others that one is typing, unless they are too many."""
    room = cursor_of(connection, frame.room).room
    check_voice(server, connection, room)
    if not room.roster.large:
        user = connection.identity.user
        room.cast(TypingNow(room=room.name, user=user, device=connection.device), but=connection)
    connection.say(Ok(id=frame.id))


async def chat(server: Server, connection: Connection, frame: Chat) -> None:
    """Answer as the server itself."""
    check_size(frame.text, server.limits.text_size)
    connection.say(ServerSays(f"echo: {frame.text}"))


async def relay(server: Server, connection: Connection, frame: Relay) -> None:
    """Pass something opaque on, with the sender that the certificate names.

    A peer that is owed too much already misses it.
    """
    check_voice(server, connection)
    to = server.people.get(names.key(frame.to))
    if not to:
        raise NoUser("nobody of that name is here now; `/users` lists who is")
    line = encode(
        Relayed(
            sender=connection.identity.user,
            to=frame.to,
            alg=frame.alg,
            nonce=frame.nonce,
            cipher=frame.cipher,
        )
    )
    for each in to:
        if not each.far_behind:
            each.say_line(line)
