"""A room as a program sees it: what may be read of it and done in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from trio_chat import names
from trio_chat.client.connection import check_line
from trio_chat.client.news import Unreadable
from trio_chat.client.sealed import SealedRoom
from trio_chat.client.state import RoomState
from trio_chat.client.trusting import RoomReader, check_words, readers
from trio_chat.e2ee.comparing import Comparing
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.payload import Payload, Text, encode_payload
from trio_chat.e2ee.payload import Topic as TopicPayload
from trio_chat.e2ee.wishes import Invite as Bring
from trio_chat.e2ee.wishes import Kick
from trio_chat.errors import ConfigError, NotMember, ProtocolError, TextTooLong, Unreachable, Unsent
from trio_chat.protocol.codec import decode_event_object
from trio_chat.protocol.fields import Form
from trio_chat.protocol.frames import (
    Acted,
    History,
    Invite,
    Member,
    Message,
    Page,
    Send,
    SetTopic,
    Topic,
    Typing,
    Uninvite,
)

if TYPE_CHECKING:
    from trio_chat.client.client import Client

__all__ = ["Room"]

_PAGE = 200  # entries asked for at once
_ANY_N = 2**53 - 1
T = TypeVar("T")


class Room:
    """A joined room. No public constructor: see `Client.join`.

    It stays joined across reconnects, until `leave`; then everything here raises `NotMember`.
    """

    def __init__(self, client: Client, state: RoomState) -> None:
        self.client = client
        self._state = state

    def __repr__(self) -> str:
        return f"<Room {self.name}>"

    @property
    def name(self) -> str:
        """As the server spells it."""
        return self._state.name

    def _open_sealed(self) -> SealedRoom:
        """Return our part of an encrypted room: without it nothing may be said or read here."""
        encryption = self.client._encryption
        found = None if encryption is None else encryption.room(self._state.key)
        if encryption is not None and encryption.problem is not None:
            raise encryption.problem
        if found is None:
            raise ConfigError(
                f"{self.name} is encrypted, and this client has no store to keep keys in"
            )
        return found

    @property
    def topic(self) -> str:
        """What it is about; an empty string if nobody said."""
        return self._state.topic

    @property
    def mode(self) -> str:
        """`plain`: the server can read it."""
        return self._state.mode

    @property
    def encrypted(self) -> bool:
        """Is what is said here for those in it alone?"""
        return self._state.encrypted

    @property
    def access(self) -> str:
        """`open`, or `closed`: only for those whom an owner has invited."""
        return self._state.access

    @property
    def role(self) -> str:
        """What we are in it: `member`, `moderator`, `owner`, or `admin` by certificate."""
        return self._state.role

    @property
    def seq(self) -> int:
        """The sequence number of its newest entry, as far as known."""
        return self._state.seq

    @property
    def count(self) -> int:
        """How many connections are in it."""
        return self._state.roster.count

    @property
    def members(self) -> Mapping[str, Member]:
        """Who is in it, by device; empty where it is too large for a list (`Client.users`)."""
        return MappingProxyType(self._state.roster.members)

    @property
    def peer(self) -> str | None:
        """The other one of a two-person room, as folded for comparison; else None."""
        return names.peer_of(self._state.key, self.client.user)

    async def send(self, text: str, *, form: Form | None = None) -> Message:
        """Say something; return it as it stands in the log, with its sequence number.

        It returns when the server has it on disk, be that after several reconnects, and it
        is said exactly once. Several tasks may send at once; the order of the calls is the
        order of the messages. If the number is no longer known (more time without connection
        than messages are kept), `seq` is 0.

        *Cancellation*: a message that was not written yet is taken back. One that may have
        been written may arrive, once: look at the events, or into `history`.

        Raises:
            TextTooLong: longer than the server takes.
            NotMember: the room was left, or the server put us out of it.
            Refused: the server says no; nothing was said.
            Disconnected: the client has ended before the answer.
        """
        self._check()
        check_line(Send(self.name, _ANY_N, text, form))
        limit = self.client._connection.welcome.text_size
        if len(text.encode()) > limit:
            raise TextTooLong(f"the text is longer than {limit} bytes; split it")
        if self._state.encrypted:
            said = await self._say(Text(text, form))
            assert isinstance(said, Message)
            return said
        return await self.client._wait(self.client._session.send(self._state, text, form))

    async def _say(self, payload: Payload) -> Message | Topic:
        sealed = self._open_sealed()
        try:
            encode_payload(payload)
        except ValueError as error:
            raise TextTooLong(f"{error}; split it") from None
        return await self.client._wait(sealed.say(payload))

    async def history(
        self, *, before: int | None = None, after: int | None = None, limit: int = 100
    ) -> list[Message | Topic | Acted | Unreadable]:
        """Return up to `limit` entries, oldest first; of an encrypted room, from our own disk.

        Args:
            before: The entries just before this sequence number; the newest if left out.
            after: Instead of `before`: those just after it.
            limit: How many at most; several pages are fetched as needed.

        Raises:
            NotMember, Refused, Disconnected: as for `send`.
            Unreachable: the server sent something else.
        """
        self._check()
        if before is not None and after is not None:
            raise ValueError("either before or after")
        if self._state.encrypted:
            kept = await self._open_sealed().encryption.history(
                self._state, before=before, after=after, limit=limit
            )
            return list(kept)
        found: list[Message | Topic | Acted | Unreadable] = []
        wanted = limit
        while wanted > 0:
            asked = History(self.name, before=before, after=after, limit=min(wanted, _PAGE))
            reply = await self.client._ask(asked, repeat=True)
            assert isinstance(reply, Page)
            if not reply.entries:
                break
            seqs, entries = _entries(reply, asked)
            wanted -= len(seqs)
            if after is not None:
                found += entries
                after = seqs[-1]
                if after >= reply.seq:
                    break
            else:
                found[:0] = entries
                before = seqs[0]
                if before <= reply.first:
                    break
        return found

    async def set_topic(self, text: str) -> None:
        """Say what the room is about.

        Raises:
            Unreachable: no connection now, or it was lost before the answer.
            Refused: the server says no.
        """
        self._check()
        if self._state.encrypted:
            await self._say(TopicPayload(text))
            return
        await self.client._ask(SetTopic(self.name, text), repeat=False)

    async def search(self, words: str, *, limit: int = 50) -> list[Message | Topic | Unreadable]:
        """Return the last entries with all of these words, oldest first, from our own disk.

        Case and accents do not matter; the last word may be the beginning of one.

        Raises:
            Unsent: the room is plain, and nothing of it is kept here.
        """
        self._check()
        if not self._state.encrypted:
            raise Unsent(f"{self.name} is plain: nothing of it is kept here to search")
        return await self._open_sealed().encryption.search(self._state, words, limit)

    # Who is in an encrypted room; of a plain one, `Unsent` is raised

    async def readers(self) -> list[RoomReader]:
        """Return the devices that can read what is said here, by user; none if we cannot."""
        return await self._inquire(lambda conversation: readers(conversation, time.time()))

    async def check_words(self) -> tuple[str, ...]:
        """Return eight words, which are the same for all who see the same people in the room."""
        return await self._inquire(check_words)

    async def invite(self, user: str) -> None:
        """Let somebody in, with all of their devices: on the server's list, and to the keys.

        Doing so again lets devices in that they have by now.

        Raises:
            NoUser: nobody of that name was ever here.
            Forbidden: the room is open, or not ours.
            Unsent: they have no device that can be let in, or the room's rules forbid it.
            Unreachable: no connection now, or it was lost before the answer.
        """
        sealed = self._encrypted()
        if names.peer_of(self._state.key, user) is None:  # the two of a room are on its list
            await self.client._ask(Invite(self.name, user), repeat=True)
        await self.client._wait(sealed.want(lambda conversation: conversation.want(Bring(user))))

    async def kick(self, user: str) -> None:
        """Put somebody out: off the server's list, and away from what is said from now on.

        Raises as `invite`.
        """
        sealed = self._encrypted()
        await self.client._ask(Uninvite(self.name, user), repeat=True)
        if any(names.key(each.user) == names.key(user) for each in await self.readers()):
            await self.client._wait(sealed.want(lambda conversation: conversation.want(Kick(user))))

    async def _compare(self, function: Callable[[Comparing], None]) -> None:
        sealed = self._encrypted()

        def compare(_: Conversation) -> None:
            onlooker = sealed.onlooker
            assert onlooker is not None
            assert onlooker.comparing is not None
            function(onlooker.comparing)

        await sealed.inquire(compare)

    async def _inquire(self, function: Callable[[Conversation], T]) -> T:
        return await self._encrypted().inquire(function)

    def _encrypted(self) -> SealedRoom:
        self._check()
        if not self._state.encrypted:
            raise Unsent(f"{self.name} is plain: the server can read it, and has no keys")
        return self._open_sealed()

    async def typing(self) -> None:
        """Let the others know that one is typing; raises as `set_topic`."""
        self._check()
        await self.client._ask(Typing(self.name), repeat=False)

    async def leave(self) -> None:
        """Leave, after what was sent before has been acknowledged.

        *Cancellation*: still in it, or left; `client.rooms` tells.
        """
        self._check()
        await self.client._leave(self._state)

    def _check(self) -> None:
        self.client._check_open()
        if self._state.closed or self._state.leaving:
            raise NotMember(f"{self.name} was left; join it again", room=self.name)


def _entries(page: Page, asked: History) -> tuple[list[int], list[Message | Topic | Acted]]:
    """Return the numbers of a page's entries, and those of a type that we know."""
    seqs: list[int] = []
    entries: list[Message | Topic | Acted] = []
    last = asked.after or 0
    for found in page.entries:
        seq = found.get("seq") if isinstance(found, dict) else None
        if type(seq) is not int or not last < seq < (asked.before or _ANY_N):
            raise Unreachable("the server sent a page of something else")
        last = seq
        seqs.append(seq)
        try:
            entry = decode_event_object(found)
        except ProtocolError as error:
            if error.code != "unknown-type":
                raise
            continue
        if isinstance(entry, Message | Topic | Acted) and entry.room == page.room:
            entries.append(entry)
    return seqs, entries
