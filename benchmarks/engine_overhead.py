"""Time that the engine itself takes per step: schedule, sample and commit, with a runner that does nothing.

    python benchmarks/engine_overhead.py [--steps 400] [--vocabulary 512] [--context 1000] [--json]

Decoding steps of 1 to 128 streams, every stream at `--context` tokens, greedy and sampled. With a
small vocabulary the arithmetic on logits is negligible and what remains is Python; a real one, for
example --vocabulary 151936, adds the NumPy sampler's share.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field

import numpy as np

from fairway.engine.batch import Batch
from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.tensors import F32

SAMPLINGS = {
    "greedy": SamplingParams(temperature=0),
    "temperature 1": SamplingParams(seed=1),
    "top-k 20, top-p 0.8": SamplingParams(temperature=0.7, top_k=20, top_p=0.8, seed=1),
    "top-p 0.9": SamplingParams(temperature=0.7, top_p=0.9, seed=1),
    "penalties, top-k 20": SamplingParams(
        temperature=0.7, top_k=20, repetition_penalty=1.1, presence_penalty=0.5, seed=1
    ),
    "greedy, 5 logprobs": SamplingParams(temperature=0, logprobs=5),
}


@dataclass
class NothingRunner:
    """The same logits for everyone, at no cost."""

    vocab_size: int
    max_context: int = 8192
    num_blocks: int = 16384
    block_size: int = 16
    max_tokens: int = 8192
    max_sequences: int = 128
    max_outputs: int = 128
    logits: F32 = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(0)
        self.logits = random.normal(0, 3, (self.max_outputs, self.vocab_size)).astype(np.float32)

    def run(self, batch: Batch) -> F32:
        return self.logits[: batch.num_outputs]


def microseconds_per_step(num_streams: int, sampling: SamplingParams, options: argparse.Namespace) -> float:
    engine = Engine(NothingRunner(options.vocabulary))
    prompts = np.random.default_rng(1).integers(0, options.vocabulary, (num_streams, options.context))
    for prompt in prompts.tolist():
        engine.add(Request(prompt, sampling))
    while engine.scheduler.waiting or any(request.num_new > 1 for request in engine.scheduler.running):
        engine.step()
    times = []
    for _ in range(options.steps):
        start = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--vocabulary", type=int, default=512)
    parser.add_argument("--context", type=int, default=1000)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        {
            "sampling": name,
            **{str(n): round(microseconds_per_step(n, sampling, options), 1) for n in options.streams},
        }
        for name, sampling in SAMPLINGS.items()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    print("microseconds per step".ljust(24) + "".join(f"{n} streams".rjust(14) for n in options.streams))
    for row in rows:
        print(str(row["sampling"]).ljust(24) + "".join(f"{row[str(n)]}".rjust(14) for n in options.streams))


if __name__ == "__main__":
    main()
