"""A report as Markdown: medians, spread, ratios to the best peer, shares of the machine's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.comparison.columns import LOAD
from benchmarks.comparison.http_loads import WORKLOAD
from benchmarks.comparison.http_table import http_table
from benchmarks.comparison.neighbours import OTHERS
from benchmarks.comparison.numbers import number, percent, times
from benchmarks.comparison.results import Report, Row, best_peer, ratio


def markdown(report: Report) -> str:
    parts = [f"# {report.model}, {report.date}", machine_lines(report)]
    if report.rows:
        parts += [rates_table(report.rows, report.titles), LEGEND, limit_lines(report)]
    if any(row.values for row in report.http_rows):
        parts += ["## Over HTTP", WORKLOAD, http_table(report.http_rows)]
    parts.append(missing_lines([*report.rows, *report.http_rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


LEGEND = """Tokens per second, higher is better; load in seconds from starting the process to the first token,
lower is better. Median of all rounds (lowest-highest). Bold: the best of the column. The last lines divide
Fairway's median by that of the best peer of each column (for load and times, the other way round)."""


def machine_lines(report: Report) -> str:
    """Everything that a number depends on, in a list."""
    lines = [f"- {key}: {value}" for key, value in {**report.machine, **report.workload}.items()]
    if limits := report.limits:
        memory, int8 = _range(limits.memory_bytes_per_s, 1e9), _range(limits.int8_ops_per_s, 1e12)
        lines.append(f"- reading memory, best round: {limits.memory / 1e9:.1f} GB/s (rounds: {memory})")
        lines.append(f"- int8 multiply-add, best round: {limits.int8 / 1e12:.2f} TOPS (rounds: {int8})")
    return "\n".join(lines)


def _range(values: Sequence[float], unit: float) -> str:
    return f"{min(values) / unit:.2f}-{max(values) / unit:.2f}"


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
    leaders = [each.median(column) for each in rows if each.median(column) is not None]
    best = min(leaders) if lower_is_better(column) else max(leaders)  # type: ignore[type-var]
    text = number(median)
    bold = f"**{text}**" if median == best else text
    return f"{bold} ({number(spread[0])}-{number(spread[1])})" if len(row.values[column]) > 1 else bold


def ratio_cell(row: Row, rows: Sequence[Row], column: str) -> str:
    value = ratio(row, rows, column, lower_is_better(column))
    best = best_peer(rows, column, lower_is_better(column))
    return "–" if best is None else f"**{times(value)}** ({best.name})"


def lower_is_better(column: str) -> bool:
    """Times are the columns in seconds."""
    return column == LOAD or column.endswith("_s")


def limit_lines(report: Report) -> str:
    """How near each engine comes to the machine: int8 rate of prefill, memory of one stream."""
    if report.limits is None:
        return ""
    lines = ["| engine | prefill / int8 limit | 1 stream / memory limit | CPU of others |",
             "|---|---:|---:|---:|"]  # fmt: skip
    for row in report.rows:
        prefill, stream = prefill_share(report, row), stream_share(report, row)
        if prefill is not None or stream is not None:
            lines.append(
                f"| {row.name} | {percent(prefill)} | {percent(stream)} | {percent(row.median(OTHERS))} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def prefill_share(report: Report, row: Row) -> float | None:
    """Two operations a weight and token, attention and logits not counted."""
    rate = row.median("prefill")
    if rate is None or report.limits is None:
        return None
    return 2 * report.num_matrix_weights * rate / report.limits.int8


def stream_share(report: Report, row: Row) -> float | None:
    """Every weight byte once a token, where the engine tells how many it has."""
    rate = row.median("stream")
    if rate is None or report.limits is None or row.weight_bytes is None:
        return None
    return row.weight_bytes * rate / report.limits.memory


def missing_lines(rows: Sequence[Row]) -> str:
    lines = list(_missing(rows))
    return "\n".join(["## What could not be measured", "", *lines]) if lines else ""


def _missing(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.reason:
            yield f"- {row.name}: {row.reason}"
