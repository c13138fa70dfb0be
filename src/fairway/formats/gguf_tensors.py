"""The tensors of a GGUF file, with the names, row order and values of the Hugging Face folder.

llama.cpp's conversion reorders the rows of q and k (llama, granite), adds one to norm weights
(gemma) and turns GPT-2's matrices round; each is undone here. Rows are whole in every quantised
type, so their order is restored without touching a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import FLOATS, Bytes, dense_tensor, floats
from fairway.formats.gguf import GgufFile, GgufTensor
from fairway.formats.gguf_names import LAYER, ROPE_TENSORS, to_huggingface
from fairway.formats.gguf_types import (
    decode_float32,
    decode_grouped,
    grouped_to_float32,
)
from fairway.formats.gguf_values import HINT
from fairway.tensors import F32, Array, DenseTensor, GroupedTensor, WeightTensor

INTERLEAVED_ROPE = {"llama", "granite"}
"""Architectures whose q and k rows llama.cpp stores in pairs (2i, 2i + 1) instead of halves."""
NORMS_PLUS_ONE = {"gemma2", "gemma3"}
TURNED_MATRICES = {"gpt2": {"attn_qkv", "attn_output", "ffn_up", "ffn_down"}}
"""Stored (in, out) by Hugging Face's Conv1D, (out, in) by GGUF."""


@dataclass(frozen=True)
class Place:
    file: GgufFile
    tensor: GgufTensor


class GgufTensors:
    """`Tensors` over one or several (split) GGUF files."""

    def __init__(self, files: list[GgufFile], architecture: str, heads: int, kv_heads: int) -> None:
        self.files = files
        self.path = files[0].source.path
        self.architecture = architecture
        self.heads = {"attn_q": heads, "attn_k": kv_heads}
        self.places = {name: Place(file, tensor) for file in files for name, tensor in file.tensors.items()}
        self.gguf_infos = {name: place.tensor.info for name, place in self.places.items()}
        self.gguf_names: dict[str, str] = {}
        for name in self.places:
            if name not in ROPE_TENSORS:
                spelled = to_huggingface(architecture, name)
                if spelled in self.gguf_names:
                    raise FormatError(f"{self.path} has {spelled[:80]!r} twice.", hint=HINT)
                self.gguf_names[spelled] = name
        self.infos: Mapping[str, TensorInfo] = {
            spelled: self._info(spelled, name) for spelled, name in self.gguf_names.items()
        }

    def read(self, name: str) -> WeightTensor:
        """One tensor by its Hugging Face name. GPT-2's quantised matrices come back as float32."""
        gguf_name = self._gguf_name(name)
        weight = self._stored(gguf_name)
        order = self._row_order(gguf_name)
        if order is not None:
            return in_order(weight, order)
        if self._is_shifted(gguf_name):
            return DenseTensor("f32", _floats(weight) - np.float32(1))
        if self._is_turned(gguf_name):
            return _turn(weight)
        return weight

    def is_turned(self, name: str) -> bool:
        """Whether the file holds the transpose of this tensor."""
        return self._is_turned(self._gguf_name(name))

    def stored(self, name: str) -> Bytes:
        """The bytes, rows where Hugging Face has them; GPT-2's quantised matrices as the file has them."""
        gguf_name = self._gguf_name(name)
        tensor = self.places[gguf_name].tensor
        raw = self.places[gguf_name].file.raw(tensor)
        order = self._row_order(gguf_name)
        if order is not None:
            rows: Bytes = raw.reshape(len(order), -1)[order]
            return rows.reshape(-1)
        if tensor.type.name in FLOATS and (self._is_turned(gguf_name) or self._is_shifted(gguf_name)):
            weight = self.read(name)
            return np.ascontiguousarray(weight.values).reshape(-1).view(np.uint8)
        return raw

    def read_slices(self, name: str, num_rows: int) -> Iterator[WeightTensor]:
        """What `read` gives; a quantised matrix whose rows stand as they are, some rows at a time."""
        place = self.places.get(self.gguf_names.get(name, ""))
        if place is None or not self._is_plain(place.tensor):
            yield self.read(name)
            return
        kind, (rows, columns) = place.tensor.type, place.tensor.info.shape
        raw = place.file.raw(place.tensor).reshape(rows, -1)
        for start in range(0, rows, num_rows):
            part = raw[start : start + num_rows]
            yield decode_grouped(kind, part.reshape(-1), len(part), columns)

    def read_rows(self, name: str, start: int, stop: int) -> WeightTensor:
        """Some rows of what `read` gives; unpacks only those, except of GPT-2's quantised matrices."""
        gguf_name = self._gguf_name(name)
        file, tensor = self.places[gguf_name].file, self.places[gguf_name].tensor
        if tensor.type.decode is None or len(tensor.info.shape) != 2 or self._is_turned(gguf_name):
            return slice_rows(self.read(name), start, stop)
        rows, columns = tensor.info.shape
        raw, order = file.raw(tensor).reshape(rows, -1), self._row_order(gguf_name)
        part = raw[start:stop] if order is None else raw[order[start:stop]]
        return decode_grouped(tensor.type, part.reshape(-1), len(part), columns)

    def read_turned(self, name: str) -> WeightTensor:
        """The transpose of what `read` gives; GPT-2's matrices exactly as they are stored."""
        gguf_name = self.gguf_names.get(name, "")
        return self._stored(gguf_name) if self._is_turned(gguf_name) else _turn(self.read(name))

    def _gguf_name(self, name: str) -> str:
        if name not in self.gguf_names:
            raise FormatError(f"{self.path} has no tensor {name!r}.", hint="The model's file is incomplete.")
        return self.gguf_names[name]

    def _row_order(self, gguf_name: str) -> Array | None:
        """Row r of Hugging Face's tensor is row order[r] of the file's; None: they stand as they are."""
        stem = _stem(gguf_name)
        if self.architecture not in INTERLEAVED_ROPE or stem not in self.heads:
            return None
        rows, spelled = self.gguf_infos[gguf_name].shape[0], to_huggingface(self.architecture, gguf_name)
        return halves_from_pairs(rows, self.heads[stem], f"{spelled} of {self.path}")

    def _is_shifted(self, gguf_name: str) -> bool:
        return self.architecture in NORMS_PLUS_ONE and gguf_name.endswith("norm.weight")

    def _is_plain(self, tensor: GgufTensor) -> bool:
        """Quantised, and stored as Hugging Face has it."""
        name, kind = tensor.info.name, tensor.type
        is_grouped = kind.decode is not None and len(tensor.info.shape) == 2
        return is_grouped and self._row_order(name) is None and not self._is_turned(name)

    def read_rope_factors(self) -> dict[str, list[float]]:
        """The rope tensors that exist: a few dozen numbers each, part of the config."""
        found: dict[str, list[float]] = {}
        for name in ROPE_TENSORS:
            if name in self.places:
                values = _floats(self._stored(name)).reshape(-1)
                if values.size > 4096 or not np.isfinite(values).all() or (values <= 0).any():
                    raise FormatError(
                        f"{name} of {self.path} holds something else than rope factors.", hint=HINT
                    )
                found[name] = values.tolist()
        return found

    def _info(self, spelled: str, gguf_name: str) -> TensorInfo:
        info = self.gguf_infos[gguf_name]
        shape = tuple(reversed(info.shape)) if self._is_turned(gguf_name) else info.shape
        return TensorInfo(spelled, info.type, shape, info.num_bytes)

    def _is_turned(self, gguf_name: str) -> bool:
        turned = TURNED_MATRICES.get(self.architecture, set())
        return gguf_name.endswith(".weight") and _stem(gguf_name) in turned

    def _stored(self, gguf_name: str) -> WeightTensor:
        file, tensor = self.places[gguf_name].file, self.places[gguf_name].tensor
        if not tensor.type.is_readable:
            raise UnsupportedError(
                f"Tensor {gguf_name!r} of {file.source.path} is {tensor.type.name}, which cannot be run.",
                hint="Choose a file with Q2_K to Q8_0, IQ4_NL, IQ4_XS, BF16, F16 or F32 weights.",
            )
        raw, shape = file.raw(tensor), tensor.info.shape
        if tensor.type.name in FLOATS:
            return dense_tensor(tensor.type.name, raw, shape)
        if len(shape) != 2:
            return DenseTensor("f32", decode_float32(tensor.type, raw).reshape(shape))
        return decode_grouped(tensor.type, raw, *shape)


def slice_rows(weight: WeightTensor, start: int, stop: int) -> WeightTensor:
    if isinstance(weight, DenseTensor):
        return DenseTensor(weight.type, weight.values[start:stop])
    offsets = None if weight.offsets is None else weight.offsets[start:stop]
    values, scales = weight.values[start:stop], weight.scales[start:stop]
    return GroupedTensor(weight.bits, weight.group, values, scales, weight.zero, offsets)


def _stem(gguf_name: str) -> str:
    match = LAYER.match(gguf_name)
    return match.group(2) if match else ""


def _floats(weight: WeightTensor) -> F32:
    if isinstance(weight, GroupedTensor):
        return grouped_to_float32(weight)
    return floats(weight)


def _turn(weight: WeightTensor) -> DenseTensor:
    if isinstance(weight, GroupedTensor):
        return DenseTensor("f32", np.ascontiguousarray(grouped_to_float32(weight).T))
    return DenseTensor(weight.type, weight.values.T)


def halves_from_pairs(rows: int, heads: int, name: str = "A tensor") -> Array:
    """Row r of the result is row index[r] of the file: within each head, evens first, then odds."""
    if heads <= 0 or rows % (2 * heads):
        raise FormatError(f"{name} has {rows} rows, which are not {heads} heads.", hint=HINT)
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(rows)


def pairs_from_halves(rows: int, heads: int) -> Array:
    """The order in which GGUF wants the rows; undoes `halves_from_pairs`."""
    return np.argsort(halves_from_pairs(rows, heads))


def in_order(weight: WeightTensor, index: Array) -> WeightTensor:
    """Row r of the result is row index[r] of the weight."""
    if isinstance(weight, DenseTensor):
        return DenseTensor(weight.type, weight.values[index])
    offsets = None if weight.offsets is None else weight.offsets[index]
    return GroupedTensor(
        weight.bits, weight.group, weight.values[index], weight.scales[index], weight.zero, offsets
    )
