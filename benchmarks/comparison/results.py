"""What was measured, as plain data: medians, spread, and the ratio to the best peer of each column.

Knows no process and no clock. The JSON that is written is `to_dict`; table and plot are made from the
same objects, so they cannot disagree.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparison.columns import lower_is_better

OURS = "Fairway"
OTHERS = "others"
INT8_BEFORE = "int8_before"
"""Beside the columns: the share of the processor that others used just before each turn, and the int8
rate that the machine had then."""
QUIET_SHARE = 0.05


@dataclass
class Row:
    """One engine with one kind of weights: every value of every column, in order of the rounds."""

    engine: str
    variant: str = ""
    version: str = ""
    values: dict[str, list[float]] = field(default_factory=dict)
    reason: str = ""
    """Why it was not measured, or not to the end."""
    weight_bytes: int | None = None
    """Read for every token, where the engine tells."""
    kv_bytes: int | None = None
    """Of the whole key-value cache, used or not, where the engine tells."""

    @property
    def name(self) -> str:
        return f"{self.engine} {self.variant}".strip()

    @property
    def is_ours(self) -> bool:
        return self.engine == OURS

    def add(self, column: str, value: float) -> None:
        self.values.setdefault(column, []).append(value)

    def median(self, column: str) -> float | None:
        return statistics.median(self.values[column]) if self.values.get(column) else None

    def spread(self, column: str) -> tuple[float, float] | None:
        return (min(self.values[column]), max(self.values[column])) if self.values.get(column) else None


def best(rows: Sequence[Row], column: str) -> Row | None:
    """Whose median is the best."""
    measured = [row for row in rows if row.median(column) is not None]
    pick = min if lower_is_better(column) else max
    return pick(measured, key=lambda row: row.median(column) or 0.0, default=None)


def best_peer(rows: Sequence[Row], column: str) -> Row | None:
    """The best of everyone but us."""
    return best([row for row in rows if not row.is_ours], column)


def ratio(row: Row, rows: Sequence[Row], column: str) -> float | None:
    """How many times better than the best peer; above 1 is better, whatever the column counts."""
    peer, own = best_peer(rows, column), row.median(column)
    other = peer.median(column) if peer else None
    if not own or not other:
        return None
    return other / own if lower_is_better(column) else own / other


@dataclass
class Limits:
    """What the machine can do, measured before every turn; the limit is the best of them."""

    memory_bytes_per_s: list[float] = field(default_factory=list)
    int8_ops_per_s: list[float] = field(default_factory=list)
    bf16_ops_per_s: list[float] = field(default_factory=list)

    def add(self, memory_bytes_per_s: float, int8_ops_per_s: float, bf16_ops_per_s: float) -> None:
        self.memory_bytes_per_s.append(memory_bytes_per_s)
        self.int8_ops_per_s.append(int8_ops_per_s)
        self.bf16_ops_per_s.append(bf16_ops_per_s)

    @property
    def memory(self) -> float:
        return max(self.memory_bytes_per_s, default=0.0)

    @property
    def int8(self) -> float:
        return max(self.int8_ops_per_s, default=0.0)

    @property
    def bf16(self) -> float:
        """0 without such an instruction."""
        return max(self.bf16_ops_per_s, default=0.0)


@dataclass
class Report:
    """One run of the comparison on one model."""

    date: str
    model: str
    machine: Mapping[str, Any]
    workload: Mapping[str, Any]
    num_matrix_weights: int
    titles: Mapping[str, str]
    """Column key -> title, in the order of the table."""
    rows: list[Row]
    http_rows: list[Row] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)

    @property
    def has_values(self) -> bool:
        return any(row.values for row in [*self.rows, *self.http_rows])

    @property
    def stem(self) -> str:
        """Of the files it is written to: two runs never share one."""
        return f"{self.date[:16].replace(' ', '-').replace(':', '')}-{self.model}"

    @property
    def others(self) -> float | None:
        """Share of the processor that others used, median over all turns of all engines."""
        shares = [share for row in self.rows for share in row.values.get(OTHERS, [])]
        return statistics.median(shares) if shares else None

    @property
    def is_quiet(self) -> bool:
        return self.others is not None and self.others <= QUIET_SHARE

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_report(path: Path) -> Report:
    return report_from(json.loads(path.read_text("utf-8")))


def report_from(data: Mapping[str, Any]) -> Report:
    """The way back from JSON."""
    rows = {key: [Row(**row) for row in data[key]] for key in ("rows", "http_rows")}
    return Report(**{**data, **rows, "limits": Limits(**data["limits"])})
