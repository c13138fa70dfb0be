"""llama.cpp's importance matrices: the GGUF files that llama-imatrix writes and llama-quantize reads.

For every matrix `NAME.in_sum2`, sums of squared inputs [experts, columns], and `NAME.counts`, how many tokens
each expert saw. The rule: sums are kept raw, so that files of several texts can be added up.
https://github.com/ggml-org/llama.cpp/blob/master/tools/imatrix/README.md
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fairway.errors import FormatError
from fairway.formats.gguf import GgufFile, open_gguf
from fairway.formats.gguf_writer import GgufData, MetadataValue, gguf_data, write_gguf
from fairway.quantize.importance import Activations

SUMS, COUNTS = ".in_sum2", ".counts"
HINT = "Measure the importance again."


def write_imatrix(path: Path, found: Activations, text: str) -> None:
    """`text` names what was read."""
    metadata: dict[str, MetadataValue] = {
        "general.type": "imatrix",
        "imatrix.datasets": [text],
        "imatrix.chunk_count": found.num_windows,
        "imatrix.chunk_size": found.window,
    }
    tensors: dict[str, GgufData] = {}
    for name, sums in found.sums.items():
        counts = found.counts[name].astype(np.float32).reshape(-1, 1)
        rows = sums.astype(np.float32).reshape(len(counts), -1)
        tensors[name + SUMS] = gguf_data("F32", rows.shape, rows)
        tensors[name + COUNTS] = gguf_data("F32", counts.shape, counts)
    write_gguf(path, metadata, tensors)


def read_imatrix(path: Path) -> Activations:
    """Raises `FormatError` for a file that is none, or whose numbers cannot be sums of squares."""
    file = open_gguf(path)
    names = [name.removesuffix(SUMS) for name in file.tensors if name.endswith(SUMS)]
    if not names:
        raise FormatError(f"{path} holds no importance matrix.", hint="Name a file that llama-imatrix wrote.")
    found = Activations(
        num_windows=_number(file, "imatrix.chunk_count"), window=_number(file, "imatrix.chunk_size")
    )
    for name in names:
        found.sums[name], found.counts[name] = _values(file, name + SUMS), _values(file, name + COUNTS)
        if not len(found.counts[name]) or len(found.sums[name]) % len(found.counts[name]):
            raise FormatError(f"{path} counts other experts of {name!r} than it sums.", hint=HINT)
    return found


def _values(file: GgufFile, name: str) -> npt.NDArray[np.float64]:
    path, tensor = file.source.path, file.tensors.get(name)
    if tensor is None or tensor.type.name != "F32":
        raise FormatError(f"{path} has no {name!r} in F32.", hint=HINT)
    values = file.raw(tensor).view("<f4").astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise FormatError(f"{name!r} of {path} holds numbers that are no sums of squares.", hint=HINT)
    return values


def _number(file: GgufFile, key: str) -> int:
    value = file.metadata.get(key, 0)
    return value if isinstance(value, int) else 0
