"""Bans and mutes: whom they meet, and for how long."""

from __future__ import annotations

import pytest

from trio_chat import names
from trio_chat.chat.sanctions import (
    Sanction,
    Sanctions,
    Subject,
    Suspect,
    address_subject,
    device_subject,
    user_subject,
)
from trio_chat.errors import BadName

KEY = "0123456789abcdef" * 2


def bob(address: str = "192.0.2.7", device: str | None = "Laptop", key: str = KEY) -> Suspect:
    return Suspect(user=names.key("Bob"), key=key, device=device, address=address)


def ban(subject: Subject, until: float | None = None) -> Sanction:
    return Sanction(kind="ban", subject=subject, until=until)


@pytest.mark.parametrize(
    ("subject", "met"),
    [
        (user_subject("BOB"), True),
        (user_subject("bobby"), False),
        (device_subject("bob", "laptop"), True),
        (device_subject("bob", "desk"), False),
        (device_subject("eve", "laptop"), False),
        (device_subject("bob", KEY), True),
        (device_subject("bob", "f" * 32), False),
        (address_subject("192.0.2.7"), True),
        (address_subject("192.0.2.8"), False),
    ],
)
def test_a_subject_meets_what_is_proven(subject: Subject, met: bool) -> None:
    found = Sanctions([ban(subject)]).against("ban", bob(), 1.0)
    assert (found is not None) == met
    assert Sanctions([ban(subject)]).against("mute", bob(), 1.0) is None


def test_what_hello_said_of_a_device_does_not_count() -> None:
    assert device_subject("bob", f"{KEY}.Kq3xT9bW") == device_subject("bob", KEY)


def test_an_address_is_the_same_however_it_is_spelt() -> None:
    assert address_subject("::ffff:192.0.2.7") == address_subject("192.0.2.7")


def test_an_ipv6_address_stands_for_its_network() -> None:
    found = Sanctions([ban(address_subject("2001:db8::1"))])
    assert found.against("ban", bob("2001:db8::ffff:1"), 1.0)
    assert found.against("ban", bob("2001:db8::1%eth0"), 1.0)
    assert not found.against("ban", bob("2001:db8:0:1::1"), 1.0)


@pytest.mark.parametrize("text", ["", "bob", "1.2.3", "1.2.3.4/24", "1.2.3.4:80", "::g"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        address_subject(text)


def test_a_peer_without_an_address_is_met_by_none() -> None:
    assert not Sanctions([ban(address_subject("::1"))]).against("ban", bob("unix"), 1.0)


def test_addresses_can_be_left_out() -> None:
    found = Sanctions([ban(address_subject("192.0.2.7"))])
    assert found.against("ban", bob(), 1.0, address=False) is None


def test_a_sanction_ends_and_is_forgotten() -> None:
    found = Sanctions([ban(user_subject("bob"), until=10.0)])
    assert found.against("ban", bob(), 9.9)
    assert not found.against("ban", bob(), 10.0)
    assert found.get("ban", user_subject("bob"), 10.0) is None
    found.forget(9.9)
    assert found
    found.forget(10.0)
    assert not found


def test_of_several_the_longest_is_told() -> None:
    short, long = ban(user_subject("bob"), 10.0), ban(device_subject("bob", "laptop"), 20.0)
    for_good = ban(address_subject("192.0.2.7"))
    assert Sanctions([short, long]).against("ban", bob(), 1.0) is long
    assert Sanctions([long, for_good, short]).against("ban", bob(), 1.0) is for_good


def test_another_of_the_same_subject_takes_its_place_and_lifting_is_exact() -> None:
    found = Sanctions([ban(user_subject("bob"))])
    found.put(ban(user_subject("bob"), 10.0))
    assert [each.until for each in found] == [10.0]
    found.lift("mute", user_subject("bob"))
    found.lift("ban", device_subject("bob", "laptop"))
    assert found
    found.lift("ban", user_subject("bob"))
    assert not found
