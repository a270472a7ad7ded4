from __future__ import annotations

import pytest

from trio_chat.durations import LONGEST, parse_duration, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("30m", 1800), ("2h", 7200), ("7D", 604800), ("1w", 604800), ("3650d", LONGEST)],
)
def test_a_number_and_a_unit_is_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0m", "-1m", "30", "m", "1.5h", "1 h", "\u00b2h", "3651d", "9999999999s", "1h30m"]
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (1800, "30 minutes"),
        (3600, "1 hour"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (604800, "7 days"),
        (0.2, "a moment"),
    ],
)
def test_it_is_said_in_the_unit_that_people_would_use(seconds: float, said: str) -> None:
    assert spoken(seconds) == said
