"""The roster is what the frames say, and empty where it could only be half."""

from __future__ import annotations

from trio_chat.client.roster import Roster
from trio_chat.protocol import frames as f


def member(device: str, **other: str) -> f.Member:
    return f.Member(user=device, device=device, **other)  # type: ignore[arg-type]  # strings all


def roster(*devices: str) -> Roster:
    found = Roster()
    users = [member(device) for device in devices]
    found.users(f.Users(room="lobby", count=len(users), users=users))
    return found


def test_members_come_and_go() -> None:
    found = roster("a")
    found.entered(f.Entered(room="lobby", count=3, members=[member("b"), member("c")]))
    assert list(found.members) == ["a", "b", "c"]
    found.left(f.Left(room="lobby", count=2, members=[member("b"), member("x")]))
    assert list(found.members) == ["a", "c"]
    assert found.count == 2


def test_away_and_nick_change_one_member() -> None:
    found = roster("a", "b")
    found.away(f.AwayChanged(room="lobby", user="a", device="a", text="lunch"))
    found.nick(f.NickChanged(room="lobby", user="a", device="a", nick="al"))
    found.nick(f.NickChanged(room="lobby", user="x", device="x", nick="ex"))
    assert found.members == {"a": member("a", away="lunch", nick="al"), "b": member("b")}
    found.away(f.AwayChanged(room="lobby", user="a", device="a"))
    assert found.members["a"].away is None


def test_a_large_room_has_a_count_and_no_list() -> None:
    found = roster("a")
    found.counted(f.Count(room="lobby", count=201))
    assert (found.count, found.members) == (201, {})
    found.entered(f.Entered(room="lobby", count=200, members=[member("b")]))
    assert (found.count, found.members) == (200, {}), "half a list is none"


def test_one_page_of_several_is_no_list() -> None:
    found = roster("a")
    found.users(f.Users(room="lobby", count=300, users=[member("b")], next="b"))
    assert (found.count, found.members) == (300, {})


def test_the_empty_list_of_a_large_room_is_no_list() -> None:
    found = roster("a")
    found.users(f.Users(room="lobby", count=300, users=[]))
    found.entered(f.Entered(room="lobby", count=199, members=[member("b")]))
    assert (found.count, found.members) == (199, {})
