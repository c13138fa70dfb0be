"""Several stored tensors (packed codes, scales, zeros) seen as the one weight that they stand for.

Knows no method of quantising: who packed the weights finds the parts and says how they are read. The rule:
nothing is read before it is asked for, and every part is checked against the shape it must have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairway.errors import FormatError
from fairway.formats.bundle import StoredTensors, TensorInfo
from fairway.formats.floats import Bytes, floats
from fairway.tensors import F32, DenseTensor, WeightTensor

INTEGERS: Mapping[str, type[np.generic]] = {
    "I32": np.int32,
    "U32": np.uint32,
    "I64": np.int64,
    "I8": np.int8,
    "U8": np.uint8,
}
HINT = "Use the original checkpoint with --weights int8 or int4, or a GGUF file."


@dataclass(frozen=True)
class Packed:
    """One weight: the stored tensors that it is made of, by their role."""

    info: TensorInfo
    parts: Mapping[str, str]


@dataclass(frozen=True)
class Parts:
    """The stored tensors of one weight, read by role."""

    tensors: StoredTensors
    name: str
    weight: Packed

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in]"""
        rows, columns = self.weight.info.shape[-2:]
        return rows, columns

    def has(self, role: str) -> bool:
        return role in self.weight.parts

    def integers(self, role: str) -> Any:  # noqa: ANN401 (the dtype is the file's)
        name = self.weight.parts[role]
        info = self.tensors.infos[name]
        if info.type not in INTEGERS:
            raise FormatError(f"{name[:120]} is {info.type}, not integers.", hint=HINT)
        raw = self.tensors.stored(name)
        return np.frombuffer(raw.tobytes(), INTEGERS[info.type]).reshape(info.shape)

    def floats(self, role: str) -> F32:
        weight = self.tensors.read(self.weight.parts[role])
        assert isinstance(weight, DenseTensor)
        return floats(weight)

    def require(self, role: str, shape: tuple[int, ...]) -> None:
        found = self.tensors.infos[self.weight.parts[role]].shape
        if found != shape:
            raise FormatError(
                f"{self.weight.parts[role][:120]} has the shape {list(found)[:4]}, not {list(shape)}.",
                hint="Download the checkpoint again.",
            )


class QuantizedTensors:
    """`StoredTensors` over another's: packed weights under their own names, all else as it is."""

    def __init__(
        self, stored: StoredTensors, packed: Mapping[str, Packed], read: Callable[[Parts], WeightTensor]
    ) -> None:
        self._stored, self._packed, self._read = stored, packed, read
        used = {part for weight in packed.values() for part in weight.parts.values()}
        infos = {name: info for name, info in stored.infos.items() if name not in used}
        self.infos: Mapping[str, TensorInfo] = infos | {name: each.info for name, each in packed.items()}

    def read(self, name: str) -> WeightTensor:
        if name not in self._packed:
            return self._stored.read(name)
        return self._read(Parts(self._stored, name, self._packed[name]))

    def stored(self, name: str) -> Bytes:
        """Of a packed weight: its parts' bytes in the order of their roles' names."""
        if name not in self._packed:
            return self._stored.stored(name)
        parts = self._packed[name].parts
        return np.concatenate([self._stored.stored(parts[role]) for role in sorted(parts)])
