"""Whatever comes, a group raises what it says and is as good as before; `fuzz` has the targets."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.mls.fuzz import SAMPLES, any_bytes, any_proposal, any_tree, receive
from trio_chat.mls import PrivateMessage, decode_message
from trio_chat.mls.codec import evolve

# What a hostile member makes of a sample may be good: another name, say, or another path.
MUST_BE_REFUSED = (any_bytes, any_tree)

targets = pytest.mark.parametrize("target", SAMPLES, ids=lambda target: target.__name__)


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


@pytest.mark.parametrize("target", [any_bytes, any_proposal, any_tree])
def test_the_samples_reach_what_they_are_for(target: Callable[[bytes], bool]) -> None:
    assert all(map(target, SAMPLES[target]))


@targets
@hypothesis.given(data=st.data())
def test_what_was_changed_is_refused_and_leaves_no_trace(
    target: Callable[[bytes], bool], data: st.DataObject
) -> None:
    sample = data.draw(st.sampled_from(SAMPLES[target]))
    changed = mutated(data, sample)
    hypothesis.assume(changed not in SAMPLES[target])
    taken = target(changed)
    assert not (taken and target in MUST_BE_REFUSED)


@targets
@hypothesis.given(data=st.binary(max_size=200))
def test_anything_is_refused(target: Callable[[bytes], bool], data: bytes) -> None:
    taken = target(data)
    assert not (taken and target in MUST_BE_REFUSED)


@hypothesis.given(st.binary(max_size=80), st.binary(max_size=80))
def test_private_messages_of_anything_are_refused(sender: bytes, ciphertext: bytes) -> None:
    message = decode_message(SAMPLES[any_bytes][0])
    assert isinstance(message, PrivateMessage)
    assert not receive(evolve(message, encrypted_sender_data=sender, ciphertext=ciphertext))
