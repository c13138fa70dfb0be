"""The turns: every engine once per round, A B C A B C, so that a noisy minute hurts all alike.

A worker that starts quickly is started anew every round, and each start is a measurement of the cold
start; one that takes long (vLLM compiles for minutes) stays, paused, between its turns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.comparison.columns import LOAD, Column, Prompts, longest
from benchmarks.comparison.neighbours import OTHERS, busy_share
from benchmarks.comparison.results import Row
from benchmarks.comparison.worker_process import WorkerProcess
from benchmarks.peers.protocol import Command, Model, Peer, Place, Unavailable

KEEP_AFTER_S = 20.0
TIMEOUT_S = 900.0
WARM_UP_TOKENS = 4


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
    contestants: list[Contestant]
    prompts: Prompts = field(init=False)

    def __post_init__(self) -> None:
        self.prompts = Prompts(self.model.vocab_size)

    @property
    def settings(self) -> dict[str, Any]:
        batches = [column.batch for column in self.columns]
        return {
            "threads": self.place.threads,
            "sequences": max(batches),
            "length": longest(self.columns) + 32,
        }

    def round(self) -> None:
        for contestant in self.contestants:
            if contestant.can_run:
                attempt(contestant.row, partial(self._turn, contestant))
            if not contestant.can_run:
                contestant.stop()

    def close(self) -> None:
        for contestant in self.contestants:
            contestant.stop()

    def _turn(self, contestant: Contestant) -> None:
        if (share := busy_share()) is not None:
            contestant.row.add(OTHERS, share)
        worker = contestant.worker
        if worker:
            worker.resume()
        else:
            worker = self._start(contestant)
        for column in self.columns:
            times = worker.ask(self.prompts.take(column), column.generate + 1)
            contestant.row.add(column.key, column.rate(times))
        if worker.load_s > KEEP_AFTER_S:
            worker.pause()
        else:
            contestant.stop()

    def _start(self, contestant: Contestant) -> WorkerProcess:
        assert contestant.command is not None
        settings = self.settings | {"variant": contestant.row.variant}
        log = self.place.log(f"worker-{self.model.name}-{contestant.row.name}")
        worker = contestant.worker = WorkerProcess(contestant.command, settings, log, TIMEOUT_S)
        contestant.row.add(LOAD, worker.load_s)
        contestant.row.version, contestant.row.weight_bytes = worker.version, worker.weight_bytes
        worker.ask(self.prompts.take(self.columns[0]), WARM_UP_TOKENS)
        return worker


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
    say(row.name)
    try:
        action()
    except Unavailable as error:
        row.reason = str(error)
        say(f"{row.name}: {error}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
