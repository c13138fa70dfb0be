"""The table of any set of columns: medians, spread, and our ratio to the best peer of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.comparison.columns import MEMORY
from benchmarks.comparison.numbers import number, times
from benchmarks.comparison.results import Row, best, best_peer, ratio


def rates_table(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    lines = ["| engine | " + " | ".join(titles.values()) + " |", "|---" + "|---:" * len(titles) + "|"]
    for row in rows:
        cells = [cell(row, rows, key) for key in titles]
        lines.append(f"| {row.name} {row.version}".rstrip() + " | " + " | ".join(cells) + " |")
    for row in rows:
        if row.is_ours and row.values:
            cells = [ratio_cell(row, rows, key) for key in titles]
            lines.append(f"| **{row.name} / best peer** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: Row, rows: Sequence[Row], column: str) -> str:
    median, spread = row.median(column), row.spread(column)
    if median is None or spread is None:
        return "–"
    winner = best(rows, column)
    text = quantity(median, column)
    bold = f"**{text}**" if winner and median == winner.median(column) else text
    if len(row.values[column]) == 1:
        return bold
    return f"{bold} ({quantity(spread[0], column)}-{quantity(spread[1], column)})"


def quantity(value: float, column: str) -> str:
    return number(value / 1e9 if column == MEMORY else value)


def ratio_cell(row: Row, rows: Sequence[Row], column: str) -> str:
    value, peer = ratio(row, rows, column), best_peer(rows, column)
    return "–" if peer is None else f"**{times(value)}** ({peer.name})"
