"""A report as Markdown: the machine, the rates, their shares of the machine's limits, who is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.comparison.columns import MEMORY
from benchmarks.comparison.http_loads import WORKLOAD
from benchmarks.comparison.http_table import http_tables
from benchmarks.comparison.numbers import percent
from benchmarks.comparison.rates import rates_table
from benchmarks.comparison.results import INT8_BEFORE, OTHERS, QUIET_SHARE, Report, Row

LEGEND = """Tokens per second, higher is better. Load: seconds from starting the process to the first token,
the first time, and again with what an engine keeps from one start to the next. Memory: most that was ever
resident. Median of all rounds (lowest-highest). Bold: the best of the column. The last lines divide
Fairway's median by that of the best peer of each column (load and memory, the other way round)."""
BF16 = "bf16"


def markdown(report: Report) -> str:
    parts = [f"# {report.model}, {report.date}", machine_lines(report)]
    if report.rows:
        plot = f"![tokens per second]({report.stem}.svg)"
        parts += [rates_table(report.rows, report.titles), LEGEND, plot]
        parts += [limit_lines(report), memory_lines(report.rows)]
    if any(row.values for row in report.http_rows):
        parts += ["## Over HTTP", WORKLOAD, http_tables(report.http_rows)]
    parts.append(missing_lines([*report.rows, *report.http_rows]))
    return "\n\n".join(part for part in parts if part) + "\n"


def machine_lines(report: Report) -> str:
    """Everything that a number depends on, in a list."""
    lines = [f"- {key}: {value}" for key, value in {**report.machine, **report.workload}.items()]
    limits = report.limits
    lines += limit_line("reading memory", limits.memory_bytes_per_s, 1e9, "GB/s")
    lines += limit_line("int8 multiply-add", limits.int8_ops_per_s, 1e12, "TOPS")
    lines += limit_line("bf16 multiply-add", limits.bf16_ops_per_s, 1e12, "TOPS")
    if report.others is not None:
        state = (
            "quiet" if report.is_quiet else f"busy (quiet is below {QUIET_SHARE:.0%}): a hint, not a result"
        )
        lines.append(f"- others used {percent(report.others)} of the processor: {state}")
    return "\n".join(lines)


def limit_line(what: str, values: Sequence[float], unit: float, name: str) -> Iterator[str]:
    if any(values):
        low, high = min(values) / unit, max(values) / unit
        yield f"- {what}, all threads: {high:.2f} {name} (measured before every turn; lowest {low:.2f})"


SHARES = """Prefill counts matrix products against the int8 limit (bf16 engines: the bf16 one), one stream its
weights' bytes against the memory limit. Last two: just before the engine's turns, how much of the
processor others were using, and the int8 limit measured then over the best of all turns."""


def limit_lines(report: Report) -> str:
    """How near each engine comes to the machine, and how the machine was when it had its turns."""
    lines = ["| engine | prefill / limit | 1 stream / limit | CPU of others | machine then / at best |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    for row in report.rows:
        if row.values:
            shares = [
                prefill_share(report, row),
                stream_share(report, row),
                row.median(OTHERS),
                speed(report, row),
            ]
            lines.append(f"| {row.name} | {' | '.join(map(percent, shares))} |")
    return "\n".join([*lines, "", SHARES]) if len(lines) > 2 and report.limits.int8 else ""


def prefill_share(report: Report, row: Row) -> float | None:
    """Two operations a weight and token, attention and logits not counted."""
    rate = row.median("prefill")
    limit = report.limits.bf16 if row.variant == BF16 else report.limits.int8
    return 2 * report.num_matrix_weights * rate / limit if rate and limit else None


def stream_share(report: Report, row: Row) -> float | None:
    """Every weight byte once a token, where the engine tells how many it has."""
    rate = row.median("stream")
    if not rate or not row.weight_bytes or not report.limits.memory:
        return None
    return row.weight_bytes * rate / report.limits.memory


def speed(report: Report, row: Row) -> float | None:
    """Of the machine just before this engine's turns, over the best that it ever was."""
    before = row.median(INT8_BEFORE)
    return before / report.limits.int8 if before and report.limits.int8 else None


def memory_lines(rows: Sequence[Row]) -> str:
    return "\n".join(_memory(rows))


def _memory(rows: Sequence[Row]) -> Iterator[str]:
    """What the memory of an engine that tells is made of, in MB."""
    for row in rows:
        whole = row.median(MEMORY)
        if whole and row.weight_bytes and row.kv_bytes:
            parts = (
                row.weight_bytes / 1e6,
                row.kv_bytes / 1e6,
                (whole - row.weight_bytes - row.kv_bytes) / 1e6,
            )
            yield "- {}, resident: weights {:.0f} MB, cache {:.0f} MB, all else {:.0f} MB".format(
                row.name, *parts
            )


def missing_lines(rows: Sequence[Row]) -> str:
    lines = [f"- {row.name}: {row.reason}" for row in rows if row.reason]
    return "\n".join(["## What could not be measured", "", *lines]) if lines else ""
