"""The house rules of a room, as a table of who comes in and who does what."""

from __future__ import annotations

import itertools

import pytest

from trio_chat import names
from trio_chat.chat.house import House
from trio_chat.chat.roles import DEEDS, Deed, Rank, may
from trio_chat.chat.sanctions import Sanction, Suspect, user_subject

OWNER, MODERATOR, MEMBER, STRANGER = map(names.key, ("owner", "mod", "member", "stranger"))
PEOPLE = {OWNER: "owner", MODERATOR: "moderator", MEMBER: "member"}


def house(mode: str, access: str, password: str | None = None, room: str = "den") -> House:
    return House(room=room, mode=mode, access=access, people=dict(PEOPLE), password=password)


def suspect(person: names.Key) -> Suspect:
    return Suspect(user=person, key="0" * 32, device=None, address="192.0.2.1")


def code(found: House, person: names.Key, *, admin: bool = False, proven: bool = False) -> str:
    error = found.door(suspect(person), 1.0, admin=admin, proven=proven)
    return "in" if error is None else error.code


@pytest.mark.parametrize(
    ("mode", "access", "password", "stranger", "proven", "admin"),
    [
        ("plain", "open", None, "in", "in", "in"),
        ("plain", "open", "hash", "password", "in", "in"),
        ("plain", "closed", None, "no-room", "in", "in"),
        ("plain", "closed", "hash", "no-room", "in", "in"),
        ("encrypted", "open", None, "in", "in", "in"),
        ("encrypted", "open", "hash", "password", "in", "password"),
        ("encrypted", "closed", None, "no-room", "in", "no-room"),
        ("encrypted", "closed", "hash", "no-room", "in", "no-room"),
    ],
)
def test_who_comes_in(
    mode: str, access: str, password: str | None, stranger: str, proven: str, admin: str
) -> None:
    found = house(mode, access, password)
    assert code(found, STRANGER) == stranger
    assert code(found, STRANGER, proven=True) == proven
    assert code(found, STRANGER, admin=True) == admin
    assert {code(found, person) for person in PEOPLE} == {"in"}


def test_nobody_has_a_key_to_a_room_of_two() -> None:
    found = house("plain", "closed", room="@owner+other")
    assert code(found, STRANGER, admin=True) == "no-room"
    assert found.rank(STRANGER, admin=True) is Rank.STRANGER


@pytest.mark.parametrize("mode", ["plain", "encrypted"])
@pytest.mark.parametrize("access", ["open", "closed"])
def test_a_ban_keeps_out_all_but_those_who_rank_as_admins(mode: str, access: str) -> None:
    found = house(mode, access)
    found.sanctions.put(Sanction(kind="ban", subject=user_subject(MEMBER), until=None))
    assert code(found, MEMBER) == "banned"
    assert code(found, MEMBER, proven=True) == "banned"
    sealed = (mode, access) == ("encrypted", "closed")
    assert code(found, MEMBER, admin=True) == ("banned" if sealed else "in")
    found.sanctions.put(Sanction(kind="mute", subject=user_subject(OWNER), until=2.0))
    assert found.silence(suspect(OWNER), 1.0, admin=False)
    assert bool(found.silence(suspect(OWNER), 1.0, admin=True)) == sealed
    assert not found.silence(suspect(OWNER), 2.0, admin=False)


def test_ranks_and_words() -> None:
    found = house("plain", "open")
    ranks = [found.rank(p, admin=False) for p in (STRANGER, MEMBER, MODERATOR, OWNER)]
    assert ranks == [Rank.MEMBER, Rank.MEMBER, Rank.MODERATOR, Rank.OWNER]
    assert found.rank(STRANGER, admin=True) is Rank.ADMIN
    words = [found.role(p, admin=True) for p in (STRANGER, MODERATOR, OWNER)]
    assert words == ["admin", "admin", "owner"]
    assert house("encrypted", "closed").role(MODERATOR, admin=True) == "moderator"


@pytest.mark.parametrize("deed", DEEDS)
def test_the_table_says_who_may_and_never_to_whom_it_ranks_with(deed: Deed) -> None:
    for actor, whom in itertools.product(Rank, Rank):
        assert may(deed, actor, whom) == (actor >= DEEDS[deed] and actor > whom)
    assert not may(deed, Rank.STRANGER)


def test_the_table_is_the_specification_s() -> None:
    about = {
        Rank.MEMBER: {"speak", "topic"},
        Rank.MODERATOR: {"kick", "ban", "unban", "mute", "unmute"},
        Rank.OWNER: {"role", "invite"},
        Rank.ADMIN: {"ban address"},
    }
    for rank, deeds in about.items():
        assert {deed for deed, lowest in DEEDS.items() if lowest is rank} == deeds
