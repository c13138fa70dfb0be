"""Tensors on their way into matrices: which of them can be one, and their rows slice by slice.

The rule: beside the packed matrix nothing larger than a slice is made of a tensor that is mapped or
can be read in slices, whatever its size and whatever it becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.formats.bundle import SlicedTensors, Tensors
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.packing import Kind, kind_of
from fairway.kernels.program import Backend, Matrix
from fairway.models.conversion import (
    SLICE_BYTES,
    convert,
    floats_of,
    has_type,
    layout_of,
    row_slices,
    stack,
    transpose,
)
from fairway.tensors import DenseTensor, GroupedTensor, WeightTensor

TARGETS = {
    "bf16": Kind("bf16"),
    "int8": Kind("int8"),
    "int6": Kind("int6", zero=32),
    "int5": Kind("int5", zero=16),
    "int4": Kind("int4", zero=8),
}


class Part:
    """The rows that one tensor contributes to a matrix, in slices, which can be taken once."""

    def __init__(self, slices: Iterator[WeightTensor], num_rows: int, weight_type: str) -> None:
        first = next(slices)
        self.num_rows = num_rows
        self.columns: int = first.shape[1]
        self.stays = weight_type == "stored" or has_type(first, weight_type)
        """True if no value of it is rounded."""
        self.layout = layout_of(first) if self.stays else (weight_type,)
        """Parts of one layout can be one matrix."""
        self.kind = kind_of(first) if self.stays else TARGETS[weight_type]
        self._first: WeightTensor | None = first
        self._rest = slices

    def slices(self) -> Iterator[WeightTensor]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        del first
        yield from self._rest


def tensor_slices(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Iterator[WeightTensor]:
    """The tensor in one piece, or in slices where reading it whole would unpack it all at once."""
    if isinstance(tensors, SlicedTensors):
        yield from tensors.read_slices(name, max(1, SLICE_BYTES // (4 * shape[-1])))
    else:
        yield tensors.read(name)


def turned_slices(tensors: Tensors, name: str, shape: tuple[int, int]) -> Iterator[WeightTensor]:  # noqa: ARG001
    """The tensor with rows and columns exchanged, which needs it whole."""
    yield tensors.read_turned(name) if isinstance(tensors, SlicedTensors) else transpose(tensors.read(name))


def pack(parts: Sequence[Part], weight_type: str, backend: Backend) -> Matrix:
    """Parts of one layout, one above the other, as a matrix of that weight type."""
    if not isinstance(backend, NativeBackend):
        return backend.matrix(stack([convert(rows, weight_type) for part in parts for rows in part.slices()]))
    shape = (sum(part.num_rows for part in parts), parts[0].columns)
    packer = backend.packer(shape, parts[0].kind)
    for part in parts:
        for rows in part.slices():
            for piece in [rows] if part.stays else _as_floats(rows):
                packer.add(piece)
    return packer.finish()


def _as_floats(rows: WeightTensor) -> Iterator[DenseTensor]:
    """What the kernels can round: floats of any type; groups become float32, some rows at a time."""
    if isinstance(rows, GroupedTensor):
        yield from (DenseTensor("f32", floats_of(part)) for part in row_slices(rows))
    else:
        yield rows
