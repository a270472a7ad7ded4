from __future__ import annotations

from trio_chat.client.directs import Directs
from trio_chat.names import Key
from trio_chat.protocol.frames import Direct, RoomInfo, Rooms


def listed(*names: str, seq: int = 5) -> Rooms:
    found = [
        RoomInfo(
            room=name,
            mode="encrypted" if name.startswith("~") else "plain",
            topic="",
            count=0,
            seq=seq,
        )
        for name in names
    ]
    return Rooms(rooms=found)


def test_a_room_of_somebody_else_is_not_joined() -> None:
    directs = Directs({}, None)
    assert directs.written(Direct(room="~bob+carol", user="x", seq=1), "alice") is None
    assert list(directs.news(listed("~bob+carol", "lobby"), "alice", "log", ())) == []
    assert list(directs.strangers((), lambda key: False)) == []


def test_what_was_written_is_read_from_where_it_begins() -> None:
    directs = Directs({"~alice+bob": 3}, "log")
    frame = Direct(room="~Alice+bob", user="x", seq=9)
    assert directs.written(frame, "alice") == 3
    other = Direct(room="~alice+carol", user="x", seq=9)
    assert directs.written(other, "alice") == 8  # the list is not here yet: the rest is old
    directs.listed = True
    assert directs.written(other, "alice") == 0  # the room is new


def test_rooms_with_something_new_are_joined_and_the_others_remembered() -> None:
    directs = Directs({"~alice+bob": 3, "~alice+carol": 5}, "log")
    rooms = listed("~alice+bob", "~alice+carol", "~alice+dave")
    assert list(directs.news(rooms, "alice", "log", ())) == [("~alice+bob", 3)]
    assert list(directs.news(rooms, "alice", "another", ())) == [
        ("~alice+bob", 3),
        ("~alice+carol", 5),
        ("~alice+dave", 5),
    ]


def test_encrypted_rooms_that_the_disk_does_not_know_are_joined_once() -> None:
    directs = Directs({}, None)
    rooms = listed("~alice+bob", "~alice+carol", "~alice+dave", "@alice+eve")
    assert list(directs.news(rooms, "alice", "log", ())) == []
    joined = [Key("~alice+dave")]
    assert list(directs.strangers(joined, lambda key: key == "~alice+bob")) == [("~alice+carol", 5)]
    assert list(directs.strangers(joined, lambda key: False)) == []
