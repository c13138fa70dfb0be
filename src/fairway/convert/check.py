"""What was written against what it was made from: each tensor is read back by our own readers.

Where the types are lossless every number must be the same, to the bit; elsewhere the difference is
measured and reported by type. A tensor that fails is an error, and nothing is published.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairway.convert.job import TensorJob
from fairway.convert.rows import TensorRows
from fairway.errors import InternalError
from fairway.tensors import F32


@dataclass(frozen=True)
class Difference:
    """Of two sets of numbers: how many, the largest difference, and sums of squares."""

    num_elements: int = 0
    largest: float = 0.0
    squared_error: float = 0.0
    squared: float = 0.0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.num_elements + other.num_elements,
            max(self.largest, other.largest),
            self.squared_error + other.squared_error,
            self.squared + other.squared,
        )

    @property
    def rms(self) -> float:
        return math.sqrt(self.squared_error / self.num_elements) if self.num_elements else 0.0

    @property
    def relative(self) -> float:
        """Root mean square of the difference over that of the numbers."""
        return math.sqrt(self.squared_error / self.squared) if self.squared else 0.0


@dataclass(frozen=True)
class Checked:
    """One tensor that was written and read back."""

    name: str
    source_type: str
    type: str
    digest: str
    """Of the output's bytes, as `formats.digest` defines it."""
    source_digest: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Checked:
        return cls(**{**row, "difference": Difference(**row["difference"])})


def compare_rows(job: TensorJob, output: TensorRows, start: int, stop: int) -> Difference:
    """Some rows of a tensor on both sides. Raises `InternalError` where exact numbers differ."""
    before, after = job.rows.floats(start, stop), output.floats(start, stop)
    if before.shape != after.shape:
        raise InternalError(f"{job.source} came back with the shape {after.shape}, not {before.shape}.")
    if job.is_exact:
        if not np.array_equal(before.view(np.uint32), after.view(np.uint32)):
            raise unequal(job)
        return Difference(before.size)
    return difference(before, after)


def difference(before: F32, after: F32) -> Difference:
    squared = float(np.vdot(before, before))
    after -= before
    squared_error = float(np.vdot(after, after))
    largest = float(max(after.max(initial=0), -after.min(initial=0)))
    return Difference(before.size, largest, squared_error, squared)


def unequal(job: TensorJob) -> InternalError:
    return InternalError(
        f"Tensor {job.source} was read back other than it was written; nothing was published.",
        hint="The disk or the memory may be failing: run it again, and report it if it stays.",
    )


def by_type(checked: Iterable[Checked]) -> dict[str, dict[str, Any]]:
    """ "BF16 -> Q4_K" -> what became of those tensors, for reports and lineages."""
    sums: dict[str, tuple[int, Difference]] = {}
    for each in checked:
        key = f"{each.source_type} -> {each.type}"
        count, total = sums.get(key, (0, Difference()))
        sums[key] = (count + 1, total + each.difference)
    return {key: _summary(*value) for key, value in sums.items()}


def _summary(count: int, total: Difference) -> dict[str, Any]:
    row: dict[str, Any] = {"tensors": count, "elements": total.num_elements}
    if total.largest == 0:
        return row | {"equal": True}
    return row | {
        "equal": False,
        "max_error": float(f"{total.largest:.6g}"),
        "rms_error": float(f"{total.rms:.6g}"),
        "relative_error": float(f"{total.relative:.6g}"),
    }
