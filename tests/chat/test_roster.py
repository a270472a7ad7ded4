"""`trio_chat.chat.roster`: who is in a room, told in as few words as can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.chat.roster import Roster
from trio_chat.protocol.frames import Count, Entered, Left, Member


def member(device: str) -> Member:
    return Member(user=f"user {device}", device=device)


def roster(*devices: str, limit: int = 3) -> Roster:
    """A roster with these in it, all told."""
    found = Roster("lobby", limit)
    for device in devices:
        found.enter(member(device))
    found.tell()
    return found


def test_changes_of_one_step_are_told_at_once() -> None:
    found = roster("a", limit=10)
    found.enter(member("b"))
    found.enter(member("c"))
    found.leave("a")
    changed = found.changed
    assert changed
    assert found.tell() == [
        Left(room="lobby", count=2, members=[Member(user="user a", device="a")]),
        Entered(room="lobby", count=2, members=[member("b"), member("c")]),
    ]
    assert not found.changed
    assert found.tell() == []


def test_who_comes_and_goes_in_one_step_was_never_there() -> None:
    found = roster("a")
    found.enter(member("b"))
    found.leave("b")
    found.leave("a")
    found.enter(member("a"))
    assert found.tell() == []


def test_over_the_limit_only_the_count_is_told_and_only_when_it_changed() -> None:
    found = roster("a", "b", "c")
    assert found.tell_count() is None
    found.enter(member("d"))
    large = found.large
    assert large
    assert found.tell() == []
    assert found.tell_count() == Count(room="lobby", count=4)
    assert found.tell_count() is None
    found.leave("d")
    assert not found.large
    assert found.tell() == []  # those who were told a count know nobody's name
    assert found.tell_count() == Count(room="lobby", count=3)
    found.leave("c")
    assert [type(frame) for frame in found.tell()] == [Left]


def test_who_changes_before_being_told_of_is_told_as_they_are() -> None:
    found = roster("a")
    found.enter(member("b"))
    found.update("b", nick="Bee")
    now = Member(user="user b", device="b", nick="Bee")
    assert found.tell() == [Entered(room="lobby", count=2, members=[now])]


def test_what_changes_about_a_member_is_seen_by_who_comes_later() -> None:
    found = roster("a")
    found.update("a", nick="Al", away="lunch")
    assert found.members["a"] == Member(user="user a", device="a", nick="Al", away="lunch")


@given(st.sets(st.text("abcdef", min_size=1, max_size=3)), st.integers(1, 5))
def test_pages_hold_everybody_once_in_order(devices: set[str], size: int) -> None:
    found = roster(*devices, limit=1000)
    seen: list[str] = []
    after = None
    while True:
        page, after = found.page(after, size)
        assert len(page) <= size
        seen += [each.device for each in page]
        if after is None:
            break
    assert seen == sorted(devices)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcde")), max_size=40), st.data())
def test_who_follows_what_is_told_knows_who_is_there(
    moves: list[tuple[bool, str]], draw: st.DataObject
) -> None:
    found = Roster("lobby", 100)
    known: set[str] = set()
    for comes, device in moves:
        if comes and device not in found.members:
            found.enter(member(device))
        elif not comes and device in found.members:
            found.leave(device)
        if draw.draw(st.booleans()):
            for frame in found.tell():
                devices = {each.device for each in frame.members}
                if isinstance(frame, Entered):
                    assert not known & devices
                    known |= devices
                else:
                    assert devices <= known
                    known -= devices
                assert frame.count == len(found.members)
            assert known == set(found.members)
