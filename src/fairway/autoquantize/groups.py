"""What can be chosen: groups of matrices with one role in layers side by side, and the types each may have.

A few rows of every matrix are rounded to every type, which says how types compare; how much a group matters
is measured elsewhere. The rule: a type is offered only if it can hold the rows, and with its true bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairway.convert.encode import encode, num_bytes
from fairway.convert.job import Conversion, TensorJob
from fairway.errors import UnsupportedError
from fairway.formats.gguf import DEFAULT_ALIGNMENT
from fairway.formats.gguf_types import BY_NAME, decode_float32
from fairway.models.conversion import floats_of
from fairway.quantize.mixes import is_quantized
from fairway.tensors import F32

K_TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0")
"""For rows of whole blocks of 256. The non-linear types are left out: our kernels run them as 8-bit."""
SHORT_TYPES = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""For rows of whole blocks of 32."""
PROBED = ("Q3_K", "Q4_0", "BF16")
"""The type that a group is measured with, the first of these that it may have: coarse enough to be seen above
the rounding of activations."""
MOST_GROUPS = 64
"""Beyond them, neighbouring layers share a type."""
SAMPLED_ROWS = 256
"""Of each matrix, to learn its rounding errors."""

_LAYER = re.compile(r"^blk\.(\d+)\.")


@dataclass(frozen=True)
class Group:
    """Matrices that get one type."""

    name: str
    jobs: tuple[TensorJob, ...]
    errors: Mapping[str, float]
    """Every type it may have -> squared error of rounding to it, relative to the squared weights."""

    @property
    def stored(self) -> str:
        return self.jobs[0].rows.info.type

    @property
    def probed(self) -> str | None:
        """None where there is nothing to choose."""
        return next((name for name in PROBED if self.errors.get(name)), None)

    def num_bytes(self, stored_type: str) -> int:
        """As the file holds them, with what aligns them."""
        return sum(aligned(num_bytes(stored_type, job.rows.info.num_elements)) for job in self.jobs)


def aligned(size: int) -> int:
    return -(-size // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def matrices(conversion: Conversion) -> list[TensorJob]:
    """What mixes make smaller. Raises `UnsupportedError` where one was rounded before."""
    found = [job for job in conversion.jobs if is_quantized(job.name, job.shape)]
    rounded = next((job for job in found if not job.rows.is_float), None)
    if rounded is not None:
        raise UnsupportedError(
            f"{conversion.source.path} is quantised already ({rounded.name} is {rounded.rows.info.type}): "
            "what that cost cannot be measured any more.",
            hint="Start from the model in F16, BF16 or F32.",
        )
    return found


def fixed_bytes(conversion: Conversion, found: Iterable[TensorJob]) -> int:
    """What the file holds beside these matrices."""
    return conversion.num_bytes - sum(aligned(job.num_bytes) for job in found)


def groups_of(jobs: Sequence[TensorJob]) -> list[Group]:
    """In the order of the file, no more than about `MOST_GROUPS`."""
    span = -(-len(jobs) // MOST_GROUPS)
    found: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in jobs:
        match = _LAYER.match(job.name)
        place = int(match.group(1)) // span if match else -1
        found.setdefault((role(job), place, job.rows.info.type, job.shape[-1]), []).append(job)
    return [_group(each) for each in found.values()]


def role(job: TensorJob) -> str:
    """ "blk.3.ffn_down.weight" is ffn_down."""
    return _LAYER.sub("", job.name).removesuffix(".weight")


def _group(jobs: list[TensorJob]) -> Group:
    layers = [match.group(1) for job in jobs if (match := _LAYER.match(job.name))]
    places = "" if not layers else f" {layers[0]}" if len(jobs) == 1 else f" {layers[0]}-{layers[-1]}"
    types = types_for(jobs[0])
    sums = dict.fromkeys(types, 0.0)
    total = 0.0
    for job in jobs:
        values = _sampled(job)
        total += float(np.vdot(values, values))
        for name in types:
            sums[name] += _squared_error(values, name, job.name)
    errors = {name: each / total if total else 0.0 for name, each in sums.items()}
    return Group(role(jobs[0]) + places, tuple(jobs), errors)


def types_for(job: TensorJob) -> tuple[str, ...]:
    """From the smallest; floats only for rows that are no whole blocks."""
    columns, stored = job.shape[-1], job.rows.info.type
    for types in (K_TYPES, SHORT_TYPES):
        if columns % BY_NAME[types[0]].block_size == 0:
            return types
    return ("BF16", "F32") if stored == "F32" else (stored,)


def _sampled(job: TensorJob) -> F32:
    """Rows of the file's tensor, evenly from all of it: float32 [rows, columns]."""
    rows = job.taken or job.rows
    if job.arrange is not None:
        values = job.arrange(rows.floats(0, rows.num_rows))
        values = values[_evenly(len(values))]
    else:
        values = floats_of(rows.take(_evenly(rows.num_rows))).reshape(-1, rows.columns)
    rows.close()
    return np.ascontiguousarray(values)


def _evenly(num_rows: int) -> np.typing.NDArray[np.int64]:
    return np.linspace(0, num_rows - 1, min(num_rows, SAMPLED_ROWS)).round().astype(np.int64)


def _squared_error(values: F32, stored_type: str, name: str) -> float:
    if stored_type == "F32":
        return 0.0
    found = decode_float32(BY_NAME[stored_type], encode(values, stored_type, name))
    apart = found.reshape(values.shape) - values
    return float(np.vdot(apart, apart))
