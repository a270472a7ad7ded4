"""`trio_chat.invitation`: one word, that shows its secret to nobody who does not ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import ConfigError
from trio_chat.invitation import (
    SECRET_SIZE,
    Invitation,
    decode_secret,
    encode_secret,
    hash_secret,
)

INVITATION = Invitation(bytes(range(32)), bytes(range(SECRET_SIZE)))
TOKEN = INVITATION.encode()


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=SECRET_SIZE, max_size=SECRET_SIZE))
def test_what_is_encoded_can_be_read_again(ca: bytes, secret: bytes) -> None:
    invitation = Invitation(ca, secret)
    assert Invitation.decode(invitation.encode()) == invitation
    assert decode_secret(encode_secret(secret)) == secret


def test_it_is_one_word_for_every_shell_and_is_no_option() -> None:
    assert TOKEN.startswith("tci1-")
    assert TOKEN.replace("-", "").replace("_", "").isalnum()
    assert len(TOKEN) == 81


def test_a_line_that_was_broken_when_it_was_copied_is_read() -> None:
    assert Invitation.decode(f"  {TOKEN[:40]}\n   {TOKEN[40:]}\r\n") == INVITATION


@pytest.mark.parametrize("position", range(5, len(TOKEN)))
def test_a_slip_of_the_hand_is_noticed(position: int) -> None:
    other = "A" if TOKEN[position] != "A" else "B"
    with pytest.raises(ConfigError, match="that is no invite") as caught:
        Invitation.decode(f"{TOKEN[:position]}{other}{TOKEN[position + 1 :]}")
    assert TOKEN[5:20] not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["", "tci1-", TOKEN[5:], TOKEN[:-4], TOKEN + "AAAA", "é", "\0"])
def test_what_is_not_the_whole_of_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="that is no invite"):
        Invitation.decode(text)


@given(st.text())
def test_whatever_is_typed_is_an_invite_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Invitation.decode(text)
    decode_secret(text)


def test_the_secret_is_not_shown() -> None:
    secret = INVITATION.secret
    for shown in (repr(INVITATION), str(INVITATION)):
        assert repr(secret) not in shown
        assert encode_secret(secret) not in shown


def test_the_secret_has_more_than_128_bits_and_its_hash_does_not_tell_it() -> None:
    assert SECRET_SIZE * 8 >= 128
    assert len(hash_secret(INVITATION.secret)) == 64
    assert INVITATION.secret.hex() not in hash_secret(INVITATION.secret)
