"""`trio_chat.chat.ledger`: numbers without a gap, counters without a skip."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.chat.epochs import Commit, Sealed
from trio_chat.chat.ledger import Entry, Ledger, author, message_rest, sealed_rest, topic_rest
from trio_chat.errors import Duplicate, NoBlob, OutOfOrder, Stale
from trio_chat.protocol.codec import decode_event
from trio_chat.protocol.fields import Kind
from trio_chat.protocol.frames import Message, Topic


def say(device: str, n: int, text: str = "x") -> Entry:
    rest = message_rest(author(device, device), n, text, None)
    return Entry(device, n, rest, None, (device, n))


def retitle(device: str, text: str) -> Entry:
    return Entry(device, None, topic_rest(author(device, device), text), text, (device, text))


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


def test_a_conversation() -> None:
    ledger = Ledger("lobby", 0, {})

    draft = ledger.draft([say("a", 1), say("b", 1), say("a", 2)], now=5.0)
    assert draft.refused == []
    assert draft.batch is not None
    assert (draft.batch.first, draft.batch.last) == (1, 3)
    assert draft.batch.counters == {"a": 2, "b": 1}
    assert [(each["seq"], each["device"], each["n"]) for each in lines(draft.batch.body)] == [
        (1, "a", 1),
        (2, "b", 1),
        (3, "a", 2),
    ]
    assert ledger.seq == 0  # nothing has happened yet
    ledger.commit(draft.batch)
    assert (ledger.seq, ledger.counters) == (3, {"a": 2, "b": 1})

    draft = ledger.draft([say("a", 2), say("a", 5), say("b", 2)], now=6.0)
    (first, duplicate), (second, skip) = draft.refused
    assert isinstance(duplicate, Duplicate)
    assert (first.n, duplicate.n, duplicate.last, duplicate.room) == (2, 2, 2, "lobby")
    assert isinstance(skip, OutOfOrder)
    assert (second.n, skip.n, skip.expected) == (5, 5, 3)
    assert draft.batch is not None
    assert (draft.batch.first, draft.batch.last) == (4, 4)
    ledger.commit(draft.batch)

    draft = ledger.draft([retitle("a", "Cats"), retitle("b", "Dogs")], now=7.0)
    assert draft.batch is not None
    assert draft.batch.topic == "Dogs"
    assert ledger.topic == ""
    ledger.commit(draft.batch)
    assert (ledger.topic, ledger.seq) == ("Dogs", 6)


def test_what_is_only_refused_makes_no_batch() -> None:
    draft = Ledger("lobby", 7, {"a": 3}).draft([say("a", 3), say("b", 2)], now=1.0)
    assert draft.batch is None
    assert len(draft.refused) == 2


def test_a_draft_that_is_not_committed_has_not_happened() -> None:
    ledger = Ledger("lobby", 0, {})
    ledger.draft([say("a", 1), retitle("a", "t")], now=1.0)
    again = ledger.draft([say("a", 1)], now=2.0)
    assert again.batch is not None
    assert (again.batch.first, again.batch.counters) == (1, {"a": 1})
    assert (ledger.seq, ledger.topic, ledger.counters) == (0, "", {})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT, TEXT, TEXT, st.sampled_from([None, "action", "notice"]), st.floats(1e9, 4e9))
def test_a_line_is_the_frame_that_clients_read(
    room: str, user: str, text: str, form: Any, now: float
) -> None:
    ledger = Ledger(room, 41, {"d": 6})
    rest = message_rest(author(user, "d"), 7, text, form)
    draft = ledger.draft([Entry("d", 7, rest, None, None), retitle("e", text)], now)
    assert draft.batch is not None
    said, titled = map(decode_event, draft.batch.body.splitlines(keepends=True))
    stamp = float(f"{now:.3f}")
    assert said == Message(
        room=room, seq=42, time=stamp, sender=user, device="d", n=7, text=text, form=form
    )
    assert titled == Topic(room=room, seq=43, time=stamp, sender="e", device="e", text=text)


ATTEMPTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=12)


@given(st.lists(st.tuples(ATTEMPTS, st.booleans()), max_size=8))
def test_numbers_and_counters_are_contiguous_whatever_is_tried(
    batches: list[tuple[list[tuple[str, int]], bool]],
) -> None:
    ledger = Ledger("lobby", 0, {})
    log: list[dict[str, Any]] = []
    model: dict[str, int] = {}
    for attempts, written in batches:
        before = dict(model)
        draft = ledger.draft([say(device, n) for device, n in attempts], now=1.0)
        accepted = []
        for device, n in attempts:
            if n == before.get(device, 0) + 1:
                before[device] = n
                accepted.append((device, n))
        body = lines(draft.batch.body) if draft.batch else []
        assert [(each["device"], each["n"]) for each in body] == accepted
        assert len(draft.refused) == len(attempts) - len(accepted)
        if written and draft.batch:
            ledger.commit(draft.batch)
            log += body
            model = before
        assert ledger.counters == {k: v for k, v in model.items() if v}
    assert (
        [each["seq"] for each in log]
        == list(range(1, len(log) + 1))
        == list(range(1, ledger.seq + 1))
    )
    for device in "abc":
        counted = [each["n"] for each in log if each["device"] == device]
        assert counted == list(range(1, len(counted) + 1))


# --- epochs ------------------------------------------------------------------------------


def seal(device: str, n: int, epoch: int, kind: Kind = "message", tree: str = "") -> Entry:
    commit = None
    if kind in ("commit", "create"):
        commit = Commit("", tree, (), b"x" if tree.startswith("put") else None)
    rest = sealed_rest(author(device, device), n, epoch, kind, "eA==")
    return Entry(device, n, rest, None, (device, n), Sealed(epoch, kind, commit))


def test_epochs_are_compared_while_numbering() -> None:
    ledger = Ledger("den", 0, {})
    draft = ledger.draft(
        [
            seal("a", 1, 0),  # no group yet
            seal("a", 1, 0, "commit", "put 0"),
            seal("a", 1, 0, "create", "put 1"),
            seal("b", 1, 0, "create", "put 2"),  # slower
            seal("b", 1, 1),
            seal("b", 2, 1, "commit", "put 1"),
            seal("a", 2, 1, "proposal"),  # slower than that
            seal("a", 2, 2),
        ],
        now=5.0,
    )
    batch = draft.batch
    assert batch is not None
    found = [(each["seq"], each["device"], each["n"], each["epoch"]) for each in lines(batch.body)]
    assert found == [(1, "a", 1, 0), (2, "b", 1, 1), (3, "b", 2, 1), (4, "a", 2, 2)]
    assert [seq for seq, _ in batch.commits] == [1, 3]
    assert batch.counters == {"a": 2, "b": 2}
    told = [(entry.device, error.epoch, error.seq) for entry, error in draft.refused]
    assert told == [("a", 0, 0), ("a", 0, 0), ("b", 1, 1), ("a", 2, 3)]
    assert {type(error) for _, error in draft.refused} == {Stale}
    assert ledger.epoch == 0  # nothing has happened yet
    ledger.commit(batch)
    assert ledger.epoch == 2
    frame = decode_event(batch.body.splitlines()[0])
    assert isinstance(frame, Message)
    assert (frame.kind, frame.body, frame.text) == ("create", "eA==", "")


def test_counters_come_before_epochs_and_what_is_refused_uses_none() -> None:
    ledger = Ledger("den", 9, {"a": 4}, epoch=3)
    entries = [seal("a", 4, 9), seal("a", 7, 9), seal("a", 5, 9), seal("a", 6, 3), seal("a", 5, 3)]
    draft = ledger.draft(entries, now=5.0)
    assert [type(error) for _, error in draft.refused] == [
        Duplicate,
        OutOfOrder,
        Stale,
        OutOfOrder,
    ]
    assert draft.batch is not None
    assert draft.batch.counters == {"a": 5}


def test_a_tree_is_one_that_is_put_or_was() -> None:
    ledger = Ledger("den", 0, {}, epoch=1, trees=frozenset({"old"}))
    draft = ledger.draft([seal("a", 1, 1, "commit", "none"), seal("a", 1, 1, "commit", "old")], 5.0)
    ((entry, error),) = draft.refused
    assert (type(error), entry.n, error.n) == (NoBlob, 1, 1)
    draft = ledger.draft([seal("a", 1, 1, "commit", "put"), seal("a", 2, 2, "commit", "put")], 5.0)
    assert draft.refused == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 4),
            st.sampled_from(["message", "commit", "create"]),
        )
    ),
    st.integers(1, 4),
)
def test_no_line_of_an_epoch_follows_the_commit_that_ends_it(
    said: list[tuple[str, int, Kind]], size: int
) -> None:
    ledger = Ledger("den", 0, {})
    taken: list[dict[str, Any]] = []
    for start in range(0, len(said), size):
        entries = []
        ahead = dict(ledger.counters)
        for device, epoch, kind in said[start : start + size]:
            n = ahead.get(device, 0) + 1
            entries.append(seal(device, n, epoch, kind, "put"))
        batch = ledger.draft(entries, 1.0).batch
        if batch is not None:
            taken += lines(batch.body)
            ledger.commit(batch)
    epoch = 0
    for each in taken:
        assert each["epoch"] == epoch
        epoch += each["kind"] != "message"
    assert ledger.epoch == epoch
    assert [each["seq"] for each in taken] == list(range(1, len(taken) + 1))
