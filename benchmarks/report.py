"""Medians and ratios of one run, as text and as Markdown. Knows nothing of how it was run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from scenarios import SCENARIOS

COLUMNS = (
    "deliveries_per_s", "lat_p50_ms", "lat_p99_ms", "hs_per_s", "reg_per_s", "kb_per_conn",
    "server_cpu", "core_us_per_delivery", "lost", "dup", "ooo", "refusals", "dropped_conns",
    "gen_util", "foreign_cpu",
)  # fmt: skip
FAULTS = ("lost", "dup", "ooo", "misrouted", "unknown", "refusals", "dead")

Row = dict[str, object]


class Results:
    """The rows of one run; what a repetition did not measure is left out of its median."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self.servers = list(dict.fromkeys(str(r["server"]) for r in self.rows))
        # in the order of the table, not in that of the run
        self.scenarios = [s for s in SCENARIOS if any(r["scenario"] == s for r in self.rows)]

    def of(self, server: str, scenario: str) -> list[Row]:
        return [r for r in self.rows if (r["server"], r["scenario"]) == (server, scenario)]

    def values(self, server: str, scenario: str, field: str) -> list[float]:
        return [float(r[field]) for r in self.of(server, scenario) if field in r]

    def median(self, server: str, scenario: str, field: str) -> float | None:
        values = self.values(server, scenario, field)
        return statistics.median(values) if values else None

    def figure(self, server: str, scenario: str) -> float | None:
        return self.median(server, scenario, SCENARIOS[scenario].figure.field)

    def ratio(self, server: str, scenario: str, base: str) -> float | None:
        mine, other = self.figure(server, scenario), self.figure(base, scenario)
        return mine / other if mine is not None and other else None

    def faults(self) -> list[str]:
        """What went wrong, a line for each server, scenario and kind."""
        found = []
        for server in self.servers:
            for scenario in self.scenarios:
                rows = self.of(server, scenario)
                totals = {kind: sum(int(r.get(kind, 0)) for r in rows) for kind in FAULTS}
                totals["not ready"] = sum(int(r["n"]) - int(r["ready"]) for r in rows if "n" in r)
                found += [f"{server} {scenario}: {k} {v}" for k, v in totals.items() if v]
                found += [f"{server} {scenario}: {r['error']}" for r in rows if "error" in r]
        return found

    def repetitions(self) -> int:
        return max((len(self.of(n, s)) for n in self.servers for s in self.scenarios), default=0)


def text(results: Results, bases: Sequence[str]) -> str:
    """One table for each scenario, with all that was measured."""
    lines = [f"medians of {results.repetitions()}; ratios are to {', '.join(bases)}"]
    for scenario in results.scenarios:
        spec = SCENARIOS[scenario]
        field = spec.figure.field
        columns = COLUMNS if field in COLUMNS else (field, *COLUMNS)
        table = [["server", *columns, "min", "max", *(f"/{base}" for base in bases)]]
        for server in results.servers:
            values = results.values(server, scenario, field)
            if not values:
                table.append([server, "none", *[""] * (len(table[0]) - 2)])
                continue
            medians = [results.median(server, scenario, c) for c in columns]
            table.append([
                server,
                *("-" if m is None else f"{m:.6g}" for m in medians),
                f"{min(values):.5g}",
                f"{max(values):.5g}",
                *(_ratio(results.ratio(server, scenario, base)) for base in bases),
            ])  # fmt: skip
        lines += ["", f"{scenario}: {spec.title}: {spec.args}   [{field}]"]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  " + "  ".join(cells).rstrip())
    lines += ["", "faults:", *(f"  {fault}" for fault in results.faults() or ["none"])]
    return "\n".join(lines)


def markdown(results: Results, bases: Sequence[str], machine: str, durable: set[str]) -> str:
    """The figures, the busy time for each copy, and the ratios, ready for a document."""
    scenarios = results.scenarios
    repetitions = results.repetitions()
    how = f"Medians of {repetitions} interleaved repetitions" if repetitions > 1 else "One run"
    parts = [f"{machine} {how}."]

    def label(server: str) -> str:
        return f"{server} (log on)" if server in durable else server

    def table(columns: list[str], headings: list[str], cell: Callable[[str, str], str]) -> None:
        rows = [["server", *headings]]
        rows.append(["---", *("---:" for _ in columns)])
        rows += [[label(n), *(cell(n, s) for s in columns)] for n in results.servers]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))

    table(
        scenarios,
        [f"{s}: {SCENARIOS[s].title}, {SCENARIOS[s].figure.unit}" for s in scenarios],
        lambda n, s: _number(results.figure(n, s)),
    )
    busy = [s for s in scenarios if SCENARIOS[s].figure.field == "deliveries_per_s"]
    if busy:
        parts.append("Busy time of the server's core, microseconds for each copy (less is better):")
        table(busy, busy, lambda n, s: _number(results.median(n, s, "core_us_per_delivery")))
    for base in bases:
        parts.append(f"Ratios to `{base}` (of what is marked -, less is better):")
        table(
            scenarios,
            [s if SCENARIOS[s].figure.more_is_better else f"{s} -" for s in scenarios],
            lambda n, s, base=base: _ratio(results.ratio(n, s, base)),
        )
    faults = results.faults()
    if faults:
        parts.append("\n".join(["Faults:", "", *(f"* {fault}" for fault in faults)]))
    else:
        parts.append("Nothing was lost, doubled, out of order, refused or cut off.")
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
