"""Counters are contiguous, whatever is refused, cut or given up; each message goes out once."""

from __future__ import annotations

import pytest

from trio_chat.client.outbox import Outbox, Pending
from trio_chat.errors import (
    Disconnected,
    Duplicate,
    OutOfOrder,
    ProtocolError,
    StoreUnavailable,
    TextTooLong,
)
from trio_chat.protocol.frames import Message


def outbox(taken: int = 0) -> Outbox:
    found = Outbox("lobby")
    found.resume(taken)
    return found


def add(box: Outbox, *texts: str) -> list[Pending]:
    found = [box.add(text, None) for text in texts]
    for pending in found:
        pending.waiters = 1
    return found


def flush(box: Outbox) -> list[tuple[int, str]]:
    return [(frame.n, frame.text) for frame in box.flush()]


def echo(n: int, seq: int = 1, text: str = "") -> Message:
    return Message(room="lobby", seq=seq, time=1.0, sender="alice", device="d", n=n, text=text)


def late(n: int, expected: int) -> OutOfOrder:
    return OutOfOrder("no", room="lobby", n=n, expected=expected)


def test_counters_follow_the_last_one_that_was_taken() -> None:
    box = outbox(taken=7)
    add(box, "a", "b")
    assert flush(box) == [(8, "a"), (9, "b")]
    assert flush(box) == []


def test_nothing_is_written_before_the_room_is_joined() -> None:
    box = Outbox("lobby")
    add(box, "a")
    assert flush(box) == []
    box.resume(0)
    assert flush(box) == [(1, "a")]


def test_an_echo_settles_its_message_and_no_other() -> None:
    box = outbox()
    a, b = add(box, "a", "b")
    flush(box)
    box.echo(echo(1, seq=5))
    assert a.result().seq == 5
    assert not b.done
    assert box.pending == (b,)


def test_after_a_cut_what_was_taken_waits_and_the_rest_is_written_again() -> None:
    box = outbox()
    a, b, c = add(box, "a", "b", "c")
    flush(box)
    box.lost()
    (d,) = add(box, "d")
    assert flush(box) == []
    box.resume(1)
    assert flush(box) == [(2, "b"), (3, "c"), (4, "d")]
    assert not a.done
    for n in (1, 2, 3, 4):
        box.echo(echo(n, seq=n + 10))
    assert [p.result().seq for p in (a, b, c, d)] == [11, 12, 13, 14]


def test_behind_a_refused_message_the_others_go_out_once_and_in_order() -> None:
    box = outbox(taken=3)
    a, bad, c, d = add(box, "a", "bad", "c", "d")
    assert flush(box) == [(4, "a"), (5, "bad"), (6, "c"), (7, "d")]
    box.refused(5, TextTooLong("too long"))
    with pytest.raises(TextTooLong):
        bad.result()
    (e,) = add(box, "e")
    assert flush(box) == [], "the answers to 6 and 7 are not here yet"
    box.echo(echo(4))
    box.refused(6, late(6, 5))
    assert flush(box) == []
    box.refused(7, late(7, 5))
    assert flush(box) == [(5, "c"), (6, "d"), (7, "e")]
    assert a.done
    assert not any(p.done for p in (c, d, e))


def test_a_second_refusal_among_those_behind_the_first_fails_its_own_message() -> None:
    box = outbox()
    bad, good, worse, fine = add(box, "bad", "good", "worse", "fine")
    flush(box)
    box.refused(1, TextTooLong("too long"))
    box.refused(2, late(2, 1))
    box.refused(3, TextTooLong("too long"))
    box.refused(4, late(4, 1))
    assert flush(box) == [(1, "good"), (2, "fine")]
    assert bad.done
    assert worse.done
    assert not good.done
    assert not fine.done


def test_a_batch_that_could_not_be_stored_fails_each_of_its_messages() -> None:
    box = outbox()
    pendings = add(box, "a", "b", "c")
    flush(box)
    for n in (1, 2, 3):
        box.refused(n, StoreUnavailable("no"))
    for pending in pendings:
        with pytest.raises(StoreUnavailable):
            pending.result()
    add(box, "d")
    assert flush(box) == [(1, "d")]


def test_a_cut_while_answers_are_missing_leaves_no_hole() -> None:
    box = outbox()
    add(box, "bad", "b", "c")
    flush(box)
    box.refused(1, TextTooLong("too long"))
    box.lost()
    box.resume(0)
    assert flush(box) == [(1, "b"), (2, "c")]
    box.refused(1, TextTooLong("too long"))
    box.refused(2, late(2, 1))
    assert flush(box) == [(1, "c")]


def test_an_unexpected_order_error_fails_that_message_and_counts_from_what_is_expected() -> None:
    box = outbox(taken=9)
    a, b = add(box, "a", "b")
    flush(box)
    box.refused(10, late(10, 4))
    with pytest.raises(OutOfOrder):
        a.result()
    box.refused(11, late(11, 4))
    assert flush(box) == [(4, "b")]
    assert not b.done


def test_an_order_error_that_denies_a_message_in_flight_breaks_the_connection() -> None:
    box = outbox()
    add(box, "a", "b")
    flush(box)
    with pytest.raises(ProtocolError):
        box.refused(2, late(2, 1))


def test_a_duplicate_fails_and_the_next_counter_is_beyond_the_last_one_taken() -> None:
    box = outbox()
    (a,) = add(box, "a")
    flush(box)
    box.refused(1, Duplicate("no", n=1, last=6))
    with pytest.raises(Duplicate):
        a.result()
    add(box, "b")
    assert flush(box) == [(7, "b")]


def test_what_was_not_written_is_taken_back_from_anywhere_in_the_queue() -> None:
    box = Outbox("lobby")
    _, b, _ = add(box, "a", "b", "c")
    b.waiters = 0
    b.abandoned()
    box.resume(0)
    assert flush(box) == [(1, "a"), (2, "c")]


def test_what_was_written_stays_until_its_echo_though_nobody_waits() -> None:
    box = outbox()
    a, b = add(box, "a", "b")
    flush(box)
    a.waiters = 0
    a.abandoned()
    assert list(box.pending) == [a, b]
    box.lost()
    box.resume(1)
    assert flush(box) == [(2, "b")]
    box.echo(echo(1))
    assert list(box.pending) == [b]


def test_what_nobody_waits_for_is_not_written_again_when_it_was_not_taken() -> None:
    box = outbox()
    a, b = add(box, "a", "b")
    flush(box)
    a.waiters = 0
    a.abandoned()
    box.lost()
    box.resume(0)
    assert flush(box) == [(1, "b")]
    assert box.pending == (b,)


def test_in_another_history_everything_is_numbered_anew() -> None:
    box = outbox(taken=5)
    add(box, "a", "b")
    flush(box)
    box.lost()
    box.reset(2)
    assert flush(box) == [(3, "a"), (4, "b")]


def test_what_was_taken_but_is_no_longer_kept_is_settled_without_a_number() -> None:
    box = outbox()
    a, b = add(box, "a", "b")
    flush(box)
    box.lost()
    box.resume(1)
    box.settle(1, echo(0))
    assert (a.result().seq, a.result().n, a.result().text) == (0, 1, "a")
    assert not b.done


def test_an_echo_settles_what_came_before_it_and_was_erased() -> None:
    box = outbox()
    a, _ = add(box, "a", "b")
    flush(box)
    box.echo(echo(2, seq=9))
    assert a.result().seq == 0
    assert box.pending == ()


def test_at_the_end_everything_fails_with_an_error_of_its_own() -> None:
    box = outbox()
    a, b = add(box, "a", "b")
    box.fail(lambda: Disconnected("over"))
    with pytest.raises(Disconnected) as one:
        a.result()
    with pytest.raises(Disconnected) as other:
        b.result()
    assert one.value is not other.value


def test_texts_are_in_no_repr() -> None:
    (a,) = add(outbox(), "secret words")
    assert "secret" not in repr(a)


def test_a_server_that_expects_nothing_gets_the_first_counter() -> None:
    box = outbox()
    add(box, "a", "b")
    flush(box)
    box.refused(1, late(1, 0))
    box.refused(2, late(2, 0))
    assert flush(box) == [(1, "b")]
