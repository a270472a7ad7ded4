"""What the server's frames mean for rooms, cursors and those who wait: no I/O.

A session outlives its connections. It is told of `connected`, `received` and `lost`; it
leaves the frames to write in `outgoing` and what the program shall learn in `events`, in
order. Pure objects: no Trio, no clock, no bytes; tested as playbooks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from trio_chat import names
from trio_chat.client import failures
from trio_chat.client.directs import Cursor, Directs
from trio_chat.client.events import ClientEvent, Connected
from trio_chat.client.refusals import refusal
from trio_chat.client.requests import REPLIES, Asking, Reply, Request, Requests, Ticket
from trio_chat.client.sealer import Sealer
from trio_chat.client.state import RoomState, UnknownEntry
from trio_chat.errors import (
    ChatError,
    ProtocolError,
    StoreUnavailable,
    Unreachable,
)
from trio_chat.names import Key
from trio_chat.protocol.fields import Form
from trio_chat.protocol.frames import (
    Acted,
    Away,
    AwayChanged,
    Chat,
    Closing,
    Command,
    Count,
    CrlChanged,
    Direct,
    Entered,
    Error,
    Event,
    Invited,
    Join,
    Joined,
    Leave,
    Left,
    ListRooms,
    Message,
    Nick,
    NickChanged,
    Relayed,
    Removed,
    Rooms,
    Server,
    Topic,
    TypingNow,
    Users,
    Welcome,
)

__all__ = ["Session"]


class Session:
    """One client's view of the server, across its connections.

    Attributes:
        welcome: The server's last greeting, None before the first.
        online: Is there a connection now?
        rooms: The joined rooms by key.
        outgoing: Frames to be written, oldest first; the owner takes them out.
        events: What the program shall learn, oldest first; the owner takes them out.
        away, nick: What was said of oneself; said again on each connection.
        sealer: Takes what concerns encrypted rooms, if anything does.
    """

    def __init__(self, cursors: Mapping[str, int] | None = None, log: str | None = None) -> None:
        self.welcome: Welcome | None = None
        self.online = False
        self.rooms: dict[Key, RoomState] = {}
        self.outgoing: list[Command] = []
        self.events: list[ClientEvent] = []
        self.away: str | None = None
        self.nick: str | None = None
        self.sealer: Sealer | None = None
        self._wanted: dict[Key, int | None] = {}  # encrypted rooms: where the program reads on
        self._requests = Requests()
        self._chats: deque[Ticket[str]] = deque()
        self._directs = Directs(cursors or {}, log)

    # --- the connection's life ---------------------------------------------------------

    def connected(self, welcome: Welcome) -> None:
        """A connection stands: join the rooms again and repeat what had no reply."""
        if self.welcome is not None and welcome.device != self.welcome.device:
            for state in self.rooms.values():
                state.outbox.fail(failures.device_changed, written_only=True)
        self.welcome = welcome
        self.online = True
        self.events.append(Connected())
        repeated = self._requests.frames()
        for state in self.rooms.values():
            self._ask_for_itself(Join(state.name, state.cursor, state.password))
        asked = {type(frame) for frame in repeated}
        if self.away is not None and Away not in asked:
            self._ask_for_itself(Away(self.away))
        if self.nick is not None and Nick not in asked:
            self._ask_for_itself(Nick(self.nick))
        self.outgoing.extend(repeated)
        self._ask_for_itself(ListRooms())
        if self.sealer is not None:
            self.sealer.connected()

    def lost(self) -> None:
        """The connection is gone; another may come."""
        self.online = False
        self.outgoing.clear()
        self._requests.lost(failures.lost)
        while self._chats:
            self._chats.popleft().fail(failures.lost())
        for state in self.rooms.values():
            state.outbox.lost()
        if self.sealer is not None:
            self.sealer.lost()

    def ended(self, error: Callable[[], ChatError]) -> None:
        """No connection will come any more: nobody waits for nothing."""
        self._requests.fail(error)
        for chat in self._chats:
            chat.fail(error())
        self.lost()
        for state in self.rooms.values():
            state.outbox.fail(error)
        if self.sealer is not None:
            self.sealer.ended(error)

    # --- what the program asks ---------------------------------------------------------

    def ask(self, frame: Asking, *, repeat: bool) -> Request:
        """Send a command that has a reply.

        One that may be repeated waits for the next connection where there is none.

        Raises:
            Unreachable: there is no connection, and it may not be repeated.
        """
        if not self.online and not repeat:
            raise Unreachable("not connected now", hint="try again when the server is back")
        request = self._requests.open(frame, repeat=repeat)
        if self.online:
            self.outgoing.append(request.frame)
        return request

    def join(self, room: str, after: int | None, password: str | None = None) -> Request:
        """Ask to enter a room, or return the request that asks already."""
        key = names.key(room)
        found = self._joining(key)
        if found is not None:
            found.repeat = True  # somebody waits for it now
            return found
        if after is None and key in self._directs.start:
            after = self._directs.start[key].seq
        return self.ask(Join(room, self._from(key, after), password), repeat=True)

    def _from(self, key: Key, after: int | None) -> int | None:
        """Return where to have a room's log from: of an encrypted one, from where it was left."""
        self._wanted[key] = after
        log = self.welcome.log if self.welcome is not None else ""
        known = self.sealer.cursor(key, log) if self.sealer is not None else None
        return after if known is None else known

    def leave(self, state: RoomState) -> Request | None:
        """Leave a room; without a connection one has left it already."""
        self._forget(state)
        rejoining = self._joining(state.key)
        if rejoining is not None:  # its answer, which comes before that to `leave`, is void
            self._requests.answered(rejoining.frame.id)
        return self.ask(Leave(state.name), repeat=False) if self.online else None

    def send(self, state: RoomState, text: str, form: Form | None) -> Ticket[Message]:
        """Queue a message and write it as soon as its room is joined."""
        pending = state.outbox.add(text, form)
        self._flush(state)
        return pending

    def chat(self, text: str) -> Ticket[str]:
        """Talk to the server; raises `Unreachable` without a connection."""
        if not self.online:
            raise Unreachable("not connected now", hint="try again when the server is back")
        ticket: Ticket[str] = Ticket()
        self._chats.append(ticket)
        self.outgoing.append(Chat(text))
        return ticket

    def cursors(self) -> dict[str, int]:
        """Return room -> the last sequence number that the program has taken."""
        found: dict[str, int] = {key: cursor.seq for key, cursor in self._directs.start.items()}
        found.update((state.name, state.delivered) for state in self.rooms.values())
        return found

    # --- what the server says ----------------------------------------------------------

    def received(self, frame: Event | UnknownEntry) -> None:
        """Take one frame.

        Raises:
            ProtocolError, StoreUnavailable: this connection cannot go on; another can.
        """
        match frame:
            case _ if isinstance(frame, Message | Topic | UnknownEntry | Acted):
                state = self._live(frame.room)
                if state is not None:
                    self.events += state.take(frame, self._device, self._user, self.sealer)
                    self._flush(state)
            case CrlChanged():
                if self.sealer is not None:
                    self.sealer.list_changed()
            case Removed():
                self._removed(frame)
            case Entered() | Left() | Count() | AwayChanged() | NickChanged() | TypingNow():
                state = self._live(frame.room)
                if state is not None:
                    state.noticed(frame)
                    if self.sealer is None or not self.sealer.noticed(frame):
                        self.events.append(frame)
            case Server():
                if self._chats:
                    self._chats.popleft().resolve(frame.text)
                else:
                    self.events.append(frame)
            case Relayed() | Closing() | Invited():
                self.events.append(frame)
            case Direct():
                self._direct(frame)
            case Error():
                self._error(frame)
            case Users() if frame.id is None:
                self._roster(frame)
            case _ if isinstance(frame, REPLIES):
                self._reply(frame)
            case Welcome():
                raise ProtocolError("the server said `welcome` twice")
            case _:
                pass  # ping and pong are the connection's

    def _reply(self, frame: Reply) -> None:
        request = self._requests.answered(frame.id)
        if request is None:
            return
        if not request.wants(frame):
            request.fail(failures.answered_amiss())
            raise ProtocolError("the server answered something that was not asked")
        asked = request.frame
        match frame:
            case Joined():
                self._joined(frame, request)
            case Rooms() if request.internal:
                self._listed_rooms(frame)
            case Users() if frame.room is not None and getattr(asked, "after", None) is None:
                state = self._live(frame.room)
                if state is not None and frame.next is None:
                    state.roster.users(frame)
        request.resolve(frame)

    def _joined(self, frame: Joined, request: Request) -> None:
        key = names.key(frame.room)
        if not (request.waiters or request.internal):
            self._ask_for_itself(Leave(frame.room))  # whoever wanted it has given up
            return
        if frame.mode != "encrypted" and self.sealer is not None and self.sealer.knows(key):
            self._ask_for_itself(Leave(frame.room))
            request.fail(failures.not_plain(frame.room))
            self._not_let_in(frame.room, failures.not_plain(frame.room))
            return
        asked = request.frame
        after = asked.after if isinstance(asked, Join) else None
        state = self.rooms.get(key)
        if state is None:
            start = self._directs.start.pop(key, None)
            log = start.log if start is not None and start.seq == after else None
            state = RoomState(frame.room, log or frame.log)
            self.rooms[key] = state
        state.password = asked.password if isinstance(asked, Join) else None
        self.events.extend(state.joined(frame, after, self._placeholder(frame.room)))
        if state.encrypted and self.sealer is not None:
            self.sealer.joined(state, frame, self._wanted.pop(key, None))
        self._flush(state)

    def _error(self, frame: Error) -> None:
        error = refusal(frame)
        request = self._requests.answered(frame.id)
        if request is not None:
            request.fail(error)
            if isinstance(request.frame, Join) and request.internal:
                self._not_let_in(request.frame.room, error)
        elif frame.room is not None and frame.n is not None:
            state = self._live(frame.room)
            if state is not None and state.encrypted:
                if self.sealer is not None:
                    self.sealer.refused(frame.room, frame.n, error)
            elif state is not None:
                state.outbox.refused(frame.n, error)
                self._flush(state)
        elif self._chats and frame.id is None:
            self._chats.popleft().fail(error)

    def _not_let_in(self, room: str, error: ChatError) -> None:
        state = self.rooms.get(names.key(room))
        if isinstance(error, StoreUnavailable):
            raise error  # not the room's fault: come back later
        if state is not None:
            self._forget(state)
            self.events.append(state.close(error))

    def _removed(self, frame: Removed) -> None:
        """Somebody has put us out of a room."""
        state = self.rooms.get(names.key(frame.room))
        if state is not None:
            self._forget(state)
            self.events.append(state.put_out(frame))

    def _roster(self, frame: Users) -> None:
        """Take the fresh roster that comes after having been behind."""
        state = self._live(frame.room or "")
        if state is not None:
            state.roster.users(frame)
            self.events.append(Count(room=state.name, count=frame.count))

    # --- two-person rooms --------------------------------------------------------------

    def _direct(self, frame: Direct) -> None:
        after = self._directs.written(frame, self._user)
        if after is not None:
            self._join_by_itself(frame.room, after)

    def _listed_rooms(self, frame: Rooms) -> None:
        assert self.welcome is not None
        for room, after in self._directs.news(frame, self._user, self.welcome.log, self.rooms):
            self._join_by_itself(room, after)
        if frame.next is not None and names.is_direct(frame.next):  # they come first
            self._ask_for_itself(ListRooms(after=frame.next))
        else:
            self._directs.listed = True
            self.meet_strangers()

    def meet_strangers(self) -> None:
        """Join the two-person rooms that the store does not know, once it can be asked."""
        sealer, welcome = self.sealer, self.welcome
        if sealer is not None and sealer.ready and self._directs.listed and welcome is not None:

            def known(key: Key) -> bool:
                return sealer.cursor(key, welcome.log) is not None

            for room, after in self._directs.strangers(self.rooms, known):
                self._join_by_itself(room, after)

    def _join_by_itself(self, room: str, after: int) -> None:
        key = names.key(room)
        if key not in self.rooms and self._joining(key) is None:
            self._ask_for_itself(Join(room, after=self._from(key, after)))

    # --- small things ------------------------------------------------------------------

    @property
    def _device(self) -> str:
        return self.welcome.device if self.welcome is not None else ""

    @property
    def _user(self) -> str:
        return self.welcome.user if self.welcome is not None else ""

    def _placeholder(self, room: str) -> Message:
        return Message(room=room, seq=0, time=0.0, sender=self._user, device=self._device)

    def _live(self, room: str) -> RoomState | None:
        state = self.rooms.get(names.key(room))
        return state if state is not None and state.outbox.ready else None

    def _joining(self, key: Key) -> Request | None:
        return self._requests.find(lambda f: isinstance(f, Join) and names.key(f.room) == key)

    def _forget(self, state: RoomState) -> None:
        """Be in a room no longer; a two-person room may call again, and is read on then."""
        self.rooms.pop(state.key, None)
        state.closed = True
        if self.sealer is not None:
            self.sealer.forget(state.key, partial(failures.left, state.name))
        if names.is_direct(state.name):
            self._directs.start[state.key] = Cursor(state.cursor, state.log)

    def _ask_for_itself(self, frame: Asking) -> None:
        request = self._requests.open(frame, repeat=False, internal=True)
        self.outgoing.append(request.frame)

    def _flush(self, state: RoomState) -> None:
        self.outgoing.extend(state.outbox.flush())
