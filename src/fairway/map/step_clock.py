"""What an engine does between two steps of the model: from the end of one run to the start of the next.

Stands in front of the runner and changes nothing. Offline that is schedule, sample and commit; behind a
server also whatever else needs the interpreter meanwhile: detokenising, writing to clients.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fairway.engine.batch import Batch
from fairway.engine.engine import Engine
from fairway.engine.runner import Runner
from fairway.kernels.program import PackedAdapter
from fairway.kernels.sampling import Draw, Score
from fairway.tensors import F32


class StepClock:
    """A `Runner` that notes when another one's steps began and ended."""

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.perf_counter) -> None:
        self._runner = runner
        self._clock = clock
        self._gaps: list[tuple[int, float]] = []
        self._decoded = 0
        """Sequences of the step before, if all of them decoded."""
        self._end = 0.0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the runner's own sizes
        return getattr(self._runner, name)

    def run(self, batch: Batch) -> F32:
        start = self._clock()
        decoded = len(batch.chunks) if batch.num_tokens == len(batch.chunks) else 0
        if decoded and decoded == self._decoded:
            self._gaps.append((decoded, start - self._end))
        self._decoded = decoded
        logits = self._runner.run(batch)
        self._end = self._clock()
        return logits

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
        return self._runner.choose(rows, draws)

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
        return self._runner.score(rows, numbers)

    def load_adapter(self, adapter: str, packed: PackedAdapter) -> None:
        self._runner.load_adapter(adapter, packed)

    def unload_adapter(self, adapter: str) -> None:
        self._runner.unload_adapter(adapter)

    def take(self, batch: int) -> float | None:
        """Median seconds between two decoding steps of `batch` sequences since the last call."""
        gaps = [gap for size, gap in self._gaps if size == batch]
        self._gaps.clear()
        return statistics.median(gaps) if gaps else None


@contextmanager
def clocked(engine: Engine) -> Iterator[StepClock]:
    """The engine's runner behind a clock for as long as nobody else exchanges it."""
    runner = engine.runner
    engine.runner = clock = StepClock(runner)
    try:
        yield clock
    finally:
        engine.runner = runner
