"""Comparing keys with the other one of a two-person room, while both are there. Sans-IO.

    comparing.begin(now)              we want to, or agree to what the other side asks
    comparing.process(events, now)    what the conversation has told, in order
    comparing.answer(same)            what people say, having looked at both screens
    comparing.events                  what has happened, oldest first

`trust.Sas` has the comparison itself; this is its life in a room. A step counts only in the epoch
of the group that the comparison is made in: when that ends before both sides show the symbols, who
began begins anew, and who had agreed need not be asked again. Nothing is answered before the user
agrees, and from then on only one device of the other side is listened to.

Where the symbols are shown is decided by the room's log, which both sides have in one order: who
began shows them with the echo of their own last step, and so no sooner than it is sure that the
other side can.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import attrs

from trio_chat import names
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import Began, ByCommit, Entered, Event, Left, NotSent, Said
from trio_chat.e2ee.identity import DeviceIdentity
from trio_chat.e2ee.payload import Verify
from trio_chat.e2ee.trust import (
    Person,
    Sas,
    SasCancel,
    SasCommit,
    SasMessage,
    SasNonce,
    SasReveal,
    SasState,
    decode_step,
    encode_step,
)
from trio_chat.errors import ProtocolError, Unsent

__all__ = ["Asked", "Compared", "Comparing", "Failed", "Symbols"]

LIFE = 600.0  # seconds that an answer may take

Symbol: TypeAlias = tuple[str, str]  # to look at, and its name


@attrs.frozen
class Asked:
    """The other side wants to compare; nothing happens before we `begin` as well."""

    device: str


@attrs.frozen
class Symbols:
    """What both sides show now, if nobody sits between them."""

    device: str
    symbols: tuple[Symbol, ...] = attrs.field(repr=False)


@attrs.frozen
class Compared:
    """The user has found them the same: that key of the other one is verified."""

    device: str
    fingerprint: str


@attrs.frozen
class Failed:
    """Nothing comes of it; why, in words."""

    reason: str


Happening: TypeAlias = Asked | Symbols | Compared | Failed
_TURNS = (ByCommit, Began, Entered, Left)  # the events with which another epoch begins


@attrs.define
class _Ask:
    """The other side's first step; `commit` is None when its epoch is over."""

    by: DeviceIdentity
    commit: SasCommit | None
    time: float


class Comparing:
    """The comparison of one two-person room; one at a time.

    Attributes:
        events: What has happened, oldest first; the owner takes them out.
    """

    def __init__(self, conversation: Conversation) -> None:
        me = conversation.place.me
        self.events: list[Happening] = []
        self._room = conversation
        self._peer = next((each for each in conversation.place.people if each != me), me)
        self._tokens: set[int] = set()
        self._reset()

    def _reset(self) -> None:
        self._began: float | None = None  # when we did; None if they do, or nobody does
        self._device = ""  # which one of theirs we have asked for
        self._again = False  # is another first step of ours due?
        self._ask: _Ask | None = None
        self._agreed = b""  # the device that may be answered
        self._sas: Sas | None = None
        self._with: DeviceIdentity | None = None  # whom we listen to
        self._first = False  # is our answer in the log, before that of other devices?
        self._shown: tuple[bytes, Person] | None = None

    # What the user wants

    def begin(self, now: float, device: str = "") -> None:
        """Ask the other side to compare, or agree to do so if it has asked.

        Args:
            now: The time.
            device: The name of one of their devices, if they have several keys.

        Raises:
            Unsent: It cannot be; the text says why.
        """
        ask = self._ask
        if ask is not None and not self._agreed and now - ask.time <= LIFE:
            self._agreed = ask.by.device_id
            if ask.commit is not None and self._room.membership.group is not None:
                self._follow(ask.by, ask.commit)
            return
        self._reset()
        self._began, self._device = now, device
        if self._room.membership.group is not None:
            self._lead()
        else:  # something has to be said for the group to begin; then we begin anew
            self._say(SasCommit(secrets.token_bytes(32)))

    def answer(self, same: bool) -> None:
        """Take what the people have found, or, before there is anything to see, a no.

        Raises:
            Unsent: There is nothing to say yes or no to.
        """
        if same and self._shown is not None and self._with is not None:
            _, person = self._shown
            account = self._room.membership.account
            account.people.verify(person)
            with account.store.event() as changes:
                for user, pin in account.people.to_write().items():
                    changes.pin(user, pin)
            self.events.append(Compared(self._with.device_name, person.fingerprint))
            self._reset()
            return
        which = self._id()
        if same or which is None:
            raise Unsent("there is nothing to compare", hint="/verify begins")
        if which:
            self._say(SasCancel(which))
        why = "you have ended the comparison"
        if self._shown is not None:
            why = "the symbols differ: somebody may sit between you; nothing is verified"
        self._fail(why)

    def _id(self) -> bytes | None:
        """Return how the two sides call what goes on; empty if they do not yet."""
        if self._shown is not None:
            return self._shown[0]
        if self._sas is not None:
            return self._sas.id
        if self._ask is not None:
            return self._ask.commit.id if self._ask.commit else b""
        return None if self._began is None else b""

    # What happens

    def process(self, events: Sequence[Event], now: float) -> None:
        """Take what the conversation has told since the last time, all of it."""
        turns = sum(isinstance(event, _TURNS) for event in events)
        for event in events:
            if isinstance(event, _TURNS):
                turns -= 1
                self._turned()
            elif isinstance(event, NotSent) and event.id in self._tokens:
                self._tokens.discard(event.id)
                self._fail(event.reason)
            elif isinstance(event, Said) and isinstance(event.payload, Verify):
                self._step(event, event.payload, now, fresh=turns == 0)
        if self._began is not None and self._shown is None and now - self._began > LIFE:
            self._fail(f"{self._peer} has not answered")
        if self._again and self._room.membership.group is not None:
            self._again = False
            try:
                self._lead()
            except Unsent as error:
                self._fail(str(error))

    def _turned(self) -> None:
        """Another epoch has begun. What people look at already, they may go on with."""
        if self._shown is None:
            self._sas = self._with = None
            self._again = self._began is not None
            if self._ask is not None:
                self._ask.commit = None

    def _step(self, said: Said, payload: Verify, now: float, *, fresh: bool) -> None:
        try:
            step = decode_step(payload.step)
        except ProtocolError:
            return
        if said.id is not None:
            self._tokens.discard(said.id)
        if said.by is None:
            self._sent(step)
        elif said.by.key == self._peer and self._peer != self._room.place.me:
            self._heard(said.by, step, said.time, now, fresh=fresh)
        elif said.by.key == self._room.place.me:
            self._elsewhere(step)

    def _sent(self, step: SasMessage) -> None:
        """A step of ours is in the log, and so in this epoch."""
        sas = self._sas
        if sas is None or isinstance(step, SasCommit) or step.id != sas.id:
            return
        if isinstance(step, SasNonce):
            self._first = True
        elif isinstance(step, SasReveal):
            self._show(sas)

    def _elsewhere(self, step: SasMessage) -> None:
        """Another device of ours has answered before us, if we are to answer at all."""
        undecided = self._began is None and self._shown is None and not self._first
        if undecided and isinstance(step, SasNonce | SasCancel) and step.id == self._id():
            self._fail("another device of yours has answered")

    def _heard(
        self, by: DeviceIdentity, step: SasMessage, time: float, now: float, *, fresh: bool
    ) -> None:
        match step:
            case SasCommit():
                if now - time <= LIFE:
                    self._asked(_Ask(by, step, time), fresh=fresh)
            case SasCancel(id=which):
                others = self._with is not None and self._with.device_id != by.device_id
                if which and which == self._id() and not others:
                    self._fail(f"{self._peer} has ended the comparison")
            case _:
                self._answered(by, step)

    def _asked(self, ask: _Ask, *, fresh: bool) -> None:
        assert ask.commit is not None
        sas, by = self._sas, ask.by
        if self._began is not None and self._shown is None:  # both want it
            if sas is not None and sas.state is SasState.COMMITTED:
                if sas.peer != Person.of(by):
                    return  # we have begun with another key of theirs
                reply = sas.receive(ask.commit)
                if reply is None:
                    return  # we go first
                self._sas = None
            elif sas is not None:
                return
            self._began, self._again, self._agreed = None, False, by.device_id
        if self._agreed and self._shown is None and by.device_id == self._agreed:
            self._ask = ask
            if fresh and self._room.membership.group is not None:
                self._follow(by, ask.commit)
            return
        known = self._ask is not None and self._ask.by.device_id == by.device_id
        if not (known and self._shown is None):
            self._reset()
            self.events.append(Asked(by.device_name))
        self._ask = ask

    def _answered(self, by: DeviceIdentity, step: SasNonce | SasReveal) -> None:
        """Take the answer to our last step, if it is of whom we listen to."""
        sas, bound = self._sas, self._with
        if sas is None or self._shown is not None or step.id != sas.id:
            return
        if by.user_key != sas.peer.key or (bound is not None and by.device_id != bound.device_id):
            return
        self._with = by
        try:
            reply = sas.receive(step)
        except ProtocolError as error:
            self._say(SasCancel(sas.id))
            self._fail(str(error))
            return
        if reply is not None:
            self._say(reply)
        elif sas.state is SasState.SHOWN:
            self._show(sas)

    # Steps of ours

    def _lead(self) -> None:
        """Make the first step, to one key of theirs."""
        devices = [one for one in self._room.membership.members.values() if one.key == self._peer]
        wanted = [
            one
            for one in devices
            if not self._device or names.key(one.device_name) == names.key(self._device)
        ]
        people = {Person.of(one) for one in wanted}
        if len(people) != 1:
            self._reset()
            what = f"{self._peer} has no such device here" if devices else f"no {self._peer} here"
            raise Unsent(
                f"{self._peer} has several keys, on {_called(devices)}" if people else what,
                hint=f"/verify {self._peer} DEVICE" if devices else "",
            )
        self._sas = self._new_sas(people.pop())
        self._say(self._sas.begin())

    def _follow(self, by: DeviceIdentity, commit: SasCommit) -> None:
        """Answer the first step of the other side, to which the user has agreed."""
        self._sas, self._with, self._first = self._new_sas(Person.of(by)), by, False
        reply = self._sas.receive(commit)
        assert reply is not None
        self._say(reply)

    def _new_sas(self, peer: Person) -> Sas:
        group = self._room.membership.group
        assert group is not None
        return Sas(
            me=Person.of(self._room.membership.account.identity),
            peer=peer,
            group_id=group.context.group_id,
            epoch=group.context.epoch,
            export=group.export,
        )

    def _say(self, step: SasMessage) -> None:
        self._tokens.add(self._room.say(Verify(encode_step(step))))

    def _show(self, sas: Sas) -> None:
        assert self._with is not None
        self._shown, self._sas = (sas.id, sas.peer), None
        self.events.append(Symbols(self._with.device_name, sas.symbols))

    def _fail(self, why: str) -> None:
        self._reset()
        self.events.append(Failed(why))


def _called(devices: Iterable[DeviceIdentity]) -> str:
    return ", ".join(sorted({one.device_name for one in devices}))
