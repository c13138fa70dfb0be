"""A tensor's rows, some at a time, whatever it is stored as.

A vector counts as one row; what has more than two dimensions keeps its first as rows. Rule: nothing is
held longer than its job lasts, and a mapped file is read only where rows are asked for.
"""

from __future__ import annotations

from math import prod

import numpy as np

from fairway.formats.bundle import Bundle
from fairway.formats.digest import tensor_bytes
from fairway.formats.floats import FLOATS, Bytes
from fairway.formats.gguf_tensors import GgufTensors, in_order, slice_rows
from fairway.models.conversion import floats_of
from fairway.tensors import F32, Array, DenseTensor, WeightTensor

SLICE_WEIGHTS = 1 << 20
"""Weights that one thread works on at once: 4 MiB in float32."""
SLICES_HELD = 16
"""Of a mapped file, before their pages are let go."""


class TensorRows:
    """Rows of one tensor of a bundle, by its Hugging Face name. Any thread may ask."""

    def __init__(self, bundle: Bundle, name: str) -> None:
        self.bundle, self.name = bundle, name
        self.info = bundle.tensors.infos[name]
        shape = self.info.shape
        self.num_rows = shape[0] if len(shape) > 1 else 1
        self.columns = prod(shape[1:]) if len(shape) > 1 else prod(shape)
        self.is_float = self.info.type in FLOATS
        tensors = bundle.tensors
        self._is_turned = isinstance(tensors, GgufTensors) and tensors.is_turned(name)
        self._whole: WeightTensor | None = None
        self._num_done = 0

    @property
    def slices(self) -> list[tuple[int, int]]:
        """Where a job is cut: (first row, row after the last)."""
        step = self.num_rows if self._is_turned else max(1, SLICE_WEIGHTS // max(1, self.columns))
        return [(start, min(start + step, self.num_rows)) for start in range(0, self.num_rows, step)]

    def weights(self, start: int, stop: int) -> WeightTensor:
        """As stored; [stop - start, columns] for what has two dimensions or more."""
        tensors = self.bundle.tensors
        is_plain = not self.is_float and not self._is_turned and len(self.info.shape) == 2
        if isinstance(tensors, GgufTensors) and is_plain:
            return tensors.read_rows(self.name, start, stop)
        whole = self._whole
        if whole is None:
            whole = self._whole = tensors.read(self.name)
        return slice_rows(whole, start, stop) if len(whole.shape) > 1 else whole

    def take(self, rows: Array) -> DenseTensor:
        """Rows in another order, as floats; single values of a vector."""
        whole = self._whole
        if whole is None:
            whole = self._whole = self.bundle.tensors.read(self.name)
        taken = in_order(whole, rows)
        return taken if isinstance(taken, DenseTensor) else DenseTensor("f32", floats_of(taken))

    def floats(self, start: int, stop: int) -> F32:
        """float32 [stop - start, columns], in memory of its own."""
        return floats_of(self.weights(start, stop)).reshape(stop - start, -1)

    def stored(self, start: int, stop: int) -> Bytes:
        """The bytes of rows as stored, uint8."""
        if self.is_float:
            values = self.weights(start, stop).values
            return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        raw = tensor_bytes(self.bundle, self.name)  # of a quantised tensor whose rows are whole blocks
        row_bytes = len(raw) // max(1, self.num_rows)
        return raw[start * row_bytes : stop * row_bytes]

    def slice_done(self) -> None:
        """Lets go of a large tensor's pages now and then; those in use come back from the cache."""
        self._num_done += 1
        if self._num_done % SLICES_HELD == 0:
            self._release()

    def close(self) -> None:
        """Lets go of what was read."""
        self._whole = None
        self._release()

    def _release(self) -> None:
        for source in self.bundle.sources:
            source.release()
