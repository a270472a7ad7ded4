"""`trio_chat.chat.bucket`: late, never not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.chat.bucket import Bucket


@given(
    st.integers(1, 20),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_never_more_than_burst_and_rate_times_time(
    burst: int, rate: float, pauses: list[float]
) -> None:
    bucket = Bucket(burst, rate)
    now = 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        now += bucket.take(now)  # whoever has to wait, waits
        taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            count = last - first + 1
            assert count <= burst + rate * (taken[last] - start) + 1e-6


@given(st.integers(1, 20), st.floats(0.1, 100))
def test_a_burst_is_free_and_then_the_rate_counts(burst: int, rate: float) -> None:
    bucket = Bucket(burst, rate)
    waits = [bucket.take(10.0) for _ in range(burst + 3)]
    assert waits[:burst] == pytest.approx([0.0] * burst, abs=1e-6)
    assert waits[burst:] == pytest.approx([k / rate for k in (1, 2, 3)], abs=1e-6)


@given(st.integers(1, 20), st.floats(0.1, 100), st.floats(0, 1000))
def test_who_waits_long_enough_has_the_whole_burst_again_and_no_more(
    burst: int, rate: float, idle: float
) -> None:
    bucket = Bucket(burst, rate)
    for _ in range(burst):
        bucket.take(0.0)
    now = burst / rate + idle
    assert [bucket.take(now) for _ in range(burst)] == pytest.approx([0.0] * burst, abs=1e-6)
    assert bucket.take(now) > 0
