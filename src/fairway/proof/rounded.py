"""A bundle whose weights are rounded when read: as `--weights int8` serves them, or a GGUF file holds them.

Nothing is written: the same rounding that loading or quantising applies, tensor by tensor. The rule: norms
and biases stay as they are, and what is rounded says so in its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from fairway.formats.bundle import Bundle, SlicedTensors, TensorInfo, Tensors
from fairway.formats.gguf_types import BY_NAME, decode_grouped
from fairway.kernels.cores import allowed_cores
from fairway.kernels.gguf_quantize import TYPES, quantize
from fairway.models.conversion import check_weight_type, convert, floats_of, row_slices, stack, transpose
from fairway.models.weights import table_type
from fairway.proof.hop import Side
from fairway.tensors import F32, DenseTensor, GroupedTensor, WeightTensor

BITS = {"INT8": 8.5, "INT6": 6.5, "INT5": 5.5, "INT4": 4.5, "BF16": 16.0}
"""Of a weight with its share of a scale."""
INPUT_FIRST = {"gpt2"}
"""Families whose matrices are stored [in, out]."""


def rounded(bundle: Bundle, weight_type: str) -> Bundle:
    """The bundle as it is served with that weight type; "stored" is the bundle itself. Tables keep 6 bits."""
    check_weight_type(weight_type)
    if weight_type == "stored":
        return bundle
    side = Side(bundle)
    types: dict[str, str] = {}
    for name, tensor in side.expected.items():
        stored = side.stored.get(name)
        if stored is not None and tensor.role != "float":
            types[stored] = table_type(weight_type) if tensor.role == "table" else weight_type
    return with_rounded(bundle, types)


def with_rounded(bundle: Bundle, types: Mapping[str, str]) -> Bundle:
    """The bundle with some tensors, by stored name, in other types: a weight type ("int8"), or one of GGUF's
    as it spells them ("Q4_K", "BF16")."""
    side = Side(bundle)
    is_turned = side.config is not None and side.config.model_type in INPUT_FIRST
    turned = {side.stored[name] for name in side.linear_names} if is_turned else set()
    return replace(bundle, tensors=RoundedTensors(bundle.tensors, types, frozenset(turned)))


class RoundedTensors:
    """`SlicedTensors` over other tensors; `types` says which become what, `turned` which lie input first."""

    def __init__(
        self, tensors: Tensors, types: Mapping[str, str], turned: frozenset[str] = frozenset()
    ) -> None:
        self._tensors = tensors
        self._types = types
        self._turned = turned
        self.infos = {name: self._info(info) for name, info in tensors.infos.items()}

    def read(self, name: str) -> WeightTensor:
        if name in self._turned:
            return transpose(self.read_turned(name))
        tensor = self._tensors.read(name)
        return _rounded(tensor, self._types[name]) if name in self._types else tensor

    def read_slices(self, name: str, num_rows: int) -> Iterator[WeightTensor]:  # noqa: ARG002
        yield self.read(name)

    def read_turned(self, name: str) -> WeightTensor:
        """Groups lie along the input, as loading makes them."""
        tensor = self._tensors
        turned = (
            tensor.read_turned(name) if isinstance(tensor, SlicedTensors) else transpose(tensor.read(name))
        )
        return _rounded(turned, self._types[name]) if name in self._types else turned

    def _info(self, info: TensorInfo) -> TensorInfo:
        kind = self._types.get(info.name)
        if kind is None or info.type == kind.upper():
            return info
        return replace(info, type=kind.upper(), num_bytes=round(info.num_elements * _bits(kind) / 8))


def _bits(kind: str) -> float:
    block = BY_NAME.get(kind)
    return BITS[kind.upper()] if block is None else 8 * block.block_bytes / block.block_size


def _rounded(tensor: WeightTensor, kind: str) -> WeightTensor:
    if kind == "F16":
        return DenseTensor("f16", floats_of(tensor).astype(np.float16))
    if kind not in TYPES:
        return convert(tensor, kind.lower())
    with ThreadPoolExecutor(allowed_cores()) as threads:
        return stack(list(threads.map(lambda rows: as_blocks(floats_of(rows), kind), row_slices(tensor))))


def as_blocks(values: F32, kind: str) -> GroupedTensor:
    """values [rows, columns] as a GGUF type holds them."""
    return decode_grouped(BY_NAME[kind], quantize(values, kind).reshape(-1), *values.shape)
