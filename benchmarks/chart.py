#!/usr/bin/env python3
"""Draw the results of bench.py as one SVG: for each scenario, every server against the base.

    python benchmarks/chart.py benchmarks/out/results-TIME.jsonl benchmarks/figures.svg

A bar of 1 is the base itself; longer is better, also where the figure is a time or a size: there
the ratio is turned round. Readable on light and dark ground; no fonts but the reader's.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path

import report
from scenarios import SCENARIOS

WIDTH, LEFT, RIGHT = 860, 195, 75  # of the whole; of the names; of the numbers behind the bars
BAR, GAP, HEAD, TOP = 15, 4, 26, 62
SPACE = 16  # between two scenarios

# What is measured is blue, what it is measured against is grey: told apart also without colour.
# The ground is drawn, since a viewer's page need not be as dark as its reader's other windows.
STYLE = """
svg { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
.ground { fill: #fff } text { fill: #24292f; stroke: #fff; stroke-width: 4px; paint-order: stroke }
.dim { fill: #57606a; font-size: 12px } .what { font-weight: 600 }
.title { font-size: 16px; font-weight: 600 } .end { text-anchor: end } .mid { text-anchor: middle }
.other { fill: #a8b1bb } .ours { fill: #2f6fde } .grid { stroke: #d0d7de }
.line { stroke: #57606a; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117 } text { fill: #e6edf3; stroke: #0d1117 } .dim { fill: #9aa4af }
  .other { fill: #5d6773 } .ours { fill: #5b95f5 } .grid { stroke: #30363d }
  .line { stroke: #9aa4af }
}
"""


def draw(results: report.Results, base: str, machine: str, durable: set[str]) -> str:
    """Return the whole SVG."""
    bars = {scenario: _bars(results, scenario, base) for scenario in results.scenarios}
    bars = {scenario: found for scenario, found in bars.items() if found}
    most = max((ratio for found in bars.values() for _, ratio, _ in found), default=1.0)
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if most / s <= 8)
    end = math.ceil(most / step) * step
    scale = (WIDTH - LEFT - RIGHT) / end
    xs = {number * step: LEFT + number * step * scale for number in range(round(end / step) + 1)}
    grid: list[str] = []
    parts: list[str] = []
    y = TOP
    for scenario, found in bars.items():
        spec = SCENARIOS[scenario]
        better = "" if spec.figure.more_is_better else ", less is better: turned round"
        parts.append(_text(LEFT, y + 14, "what", f"{scenario}: {spec.title}"))
        parts.append(_text(WIDTH - 8, y + 14, "dim end", f"{spec.figure.unit}{better}"))
        y += HEAD
        bottom = y + len(found) * (BAR + GAP)
        grid += [f'<path class="grid" d="M{x:.1f} {y}V{bottom}"/>' for x in xs.values()]
        grid.append(f'<path class="line" d="M{xs[0] + scale:.1f} {y - 4}V{bottom}"/>')
        for server, ratio, figure in found:
            ours = "ours" if server.startswith("trio-chat") else "other"
            label = f"{server} (log on)" if server in durable else server
            length = max(ratio * scale, 1)
            parts.append(_text(LEFT - 8, y + BAR - 3, "end", label))
            parts.append(
                f'<rect class="{ours}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}"'
                f' rx="2"><title>{escape(label)}: {figure}</title></rect>'
            )
            parts.append(_text(LEFT + length + 6, y + BAR - 3, "", f"{ratio:.2f}", figure))
            y += BAR + GAP
        y += SPACE
    parts += [_text(x, y, "dim mid", f"{value:g}") for value, x in xs.items()]
    heading = f"Times {base}: longer is better"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}"'
        f' width="{WIDTH}" height="{y + 12}" role="img" aria-label="{escape(heading)}">',
        f"<title>{escape(heading)}</title>",
        f"<style>{STYLE}</style>",
        '<rect class="ground" width="100%" height="100%"/>',
        _text(8, 24, "title", heading),
        _text(8, 44, "dim", f"{machine} Medians of {results.repetitions()}."),
        *grid,
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _bars(results: report.Results, scenario: str, base: str) -> list[tuple[str, float, str]]:
    """Return what to draw of a scenario: server, ratio so that more is better, the figure."""
    found: list[tuple[str, float, str]] = []
    for server in results.servers:
        ratio = results.ratio(server, scenario, base)
        figure = results.figure(server, scenario)
        if ratio and figure is not None:
            better = ratio if SCENARIOS[scenario].figure.more_is_better else 1 / ratio
            found.append((server, better, report._number(figure)))
    return found


def _text(x: float, y: float, kind: str, text: str, more: str = "") -> str:
    """Return a text; `more` follows it, dimmer."""
    tail = f'<tspan class="dim" dx="6">{escape(more)}</tspan>' if more else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}{tail}</text>'


def write(path: Path, results: report.Results, base: str, machine: str, durable: set[str]) -> None:
    """Draw into a file."""
    path.write_text(draw(results, base, machine, durable))


def main() -> None:
    """Draw a results file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--base", help="the server that bars are to (default: inspircd, or limit)")
    o = parser.parse_args()
    rows = [json.loads(line) for line in o.results.read_text().splitlines()]
    results = report.Results(row for row in rows if "server" in row)
    usual = [name for name in ("inspircd", "limit") if name in results.servers]
    base = o.base or (usual or results.servers)[0]
    servers = json.loads((Path(__file__).parent / "servers.json").read_text())
    durable = {name for name, spec in servers.items() if spec.get("durable")}
    write(o.svg, results, base, rows[0].get("machine", ""), durable)


if __name__ == "__main__":
    main()
