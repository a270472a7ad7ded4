"""Playbooks: what the server says (`<<`) and what the client writes and tells (`>>`)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from trio_chat.client.events import Connected, Gap, RoomClosed, RoomReset
from trio_chat.client.requests import Ticket
from trio_chat.client.session import Session
from trio_chat.client.state import UnknownEntry
from trio_chat.errors import (
    Disconnected,
    Forbidden,
    NoRoom,
    NotMember,
    ProtocolError,
    Refused,
    StoreUnavailable,
    Unreachable,
)
from trio_chat.protocol import frames as f


def welcome(log: str = "log-1", device: str = "dev") -> f.Welcome:
    return f.Welcome(
        protocol=1,
        server="s",
        user="alice",
        device=device,
        roles=[],
        log=log,
        time=0.0,
        input=f.InputLimit(20, 5.0),
        text_size=100,
    )


def message(seq: int, n: int = 1, device: str = "other", room: str = "lobby") -> f.Message:
    return f.Message(
        room=room, seq=seq, time=1.0, sender="bob", device=device, n=n, text=f"text {seq}"
    )


def joined(id: str, seq: int, **other: Any) -> f.Joined:  # noqa: A002 - the wire's word
    given: dict[str, Any] = {"room": "lobby", "log": "log-1", "first": 1, "n": 0, "count": 1}
    given |= other
    return f.Joined(mode="plain", topic="", role="member", seq=seq, id=id, **given)


class Play:
    """A session on a stage."""

    def __init__(self, **options: Any) -> None:
        self.session = Session(**options)

    def said(self) -> list[Any]:
        """What the client has written since the last look, `list-rooms` left out."""
        found = self.session.outgoing
        self.session.outgoing = []
        return [frame for frame in found if not isinstance(frame, f.ListRooms)]

    def told(self) -> list[Any]:
        found = self.session.events
        self.session.events = []
        return found

    def hear(self, *found: Any) -> None:
        for frame in found:
            self.session.received(frame)

    def connect(self, **options: Any) -> None:
        self.session.connected(welcome(**options))

    def join(self, seq: int = 0, after: int | None = None, **other: Any) -> Any:
        """Join the lobby and forget what led there."""
        request = self.session.join("lobby", after)
        request.waiters = 1
        self.hear(joined(str(request.frame.id), seq, **other))
        self.said()
        self.told()
        return self.session.rooms[f_key("lobby")]

    def again(self, **options: Any) -> str:
        """Lose the connection, get another, and return the id of the join that resumes."""
        self.session.lost()
        self.session.connected(welcome(**options))
        (join,) = [frame for frame in self.said() if isinstance(frame, f.Join)]
        assert join.id is not None
        return join.id

    def send(self, text: str) -> Ticket[f.Message]:
        ticket = self.session.send(self.session.rooms[f_key("lobby")], text, None)
        ticket.waiters = 1
        return ticket


def f_key(name: str) -> Any:
    return name.casefold()


@pytest.fixture
def play() -> Play:
    play = Play()
    play.connect()
    play.said()
    assert play.told() == [Connected()]
    return play


def test_joining_live_starts_at_the_newest_entry(play: Play) -> None:
    request = play.session.join("lobby", None)
    request.waiters = 1
    (frame,) = play.said()
    assert frame == f.Join("lobby", id=frame.id)
    play.hear(joined(frame.id, 7), message(8))
    assert request.done
    assert play.told() == [message(8)]
    assert play.session.cursors() == {"lobby": 7}, "8 has not been taken yet"


def test_an_entry_read_before_is_dropped_and_a_missing_one_breaks_the_connection(
    play: Play,
) -> None:
    play.join(seq=5)
    play.hear(message(6), message(6), message(5))
    assert play.told() == [message(6)]
    with pytest.raises(ProtocolError):
        play.hear(message(8))


def test_a_resumed_room_reads_on_from_its_cursor_and_shows_nothing_twice(play: Play) -> None:
    play.join(seq=5)
    play.hear(message(6))
    play.session.lost()
    play.connect()
    (frame,) = play.said()
    assert (frame.type, frame.after) == ("join", 6)
    play.told()
    play.hear(joined(frame.id, 8), message(6), message(7), message(8), message(9))
    assert play.told() == [message(7), message(8), message(9)]


def test_the_writer_resumes_exactly_once(play: Play) -> None:
    play.join(seq=0)
    a, b, c = (play.send(text) for text in "abc")
    assert [frame.n for frame in play.said()] == [1, 2, 3]
    ident = play.again()
    play.hear(joined(ident, 1, n=1))
    assert [(frame.n, frame.text) for frame in play.said()] == [(2, "b"), (3, "c")]
    play.hear(message(1, n=1, device="dev"))
    assert a.result().seq == 1
    assert not b.done
    assert not c.done


def test_an_echo_of_another_device_acknowledges_nothing(play: Play) -> None:
    play.join()
    ticket = play.send("a")
    play.hear(message(1, n=1, device="someone-else"))
    assert not ticket.done


def test_entries_that_are_no_longer_kept_are_a_gap(play: Play) -> None:
    play.join(seq=2)
    ident = play.again()
    play.told()
    play.hear(joined(ident, 9, first=6), message(6))
    assert play.told() == [Gap("lobby", 3, 5), message(6)]


def test_a_message_that_was_taken_and_is_no_longer_kept_counts_as_sent(play: Play) -> None:
    play.join(seq=2)
    ticket = play.send("a")
    ident = play.again()
    play.hear(joined(ident, 9, first=6, n=1))
    assert not ticket.done, "the replay may bring it yet"
    play.hear(*(message(seq) for seq in range(6, 10)))
    assert (ticket.result().seq, ticket.result().sender) == (0, "alice")


def test_another_history_resets_the_room_and_numbers_anew(play: Play) -> None:
    play.join(seq=9, n=4)
    play.send("a")
    assert play.said()[0].n == 5
    ident = play.again(log="log-2")
    play.told()
    play.hear(joined(ident, 3, log="log-2", n=1))
    assert play.told() == [RoomReset("lobby", 3)]
    assert [(frame.n, frame.text) for frame in play.said()] == [(2, "a")]
    play.hear(message(4))
    assert play.told() == [message(4)]


def test_a_cursor_beyond_the_log_resets_the_room(play: Play) -> None:
    play.join(seq=9)
    ident = play.again()
    play.told()
    play.hear(joined(ident, 3), message(4))
    assert play.told() == [RoomReset("lobby", 3), message(4)]


def test_another_history_that_is_longer_is_read_on_in(play: Play) -> None:
    play.join(seq=3)
    ident = play.again(log="log-2")
    play.told()
    play.hear(joined(ident, 5, log="log-2"), message(4), message(5))
    assert play.told() == [RoomReset("lobby", 3), message(4), message(5)]


def test_given_cursors_are_where_reading_goes_on() -> None:
    play = Play(cursors={"Lobby": 4}, log="log-1")
    play.connect()
    play.said()
    play.told()
    play.session.join("lobby", None).waiters = 1
    (frame,) = play.said()
    assert frame.after == 4
    play.hear(joined(frame.id, 5), message(5))
    assert play.told() == [message(5)]


def test_given_cursors_of_another_history_reset_the_room() -> None:
    play = Play(cursors={"lobby": 4}, log="log-0")
    play.connect()
    play.said()
    play.told()
    play.session.join("lobby", None).waiters = 1
    (frame,) = play.said()
    play.hear(joined(frame.id, 9))
    assert play.told() == [RoomReset("lobby", 4)]


def test_a_refused_message_raises_and_the_others_go_out(play: Play) -> None:
    play.join()
    bad, good = play.send("bad"), play.send("good")
    play.said()
    play.hear(f.Error(code="forbidden", text="no\x1b[31m", room="lobby", n=1))
    play.hear(f.Error(code="out-of-order", text="no", room="lobby", n=2, expected=1))
    with pytest.raises(Forbidden) as caught:
        bad.result()
    assert "\x1b" not in str(caught.value)
    assert [(frame.n, frame.text) for frame in play.said()] == [(1, "good")]
    play.hear(message(1, n=1, device="dev"))
    assert good.result().seq == 1


def test_replies_find_their_requests_in_any_order(play: Play) -> None:
    one = play.session.ask(f.Whois("bob"), repeat=True)
    two = play.session.ask(f.Whois("carol"), repeat=True)
    first, second = play.said()
    play.hear(f.Person(user="carol", here=[], fingerprints=[], id=second.id))
    assert two.done
    assert not one.done
    play.hear(f.Error(code="no-user", text="who", id=first.id))
    with pytest.raises(Refused):
        one.result()
    play.hear(f.Ok(id=first.id), f.Ok(id="unknown"), f.Ok())


def test_after_a_loss_reads_are_repeated_and_the_rest_fails(play: Play) -> None:
    read = play.session.ask(f.Whois("bob"), repeat=True)
    given_up = play.session.ask(f.Whois("carol"), repeat=True)
    write = play.session.ask(f.Create("ops"), repeat=False)
    chat = play.session.chat("hello")
    read.waiters = write.waiters = chat.waiters = 1
    asked = play.said()[0]
    play.session.lost()
    for ticket in (write, chat):
        with pytest.raises(Unreachable, match="before the answer"):
            ticket.result()
    with pytest.raises(Unreachable, match="not connected"):
        play.session.ask(f.Create("ops"), repeat=False)
    with pytest.raises(Unreachable, match="not connected"):
        play.session.chat("hello")
    play.connect()
    assert play.said() == [asked]
    assert not read.done
    assert given_up.done


def test_away_and_nick_are_said_again(play: Play) -> None:
    play.session.away, play.session.nick = "lunch", "al"
    play.session.lost()
    play.connect()
    away, nick = play.said()
    assert (away, nick) == (f.Away("lunch", id=away.id), f.Nick("al", id=nick.id))


def test_a_room_that_does_not_let_us_back_in_is_closed(play: Play) -> None:
    play.join()
    ticket = play.send("a")
    ident = play.again()
    play.told()
    play.hear(f.Error(code="no-room", text="gone", room="lobby", id=ident))
    assert play.told() == [RoomClosed("lobby", "gone")]
    assert play.session.rooms == {}
    with pytest.raises(NotMember):
        ticket.result()


def test_a_server_that_cannot_read_its_log_now_is_asked_again_later(play: Play) -> None:
    play.join()
    ident = play.again()
    with pytest.raises(StoreUnavailable) as caught:
        play.hear(f.Error(code="store", text="no", room="lobby", id=ident, retry_after=5.0))
    assert caught.value.retry_after == 5.0
    assert play.session.rooms


def test_a_refused_join_raises_to_the_one_who_asked(play: Play) -> None:
    request = play.session.join("nowhere", None)
    (frame,) = play.said()
    play.hear(f.Error(code="no-room", text="no", room="nowhere", id=frame.id))
    with pytest.raises(NoRoom):
        request.result()
    assert play.told() == []


def test_two_who_join_one_room_share_one_request(play: Play) -> None:
    assert play.session.join("lobby", None) is play.session.join("Lobby", None)
    assert len(play.said()) == 1


def test_a_join_that_everybody_gave_up_is_left_again(play: Play) -> None:
    play.session.join("lobby", None)
    (frame,) = play.said()
    play.hear(joined(frame.id, 3), message(4))
    (leave,) = play.said()
    assert isinstance(leave, f.Leave)
    assert play.session.rooms == {}
    assert play.told() == []


def test_talking_to_the_server_is_answered_in_order_and_the_rest_are_events(play: Play) -> None:
    one, two = play.session.chat("one"), play.session.chat("two")
    play.hear(f.Server("echo: one"), f.Server("echo: two"), f.Server("maintenance at noon"))
    assert (one.result(), two.result()) == ("echo: one", "echo: two")
    assert play.told() == [f.Server("maintenance at noon")]


def test_entries_of_an_unknown_type_count_and_are_not_shown(play: Play) -> None:
    play.join(seq=1)
    play.hear(UnknownEntry("lobby", 2), message(3))
    assert play.told() == [message(3)]


def test_a_fresh_roster_replaces_the_old_one(play: Play) -> None:
    state = play.join(members=[f.Member(user="bob", device="b")])
    play.hear(f.Users(room="lobby", count=1, users=[f.Member(user="carol", device="c")]))
    assert set(state.roster.members) == {"c"}
    assert play.told() == [f.Count(room="lobby", count=1)]


def test_the_topic_is_the_newest_said(play: Play) -> None:
    state = play.join()
    topic = f.Topic(room="lobby", seq=1, time=1.0, sender="bob", device="b", text="tea")
    play.hear(topic)
    assert state.topic == "tea"
    assert play.told() == [topic]


def test_a_second_welcome_breaks_the_connection(play: Play) -> None:
    with pytest.raises(ProtocolError):
        play.hear(welcome())


def test_at_the_end_all_who_wait_are_told(play: Play) -> None:
    play.join()
    tickets: list[Ticket[Any]] = [
        play.session.ask(f.Whois("bob"), repeat=True),
        play.session.chat("hi"),
        play.send("a"),
    ]
    play.session.ended(lambda: Disconnected("over"))
    for ticket in tickets:
        with pytest.raises(Disconnected):
            ticket.result()


def test_with_another_key_what_was_written_is_not_written_twice(play: Play) -> None:
    play.join()
    ticket = play.send("a")
    play.session.lost()
    waiting = play.send("b")
    play.connect(device="renewed")
    with pytest.raises(Unreachable):
        ticket.result()
    assert not waiting.done


# --- two-person rooms ------------------------------------------------------------------


def info(room: str, seq: int) -> f.RoomInfo:
    return f.RoomInfo(room=room, mode="plain", topic="", count=0, seq=seq, user=room[1:])


def listed(play: Play, *infos: f.RoomInfo) -> list[Any]:
    """Answer the client's own `list-rooms`; return what it writes then."""
    (asked,) = [frame for frame in play.session.outgoing if isinstance(frame, f.ListRooms)]
    play.said()
    play.hear(f.Rooms(rooms=list(infos), id=asked.id))
    return [(frame.room, frame.after) for frame in play.said()]


def test_a_private_message_makes_the_client_join_and_read_it() -> None:
    play = Play()
    play.connect()
    assert listed(play) == []
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=1))
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=2))
    (frame,) = play.said()
    assert (frame.room, frame.after) == ("@alice+bob", 0)


def test_a_private_message_before_the_list_is_read_from_just_before_it() -> None:
    play = Play()
    play.connect()
    play.said()
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=57))
    (frame,) = play.said()
    assert frame.after == 56


def test_two_person_rooms_never_read_here_start_with_what_is_new() -> None:
    play = Play()
    play.connect()
    assert listed(play, info("@alice+bob", 12)) == []
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=14))
    (frame,) = play.said()
    assert frame.after == 12, "13 may have been missed"


def test_two_person_rooms_with_something_new_are_joined_at_connect() -> None:
    play = Play(cursors={"@alice+bob": 12, "@alice+carol": 3}, log="log-1")
    play.connect()
    assert listed(play, info("@alice+bob", 14), info("@alice+carol", 3)) == [("@alice+bob", 12)]
    assert play.session.cursors() == {"@alice+bob": 12, "@alice+carol": 3}


def test_a_room_that_arose_while_offline_is_read_whole() -> None:
    play = Play()
    play.connect()
    assert listed(play) == []
    play.session.lost()
    play.connect()
    assert listed(play, info("@alice+bob", 2)) == [("@alice+bob", 0)]


def test_a_two_person_room_that_was_left_is_read_on_when_it_calls_again(play: Play) -> None:
    play.session.join("@alice+bob", 3).waiters = 1
    (frame,) = play.said()
    play.hear(joined(frame.id, 5, room="@alice+bob"))
    play.hear(message(4, room="@alice+bob"), message(5, room="@alice+bob"))
    play.session.leave(play.session.rooms[f_key("@alice+bob")])
    play.said()
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=6))
    (frame,) = play.said()
    assert frame.after == 5


def test_lists_of_several_pages_are_read_on_while_two_person_rooms_come() -> None:
    play = Play()
    play.connect()
    (asked,) = play.session.outgoing
    assert isinstance(asked, f.ListRooms)
    play.session.outgoing = []
    page = f.Rooms(rooms=[info("@alice+bob", 1)], next="@alice+bob", id=asked.id)
    play.hear(page)
    (more,) = play.session.outgoing
    assert isinstance(more, f.ListRooms)
    assert more.after == "@alice+bob"
    play.session.outgoing = []
    play.hear(attrs.evolve(page, next="lobby", id=more.id))
    assert play.session.outgoing == []


# --- a server that says anything --------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (f.Whois("bob"), f.Ok()),
        (f.Join("lobby"), f.Ok()),
        (f.Join("lobby"), joined("", 0, room="ops")),
        (f.List("lobby"), f.Rooms(rooms=[])),
        (f.Create("ops"), joined("", 0, room="ops")),
    ],
)
def test_a_reply_to_something_else_fails_the_request_and_breaks_the_connection(
    play: Play, asked: Any, reply: Any
) -> None:
    request = play.session.ask(asked, repeat=True)
    request.waiters = 1
    with pytest.raises(ProtocolError):
        play.hear(attrs.evolve(reply, id=request.frame.id))
    with pytest.raises(Unreachable, match="something else"):
        request.result()
    assert play.session.rooms == {}


@pytest.mark.parametrize("room", ["lobby", "@bob+carol", "@alice", "@bob+alice"])
def test_no_room_is_joined_unasked_but_one_s_own_two_person_rooms(room: str) -> None:
    play = Play()
    play.connect()
    assert listed(play, info(room, 1)) == []
    play.hear(f.Direct(room=room, user="bob", seq=2))
    play.session.lost()
    play.connect()
    assert listed(play, info(room, 3)) == []


def test_an_old_event_that_is_taken_late_moves_no_cursor_back(play: Play) -> None:
    state = play.join(seq=10)
    state.taken(message(3))
    state.taken(Gap("lobby", 2, 4))
    assert play.session.cursors() == {"lobby": 10}
    state.taken(RoomReset("lobby", 3))
    assert play.session.cursors() == {"lobby": 3}


def test_a_room_that_is_left_while_it_is_being_rejoined_stays_left(play: Play) -> None:
    state = play.join(seq=5)
    ident = play.again()
    play.told()
    assert play.session.leave(state) is not None
    play.hear(joined(ident, 7), message(6), message(7))
    assert play.session.rooms == {}
    assert play.told() == []
    (leave,) = play.said()
    request = play.session.join("lobby", None)
    request.waiters = 1
    play.hear(f.Ok(id=leave.id), joined(str(request.frame.id), 7), message(8))
    assert play.told() == [message(8)]


def test_a_join_of_its_own_that_somebody_waits_for_is_repeated() -> None:
    play = Play()
    play.connect()
    assert listed(play) == []
    play.hear(f.Direct(room="@alice+bob", user="bob", seq=1))
    play.session.join("@alice+bob", None).waiters = 1
    play.said()
    play.session.lost()
    play.connect()
    assert [(frame.room, frame.after) for frame in play.said()] == [("@alice+bob", 0)]
