"""Pauses between attempts grow, are spread, and are never shorter than the server asks for."""

from __future__ import annotations

import pytest

from trio_chat.client.backoff import Backoff


def test_the_ceiling_doubles_and_ends_at_the_longest() -> None:
    backoff = Backoff(uniform=lambda low, high: high)
    assert [backoff.delay() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_jitter_is_full() -> None:
    backoff = Backoff(uniform=lambda low, high: low)
    assert [backoff.delay() for _ in range(3)] == [0, 0, 0]


def test_success_starts_anew() -> None:
    backoff = Backoff(uniform=lambda low, high: high)
    for _ in range(4):
        backoff.delay()
    backoff.succeeded()
    assert backoff.delay() == 0.5


@pytest.mark.parametrize(
    ("asked", "least"), [(None, 0), (20.0, 20), (-5.0, 0), (1e300, 600), (float("inf"), 600)]
)
def test_what_the_server_asks_for_is_the_least_but_it_cannot_send_us_away_for_good(
    asked: float | None, least: float
) -> None:
    assert Backoff(uniform=lambda low, high: high).delay(asked) == least + 0.5


def test_after_very_many_failures_it_is_still_a_number() -> None:
    backoff = Backoff()
    delays = [backoff.delay() for _ in range(2000)]
    assert 0 <= min(delays) <= max(delays) <= 30
