"""PyTorch's `.pt`, `.pth` and `.bin`: tensors and plain containers read without PyTorch, nothing executed.

Both layouts: the zip archive (PyTorch 1.6 and later) and the sequence of pickles before it. Rule:
every storage's place and size is checked against the file before a tensor is handed out.
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import FLOATS, Bytes
from fairway.formats.pickle_values import NOT_EXECUTED, Build, Record, keys
from fairway.formats.source import Source
from fairway.formats.torch_archive import Content, read_legacy, read_zip
from fairway.tensors import Array, DenseTensor

STORAGES = {
    "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "DoubleStorage": "F64",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
ELEMENT_BYTES = {
    "F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
WEIGHTS_KEYS = ("state_dict", "model_state_dict", "model", "module")
"""Where training loops put the weights beside an optimizer's state."""
MAX_DIMENSIONS = 64
MAX_DEPTH = 50
"""Of dictionaries and lists in one another."""
MAX_NAME_LENGTH = 1000
MAX_TENSORS = 100_000
HINT = "Download the file again, or save it again with torch.save."


@dataclass(frozen=True)
class Storage:
    """A stretch of numbers that tensors share."""

    key: str
    type: str
    num_elements: int
    first: int = 0
    """Where a view of another storage begins (the layout before zip archives had such)."""

    @property
    def element_bytes(self) -> int:
        return ELEMENT_BYTES[self.type]


@dataclass(frozen=True)
class TorchTensor:
    """A window into a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class TorchCheckpoint:
    """A checked file; its `Tensors` protocol is `infos` and `read`."""

    source: Source
    tensors: Mapping[str, TorchTensor]
    places: Mapping[str, int]
    """Storage key -> the byte of the file where it begins."""
    infos: Mapping[str, TensorInfo]

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.source,)

    def read(self, name: str) -> DenseTensor:
        """The tensor as stored, contiguous. F32, F16 and BF16 only."""
        kind = self._tensor(name).storage.type
        if kind not in FLOATS:
            raise UnsupportedError(
                f"Tensor {name!r} of {self.source.path} is {kind}, which cannot be run.",
                hint="Weights must be F32, F16 or BF16.",
            )
        dense, dtype = FLOATS[kind]
        return DenseTensor(dense, self._values(name, dtype))

    def stored(self, name: str) -> Bytes:
        """The bytes of a tensor of any type, in row order."""
        element_bytes = self._tensor(name).storage.element_bytes
        return self._values(name, np.dtype(f"<u{element_bytes}")).reshape(-1).view(np.uint8)

    def _tensor(self, name: str) -> TorchTensor:
        if name not in self.tensors:
            raise FormatError(f"{self.source.path} has no tensor {name!r}.", hint=HINT)
        return self.tensors[name]

    def _values(self, name: str, dtype: np.dtype[np.generic]) -> Array:
        """Contiguous; a view of the mapped file where the tensor lies so and is aligned."""
        tensor = self._tensor(name)
        begin = self.places[tensor.storage.key] + tensor.storage.first * dtype.itemsize
        raw = np.frombuffer(self.source.data, np.uint8, tensor.storage.num_elements * dtype.itemsize, begin)
        values = np.frombuffer(raw.tobytes(), dtype) if begin % dtype.itemsize else raw.view(dtype)
        strides = tuple(step * dtype.itemsize for step in tensor.stride)
        view = as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(tensor.shape)


def open_torch(path: Path) -> TorchCheckpoint:
    """Reads the pickle's values and checks each tensor. Raises `FormatError` or `UnsupportedError`."""
    return open_torch_source(Source(path))


def open_torch_source(source: Source) -> TorchCheckpoint:
    """The same for a part of a larger file."""
    is_zip = source.read(0, min(source.size, 4)) == b"PK\x03\x04"
    return _checkpoint(source, (read_zip if is_zip else read_legacy)(source, NAMES, _storage))


def open_script(path: Path) -> TorchCheckpoint:
    """The tensors of a TorchScript archive: modules are their attributes, and their code is not looked at."""
    source = Source(path)
    return _checkpoint(source, read_zip(source, _ScriptNames(NAMES), _storage))


def _checkpoint(source: Source, content: Content) -> TorchCheckpoint:
    path = source.path
    found = _tensors_of(_weights_of(content.value), (), set(), source)
    tensors = dict(islice(found, MAX_TENSORS))
    if next(found, None) is not None:
        raise FormatError(f"{path} holds more than {MAX_TENSORS:,} tensors. {NOT_EXECUTED}", hint=HINT)
    if not tensors:
        raise FormatError(
            f"{path} holds no tensors. {NOT_EXECUTED}", hint="Name the file with the model's weights."
        )
    for name, tensor in tensors.items():
        _check(name, tensor, content.sizes, source)
    infos = {name: _info(name, tensor) for name, tensor in tensors.items()}
    return TorchCheckpoint(source, tensors, content.places, infos)


def _storage(persistent_id: object) -> Storage:
    """("storage", type, key, device, number of elements[, view])"""
    match persistent_id:
        case ("storage", StorageType(kind), str(key), str(), int(count)):
            return Storage(key, kind, count)
        case ("storage", StorageType(kind), str(key), str(), int(count), None):
            return Storage(key, kind, count)
        case ("storage", StorageType(kind), str(key), str(), int(), (str(), int(first), int(count))):
            return Storage(key, kind, count, first)
    raise TypeError("a persistent id that names no storage")


@dataclass(frozen=True)
class StorageType:
    """What a name like torch.FloatStorage stands for."""

    type: str

    def __call__(self, *_: object) -> object:
        raise TypeError("a storage made in the pickle itself")


def _tensor(
    storage: Storage, offset: int, shape: Sequence[int], stride: Sequence[int], *_: object
) -> TorchTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    are_lists = isinstance(shape, tuple | list) and isinstance(stride, tuple | list)
    if not are_lists or len(shape) > MAX_DIMENSIONS:
        raise TypeError("a tensor whose shape or stride is no short list")
    sizes = (offset, *shape, *stride)
    if len(shape) != len(stride) or not all(type(n) is int and 0 <= n < 1 << 62 for n in sizes):
        raise TypeError("a tensor whose shape, stride or offset are not sizes")
    return TorchTensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: TorchTensor, *_: object) -> TorchTensor:
    return tensor


def _ordered(items: Sequence[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    return OrderedDict(zip(keys(key for key, _ in items), (value for _, value in items), strict=True))


NAMES: Mapping[str, Build] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": lambda sizes=(): tuple(sizes),
    **{f"torch.{name}": StorageType(kind) for name, kind in STORAGES.items()},
}


class _ScriptNames(dict[str, Build]):
    """With the archive's own classes, whatever their names, and TorchScript's typed lists."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(("__torch__.", "torch.jit._pickle."))

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 (as dict's)
        if name.startswith("__torch__."):
            return lambda *_: Record()
        return super().get(name, default) or _same


def _same(value: object = None, *_: object) -> object:
    return value


def _weights_of(value: object) -> object:
    """The state dict inside a training checkpoint, or the value as it is."""
    if not isinstance(value, dict) or any(isinstance(item, TorchTensor) for item in value.values()):
        return value
    nested = (value.get(key) for key in WEIGHTS_KEYS)
    return next((part for part in nested if isinstance(part, dict) and part), value)


def _tensors_of(
    value: object, path: tuple[str, ...], seen: set[int], source: Source
) -> Iterator[tuple[str, TorchTensor]]:
    """Every tensor with its keys joined by dots. A container is walked once, also one within itself."""
    if len(path) > MAX_DEPTH or sum(map(len, path)) > MAX_NAME_LENGTH:
        raise FormatError(f"{source.path} nests its values deeper than any model. {NOT_EXECUTED}", hint=HINT)
    if isinstance(value, TorchTensor):
        yield ".".join(path) or "tensor", value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _tensors_of(item, (*path, str(key)), seen, source)


def _check(name: str, tensor: TorchTensor, sizes: Mapping[str, int], source: Source) -> None:
    """A tensor lies within its storage, and the storage within the file."""
    storage = tensor.storage
    if storage.key not in sizes:
        raise FormatError(f"Tensor {name[:120]!r} in {source.path} has no numbers.", hint=HINT)
    end = (storage.first + storage.num_elements) * storage.element_bytes
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    is_empty = 0 in tensor.shape
    if storage.first < 0 or storage.num_elements < 0 or end > sizes[storage.key]:
        raise FormatError(f"Tensor {name[:120]!r} in {source.path} lies outside its storage.", hint=HINT)
    if not is_empty and last >= storage.num_elements:
        raise FormatError(f"Tensor {name[:120]!r} in {source.path} lies outside its storage.", hint=HINT)
    if prod(tensor.shape) > storage.num_elements:
        raise FormatError(
            f"Tensor {name[:120]!r} in {source.path} repeats its numbers, which a weight does not.", hint=HINT
        )


def _info(name: str, tensor: TorchTensor) -> TensorInfo:
    storage = tensor.storage
    return TensorInfo(name, storage.type, tensor.shape, prod(tensor.shape) * storage.element_bytes)
