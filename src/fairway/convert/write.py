"""Writes a conversion's tensors: reading, rounding, writing and checking overlap on all cores.

Slices of a few MiB go through a pool of threads and to their place in the file; then the tensor is
read back, compared and hashed, and noted in the journal. Memory is what the threads hold.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

from fairway.convert.check import Checked, Difference, compare_rows, unequal
from fairway.convert.job import Conversion, OutputFile, TensorJob
from fairway.convert.rows import TensorRows
from fairway.convert.workplace import Workplace
from fairway.errors import DoesNotFit
from fairway.formats.bundle import Bundle
from fairway.formats.digest import tensor_digest
from fairway.formats.floats import Bytes
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import with_weights
from fairway.kernels.cores import allowed_cores

Progress: TypeAlias = Callable[[int, int, str], None]
SLICES_AHEAD = 4
"""Per thread: enough that none waits for the one that checks, and no more work is lost to a kill."""


@contextmanager
def full_disk(conversion: Conversion) -> Iterator[None]:
    """A full disk as a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DoesNotFit(
            f"The disk of {conversion.target.parent} is full.",
            hint="Free some space and run the same command again: it continues.",
        ) from error


class Writing:
    """One run of a conversion in its workplace."""

    def __init__(self, conversion: Conversion, place: Workplace, progress: Progress | None = None) -> None:
        self.conversion, self.place = conversion, place
        self._progress = progress
        self._before: dict[str, Checked] = {}
        self._total = sum(job.rows.info.num_bytes for job in conversion.jobs)
        self._done = 0

    def begin(self) -> Bundle:
        """Makes the files, or finds those of a run that was cut off; gives the output as it will be read."""
        with full_disk(self.conversion):
            self._before = {each.name: each for each in self.place.begin()}
            output = open_bundle(self.place.output, complete=False)
            return with_weights(output) if self.conversion.packs else output

    def run(self, output: Bundle) -> list[Checked]:
        """Every tensor written and checked, in the files' order. Raises `DoesNotFit` for a full disk."""
        with full_disk(self.conversion), ThreadPoolExecutor(allowed_cores()) as threads, ExitStack() as files:
            stage = _Stage(self.place, threads, output, files)
            try:
                return self._all(stage, self._before)
            except BaseException:
                threads.shutdown(wait=True, cancel_futures=True)
                raise

    def _all(self, stage: _Stage, before: dict[str, Checked]) -> list[Checked]:
        found: dict[str, Checked] = {}
        for job in self.conversion.jobs:
            known = before.get(job.name)
            if known is not None and stage.digest(stage.output, job.target) == known.digest:
                found[job.name] = known
                self._tell(job)
        for job, checked in stage.write(self._todo(found)):
            self.place.note(checked)
            found[job.name] = checked
            self._tell(job)
        return [found[job.name] for job in self.conversion.jobs]

    def _todo(self, found: dict[str, Checked]) -> list[tuple[OutputFile, TensorJob]]:
        return [(file, job) for file in self.conversion.files for job in file.jobs if job.name not in found]

    def _tell(self, job: TensorJob) -> None:
        self._done += job.rows.info.num_bytes
        if self._progress:
            self._progress(self._done, self._total, job.source)


class _Stage:
    """The pool at work on one output."""

    def __init__(
        self, place: Workplace, threads: ThreadPoolExecutor, output: Bundle, stack: ExitStack
    ) -> None:
        self.output = output
        self._threads = threads
        self._place = place
        self._stack = stack
        self._descriptors: dict[str, int] = {}

    def write(self, todo: list[tuple[OutputFile, TensorJob]]) -> Iterator[tuple[TensorJob, Checked]]:
        """In order; the slices of the next tensors are under way while one is checked."""
        ahead: deque[tuple[TensorJob, list[Future[None]]]] = deque()
        num_slices = 0
        for file, job in todo:
            ahead.append((job, self._submit(file, job)))
            num_slices += len(ahead[-1][1])
            while num_slices > SLICES_AHEAD * allowed_cores():
                num_slices -= len(ahead[0][1])
                yield self._finished(*ahead.popleft())
        while ahead:
            yield self._finished(*ahead.popleft())

    def digest(self, bundle: Bundle, name: str) -> str:
        return tensor_digest(bundle, name, self._threads)

    def _submit(self, file: OutputFile, job: TensorJob) -> list[Future[None]]:
        if file.name not in self._descriptors:
            self._descriptors[file.name] = self._place.open(file)
            self._stack.callback(os.close, self._descriptors[file.name])
        descriptor, parts = self._descriptors[file.name], job.parts

        def write(start: int, stop: int) -> None:
            for name, data in job.produce_parts(start, stop).items():
                row_bytes = parts[name].num_bytes // max(1, job.rows.num_rows)
                _write_at(descriptor, data, file.layout.offsets[name] + start * row_bytes)
            job.rows.slice_done()

        return [self._threads.submit(write, start, stop) for start, stop in job.slices]

    def _finished(self, job: TensorJob, slices: list[Future[None]]) -> tuple[TensorJob, Checked]:
        for each in slices:
            each.result()
        rows = TensorRows(self.output, job.target)
        total = Difference(rows.info.num_elements)
        source_type = job.rows.info.type
        if not (job.is_exact and source_type == rows.info.type):
            total = self._compared(job, rows)
        digest = self.digest(self.output, job.target)
        source_digest = self.digest(job.rows.bundle, job.source)
        if job.is_exact and source_type == rows.info.type and digest != source_digest:
            raise unequal(job)
        job.rows.close()
        rows.close()
        return job, Checked(job.name, source_type, job.type, digest, source_digest, total)

    def _compared(self, job: TensorJob, rows: TensorRows) -> Difference:
        def compare(start: int, stop: int) -> Difference:
            found = compare_rows(job, rows, start, stop)
            job.rows.slice_done()
            rows.slice_done()
            return found

        parts = [self._threads.submit(compare, *part) for part in job.rows.slices]
        return sum((part.result() for part in parts), Difference())


def _write_at(descriptor: int, data: Bytes, offset: int) -> None:
    view = memoryview(data.data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
