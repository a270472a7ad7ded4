from __future__ import annotations

import itertools

import pytest

from tests.mls.clients import room
from trio_chat.mls import SUITES, CryptoError, ExternalPSK, PublicMessage
from trio_chat.mls.codec import evolve
from trio_chat.mls.messages import AuthenticatedContent, GroupContext, PreSharedKeyID, WireFormat
from trio_chat.mls.schedule import (
    EpochSecrets,
    confirmed_transcript_hash,
    external_init,
    external_init_secret,
    interim_transcript_hash,
    joiner_secret,
    member_secret,
    psk_secret,
    welcome_key,
)
from trio_chat.mls.suite import CipherSuite

SUITE = SUITES[1]
CONTEXT = GroupContext(1, 1, b"a room", 7, bytes(32), bytes(32), ())
FIELDS = [name for name in dir(EpochSecrets) if name in EpochSecrets.__annotations__]

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)


def secrets(suite: CipherSuite = SUITE, member: bytes = bytes(32)) -> EpochSecrets:
    made, _ = EpochSecrets.derive(suite, member, CONTEXT)
    return made


@every_suite
def test_each_secret_is_another_and_as_long_as_a_hash(suite: CipherSuite) -> None:
    made, encryption_secret = EpochSecrets.derive(suite, bytes(suite.hash_size), CONTEXT)
    values = [encryption_secret, *(getattr(made, name) for name in FIELDS)]
    assert len(values) == len(set(values)) == 9
    assert {len(value) for value in values} == {suite.hash_size}


def test_an_epochs_secrets_depend_on_all_that_goes_in() -> None:
    zero, one = bytes(32), b"\1" * 32
    joiners = {
        joiner_secret(SUITE, init, commit, context)
        for init, commit, context in itertools.product(
            (zero, one), (zero, one), (CONTEXT, evolve(CONTEXT, epoch=8))
        )
    }
    assert len(joiners) == 8
    members = {member_secret(SUITE, *given) for given in itertools.product((zero, one), repeat=2)}
    assert len(members) == 4
    epochs = {
        EpochSecrets.derive(SUITE, member, context)[0].init_secret
        for member in members
        for context in (CONTEXT, evolve(CONTEXT, tree_hash=one))
    }
    assert len(epochs) == 8


@every_suite
def test_a_welcome_has_a_key_and_a_nonce(suite: CipherSuite) -> None:
    key, nonce = welcome_key(suite, bytes(suite.hash_size))
    assert (len(key), len(nonce)) == (suite.aead.key_size, suite.aead.nonce_size)


def test_a_confirmation_tag_holds_for_its_transcript_and_whole() -> None:
    made = secrets()
    tag = made.confirmation_tag(SUITE, CONTEXT)
    made.check_confirmation(SUITE, CONTEXT, tag)
    for wrong in (b"", tag[:1], tag[:31], tag + b"\0", bytes(32)):
        with pytest.raises(CryptoError, match="confirmation"):
            made.check_confirmation(SUITE, CONTEXT, wrong)
    with pytest.raises(CryptoError):
        made.check_confirmation(SUITE, evolve(CONTEXT, confirmed_transcript_hash=b"other"), tag)
    with pytest.raises(CryptoError):
        secrets(member=b"\1" * 32).check_confirmation(SUITE, CONTEXT, tag)


@every_suite
def test_who_joins_and_who_is_in_share_an_init_secret(suite: CipherSuite) -> None:
    made = secrets(suite, bytes(suite.hash_size))
    private, public = made.external_key_pair(suite)
    assert suite.kem.public_key(private) == public
    kem_output, init_secret = external_init(suite, public)
    assert external_init_secret(suite, made, kem_output) == init_secret
    assert external_init(suite, public) != (kem_output, init_secret)


@pytest.mark.parametrize("kem_output", [b"", bytes(31), bytes(32), bytes(33)])
def test_a_kem_output_that_is_none_is_refused(kem_output: bytes) -> None:
    with pytest.raises(CryptoError):
        external_init_secret(SUITE, secrets(), kem_output)


def test_a_transcript_hash_is_of_all_that_was_committed() -> None:
    alice, _ = room("alice", "bob")
    message = alice.commit(public=True).message
    assert isinstance(message, PublicMessage)
    content = AuthenticatedContent(
        WireFormat.PUBLIC_MESSAGE, message.content, message.signature, message.confirmation_tag
    )
    before = alice.interim_transcript_hash
    confirmed = confirmed_transcript_hash(SUITE, before, content)
    assert confirmed == confirmed_transcript_hash(
        SUITE, before, evolve(content, confirmation_tag=b"does not matter")
    )
    others = {
        confirmed_transcript_hash(SUITE, bytes(32), content),
        confirmed_transcript_hash(SUITE, before, evolve(content, signature=b"")),
        confirmed_transcript_hash(
            SUITE, before, evolve(content, wire_format=WireFormat.PRIVATE_MESSAGE)
        ),
        confirmed_transcript_hash(
            SUITE, before, evolve(content, content=evolve(message.content, epoch=9))
        ),
    }
    assert len(others | {confirmed}) == 5
    tags = {interim_transcript_hash(SUITE, confirmed, tag) for tag in (b"", b"a", b"b")}
    assert len(tags) == 3


def test_pre_shared_keys_count_with_their_names_values_and_order() -> None:
    assert psk_secret(SUITE, []) == bytes(32)
    one, two = ((PreSharedKeyID(ExternalPSK(name), bytes(32)), name * 32) for name in (b"1", b"2"))
    again = PreSharedKeyID(one[0].psk, b"\1" * 32), one[1]  # another nonce
    other = one[0], two[1]
    lists = ([one], [two], [again], [other], [one, two], [two, one], [one, two, again])
    assert len({psk_secret(SUITE, psks) for psks in lists}) == len(lists)


def test_nothing_secret_is_shown() -> None:
    made = secrets()
    for name in FIELDS:
        assert repr(getattr(made, name))[2:-1] not in repr(made)
