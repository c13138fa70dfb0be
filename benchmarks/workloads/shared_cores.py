"""An engine in a process of its own that works for some seconds when told to, and says how much it did.

    python -m benchmarks.workloads.shared_cores MODEL_FOLDER WEIGHTS THREADS

Reads lines "WORK SECONDS" and answers with two rates; WORK is one of `WORKS`. Several of them on the same
cores show how engines bear each other.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fairway.engine.engine import Engine
from fairway.formats.open import open_bundle
from fairway.map.measure import Prompts, Run
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.runtimes.loading import load_engine

ROOT = Path(__file__).parents[2]
CONTEXT = 640


@dataclass(frozen=True)
class Work:
    """One kind of batch, done again and again."""

    batch: int
    prompt: int
    generate: int

    @property
    def num_tokens(self) -> int:
        """What counts: the prompt where nothing else is done, else the answers."""
        return self.batch * (self.prompt if self.generate == 1 else self.generate)


WORKS = {"prefill": Work(1, 512, 1), "1 stream": Work(1, 16, 32), "batch 8": Work(8, 16, 32)}


@dataclass(frozen=True)
class Rate:
    """Tokens per second, and per second of processor time of all threads."""

    per_s: float
    per_cpu_s: float
    """Falls when threads wait by spinning; hardly depends on who else has the cores."""


def work_for(engine: Engine, work: Work, seconds: float, prompts: Prompts) -> Rate:
    """Whole batches until `seconds` are over, at least one."""
    start, cpu_start, done = time.perf_counter(), time.process_time(), 0
    while done == 0 or time.perf_counter() - start < seconds:
        Run(engine, list(prompts.take(work.batch, work.prompt)), work.generate)
        done += work.num_tokens
    return Rate(done / (time.perf_counter() - start), done / (time.process_time() - cpu_start))


class EngineProcess:
    """The other side of the pipe."""

    def __init__(self, folder: Path, weights: str, threads: int) -> None:
        command = [sys.executable, "-m", __name__, str(folder), weights, str(threads)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, work: str, seconds: float) -> None:
        assert self._process.stdin is not None
        print(f"{work}\t{seconds}", file=self._process.stdin, flush=True)

    def rate(self) -> Rate:
        """Of what was begun last; waits for its end."""
        return Rate(*map(float, self._answer().split("\t")))

    def close(self) -> None:
        """By the end of its input."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("An engine ended before it answered; its error is above.")
        return line.strip()


@contextmanager
def engine_processes(count: int, folder: Path, weights: str, threads: int) -> Iterator[list[EngineProcess]]:
    engines = [EngineProcess(folder, weights, threads) for _ in range(count)]
    try:
        yield engines
    finally:
        for engine in engines:
            engine.close()


def rates_of(engines: Sequence[EngineProcess], work: str, seconds: float) -> list[Rate]:
    """All of `engines` at the same time."""
    for engine in engines:
        engine.begin(work, seconds)
    return [engine.rate() for engine in engines]


def main() -> None:
    folder, weights, threads = sys.argv[1:]
    bundle = open_bundle(Path(folder))
    settings = PlanSettings(weights=weights, context=CONTEXT, threads=int(threads))  # type: ignore[arg-type]
    engine = load_engine(bundle, plan(bundle, probe(), settings).native_options("shared")).engine
    prompts = Prompts(engine.runner.vocab_size)
    print("ready", flush=True)
    for line in sys.stdin:
        work, seconds = line.rstrip("\n").split("\t")
        rate = work_for(engine, WORKS[work], float(seconds), prompts)
        print(f"{rate.per_s}\t{rate.per_cpu_s}", flush=True)


if __name__ == "__main__":
    main()
