"""Packing for the native kernels: what a matrix becomes, and its rows into tiles slice by slice.

Knows the extension's packer and no file. The rule: whatever the slices, the packed bytes are those
of the whole matrix packed at once, and quantised ones those of quantize.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairway.kernels.extension import native as _native
from fairway.tensors import Array, DenseTensor, GroupedTensor, WeightTensor

LAYOUT = 3
"""Number of the layout drawn in native/kernels.h, which all variants share. Packed bytes of another
number mean something else: raise it with every change to the layout or to how weights are quantised."""

TYPES = ("f32", "f16", "bf16", "int8", "int4", "int5", "int6")
"""As native/kernels.h counts them."""
_ELEMENTS = {"f32": np.float32, "f16": np.uint16, "bf16": np.uint16}


@dataclass(frozen=True)
class Kind:
    """How a matrix holds its values, whatever its size: matrices of one kind can be one above the other."""

    type: str
    """One of `TYPES`."""
    group: int = 32
    zero: int = 0
    """What its codes count from: the middle one or 0."""
    has_offsets: bool = False


@dataclass(frozen=True)
class Form:
    """All that decides a packed layout: matrices of one form may exchange their bytes."""

    type: str
    rows: int
    columns: int
    group: int = 32
    has_offsets: bool = False
    centred: bool = True
    factor: float = 1.0
    """A power of two on every scale; a packer finds its own."""

    @classmethod
    def of(cls, matrix: _native.Matrix) -> Form:
        number, rows, columns, group, has_offsets, centred, factor = matrix.form
        return cls(TYPES[number], rows, columns, group, has_offsets, centred, factor)

    @property
    def fields(self) -> _native.Form:
        """As the extension takes it."""
        number = TYPES.index(self.type)
        return (number, self.rows, self.columns, self.group, self.has_offsets, self.centred, self.factor)

    @property
    def num_bytes(self) -> int:
        """Packed. Raises `ValueError` where there is no such matrix."""
        return _native.packed_bytes(self.fields)


def kind_of(tensor: WeightTensor) -> Kind:
    """How a tensor is held without changing a value. Raises `ValueError` where that is impossible."""
    if isinstance(tensor, DenseTensor):
        return Kind(tensor.type)
    middle = 1 << (tensor.bits - 1)
    if tensor.bits < 8 and tensor.zero in (0, middle):
        # Without an offset, codes that count from 0 have no kernel of their own.
        return Kind(
            f"int{tensor.bits}", tensor.group, tensor.zero, tensor.offsets is not None or tensor.zero == 0
        )
    if tensor.bits < 8 and _least(tensor) >= -middle and _most(tensor) < middle:
        return Kind(f"int{tensor.bits}", tensor.group, middle, tensor.offsets is not None)
    if (tensor.bits, tensor.zero) == (8, 0):
        return Kind("int8", tensor.group, 0, tensor.offsets is not None)
    if _least(tensor) < -128 or _most(tensor) > 127:
        raise ValueError(f"values around zero {tensor.zero} do not fit 8 bits")
    return Kind("int8", tensor.group, 0, tensor.offsets is not None)


def _least(tensor: GroupedTensor) -> int:
    return int(tensor.values.min()) - tensor.zero


def _most(tensor: GroupedTensor) -> int:
    return int(tensor.values.max()) - tensor.zero


class Packer:
    """A matrix in the making: rows arrive in order, in slices of any height."""

    def __init__(self, team: _native.Team, isa: str, shape: tuple[int, int], kind: Kind) -> None:
        centred = kind.zero != 0 or kind.type == "int8"
        form = Form(kind.type, *shape, kind.group, kind.has_offsets, centred)
        self._kind = kind
        self._native = _native.Packer(team, isa, form.fields)

    def add(self, rows: WeightTensor) -> None:
        """Rows of the packer's own kind, or floats of any type, which are rounded or quantised to it."""
        if isinstance(rows, DenseTensor):
            values = np.ascontiguousarray(rows.values).view(_ELEMENTS[rows.type])
            self._native.add_floats(values, TYPES.index(rows.type))
        else:
            self._add_grouped(rows)

    def _add_grouped(self, rows: GroupedTensor) -> None:
        offsets = rows.offsets
        if offsets is None and self._kind.has_offsets:
            offsets = np.zeros_like(rows.scales)
        self._native.add_grouped(
            np.ascontiguousarray(self._codes(rows)).view(np.uint8),
            np.ascontiguousarray(rows.scales, np.float32),
            None if offsets is None else np.ascontiguousarray(offsets, np.float32),
        )

    def _codes(self, rows: GroupedTensor) -> Array:
        """The codes around the kind's zero; the same numbers exactly."""
        bits = int(self._kind.type.removeprefix("int"))
        if (rows.bits, rows.zero) == (bits, self._kind.zero):
            return rows.values
        shifted = rows.values.astype(np.int16) - rows.zero + self._kind.zero
        return shifted.astype(np.int8 if bits == 8 else np.uint8)

    def finish(self) -> _native.Matrix:
        """The matrix. Raises `ValueError` while rows are missing."""
        return self._native.finish()
