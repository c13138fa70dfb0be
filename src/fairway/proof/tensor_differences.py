"""Tensor by tensor: the largest, the root mean square and the relative difference, the cosine, bit-exactness.

Streams some rows at a time from both files, so memory does not grow with the model. The rule: values
are compared as float32, bit for bit; a value that is no number where the source has one always fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fairway.formats.bundle import Tensors
from fairway.models.conversion import floats_of, row_slices
from fairway.models.parts import tensor_slices
from fairway.proof.hop import Side
from fairway.proof.thresholds import BITS, FLOAT_BITS, Thresholds
from fairway.tensors import F32

PIECE_VALUES = 16 << 20
"""Values read from mapped files before their pages are let go."""
OFFSET_NORMS = 1e-6
"""Relative error of norm weights that GGUF keeps as 1 + w in float32."""


@dataclass(frozen=True)
class TensorDifference:
    """One tensor on both sides. `relative` is the rms of the difference over the rms of the source."""

    name: str
    source_type: str
    target_type: str
    shape: tuple[int, ...]
    num_bytes: int
    """In the target."""
    max_abs: float
    rms: float
    relative: float
    cosine: float
    bit_exact: bool
    limit: float
    """For `relative`; 0 asks for bit-exactness."""

    @property
    def is_within(self) -> bool:
        return self.bit_exact or self.relative <= self.limit


@dataclass(frozen=True)
class TensorEvidence:
    """All tensors of both sides. Names are the family's."""

    tensors: tuple[TensorDifference, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    misshapen: tuple[str, ...]
    not_compared: tuple[str, ...]
    """Of types that are no weights or cannot be read."""

    @property
    def num_bit_exact(self) -> int:
        return sum(tensor.bit_exact for tensor in self.tensors)

    @property
    def beyond(self) -> tuple[TensorDifference, ...]:
        """Those outside their limit, the worst first."""
        found = [tensor for tensor in self.tensors if not tensor.is_within]
        return tuple(sorted(found, key=lambda tensor: -tensor.relative))

    @property
    def is_within(self) -> bool:
        return not (self.beyond or self.missing or self.extra or self.misshapen)


Progress = Callable[[int, int, str], None]


def compare_tensors(
    source: Side, target: Side, thresholds: Thresholds, progress: Progress | None = None
) -> TensorEvidence:
    """Reads every tensor of both once."""
    if source.ties_head != target.ties_head:
        # One side stores the head apart, the other reads the token table twice.
        source, target = Side(source.bundle, own_head=True), Side(target.bundle, own_head=True)
    common = [name for name in source.stored if name in target.stored]
    found: list[TensorDifference] = []
    misshapen, skipped = [], []
    for done, name in enumerate(common):
        ours, theirs = source.info(name), target.info(name)
        if ours.shape != theirs.shape:
            misshapen.append(name)
        elif not (_readable(ours.type) and _readable(theirs.type)):
            skipped.append(name)
        else:
            found.append(_compare(source, target, name, thresholds))
        if progress is not None:
            progress(done + 1, len(common), name)
    return TensorEvidence(
        tensors=tuple(found),
        missing=tuple(name for name in source.stored if name not in target.stored),
        extra=tuple(name for name in target.stored if name not in source.stored),
        misshapen=tuple(misshapen),
        not_compared=tuple(skipped),
    )


def _readable(stored_type: str) -> bool:
    return stored_type in BITS or stored_type in FLOAT_BITS


def _compare(source: Side, target: Side, name: str, thresholds: Thresholds) -> TensorDifference:
    ours, theirs = source.info(name), target.info(name)
    limit = thresholds.tensor_limit(ours.type, theirs.type)
    if limit == 0 and _has_offset_norms(source) != _has_offset_norms(target) and name.endswith("norm.weight"):
        limit = OFFSET_NORMS
    sums, released = _Sums(), 0
    for a, b in aligned(
        source.bundle.tensors, source.stored[name], target.bundle.tensors, target.stored[name]
    ):
        sums.add(a, b)
        if sums.count - released >= PIECE_VALUES:
            released = sums.count
            source.release()
            target.release()
    source.release()
    target.release()
    return TensorDifference(
        name=name,
        source_type=ours.type,
        target_type=theirs.type,
        shape=theirs.shape,
        num_bytes=theirs.num_bytes,
        max_abs=sums.max_abs,
        rms=math.sqrt(sums.difference / max(1, sums.count)),
        relative=sums.relative,
        cosine=sums.cosine,
        bit_exact=sums.bit_exact,
        limit=limit,
    )


def _has_offset_norms(side: Side) -> bool:
    return side.bundle.container == "gguf" and str(side.bundle.config.get("model_type")).startswith("gemma")


@dataclass
class _Sums:
    """Running sums over one tensor, float64."""

    count: int = 0
    max_abs: float = 0.0
    difference: float = 0.0
    source: float = 0.0
    target: float = 0.0
    product: float = 0.0
    bit_exact: bool = True

    def add(self, a: F32, b: F32) -> None:
        self.count += a.size
        self.source += float(a @ a)
        if np.array_equal(a.view(np.uint32), b.view(np.uint32)):
            self.target, self.product = self.target + float(a @ a), self.product + float(a @ a)
            return
        self.bit_exact = False
        with np.errstate(invalid="ignore", over="ignore"):
            apart = b - a
            self.difference += float(apart @ apart)
            self.max_abs = max(self.max_abs, float(np.abs(apart).max()))
            self.target += float(b @ b)
            self.product += float(a @ b)

    @property
    def relative(self) -> float:
        if self.bit_exact or self.difference == 0:
            return 0.0
        ratio = math.sqrt(self.difference / self.source) if self.source else math.inf
        return math.inf if math.isnan(ratio) else ratio

    @property
    def cosine(self) -> float:
        lengths = math.sqrt(self.source * self.target)
        return 1.0 if self.relative == 0 else self.product / lengths if lengths else 0.0


def aligned(a: Tensors, a_name: str, b: Tensors, b_name: str) -> Iterator[tuple[F32, F32]]:
    """The same stretch of two tensors of one shape, flat, float32, a few megabytes at a time."""
    slices = _flat(a, a_name), _flat(b, b_name)
    left = right = np.empty(0, np.float32)
    for left in slices[0]:
        while left.size:
            if not right.size:
                right = next(slices[1])
            size = min(left.size, right.size)
            yield left[:size], right[:size]
            left, right = left[size:], right[size:]


def _flat(tensors: Tensors, name: str) -> Iterator[F32]:
    shape = tensors.infos[name].shape
    if len(shape) != 2:
        yield floats_of(tensors.read(name)).reshape(-1)
        return
    for piece in tensor_slices(tensors, name, shape):
        for rows in row_slices(piece):
            yield floats_of(rows).reshape(-1)
