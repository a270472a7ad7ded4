"""What a room's happenings mean to the program: its events, its topic, a comparison of keys.

The conversation says what happened; who is looking on here adds what only this client knows: that
it has just come in itself, so that everybody is new to it, and how far a comparison is.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_chat import names
from trio_chat.client.events import ClientEvent
from trio_chat.client.news import as_comparison, as_event
from trio_chat.client.state import RoomState
from trio_chat.client.trusting import stand_by_own_key
from trio_chat.e2ee.account import Account
from trio_chat.e2ee.comparing import Comparing, Happening
from trio_chat.e2ee.conversation import Conversation
from trio_chat.e2ee.delivery import ByCommit, Entered, Event
from trio_chat.e2ee.history import last_topic
from trio_chat.e2ee.place import Place
from trio_chat.protocol import frames

__all__ = ["Onlooker"]


class Onlooker:
    """One room's; made in the store's thread, like what it looks at.

    Attributes:
        comparing: In a two-person room, the comparison of keys.
    """

    def __init__(self, state: RoomState, place: Place, conversation: Conversation) -> None:
        self.comparing = Comparing(conversation) if len(place.people) == 2 else None
        self._account: Account = conversation.membership.account
        self._state = state
        self._peer = names.peer_of(state.key, place.me) or ""
        self._entered = 0  # the entry with which we came in: with it everybody is new
        state.topic = last_topic(self._account.store, state.key)

    def look_on(self, events: Sequence[Event], now: float) -> list[Happening]:
        """See what the conversation's events mean for keys; in its thread."""
        if any(isinstance(event, Entered) for event in events):
            stand_by_own_key(self._account)
        if self.comparing is None:
            return []
        self.comparing.process(events, now)
        happened, self.comparing.events = self.comparing.events, []
        return happened

    def told(self, event: Event) -> ClientEvent | None:
        """Return what the program learns of an event, if anything."""
        if isinstance(event, Entered):
            self._entered = event.seq
        if isinstance(event, ByCommit) and event.seq == self._entered:
            return None
        found = as_event(self._state.name, event)
        if isinstance(found, frames.Topic):
            self._state.topic = found.text
        return found

    def compared(self, happened: Sequence[Happening]) -> list[ClientEvent]:
        """Return what the program learns of a comparison."""
        return [as_comparison(self._state.name, self._peer, each) for each in happened]
