"""What a conversion is before it runs: files, where each tensor will lie in them, and how its bytes are made.

Everything is known before a byte is written: so it can be refused, shown, cut off and continued.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.encode import encode, is_exact, num_bytes
from fairway.convert.finish import Finish
from fairway.convert.rows import TensorRows
from fairway.formats.bundle import Bundle
from fairway.formats.floats import Bytes
from fairway.formats.layout import Layout, Sized
from fairway.models.conversion import floats_of
from fairway.proof.verdict import Check
from fairway.tensors import F32, Array
from fairway.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class TensorJob:
    """One tensor of the output. Rows are the source's, unless `arrange` moves them."""

    name: str
    """In the file's own spelling."""
    target: str
    """In the output opened as a bundle, where it is compared with the source."""
    source: str
    rows: TensorRows
    type: str
    shape: tuple[int, ...]
    taken: TensorRows | None = None
    """What the file's rows are made of, where it is not `rows`, with which they are compared."""
    order: Array | None = None
    """Row r of the file is row order[r] of the source."""
    arrange: Callable[[F32], F32] | None = None
    """Values of the whole tensor as the file wants them, where they are not the source's row by row."""
    is_exact: bool = True
    """Whether the output must hold the very numbers of the source."""

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.type, self.rows.info.num_elements)

    @property
    def parts(self) -> Mapping[str, Sized]:
        """What the file stores for it, by name: itself, or the tensors that stand for it together."""
        return {self.name: self}

    def produce_parts(self, start: int, stop: int) -> dict[str, Bytes]:
        """Each part's bytes for some rows."""
        return {self.name: self.produce(start, stop)}

    @property
    def is_copy(self) -> bool:
        """The stored bytes are taken as they are."""
        return self.type == self.rows.info.type and self.arrange is None

    @property
    def slices(self) -> list[tuple[int, int]]:
        if self.arrange is not None:
            return [(0, self.rows.num_rows)]
        return (self.taken or self.rows).slices

    def produce(self, start: int, stop: int) -> Bytes:
        """The output's bytes for some rows."""
        if self.order is not None:
            return self._reordered(self.order[start:stop])
        rows = self.taken or self.rows
        if self.is_copy:
            return rows.stored(start, stop)
        values = rows.floats(start, stop)
        return encode(values if self.arrange is None else self.arrange(values), self.type, self.source)

    def _reordered(self, rows: Array) -> Bytes:
        taken = self.rows.take(rows)
        if self.is_copy:
            return np.ascontiguousarray(taken.values).reshape(-1).view(np.uint8)
        return encode(floats_of(taken).reshape(len(rows), -1), self.type, self.source)


@dataclass(frozen=True)
class OutputFile:
    """One file with tensors. `name` is relative to the output; `layout` says where they lie."""

    name: str
    layout: Layout
    jobs: tuple[TensorJob, ...]
    lineage_space: tuple[int, int] | None = None
    """Where a single file keeps its lineage: first byte and size, filled with spaces."""
    constants: Mapping[str, bytes] = field(default_factory=dict)
    """Small tensors that come from no tensor, by name."""


@dataclass(frozen=True)
class Conversion:
    """A hop ready to run: it passed the pre-flight, and nothing has been written."""

    source: Bundle
    target: Path
    is_folder: bool
    files: tuple[OutputFile, ...]
    hop: str = ""
    """Its name, and that of the source: `hops.prepare` fills both, alike for every hop."""
    source_name: str = ""
    sidecars: Mapping[str, bytes] = field(default_factory=dict)
    """Small files of a folder, by name."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the user chose, for the lineage."""
    notes: tuple[str, ...] = ()
    """What a user should know although it is no obstacle."""
    tokenizers: tuple[Tokenizer, Tokenizer] | None = None
    """The source's and the output's, where the pre-flight has built them from what will be written."""
    vocabulary: Mapping[str, Any] = field(default_factory=dict)
    """The `tokenizer.*` metadata that the second was built from."""
    finish: Finish | None = None
    """What is made and run after the tensors were checked."""
    origin: Bundle | None = None
    """What was named as the source, where `source` is that unpacked or with adapters merged."""
    gate: Callable[[Path], Check] | None = None
    """A last look at the output where it lies, before it gets its name."""
    accept: str | None = None
    """Why it is to be published although a check may fail."""

    @property
    def jobs(self) -> tuple[TensorJob, ...]:
        return tuple(job for file in self.files for job in file.jobs)

    @property
    def packs(self) -> bool:
        """Whether several stored tensors stand for one: the output is compared weight by weight."""
        return any(len(job.parts) > 1 for job in self.jobs)

    @property
    def num_bytes(self) -> int:
        return sum(file.layout.size for file in self.files) + sum(map(len, self.sidecars.values()))

    @property
    def types(self) -> dict[str, int]:
        """Stored type of the output -> bytes."""
        found: dict[str, int] = {}
        for job in self.jobs:
            found[job.type] = found.get(job.type, 0) + job.num_bytes
        return found

    @property
    def is_lossless(self) -> bool:
        return all(job.is_exact for job in self.jobs)


def job_of(bundle: Bundle, name: str, stored_type: str) -> TensorJob:
    """A tensor that keeps its name, shape and row order."""
    rows = TensorRows(bundle, name)
    exact = is_exact(rows.info.type, stored_type)
    return TensorJob(name, name, name, rows, stored_type, rows.info.shape, is_exact=exact)


def with_types(jobs: list[TensorJob], types: Mapping[str, str]) -> list[TensorJob]:
    """Other types for some of them, by the name in the file."""
    return [_with_type(job, types[job.name]) if job.name in types else job for job in jobs]


def _with_type(job: TensorJob, stored_type: str) -> TensorJob:
    return replace(job, type=stored_type, is_exact=is_exact(job.rows.info.type, stored_type))
