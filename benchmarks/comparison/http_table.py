"""The HTTP part of a report as Markdown: one table per figure, one line per server."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.comparison.http_loads import FIRST, FIRST_P95, GAP_P95, LOADS, OF_OFFLINE, OFFLINE, READY
from benchmarks.comparison.rates import rates_table
from benchmarks.comparison.results import Row

FIGURES = {
    "Seconds to the first token, median of the clients": FIRST,
    "Seconds to the first token, 95th percentile of the clients": FIRST_P95,
    "Seconds between two pieces of an answer, 95th percentile": GAP_P95,
}
RATES = "Generated tokens per second, all clients together"


def http_tables(rows: Sequence[Row]) -> str:
    rates = {load.key: load.title for load in LOADS}
    rates |= {OFFLINE.key: OFFLINE.title, OF_OFFLINE: "32 over HTTP / offline", READY: "ready after, s"}
    parts = [f"{RATES}:", rates_table(rows, rates)]
    for title, what in FIGURES.items():
        parts += [f"{title}:", rates_table(rows, {load.time_key(what): load.title for load in LOADS})]
    return "\n\n".join(parts)
