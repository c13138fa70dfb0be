"""What was measured, as plain data: medians, spread, and the ratio to the best peer of each column.

Knows no process and no clock. The JSON that is written is `to_dict`; table and plot are made from the
same objects, so they cannot disagree.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

OURS = "Fairway"


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


def best_peer(rows: Sequence[Row], column: str, lower_is_better: bool = False) -> Row | None:
    """The best of everyone but us."""
    measured = [row for row in rows if not row.is_ours and row.median(column) is not None]
    pick = min if lower_is_better else max
    return pick(measured, key=lambda row: row.median(column) or 0.0, default=None)


def ratio(row: Row, rows: Sequence[Row], column: str, lower_is_better: bool = False) -> float | None:
    """How many times better than the best peer; above 1 is better, whatever the column counts."""
    best, own = best_peer(rows, column, lower_is_better), row.median(column)
    other = best.median(column) if best else None
    if own is None or other is None or not own or not other:
        return None
    return other / own if lower_is_better else own / other


@dataclass(frozen=True)
class Limits:
    """What the machine can do, measured in every round; the limit is the best of them."""

    memory_bytes_per_s: Sequence[float]
    int8_ops_per_s: Sequence[float]

    @property
    def memory(self) -> float:
        return max(self.memory_bytes_per_s)

    @property
    def int8(self) -> float:
        return max(self.int8_ops_per_s)


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
    limits: Limits | None = None

    @property
    def has_values(self) -> bool:
        return any(row.values for row in [*self.rows, *self.http_rows])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def report_from(data: Mapping[str, Any]) -> Report:
    """The way back from JSON."""
    limits = Limits(**data["limits"]) if data.get("limits") else None
    rows = {key: [Row(**row) for row in data[key]] for key in ("rows", "http_rows")}
    return Report(**{**data, **rows, "limits": limits})
