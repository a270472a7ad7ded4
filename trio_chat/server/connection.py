"""One connection: the task that reads it, from the handshake to the end.

It reads frames, one at a time, and awaits each one's handling: what a peer can cost is
bounded by that alone. What is written is outlet.py's.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

import trio
from cryptography import x509

from trio_chat import names
from trio_chat.chat.bucket import Bucket
from trio_chat.chat.ledger import Entry
from trio_chat.chat.sanctions import Suspect
from trio_chat.errors import (
    HelloFirst,
    LineTooLong,
    ProtocolError,
    Refused,
    StoreError,
    StoreUnavailable,
    TooMany,
    WrongCertificate,
    WrongProtocol,
)
from trio_chat.identity import ADMIN, BOT, Identity, client_identity
from trio_chat.protocol.codec import decode_command
from trio_chat.protocol.frames import PROTOCOL, Closing, Command, Error, Hello, Member
from trio_chat.protocol.lines import LineBuffer
from trio_chat.server.delivery import Pledge
from trio_chat.server.dispatch import handle
from trio_chat.server.outlet import Outlet
from trio_chat.server.sentences import check_banned
from trio_chat.server.strangers import serve_stranger
from trio_chat.transport import Slots, Wire

if TYPE_CHECKING:
    import socket

    from trio_chat.server.room import Room
    from trio_chat.server.server import Server
    from trio_chat.server.uploads import Upload

__all__ = ["Connection"]

log = logging.getLogger("trio_chat.server")

LINGER = 1.0  # s for a peer to hear why its connection ends
NOTHING: frozenset[str] = frozenset()
_numbers = itertools.count(1)


class Connection(Outlet):
    """A peer, from being accepted to its end.

    Attributes:
        address: Where it comes from, without the port.
        identity, device: Who it is, once it has said `hello`.
        suspect: The same, as bans and mutes look at it.
        since: Trio's clock when it was accepted.
        heard: Trio's clock when something that came from it was last taken.
        pinged: Trio's clock when it was asked for a sign of life, until that has come.
        busy: Is something that it said being handled, or held back by its limit?
        upload: The blob it is putting, or has put and not named yet.
        welcomed: Has it said `hello`, and been let in?
        stranger: Has it no certificate? Then it can get one, and nothing else.
        proven: Did it have a certificate that is in order, or got it one?
    """

    __slots__ = (
        "__weakref__",
        "_bad",
        "_entries",
        "_lines",
        "_reason",
        "_room",
        "_server",
        "address",
        "away",
        "bucket",
        "busy",
        "device",
        "heard",
        "identity",
        "nick",
        "noticed",
        "pinged",
        "proven",
        "since",
        "stranger",
        "suspect",
        "upload",
        "welcomed",
    )

    identity: Identity
    device: str
    bucket: Bucket
    suspect: Suspect

    def __init__(
        self, server: Server, sock: socket.socket, address: str, slots: Slots | None
    ) -> None:
        super().__init__(next(_numbers), Wire(sock, server.context, slots), server.nursery)
        self.address = address
        self.nick: str | None = None
        self.away: str | None = None
        self.noticed: frozenset[str] = NOTHING  # two-person rooms it was told of and not in yet
        self.since = self.heard = trio.current_time()
        self.pinged: float | None = None
        self.busy = False
        self.welcomed = False
        self.upload: Upload | None = None
        self.stranger = False
        self.proven = False
        self._server = server
        self._lines = LineBuffer(server.limits.hello_size)
        self._bad: deque[float] | None = None
        self._room: Room | None = None
        self._entries: list[Entry] = []  # for that room, and not posted yet
        self._reason: str | None = None  # why it ends, once that is known

    def __repr__(self) -> str:
        return f"<Connection {self.id} from {self.address}>"

    # --- its life ------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the peer until one side ends it; nothing it does reaches further."""
        try:
            with self.scope:
                try:
                    self.scope.deadline = self.heard + self._server.limits.handshake_timeout
                    await self.wire.handshake()
                    self._identify()
                    self.scope.deadline = trio.current_time() + self._server.limits.hello_timeout
                    await self._listen()
                except (ProtocolError, Refused) as error:
                    self._refuse(error)
                except StoreError as error:
                    log.error("connection %d: %s", self.id, error)
                    self._refuse(StoreUnavailable("the server cannot use its database now"))
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    self._reason = self._reason or f"connection lost: {_cause(error)}"
                except Exception:
                    # A defect of ours: it ends this connection and nothing else.
                    self._reason = "internal error"
                    log.exception("connection %d: internal error", self.id)
        finally:
            self._leave()
            log.debug("connection %d ended: %s", self.id, self._reason or "timed out")
            await self.shut(LINGER)

    def end(self, reason: str, *, retry_after: float | None = None) -> None:
        """End the connection from outside, telling the peer why."""
        if self._reason is None:
            self._reason = reason
            self.say(Closing(reason, retry_after))
            for cursor in self.cursors.values():
                cursor.retire()  # it was the last word
        self.scope.cancel()

    def make_room(self) -> None:
        """Go before `hello`, unasked: too many are waiting."""
        self._reason = "made room for others"
        self.wire.dead = True  # no good-bye: under a storm its socket is needed now
        self.scope.cancel()

    def _identify(self) -> None:
        der = self.wire.peer_certificate()
        if der is None:
            self.stranger = True
            limits = self._server.limits
            self.bucket = Bucket(limits.input_burst, limits.input_rate)
            return
        try:
            identity = client_identity(x509.load_der_x509_certificate(der), der)
        except ValueError:
            raise WrongCertificate("the certificate cannot be read") from None
        self._server.revocations.check(identity, time.time())
        self.identity = identity
        self.suspect = Suspect(
            user=identity.key,
            key=identity.fingerprint[:32],
            device=identity.device_name,
            address=self.address,
        )
        self.proven = True

    def _refuse(self, error: ProtocolError | Refused) -> None:
        """Say why there is nothing more to say."""
        self._reason = error.code
        retry_after = getattr(error, "retry_after", None)
        self.say(Error(code=error.code, text=str(error), retry_after=retry_after, id=error.id))

    def _leave(self) -> None:
        """Be gone from everywhere: synchronous, so nobody ever sees half of it."""
        self.stop()
        for cursor in list(self.cursors.values()):
            cursor.room.leave(self)
        _abandon(self._entries)
        self.drop_upload()
        self._server.forget(self, self.proven)
        self.be_gone()

    # --- reading -------------------------------------------------------------------------

    async def _listen(self) -> None:
        while data := await self.wire.receive():
            self.busy = True
            self.heard = trio.current_time()
            for line in self._lines.feed(data):
                await self._take(line)
                if self._reason is not None:
                    break  # ended meanwhile: what it said after that does not count
            await self.posted()
            if self._reason is not None:
                return
            self.busy = False
            if self._lines.too_long:
                raise LineTooLong(f"a line may have {self._lines.limit} bytes; split the text")
        self._reason = self._reason or "closed by the peer"

    async def _take(self, line: bytes) -> None:
        """Handle one line: late if the peer says too much, and never before its debts are paid."""
        if self._owed:
            await self.posted()
            await self.settled()
        try:
            frame = decode_command(line)
            if not self.welcomed:
                await self._greet(frame)
                return
            await handle(self._server, self, frame)
        except ProtocolError as error:
            if self.welcomed and (wait := self.bucket.take(self.heard)):
                await self.hold_back(wait)
            self.say(Error(code=error.code, text=str(error), id=error.id))
            self._count_bad(error)

    async def hold_back(self, seconds: float) -> None:
        """Take no more from the peer for a while: its limit says so."""
        await self.posted()
        await trio.sleep(seconds)
        self.heard = trio.current_time()

    def _count_bad(self, error: ProtocolError) -> None:
        """Close the connection of a peer that keeps sending what is no frame."""
        if error.code == "unknown-type" and self.welcomed:
            return  # from a newer client, perhaps
        limit = self._server.limits.bad_frames
        if self._bad is None:
            self._bad = deque(maxlen=limit)
        now = trio.current_time()
        self._bad.append(now)
        if len(self._bad) == limit and self._bad[0] > now - 60:
            self.end("bad-frames")

    # --- hello ---------------------------------------------------------------------------

    async def _greet(self, frame: Command) -> None:
        check_banned(self._server, self)
        if self.stranger:
            await serve_stranger(self._server, self, frame)
            return
        if not isinstance(frame, Hello):
            error = ProtocolError(
                "say hello first", code=HelloFirst.code, id=getattr(frame, "id", None)
            )
            raise error
        if frame.protocol != PROTOCOL:
            raise WrongProtocol(f"this server speaks protocol {PROTOCOL}")
        if frame.device is not None:
            names.check_device(frame.device)
        self.device = self.identity.device(frame.device)
        limits, doors = self._server.limits, self._server.doors
        await doors.check(self.identity)
        if not await self._server.register(self):
            raise TooMany(
                "too many connections of this person or address; end another first",
                retry_after=60.0,
            )
        # It may have been revoked, or banned, since; from now on that ends it.
        self._server.revocations.check(self.identity, time.time())
        doors.note(self.identity)
        check_banned(self._server, self)
        self.scope.deadline = float("inf")
        self._lines.limit = limits.frame_size
        bot = BOT in self.identity.roles
        self.bucket = Bucket(
            limits.bot_input_burst if bot else limits.input_burst,
            limits.bot_input_rate if bot else limits.input_rate,
        )
        self.welcomed = True
        self.say(self._server.welcome(self, bot))
        log.debug("connection %d is %s from %s", self.id, self.identity.user, self.address)

    @property
    def is_admin(self) -> bool:
        """Does its certificate say so?"""
        return ADMIN in self.identity.roles

    def member(self) -> Member:
        """Return this connection as rosters show it."""
        identity = self.identity
        return Member(
            user=identity.user,
            device=self.device,
            name=identity.device_name,
            nick=self.nick,
            away=self.away,
            roles=sorted(identity.roles & {ADMIN, BOT}),
        )

    # --- what it says in rooms ---------------------------------------------------------------

    async def post(self, room: Room, entry: Entry) -> None:
        """Put an entry into a room's inbox, together with what came with it."""
        if self._room is not room:
            await self.posted()
            self._room = room
        self._entries.append(entry)

    async def posted(self) -> None:
        """Hand what was said to its room; wait while too much waits there.

        Called before anything that waits, and before what a handler does: order is as it came.
        """
        if self._entries:
            assert self._room is not None
            inbox, entries = self._room.inbox, self._entries
            self._room, self._entries = None, []  # a room that is gone must not be kept
            try:
                inbox.send_nowait(entries)
            except trio.WouldBlock:
                try:
                    await inbox.send(entries)
                except trio.Cancelled:
                    _abandon(entries)
                    raise

    def drop_upload(self) -> None:
        """Have done with the blob that it put, if it put one."""
        if self.upload is not None:
            self.upload.let_go()
            self.upload = None

    def refused(self, error: Refused) -> None:
        """Its message is not in the log: say why."""
        self.say(
            Error(
                code=error.code,
                text=str(error),
                room=error.room,
                n=error.n,
                expected=error.expected,
                last=error.last,
                epoch=error.epoch,
                seq=error.seq,
                retry_after=error.retry_after,
            )
        )


def _abandon(entries: list[Entry]) -> None:
    """Have done with entries that do not reach their room."""
    for entry in entries:
        if isinstance(entry.ticket, Pledge):
            entry.ticket.let_go()


def _cause(error: BaseException) -> str:
    """Return the library's reason for a lost connection; it quotes nothing of the peer's."""
    cause = error.__cause__
    return getattr(cause, "reason", None) or type(cause or error).__name__
