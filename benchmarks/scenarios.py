"""The scenarios: what the generator does, and the one figure that sums each up."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """A field of the generator's results, and how it is said."""

    field: str
    unit: str
    more_is_better: bool


DELIVERIES = Figure("deliveries_per_s", "copies/s", True)
P99 = Figure("lat_p99_ms", "ms p99", False)
MEMORY = Figure("kb_per_conn", "KiB each", False)
LOGINS = Figure("reg_per_s", "logins/s", True)
STORM = Figure("storm_ms", "ms", False)


class Scenario(NamedTuple):
    """One load: in words, as options of loadgen, and its figure."""

    title: str
    args: str
    figure: Figure
    beside: str = ""  # options of a second generator, started after `delay` s
    delay: float = 0.0
    rooms: int = 1  # that both of them need ...
    bots: int = 0  # ... and so many certificates


SCENARIOS = {
    # closed loop: 10 senders with 32 (8) undelivered messages each
    "A100": Scenario("100 in a room", "--n 100 --senders 10 --window 32 --seconds 3", DELIVERIES),
    "A1000": Scenario("1000 in a room", "--n 1000 --senders 10 --window 8 --seconds 4", DELIVERIES),
    # the same with one undelivered message each: little to batch
    "A100w1": Scenario(
        "100, one at a time", "--n 100 --senders 10 --window 1 --seconds 4", DELIVERIES
    ),
    "A1000w1": Scenario(
        "1000, one at a time", "--n 1000 --senders 10 --window 1 --seconds 4", DELIVERIES
    ),
    "B": Scenario("100, light load", "--n 100 --senders 1 --rate 20 --seconds 5", P99),
    "B1000": Scenario("1000, light load", "--n 1000 --senders 1 --rate 10 --seconds 6", P99),
    "C": Scenario("2000 idle", "--n 2000 --msgs 0 --senders 0 --settle 2 --rooms 20", MEMORY),
    "D": Scenario("500 logging in", "--n 500 --conc 64 --nojoin --senders 0 --settle 0.1", LOGINS),
    "E": Scenario(
        "200 rooms of 5", "--n 1000 --rooms 200 --senders 5 --window 2 --seconds 3", DELIVERIES
    ),
    "F": Scenario(
        "100, 3 do not read", "--n 100 --senders 10 --window 32 --seconds 4 --deaf 3", DELIVERIES
    ),
    # 1000 connect at once, then join at once, then one says a line: until everyone has it
    "H": Scenario(
        "reconnect storm",
        "--n 1000 --conc 1000 --gate --senders 1 --window 1 --msgs 1 --settle 0",
        STORM,
    ),
    # H, while 100 others talk in a room of their own: what they notice of it
    "S": Scenario(
        "100 talk, 1000 come at once",
        "--n 100 --senders 1 --rate 50 --seconds 4",
        P99,
        beside="--n 1000 --first-bot 101 --first-room 1 --conc 1000 --gate --senders 0 --msgs 0",
        delay=1.5,
        rooms=2,
        bots=1100,
    ),
}
DEFAULT_SCENARIOS = ("A100", "A1000", "B", "C", "D", "E", "S")
QUICK_SCENARIOS = ("A100", "B", "D")
