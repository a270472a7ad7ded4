"""Safety numbers, successions, and the comparison of seven emoji."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.e2ee.makers import CA, KEYS, key_of
from trio_chat.e2ee.identity import Authenticator, Device
from trio_chat.e2ee.trust import (
    EMOJI,
    Person,
    Sas,
    SasCancel,
    SasCommit,
    SasMessage,
    SasNonce,
    SasReveal,
    SasState,
    Succession,
    decode_step,
    encode_step,
    epoch_words,
    safety_number,
)
from trio_chat.errors import ProtocolError
from trio_chat.identity import key_fingerprint
from trio_chat.mls import Add, Group, KeyPackageBundle

OURS = CA.create()
JUDGE = Authenticator([OURS.certificate])


def person(user: str, kind: str = "p256", holder: str | None = None) -> Person:
    public = key_of(kind, user if holder is None else holder).public_key()
    return Person(user, public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


ANNA, BEN, EVE = person("anna"), person("ben", "ed25519"), person("eve")


# Safety numbers

FIXED = "05326 83739 33609 18518 68350 40858 69929 71713 91724 96527 63055 37421"


def test_a_safety_number_is_equal_on_both_sides() -> None:
    number = safety_number(ANNA, BEN)
    assert number == safety_number(BEN, ANNA)
    assert [len(group) for group in number.split(" ")] == [5] * 12
    assert number.replace(" ", "").isdecimal()


def test_a_safety_number_is_that_of_another_implementation() -> None:
    # By `hashlib` from the design, apart from the code above.
    assert safety_number(Person("a", b"0"), Person("b", b"1")) == FIXED


def test_a_safety_number_changes_with_the_key_and_the_name() -> None:
    numbers = {
        safety_number(ANNA, BEN),
        safety_number(person("anna", "p384"), BEN),
        safety_number(ANNA, person("ben", "p384")),
        safety_number(Person("anne", ANNA.key), BEN),
    }
    assert len(numbers) == 4


def test_a_safety_number_is_stable_over_devices_renewal_and_spelling() -> None:
    def seen(device: Device) -> Person:
        return Person.of(JUDGE(device.credential, device.signature_key.public))

    user = OURS.person("anna")
    renewed = OURS.person("Anna", key=user.key)
    assert renewed.certificate != user.certificate
    one, other = seen(user.device("laptop")), seen(renewed.device("desktop"))
    assert one.fingerprint == key_fingerprint(user.certificate)
    assert safety_number(one, BEN) == safety_number(other, BEN)


# Successions


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_of_any_kind_gives_its_word(kind: str) -> None:
    new = person("anna", "p256", "a new one")
    statement = Succession.sign(key_of(kind, "anna"), new)
    assert statement.old == person("anna", kind).key
    assert statement.new == new.key
    assert statement.holds(new.user)


def test_a_succession_that_does_not_hold() -> None:
    new = person("anna", "p384")
    good = Succession.sign(key_of("p256", "anna"), new)
    eves = Succession.sign(key_of("p256", "eve"), new)
    for statement in (
        Succession(good.old, good.new, eves.signature),
        Succession(good.old, EVE.key, good.signature),
        Succession(EVE.key, good.new, good.signature),
        Succession(good.old, good.new, b""),
        Succession.sign(key_of("p256", "anna"), Person("ben", new.key)),
        Succession(b"no key", new.key, b""),
    ):
        assert not statement.holds(new.user)


# Seven emoji


def test_the_table_has_64_emoji_with_different_names() -> None:
    assert [len({*column}) for column in zip(*EMOJI, strict=True)] == [64, 64]
    # Matrix' numbers for some of them.
    some = {0: "Dog", 15: "Flower", 36: "Thumbs Up", 41: "Light Bulb", 53: "Aeroplane", 63: "Pin"}
    for number, word in some.items():
        assert EMOJI[number][1] == word


def two_in_a_group(one: str, other: str) -> tuple[Group, Group]:
    bundles = []
    for user in (one, other):
        device = OURS.person(user).device()
        bundles.append(KeyPackageBundle.create(device.credential, device.signature_key))
    alone = Group.create(bundles[0], b"the two", authenticate=JUDGE)
    result = alone.commit(Add(bundles[1].key_package), ratchet_tree=True)
    assert result.welcome is not None
    return result.group, Group.join(result.welcome, bundles[1], authenticate=JUDGE)


def comparison(group: Group, me: Person, peer: Person) -> Sas:
    return Sas(
        me=me, peer=peer, group_id=group.context.group_id, epoch=group.epoch, export=group.export
    )


GROUPS = two_in_a_group("anna", "ben")


def pair() -> tuple[Sas, Sas]:
    return comparison(GROUPS[0], ANNA, BEN), comparison(GROUPS[1], BEN, ANNA)


def deliver(message: SasMessage | None, *ends: Sas) -> None:
    """Let the ends answer each other, whoever comes first, over the wire."""
    for end in ends * 2:
        if message is None:
            break
        message = end.receive(decode_step(encode_step(message)))
    assert message is None


def test_both_sides_show_the_same_seven_emoji() -> None:
    anna, ben = pair()
    deliver(ben.begin(), anna, ben)
    assert [anna.state, ben.state] == [SasState.SHOWN] * 2
    assert anna.symbols == ben.symbols
    assert len(ben.symbols) == 7
    again, other = pair()
    deliver(again.begin(), other, again)
    assert again.symbols != anna.symbols


def test_who_begin_at_once_agree_who_did() -> None:
    anna, ben = pair()
    from_anna, from_ben = anna.begin(), ben.begin()
    assert anna.receive(from_ben) is None
    deliver(ben.receive(from_anna), anna, ben)
    assert anna.symbols == ben.symbols
    assert anna.state is SasState.SHOWN


def test_a_man_in_the_middle_makes_them_differ() -> None:
    # The CA gives Eve certificates for both; each talks to her, in another group.
    with_anna, with_ben = two_in_a_group("anna", "ben"), two_in_a_group("anna", "ben")
    false_anna, false_ben = person("anna", holder="eve"), person("ben", holder="eve")
    anna = comparison(with_anna[0], ANNA, false_ben)
    eve_as_ben = comparison(with_anna[1], false_ben, ANNA)
    eve_as_anna = comparison(with_ben[0], false_anna, BEN)
    ben = comparison(with_ben[1], BEN, false_anna)
    deliver(anna.begin(), eve_as_ben, anna)
    deliver(eve_as_anna.begin(), ben, eve_as_anna)
    assert anna.symbols == eve_as_ben.symbols
    assert anna.symbols != ben.symbols


@pytest.mark.parametrize("what", ["keys", "groups", "group_id", "epoch"])
def test_relayed_messages_do_not_help_the_man_in_the_middle(what: str) -> None:
    anna, ben = pair()
    match what:
        case "keys":
            anna.peer, ben.peer = person("ben", holder="eve"), person("anna", holder="eve")
        case "groups":
            ben.export = two_in_a_group("anna", "ben")[1].export
        case "group_id":
            ben.group_id = b"another"
        case "epoch":
            ben.epoch += 1
    deliver(anna.begin(), ben, anna)
    assert anna.symbols != ben.symbols


def test_a_nonce_that_was_not_committed_to_fails_for_good() -> None:
    anna, ben = pair()
    assert isinstance(anna.receive(ben.begin()), SasNonce)
    for nonce in (bytes(32), b""):
        with pytest.raises(ProtocolError, match="failed"):
            anna.receive(SasReveal(ben.id, nonce))
    assert (anna.state, anna.symbols) == (SasState.FAILED, ())


ID = b"8 bytes!"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (SasState.FAILED, SasCancel(ID)),
        (SasState.IDLE, SasCancel(ID)),
        (SasState.IDLE, SasNonce(ID, bytes(32))),
        (SasState.IDLE, SasReveal(ID, bytes(32))),
        (SasState.COMMITTED, SasReveal(ID, bytes(32))),
        (SasState.COMMITTED, SasNonce(ID, b"short")),
        (SasState.ANSWERED, SasNonce(ID, bytes(32))),
        (SasState.ANSWERED, SasCommit(bytes(32))),
        (SasState.SHOWN, SasCommit(bytes(32))),
        (SasState.SHOWN, SasReveal(ID, bytes(32))),
        (SasState.FAILED, SasCommit(bytes(32))),
    ],
)
def test_what_comes_out_of_turn_fails(state: SasState, message: SasMessage) -> None:
    anna, _ = pair()
    anna.id, anna.state = ID, state
    with pytest.raises(ProtocolError, match="failed"):
        anna.receive(message)
    assert (anna.state, anna.symbols) == (SasState.FAILED, ())


def test_what_is_said_of_another_comparison_is_passed_over() -> None:
    """The answer to one that was given up must not spoil the next one."""
    anna, ben = pair()
    late = ben.receive(anna.begin())
    assert late is not None
    assert ben.receive(anna.cancel()) is None
    assert [anna.state, ben.state] == [SasState.CANCELLED] * 2
    again, other = pair()
    first = again.begin()
    assert again.receive(late) is None
    assert again.receive(SasCancel(late.id)) is None
    deliver(first, other, again)
    assert again.symbols == other.symbols != ()


def test_either_side_ends_a_comparison_at_any_time() -> None:
    for steps in range(4):
        anna, ben = pair()
        message: SasMessage | None = anna.begin()
        for end in (ben, anna, ben)[:steps]:
            assert message is not None
            message = end.receive(message)
        if steps:
            assert anna.receive(ben.cancel()) is None
        else:
            assert ben.receive(anna.cancel()) is None
            assert ben.state is SasState.IDLE  # it had not heard of it
        assert (anna.state, anna.symbols, ben.symbols) == (SasState.CANCELLED, (), ())
        if message is not None and steps:
            assert ben.receive(message) is None  # it was on its way
    with pytest.raises(ValueError, match="not begun"):
        pair()[0].cancel()


def test_two_machines_of_one_person_are_compared() -> None:
    one, other = ANNA, person("anna", "p384")
    here, there = comparison(GROUPS[0], one, other), comparison(GROUPS[1], other, one)
    from_here, from_there = here.begin(), there.begin()
    answers = [here.receive(from_there), there.receive(from_here)]
    assert answers.count(None) == 1
    waiting, answered = (here, there) if answers[0] is None else (there, here)
    deliver(answers[0] or answers[1], waiting, answered)
    assert here.symbols == there.symbols != ()


steps = st.one_of(
    st.builds(SasCommit, st.binary(min_size=32, max_size=32)),
    *(
        st.builds(kind, st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
        for kind in (SasNonce, SasReveal)
    ),
    st.builds(SasCancel, st.binary(min_size=8, max_size=8)),
)


@given(steps)
def test_a_step_comes_back_as_it_was(step: SasMessage) -> None:
    data = encode_step(step)
    assert decode_step(data) == step
    for wrong in (b"", data[:-1], data + b"\0", b"\0" + data[1:], b"\5" + data[1:]):
        with pytest.raises(ProtocolError, match="malformed"):
            decode_step(wrong)


@given(steps, st.data())
def test_whatever_the_bytes_there_is_one_step_or_an_error(
    step: SasMessage, data: st.DataObject
) -> None:
    found = bytearray(encode_step(step))
    at = data.draw(st.integers(0, len(found) - 1))
    found[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(ProtocolError):
        assert encode_step(decode_step(bytes(found))) == found


@given(st.data())
def test_a_step_that_was_changed_shows_no_equal_emoji(data: st.DataObject) -> None:
    """Whoever changes one on its way: the comparison fails, hangs, or shows different ones."""
    anna, ben = pair()
    message: SasMessage | None = anna.begin()
    which = data.draw(st.integers(0, 2))
    for turn, end in enumerate((ben, anna, ben)):
        if message is None:
            break
        step = bytearray(encode_step(message))
        if turn == which:
            step[data.draw(st.integers(0, len(step) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            message = end.receive(decode_step(bytes(step)))
        except ProtocolError:
            break
    assert not anna.symbols or anna.symbols != ben.symbols


def test_a_comparison_begins_once_and_with_another_key() -> None:
    anna, _ = pair()
    anna.begin()
    with pytest.raises(ValueError, match="has begun"):
        anna.begin()
    with pytest.raises(ValueError, match="itself"):
        comparison(GROUPS[0], ANNA, ANNA)


def test_nonces_and_symbols_are_not_shown_in_a_repr() -> None:
    anna, ben = pair()
    deliver(anna.begin(), ben, anna)
    assert anna.symbols[0][1] not in repr(anna)


# Words of an epoch


def test_the_words_of_an_epoch_are_equal_for_an_equal_view_only() -> None:
    one, other = (epoch_words(each.epoch_authenticator) for each in GROUPS)
    assert one == other
    assert len(one) == 8
    assert epoch_words(GROUPS[0].commit().group.epoch_authenticator) != one
