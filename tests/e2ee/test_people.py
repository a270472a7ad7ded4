"""Whose keys are known, which are new, and when that keeps one from writing."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from tests.e2ee.makers import CA, DAY, KEYS, NOW, key_of
from trio_chat.e2ee.identity import Authenticator, DeviceIdentity
from trio_chat.e2ee.people import Change, People, Shown, Standing
from trio_chat.e2ee.policy import MAX_DEVICES
from trio_chat.e2ee.trust import Person, Succession, safety_number
from trio_chat.errors import StoreError
from trio_chat.names import Key

OURS = CA.create()
JUDGE = Authenticator([OURS.certificate])


def machine(user: str, device: str, kind: str = "p256", holder: str = "") -> DeviceIdentity:
    """A device of a machine that has a key of its own: the one of that kind and holder."""
    person = OURS.person(user, key=key_of(kind, holder or device))
    made = person.device(device)
    return JUDGE(made.credential, made.signature_key.public)


ANNA, ANNA_KEY = Key("anna"), key_of("p256", "laptop")
LAPTOP, PHONE, EVES = (machine("anna", each) for each in ("laptop", "phone", "eves"))
BEN = machine("ben", "tower")


def met(*identities: DeviceIdentity, verified: bool = False) -> People:
    people = People({})
    assert people.sight(identities) == []
    if verified:
        for each in identities:
            people.verify(Person.of(each))
    return people


def word(of: str, on: DeviceIdentity, kind: str = "p256") -> Succession:
    return Succession.sign(key_of(kind, of), Person.of(on))


# Keys that are known, and others


def test_whatever_keys_one_is_first_seen_with_are_known() -> None:
    people = met(LAPTOP, PHONE, BEN)
    for each in (LAPTOP, PHONE, BEN):
        assert people.standing(each) == Shown(Standing.CERTIFIED)
    assert people.standing(ANNA) == Shown(Standing.CERTIFIED)
    assert people.standing(Key("nobody")) == Shown(Standing.UNKNOWN)
    assert people.standing(EVES) == Shown(Standing.CHANGED)
    assert People({}).standing(EVES) == Shown(Standing.UNKNOWN)


def test_another_device_with_a_known_key_is_no_news() -> None:
    people = met(LAPTOP, verified=True)
    other = machine("Anna", "desktop", holder="laptop")
    assert other.device_id != LAPTOP.device_id
    assert people.sight([other]) == []
    assert people.standing(other).standing is Standing.VERIFIED


@pytest.mark.parametrize("verified", [False, True])
def test_a_new_key_is_told_once_and_blocks_if_she_was_verified(verified: bool) -> None:
    people = met(LAPTOP, BEN, verified=verified)
    same_key = machine("anna", "attic", holder="phone")
    change = Change("anna", ANNA, PHONE.fingerprint, ("attic", "phone"), verified)
    assert people.sight([LAPTOP, PHONE, BEN, same_key]) == [change]
    assert people.sight([PHONE]) == []
    assert people.blocking([LAPTOP, PHONE, BEN]) == [ANNA] * verified
    assert people.standing(PHONE) == people.standing(ANNA) == Shown(Standing.CHANGED)
    assert people.standing(LAPTOP).standing in (Standing.VERIFIED, Standing.CERTIFIED)


def test_what_is_new_blocks_where_it_is_and_as_long_as_it_is_there() -> None:
    people = met(LAPTOP, verified=True)
    people.sight([LAPTOP, EVES])
    assert people.blocking([EVES]) == people.blocking([LAPTOP, EVES]) == [ANNA]
    assert people.blocking([LAPTOP]) == []


def test_it_blocks_before_anybody_has_looked() -> None:
    assert met(LAPTOP, verified=True).blocking([EVES, BEN]) == [ANNA]


def test_one_of_several_keys_that_is_verified_is_enough_to_block() -> None:
    people = met(LAPTOP, PHONE)
    people.verify(Person.of(PHONE))
    assert people.standing(ANNA).standing is Standing.CERTIFIED  # the worst of her keys
    people.sight([EVES])
    assert people.blocking([EVES]) == [ANNA]


def test_who_is_two_spellings_is_one_person() -> None:
    people = met(LAPTOP)
    (change,) = people.sight([machine("ANNA", "eves")])
    assert (change.user, change.key) == ("ANNA", ANNA)


def test_a_key_is_one_persons() -> None:
    people = met(LAPTOP, BEN, verified=True)
    (change,) = people.sight([machine("ben", "laptop")])
    assert change.key == "ben"


# What the user and the keys say


def test_an_accepted_key_is_known_but_not_verified() -> None:
    people = met(LAPTOP, verified=True)
    people.sight([PHONE])
    people.accept(ANNA)
    assert people.blocking([LAPTOP, PHONE]) == []
    assert people.standing(PHONE).standing is Standing.CERTIFIED
    assert people.standing(LAPTOP).standing is Standing.VERIFIED
    assert people.standing(ANNA).standing is Standing.CERTIFIED
    assert len(people.sight([LAPTOP, PHONE, EVES])) == 1


def test_only_what_was_shown_is_accepted() -> None:
    """Another one may have come between the question and the answer."""
    people = met(LAPTOP, verified=True)
    (change,) = people.sight([PHONE])
    people.sight([EVES])
    people.accept(ANNA, [change.fingerprint])
    assert people.blocking([PHONE]) == []
    assert people.blocking([PHONE, EVES]) == [ANNA]
    people.accept(ANNA, [BEN.fingerprint])  # not hers: nothing
    assert len(people.sight([machine("anna", "tower")])) == 1


def test_a_new_key_can_be_verified_at_once() -> None:
    people = met(LAPTOP)
    people.sight([PHONE])
    people.verify(Person.of(PHONE))
    assert people.standing(PHONE).standing is Standing.VERIFIED
    assert people.blocking([LAPTOP, PHONE]) == []


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_a_known_key_gives_its_word_for_another(kind: str, verified: bool, seen: bool) -> None:
    old = machine("anna", "old", kind)
    people = met(old, verified=verified)
    if seen:
        people.sight([PHONE])
    assert people.vouch(ANNA, word("old", PHONE, kind))
    assert people.sight([old, PHONE]) == []
    standing = Standing.VERIFIED if verified else Standing.CERTIFIED
    assert people.standing(PHONE).standing is standing
    assert people.blocking([old, PHONE]) == []


def test_words_form_a_chain() -> None:
    people = met(machine("anna", "a"))
    machines = [machine("anna", each) for each in "abcd"]
    words = [word(one.device_name, other) for one, other in pairwise(machines)]
    assert not people.vouch(ANNA, words[1])  # by a key that is not known yet
    assert [people.vouch(ANNA, each) for each in words] == [True] * 3
    assert people.sight(machines) == []


def test_a_word_raises_what_is_known_and_lowers_nothing() -> None:
    people = met(LAPTOP, PHONE)
    people.verify(Person.of(LAPTOP))
    assert people.vouch(ANNA, word("phone", LAPTOP))
    assert people.standing(LAPTOP).standing is Standing.VERIFIED
    assert people.standing(PHONE).standing is Standing.CERTIFIED
    assert people.vouch(ANNA, word("laptop", PHONE))
    assert people.standing(PHONE).standing is Standing.VERIFIED


def test_a_word_that_does_not_hold_changes_nothing() -> None:
    people = met(LAPTOP, verified=True)
    people.to_write()
    good = word("laptop", EVES)
    for user, statement in (
        (ANNA, word("eves", EVES)),
        (ANNA, attrs.evolve(good, signature=word("eves", EVES).signature)),
        (ANNA, attrs.evolve(good, new=PHONE.user_key)),
        (Key("ben"), good),
        (ANNA, Succession.sign(ANNA_KEY, Person("ben", EVES.user_key))),
    ):
        assert not people.vouch(user, statement)
    assert people.blocking([EVES]) == [ANNA]
    assert people.to_write() == {}


def test_nobody_is_known_by_more_keys_than_devices_fit_into_a_room() -> None:
    """A key can give its word for any number of others."""
    people = met(LAPTOP)
    words = [Succession.sign(ANNA_KEY, Person("anna", bytes([n]))) for n in range(MAX_DEVICES)]
    assert [people.vouch(ANNA, each) for each in words] == [True] * (MAX_DEVICES - 1) + [False]
    (kept,) = people.to_write().values()
    assert len(kept) < 100 * MAX_DEVICES


# Keeping


def test_what_is_kept_is_there_again() -> None:
    people = met(LAPTOP, BEN)
    people.verify(Person.of(LAPTOP))
    people.sight([EVES])
    written = people.to_write()
    assert sorted(written) == ["anna", "ben"]
    assert people.to_write() == {}
    again = People(written)
    assert again.standing(LAPTOP).standing is Standing.VERIFIED
    assert again.standing(BEN).standing is Standing.CERTIFIED
    assert len(again.sight([LAPTOP, EVES, BEN])) == 1  # what is new is news again
    again.accept(ANNA)
    assert list(again.to_write()) == ["anna"]
    assert again.to_write() == {}


@pytest.mark.parametrize("data", [b"", b"\x92\x01\x80\0", b"\x92\x01\x81\xa1a\x05", b"\xc0"])
def test_what_is_no_pin_is_an_error_of_the_store(data: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        People({"anna": data})
    with pytest.raises(StoreError, match="newer"):
        People({"anna": b"\x92\x02\x80"})


# Showing


def test_who_is_over_is_shown_so_unless_there_is_worse() -> None:
    people = met(LAPTOP, verified=True)
    at = LAPTOP.expiry
    assert people.standing(LAPTOP, at).standing is Standing.VERIFIED
    assert people.standing(LAPTOP, at + DAY).standing is Standing.EXPIRED
    assert people.standing(LAPTOP).standing is Standing.VERIFIED
    assert people.standing(EVES, NOW + 400 * DAY).standing is Standing.CHANGED


def test_bots_are_shown_as_such() -> None:
    bot = attrs.evolve(BEN, roles=frozenset({"bot"}))
    people = met(bot, LAPTOP)
    assert people.standing(bot) == people.standing(Key("ben")) == Shown(Standing.CERTIFIED, True)
    assert not people.standing(LAPTOP).bot


def test_there_is_a_number_for_each_key_with_the_names_of_its_devices() -> None:
    people = met(LAPTOP, PHONE, BEN)
    people.verify(Person.of(LAPTOP))
    me = Person.of(BEN)
    desktop = machine("anna", "desktop", holder="laptop")
    found = {each.devices: each for each in people.numbers(me, [EVES, LAPTOP, BEN, desktop])}
    assert found.keys() == {("desktop", "laptop"), ("eves",)}
    laptop, eves = found["desktop", "laptop"], found["eves",]
    assert (laptop.standing, eves.standing) == (Standing.VERIFIED, Standing.CHANGED)
    assert laptop.digits == safety_number(Person.of(LAPTOP), me)
    hers = met(BEN).numbers(Person.of(LAPTOP), [BEN, LAPTOP])
    assert [each.digits for each in hers] == [laptop.digits]
