"""Whatever comes, a group raises what it says and is as good as before."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st

from tests.mls.clients import anybody, bundle, room, welcomed
from trio_chat.mls import (
    Add,
    CryptoError,
    DecodeError,
    Group,
    KeyPackageBundle,
    PrivateMessage,
    ProtocolError,
    PublicMessage,
    Welcome,
    decode_message,
    encode_message,
)
from trio_chat.mls.codec import evolve
from trio_chat.mls.messages import ContentType
from trio_chat.mls.state import snapshot

REFUSALS = (DecodeError, CryptoError, ProtocolError)


def _samples() -> tuple[Group, list[bytes], bytes, KeyPackageBundle]:
    alice, bob, _ = room("alice", "bob", "carol")
    dave = bundle("dave")
    messages = [
        alice.encrypt(b"hello", b"header", padding=0),
        alice.propose(alice.make_update(), public=True),
        alice.propose(Add(dave.key_package), padding=0),
        alice.commit(cover=(), public=True).message,
        alice.commit(cover=(), padding=0).message,
        Group.join_external(
            alice.group_info(external=True, ratchet_tree=True), bundle("eve"), authenticate=anybody
        ).message,
    ]
    result = alice.commit(Add(dave.key_package), cover=(), ratchet_tree=True)
    return bob, [*map(encode_message, messages)], encode_message(welcomed(result)), dave


BOB, MESSAGES, WELCOME, DAVE = _samples()
BOB.secret_tree.ratchet(0, ContentType.APPLICATION)  # is derived when it is asked for
BEFORE = snapshot(BOB)


def mutated(data: st.DataObject, sample: bytes) -> bytes:
    message = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(message) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "grow"))):
            case "flip":
                message[place] ^= data.draw(st.integers(1, 255))
            case "cut":
                del message[place : place + data.draw(st.integers(1, 4))]
            case _:
                message[place:place] = data.draw(st.binary(min_size=1, max_size=4))
        if not message:
            break
    return bytes(message)


@hypothesis.given(st.data())
def test_a_changed_message_is_refused_and_leaves_no_trace(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(MESSAGES))
    changed = mutated(data, sample)
    hypothesis.assume(changed != sample)
    try:
        message = decode_message(changed)
        hypothesis.assume(isinstance(message, PublicMessage | PrivateMessage))
        BOB.receive(message)  # type: ignore[arg-type]  # see the line before
    except REFUSALS:
        pass
    else:
        raise RuntimeError("a changed message was taken")
    assert snapshot(BOB) == BEFORE


@hypothesis.given(st.data())
def test_a_changed_welcome_is_refused(data: st.DataObject) -> None:
    changed = mutated(data, WELCOME)
    hypothesis.assume(changed != WELCOME)
    try:
        welcome = decode_message(changed)
        hypothesis.assume(isinstance(welcome, Welcome))
        Group.join(welcome, DAVE, authenticate=anybody)  # type: ignore[arg-type]  # likewise
    except REFUSALS:
        return
    raise RuntimeError("a changed Welcome was taken")


@hypothesis.given(st.data())
def test_a_tree_of_anything_is_refused(data: st.DataObject) -> None:
    tree = mutated(data, BOB.ratchet_tree())
    hypothesis.assume(tree != BOB.ratchet_tree())
    info = BOB.group_info(external=True)
    try:
        Group.join_external(info, DAVE, ratchet_tree=tree, authenticate=anybody)
    except REFUSALS:
        return
    raise RuntimeError("another tree was taken")


@hypothesis.given(st.binary(max_size=80), st.binary(max_size=80))
def test_private_messages_of_anything_are_refused(sender: bytes, ciphertext: bytes) -> None:
    message = decode_message(MESSAGES[0])
    assert isinstance(message, PrivateMessage)
    forged = evolve(message, encrypted_sender_data=sender, ciphertext=ciphertext)
    try:
        BOB.receive(forged)
    except REFUSALS:
        return
    raise RuntimeError("a forged message was taken")
