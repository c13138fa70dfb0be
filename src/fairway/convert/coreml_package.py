"""What a saved Core ML package holds, read back from its files: the program, and the weights it names.

The weights' file is read here and not by coremltools, which wrote it. A weight is a record (marker, type,
size, offset) at the place that the program names, and its numbers at that offset; see
https://github.com/apple/coremltools/blob/main/mlmodel/src/MILBlob/Blob/StorageFormat.hpp
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.graph_runtimes import library
from fairway.errors import FormatError
from fairway.formats.floats import Bytes
from fairway.tensors import Array

MODEL = Path("Data") / "com.apple.CoreML"
WEIGHTS = MODEL / "weights" / "weight.bin"
MARKER = 0xDEADBEEF
RECORD = struct.Struct("<IIQQ")
DTYPES: dict[int, np.dtype[np.generic]] = {1: np.dtype("<f2"), 2: np.dtype("<f4")}
"""The file's numbers for float16 and float32."""


def operations(package: Path) -> list[Any]:
    """Those of the main function, in the order in which they run."""
    spec = library("coremltools", "coreml").utils.load_spec(str(package))
    function = spec.mlProgram.functions["main"]
    found: list[Any] = list(function.block_specializations[function.opset].operations)
    return found


def weights(package: Path) -> Iterator[tuple[str, Array]]:
    """Every tensor in the weights' file, by the name of its constant."""
    data: Bytes = np.memmap(package / WEIGHTS, np.uint8, "r")
    for operation in operations(package):
        if operation.type != "const":
            continue
        value = operation.attributes["val"]
        if value.HasField("blobFileValue"):
            shape = [each.constant.size for each in value.type.tensorType.dimensions]
            yield operation.outputs[0].name, numbers(data, value.blobFileValue.offset, shape)


def numbers(data: Bytes, place: int, shape: list[int]) -> Array:
    raw = data[place : place + RECORD.size].tobytes()
    marker, kind, size, offset = RECORD.unpack(raw) if len(raw) == RECORD.size else (0, 0, 0, 0)
    if marker != MARKER or kind not in DTYPES or size != prod(shape) * DTYPES[kind].itemsize:
        raise FormatError("The package's weights are not where its program says.", hint="Convert it again.")
    found: Array = np.frombuffer(data[offset : offset + size].tobytes(), DTYPES[kind])
    return found.reshape(shape)
