"""One sequence that grows to its full length: what reading and writing cost at every depth on the way.

The prompt is read once; at each depth the engine reads one more chunk and then writes some tokens over a
prefix that it has already, so the whole curve costs little more than its longest prompt.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.protocol import Unavailable
from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams

CHUNK = 512
"""Tokens whose reading is timed at each depth; also llama-bench's own default."""


@dataclass(frozen=True)
class Cost:
    """At one depth. Rates are tokens per second of one sequence."""

    depth: int
    prefill: float
    """Of `CHUNK` tokens after `depth` others."""
    decode: float
    """Of tokens after `depth` + `CHUNK` others."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def engine_costs(engine: Engine, depths: Sequence[int], generate: int, seed: int = 0) -> Iterator[Cost]:
    """`depths` rise, in steps of `CHUNK`; the engine's step takes at least `CHUNK` tokens."""
    if engine.limits.max_tokens != CHUNK:
        raise ValueError(f"a step of the engine has {engine.limits.max_tokens} tokens, not {CHUNK}")
    vocabulary = engine.runner.vocab_size
    ids = np.random.default_rng(seed).integers(3, vocabulary, max(depths) + CHUNK).tolist()
    for depth in depths:
        steps = step_times(engine, [*ids[: depth + CHUNK]], generate)
        # The last chunk is not found in the cache: at depth 0 it is all there is to read.
        reading, writing = steps[-generate], steps[1 - generate :]
        yield Cost(depth, CHUNK / reading, 1 / statistics.median(writing))


def step_times(engine: Engine, prompt: Sequence[int], generate: int) -> list[float]:
    """Seconds of every step; the last chunk of the prompt gives the first of `generate` tokens."""
    sampling = SamplingParams(temperature=0.0, max_tokens=generate, ignore_eos=True)
    engine.add(Request(prompt, sampling))
    times = []
    while engine.has_work:
        start = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - start)
    return times


def llama_costs(
    tool: Path, model: Path, depths: Sequence[int], generate: int, threads: int, limit_s: float
) -> Iterator[Cost]:
    """llama-bench at each depth, as long as the next one can be expected to end within `limit_s`."""
    start = time.monotonic()
    last_s = 0.0
    for depth in depths:
        began = time.monotonic()
        if began - start + 3 * last_s > limit_s:
            return
        yield llama_cost(tool, model, depth, generate, threads)
        last_s = time.monotonic() - began


def llama_cost(tool: Path, model: Path, depth: int, generate: int, threads: int) -> Cost:
    # fmt: off
    command = [str(tool), "-m", str(model), "-t", str(threads), "-p", str(CHUNK), "-n", str(generate),
               "-d", str(depth), "-r", "1", "-o", "json"]
    # fmt: on
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable((done.stderr.strip() or "llama-bench failed").splitlines()[-1])
    return llama_rates(depth, json.loads(done.stdout))


def llama_rates(depth: int, tests: Sequence[dict[str, Any]]) -> Cost:
    """From llama-bench's JSON: one test that reads, one that writes."""
    prefill = next(test["avg_ts"] for test in tests if test["n_prompt"])
    decode = next(test["avg_ts"] for test in tests if test["n_gen"])
    return Cost(depth, prefill, decode)
