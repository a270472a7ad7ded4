"""Being moderated, as a client lives through it: entries, passwords, bans."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client.test_session import Play, f_key, joined, message
from trio_chat.client.connection import Ending
from trio_chat.client.events import RoomClosed
from trio_chat.errors import Banned, WrongPassword
from trio_chat.protocol import frames as f


@pytest.fixture
def play() -> Play:
    play = Play()
    play.connect()
    play.said()
    play.told()
    return play


def kicked(seq: int, **other: Any) -> f.Kicked:
    return f.Kicked(room="lobby", seq=seq, time=1.0, sender="bob", user="carol", **other)


def role(seq: int, user: str, name: str) -> f.RoleChanged:
    return f.RoleChanged(room="lobby", seq=seq, time=1.0, sender="bob", user=user, role=name)


def test_an_act_is_an_entry_of_the_log(play: Play) -> None:
    state = play.join(seq=4)
    play.hear(kicked(5), message(6), kicked(6))
    assert [type(event) for event in play.told()] == [f.Kicked, f.Message]
    assert state.cursor == 6
    state.taken(kicked(7))
    assert state.delivered == 7


def test_in_an_encrypted_room_it_does_not_count_as_taken_before_what_is_still_sealed(
    play: Play,
) -> None:
    state = play.join(seq=4)
    state.mode = "encrypted"
    play.hear(kicked(5))
    assert (state.cursor, [type(event) for event in play.told()]) == (5, [f.Kicked])
    before = state.delivered
    state.taken(kicked(5))
    assert state.delivered == before


def test_one_s_role_is_kept_up_to_date(play: Play) -> None:
    state = play.join(seq=0)
    assert play.session.welcome is not None
    me = play.session.welcome.user
    play.hear(role(1, "somebody", "owner"))
    assert state.role == "member"
    play.hear(role(2, me.upper(), "moderator"))
    assert state.role == "moderator"


def test_a_password_is_given_again_on_each_connection(play: Play) -> None:
    request = play.session.join("vault", None, "sesame")
    request.waiters = 1
    (asked,) = play.said()
    assert (asked.room, asked.password) == ("vault", "sesame")
    assert "sesame" not in repr(asked)
    play.hear(joined(asked.id, 3, room="vault"))
    assert play.session.rooms[f_key("vault")].password == "sesame"
    play.session.lost()
    play.connect()
    (again,) = [frame for frame in play.said() if isinstance(frame, f.Join)]
    assert (again.room, again.after, again.password) == ("vault", 3, "sesame")


def test_a_room_whose_password_is_refused_is_left(play: Play) -> None:
    play.join(seq=1)
    ident = play.again()
    play.hear(f.Error(code="password", text="another one", room="lobby", id=ident))
    assert play.session.rooms == {}
    assert [event for event in play.told() if isinstance(event, RoomClosed)]


def test_who_is_put_out_learns_by_whom_and_why(play: Play) -> None:
    play.join(seq=1)
    play.hear(f.Removed(room="lobby", sender="bob", reason="too loud"))
    assert play.told() == [RoomClosed("lobby", "bob has put you out of it: too loud")]
    play.session.lost()
    play.connect()
    assert not [frame for frame in play.said() if isinstance(frame, f.Join)]


def test_a_ban_for_good_is_final_and_another_is_waited_for() -> None:
    assert Ending.by(Banned("out")).final
    waits = Ending.by(Banned("out", retry_after=60.0))
    assert (waits.final, waits.retry_after) == (False, 60.0)


def test_a_wrong_password_is_an_error_of_its_own(play: Play) -> None:
    request = play.session.join("vault", None, "wrong")
    request.waiters = 1
    (asked,) = play.said()
    play.hear(f.Error(code="password", text="not that", room="vault", id=asked.id))
    with pytest.raises(WrongPassword):
        request.result()
