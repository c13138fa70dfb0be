"""One GGUF file to another with smaller weights: slices of rows stream through all cores.

Reading, rounding and writing happen in the same thread for each slice, so memory is what the threads hold.
The rule: the target has its name only when it is whole; a failure or a kill leaves nothing under it.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fairway.errors import DoesNotFit, FormatError, UsageError
from fairway.formats.atomic import atomic_file
from fairway.formats.floats import FLOATS, Bytes, dense_tensor, floats
from fairway.formats.gguf import DEFAULT_ALIGNMENT, GgufFile
from fairway.formats.gguf_types import decode_float32
from fairway.formats.gguf_writer import MetadataValue, RawValue, gguf_layout
from fairway.formats.layout import Layout
from fairway.formats.open_gguf import open_parts
from fairway.kernels.cores import allowed_cores
from fairway.kernels.gguf_quantize import WeightError, check_weights, quantize_dense
from fairway.models.conversion import to_bf16
from fairway.quantize.mixes import MIXES
from fairway.quantize.plan import Plan, PlannedTensor, known_mix, plan_mix
from fairway.tensors import F32, DenseTensor

Progress: TypeAlias = Callable[[int, int, str], None]
Importance: TypeAlias = Mapping[str, F32]
"""By a tensor's GGUF name, how much an error in each column counts; of experts one after another."""

SLICE_WEIGHTS = 1 << 20
"""What a thread takes at once: 2 MiB of bf16."""
SLICES_AHEAD = 3
"""Per thread, so that none waits for another."""
QUANTIZATION_VERSION = 2
RELEASED_BYTES = 64 << 20
"""Of the mapped source that count as this process's memory before they are let go."""
SPARE_BYTES = 16 << 20
"""Left free on the disk."""


@dataclass(frozen=True)
class Quantized:
    """What was written."""

    path: Path
    types: Mapping[str, str]
    """Tensor -> type."""
    source_bytes: int
    num_bytes: int


def quantize_gguf(
    source: Path,
    target: Path,
    mix: str,
    importance: Importance | None = None,
    progress: Progress | None = None,
    *,
    requantize: bool = False,
) -> Quantized:
    """Writes `target`, one file, from a GGUF file or the first of its parts, in a mix of `MIXES`.

    `progress` is told bytes of the source. Raises `UnsupportedError` for a source that is quantised already,
    unless `requantize`; `FormatError` for weights that are no numbers; `DoesNotFit` for a full disk.
    """
    mix = known_mix(mix)
    files = open_parts(source)
    _check_target(source, target)
    plan = plan_mix(files, mix, importance=importance is not None, requantize=requantize)
    _check_importance(plan, importance or {})
    layout = gguf_layout(metadata_of(files[0], mix), plan, _alignment(files[0]))
    _check_disk(target, layout.size)
    with atomic_file(target) as file:
        file.truncate(layout.size)
        os.pwrite(file.fileno(), layout.header, 0)
        _Stream(file.fileno(), layout, importance or {}, progress).run(plan)
    source_bytes = sum(planned.tensor.info.num_bytes for planned in plan.values())
    return Quantized(
        target, {name: planned.type for name, planned in plan.items()}, source_bytes, layout.size
    )


def metadata_of(file: GgufFile, mix: str) -> dict[str, MetadataValue]:
    """The source's, to the byte, but for what the mix changes and for where parts were cut."""
    kept: dict[str, MetadataValue] = {
        key: RawValue(file.raw_value(key)) for key in file.metadata if not key.startswith("split.")
    }
    changed = {
        "general.file_type": MIXES[mix].file_type,
        "general.quantization_version": QUANTIZATION_VERSION,
    }
    return kept | changed


@dataclass(frozen=True)
class _Slice:
    """Rows of one tensor, and of one expert where there are several."""

    planned: PlannedTensor
    start: int
    stop: int

    def _bytes(self, num_bytes: int) -> tuple[int, int]:
        """Where these rows begin and end in a tensor of that size."""
        row = num_bytes // self.planned.num_rows
        return self.start * row, self.stop * row

    @property
    def stored(self) -> Bytes:
        raw = self.planned.file.raw(self.planned.tensor)
        begin, end = self._bytes(len(raw))
        return raw[begin:end]

    @property
    def offset(self) -> int:
        """Of its first byte in the target's tensor."""
        return self._bytes(self.planned.num_bytes)[0]

    @property
    def weight(self) -> DenseTensor:
        """Floats [rows, columns], as stored where they are floats."""
        shape, kind = (self.stop - self.start, self.planned.shape[-1]), self.planned.tensor.type
        if kind.name in FLOATS:
            return dense_tensor(kind.name, self.stored, shape)
        return DenseTensor("f32", decode_float32(kind, self.stored).reshape(shape))


def _slices(plan: Plan) -> Iterator[_Slice]:
    for planned in plan.values():
        shape = planned.shape or (1,)
        rows = shape[-2] if len(shape) > 1 else 1
        step = max(1, SLICE_WEIGHTS // shape[-1])
        for first in range(0, planned.num_rows, rows):
            for start in range(first, first + rows, step):
                yield _Slice(planned, start, min(start + step, first + rows))


class _Stream:
    """One run: slices in flight, written where the layout says."""

    def __init__(
        self, descriptor: int, layout: Layout, importance: Importance, progress: Progress | None
    ) -> None:
        self._descriptor, self._layout, self._importance = descriptor, layout, importance
        self._progress = progress
        self._done = 0

    def run(self, plan: Plan) -> None:
        total = sum(planned.tensor.info.num_bytes for planned in plan.values())
        threads = allowed_cores()
        ahead: deque[tuple[_Slice, Future[None]]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for each in _slices(plan):
                    ahead.append((each, pool.submit(self._write, each)))
                    if len(ahead) > SLICES_AHEAD * threads:
                        self._finish(*ahead.popleft(), total)
                while ahead:
                    self._finish(*ahead.popleft(), total)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _finish(self, each: _Slice, written: Future[None], total: int) -> None:
        written.result()
        before, self._done = self._done, self._done + len(each.stored)
        if self._done // RELEASED_BYTES > before // RELEASED_BYTES:
            each.planned.file.source.release()
        if self._progress:
            self._progress(self._done, total, each.planned.tensor.info.name)

    def _write(self, each: _Slice) -> None:
        name = each.planned.tensor.info.name
        data = each.stored if each.planned.is_copy else self._encoded(each, name)
        view, offset = memoryview(data.reshape(-1).data), self._layout.offsets[name] + each.offset
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def _encoded(self, each: _Slice, name: str) -> Bytes:
        try:
            return encoded(each.weight, each.planned.type, _columns(self._importance.get(name), each))
        except WeightError as error:
            row, path = each.start + error.row, each.planned.file.source.path
            raise FormatError(
                f"Tensor {name!r} of {path} holds {error.value} in row {row}, column {error.column}: "
                f"weights that {each.planned.type} can hold are numbers up to 65504.",
                hint="The model is damaged, or needs --type bf16 or f32.",
            ) from None


def encoded(weight: DenseTensor, type: str, importance: F32 | None = None) -> Bytes:
    """Rows as the bytes of any type of `MIXES`, uint8. Raises `WeightError` where one cannot be held."""
    if type not in FLOATS:
        return quantize_dense(weight, type, importance)
    values = floats(weight)
    if type == "F32":
        return values.view(np.uint8)
    if type == "BF16":
        return to_bf16(values).view(np.uint8)
    check_weights(values)
    return values.astype("<f2").view(np.uint8)


def _columns(importance: F32 | None, each: _Slice) -> F32 | None:
    """Of the expert whose rows these are."""
    if importance is None:
        return None
    rows, columns = each.planned.shape[-2:]
    of_experts: F32 = importance.reshape(-1, columns)
    found: F32 = of_experts[each.start // rows if len(of_experts) > 1 else 0]
    return found


def _alignment(file: GgufFile) -> int:
    return int(file.metadata.get("general.alignment", DEFAULT_ALIGNMENT))


def _check_target(source: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent} to write into.", hint="Make it first.")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target} is the source itself.", hint="Choose another name for the result.")


def _check_disk(target: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if num_bytes + SPARE_BYTES > free:
        raise DoesNotFit(
            f"{target} needs {num_bytes / 1e9:.2f} GB; {target.parent} has {free / 1e9:.2f} GB free.",
            hint="Free some space, or choose a smaller type.",
        )


def _check_importance(plan: Plan, importance: Importance) -> None:
    """One number for each column of a tensor, or of each of its experts."""
    for name, values in importance.items():
        if (planned := plan.get(name)) is None:
            continue
        *experts, _, columns = planned.shape
        if len(values) not in (columns, columns * int(np.prod(experts))):
            raise FormatError(
                f"The importance of {name!r} has {len(values)} values, its rows have {columns} columns.",
                hint="Measure the importance with the same model.",
            )
