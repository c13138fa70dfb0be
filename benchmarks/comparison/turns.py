"""The turns: every engine once per round, A B C A B C, so that a noisy minute hurts all alike.

A worker that starts quickly is started anew every round, twice: with nothing kept from earlier starts,
and again. Both are measurements. One that takes long (vLLM compiles for minutes) stays, paused, between
its turns. Before each turn the machine itself is measured.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.comparison.budget import Budget
from benchmarks.comparison.columns import FIRST_LOAD, LOAD, MEMORY, Column, Prompts
from benchmarks.comparison.http_loads import OFFLINE
from benchmarks.comparison.limits import LimitsMeter
from benchmarks.comparison.neighbours import busy_share
from benchmarks.comparison.results import INT8_BEFORE, OTHERS, Row
from benchmarks.comparison.worker_process import WorkerProcess
from benchmarks.peers.protocol import Command, Model, Peer, Place, Unavailable

KEEP_AFTER_S = 20.0
WARM_UP_PROMPT, WARM_UP_TOKENS = 16, 3
SPARE_TOKENS = 64
"""Room of each sequence beyond its own, for engines that count in blocks of 16 or 32."""


@dataclass
class Contestant:
    """An engine with one kind of weights, its row in the table and its worker while it has one."""

    peer: Peer
    row: Row
    command: Command | None = None
    worker: WorkerProcess | None = None

    @property
    def can_run(self) -> bool:
        return self.command is not None and not self.row.reason

    def stop(self) -> None:
        if self.worker:
            self.worker.stop()
        self.worker = None


@dataclass
class Contest:
    """Everything that stays the same over the rounds."""

    model: Model
    place: Place
    columns: Sequence[Column]
    measures_loads: bool
    contestants: list[Contestant]
    meter: LimitsMeter
    prompts: Prompts = field(init=False)

    def __post_init__(self) -> None:
        self.prompts = Prompts(self.model.vocab_size)

    @property
    def settings(self) -> dict[str, Any]:
        """What every worker is told alike; see `workers/frame.py`."""
        batches = [*self.columns, OFFLINE]
        return {
            "threads": self.place.threads,
            "sequences": max(each.batch for each in batches),
            "length": min(self.model.context, max(each.length for each in batches) + SPARE_TOKENS),
            "cache_tokens": max(each.batch * (each.length + SPARE_TOKENS) for each in batches),
        }

    def round(self, budget: Budget) -> Iterator[None]:
        """After every turn; the time may be over in the middle."""
        for contestant in self.contestants:
            if contestant.can_run and not budget.is_spent:
                attempt(contestant.row, partial(self._turn, contestant))
                yield

    def find(self, name: str) -> Contestant | None:
        return next((each for each in self.contestants if each.row.name == name), None)

    def close(self) -> None:
        for contestant in self.contestants:
            contestant.stop()

    def _turn(self, contestant: Contestant) -> None:
        row = contestant.row
        if (share := busy_share()) is not None:
            row.add(OTHERS, share)
        if (int8 := self.meter.measure()) is not None:
            row.add(INT8_BEFORE, int8)
        with self.awake(contestant) as worker:
            for column in self.columns:
                self._measure(row, worker, column)
            row.add(MEMORY, worker.peak_bytes)

    def _measure(self, row: Row, worker: WorkerProcess, column: Column) -> None:
        try:
            times = worker.ask(self.prompts.take(column.batch, column.prompt), column.generate + 1)
        except Unavailable as error:
            raise Unavailable(f"{column.title}: {error}") from None
        row.add(column.key, column.rate(times))

    @contextmanager
    def awake(self, contestant: Contestant) -> Iterator[WorkerProcess]:
        """Its worker, started or continued; afterwards it is ended or paused."""
        try:
            if contestant.worker:
                contestant.worker.resume()
            worker = contestant.worker or self._start(contestant)
            yield worker
        except BaseException:
            contestant.stop()
            raise
        if worker.load_s > KEEP_AFTER_S:
            worker.pause()
        else:
            contestant.stop()

    def _start(self, contestant: Contestant) -> WorkerProcess:
        row = contestant.row
        if self.measures_loads:
            shutil.rmtree(self.place.kept(f"{self.model.name}-{row.name}"), ignore_errors=True)
            first = self._process(contestant)
            row.add(FIRST_LOAD, first.load_s)
            first.stop()
        worker = contestant.worker = self._process(contestant)
        if self.measures_loads:
            row.add(LOAD, worker.load_s)
        row.version, row.weight_bytes, row.kv_bytes = worker.version, worker.weight_bytes, worker.kv_bytes
        for column in self.columns:
            prompt = column.prompt if column.batch == 1 else WARM_UP_PROMPT
            worker.warm_up(self.prompts.take(column.batch, prompt), WARM_UP_TOKENS)
        return worker

    def _process(self, contestant: Contestant) -> WorkerProcess:
        assert contestant.command is not None
        name = f"{self.model.name}-{contestant.row.name}"
        settings = self.settings | {"variant": contestant.row.variant}
        log = self.place.log(f"worker-{name}")
        return WorkerProcess(contestant.command, settings, log, self.place.kept(name))


def prepare(peer: Peer, variant: str, model: Model, place: Place) -> Contestant:
    """Installs and converts; a peer that cannot be is in the table with its reason."""
    contestant = Contestant(peer, Row(peer.name, variant))

    def both() -> None:
        peer.install(place)
        contestant.command = peer.prepare(model, variant, place)

    attempt(contestant.row, both)
    return contestant


def attempt(row: Row, action: Callable[[], None]) -> None:
    """Runs `action`; what makes it impossible becomes the row's reason."""
    start = time.monotonic()
    try:
        action()
    except Unavailable as error:
        row.reason = str(error)
    say(f"{row.name}: {row.reason or f'{time.monotonic() - start:.1f} s'}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
