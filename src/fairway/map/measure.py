"""How fast a model really runs here: prefill and decode rates, offline and over HTTP.

Offline drives the engine itself, step by step, with nobody listening; HTTP is measured from
outside, by streaming clients. Prompts are random tokens and never repeat, so no prefix is cached.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.map.step_clock import clocked


@dataclass(frozen=True)
class Workload:
    """`batch` requests at once, each reading `prompt` tokens and writing `generate`."""

    prompt: int
    generate: int
    batch: int

    @property
    def num_tokens(self) -> int:
        """Cache that it needs at its end."""
        return self.batch * (self.prompt + self.generate)


@dataclass(frozen=True)
class Rates:
    """One measurement, in tokens per second over the whole batch."""

    prefill: float
    """Prompt tokens, while nothing else is done."""
    decode: float
    """Answer tokens, while all requests are decoding."""
    output: float
    """Answer tokens over the whole time of a batch that arrives at once, prompts included."""
    between_steps_s: float | None = None
    """From one decoding step of the model to the next; None where there were no two."""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing: the median, and how far the middle half lies apart."""

    median: float
    relative: float
    """Interquartile range over median."""

    @classmethod
    def named(cls, **values: Sequence[float | None]) -> dict[str, Spread]:
        """By name, without those of which nothing was measured."""
        found = {name: [value for value in seen if value is not None] for name, seen in values.items()}
        return {name: cls.of(seen) for name, seen in found.items() if seen}

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        median = statistics.median(values)
        if len(values) < 2 or not median:
            return cls(median, 0.0)
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, (high - low) / median)


@dataclass(frozen=True)
class Measured:
    """All that was measured of one batch size. Names in `rates` become keys of the JSON."""

    workload: Workload
    rates: Mapping[str, Spread]

    def to_dict(self) -> dict[str, Any]:
        work = self.workload
        row: dict[str, Any] = {"batch": work.batch, "prompt": work.prompt, "generate": work.generate}
        for name, spread in self.rates.items():
            row[name] = round(spread.median, 6)
            row[f"{name}_spread"] = round(spread.relative, 4)
        return row


class Prompts:
    """Random prompts, none twice."""

    def __init__(self, vocab_size: int, seed: int = 0) -> None:
        self._vocab_size = vocab_size
        self._random = np.random.default_rng(seed)

    def take(self, count: int, num_tokens: int) -> Iterator[list[int]]:
        for _ in range(count):
            yield self._random.integers(self._vocab_size, size=num_tokens).tolist()


def measure_engine(engine: Engine, workload: Workload, prompts: Prompts) -> Rates:
    """Prefill alone, decode alone (over prompts that are cached by then), then both as they come."""
    batch = list(prompts.take(workload.batch, workload.prompt))
    prefill = Run(engine, batch, 1).whole_s
    with clocked(engine) as clock:
        decode = Run(engine, batch, workload.generate)
    mixed = Run(engine, list(prompts.take(workload.batch, workload.prompt)), workload.generate)
    return Rates(
        prefill=workload.batch * workload.prompt / prefill,
        decode=decode.num_after_first / max(decode.after_first_s, 1e-9),
        output=workload.batch * workload.generate / mixed.whole_s,
        between_steps_s=clock.take(workload.batch),
    )


class Run:
    """One batch through an engine, to its end, with the moment when all have their first token."""

    def __init__(self, engine: Engine, batch: Sequence[Sequence[int]], num_tokens: int) -> None:
        sampling = SamplingParams(temperature=0.0, max_tokens=num_tokens, ignore_eos=True)
        self.num_after_first = 0
        without_token = {_add(engine, ids, sampling) for ids in batch}
        start = first = time.perf_counter()
        while engine.has_work:
            events = engine.step()
            if without_token:
                without_token -= {event.request_id for event in events}
                first = time.perf_counter()
            else:
                self.num_after_first += len(events)
        end = time.perf_counter()
        self.whole_s = end - start
        self.after_first_s = end - first


def _add(engine: Engine, ids: Sequence[int], sampling: SamplingParams) -> str:
    request = Request(ids, sampling)
    engine.add(request)
    return request.id
