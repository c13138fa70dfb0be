"""The HTTP part of a report as Markdown: one line per crowd, one column per server."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison.http_loads import LOADS, READY, Load
from benchmarks.comparison.numbers import number, times
from benchmarks.comparison.results import Row, ratio

LEGEND = """Tokens per second (lowest-highest); then the time to the first token, median / 95th percentile of
the clients."""


def http_table(rows: Sequence[Row]) -> str:
    measured = [row for row in rows if row.values]
    if not measured:
        return ""
    ours = next((row for row in measured if row.is_ours), None)
    head = ["clients", *(row.name for row in measured), "Fairway / best peer"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for load in LOADS:
        cells = [http_cell(row, load) for row in measured]
        share = times(ratio(ours, measured, load.key) if ours else None)
        lines.append(f"| {load.title} | {' | '.join(cells)} | {share} |")
    ready = [seconds(row.median(READY)) for row in measured]
    share = times(ratio(ours, measured, READY, lower_is_better=True) if ours else None)
    lines.append(f"| ready after start | {' | '.join(ready)} | {share} |")
    return "\n".join([*lines, "", LEGEND])


def http_cell(row: Row, load: Load) -> str:
    rate, spread = row.median(load.key), row.spread(load.key)
    if rate is None or spread is None:
        return "–"
    around = f" ({number(spread[0])}-{number(spread[1])})" if len(row.values[load.key]) > 1 else ""
    first, p95 = seconds(row.median(load.first_key)), seconds(row.median(load.p95_key))
    return f"{number(rate)}{around}; {first} / {p95}"


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{number(value)} s"
