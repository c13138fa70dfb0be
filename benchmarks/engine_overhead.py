"""Time that the engine itself takes per step: schedule, sample and commit, with a runner that does nothing.

    python benchmarks/engine_overhead.py [--steps 400] [--vocabulary 512] [--context 1000] [--json]

Decoding steps of 1 to 128 streams, every stream at `--context` tokens, greedy and sampled. With a
small vocabulary the arithmetic on logits is negligible and what remains is Python; a real one, for
example --vocabulary 151936, adds the share of sampling. Logits are random, the same in every step; the
best kernels of this machine choose from them (FAIRWAY_ISA=reference: NumPy). Includes the delivery of
the events to the streams' mailboxes, but nobody reads these.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairway.engine.batch import Batch
from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.token_stream import Mailbox, deliver
from fairway.kernels import program as p
from fairway.kernels.program import CacheShape, Executable, Limits, PackedAdapter, Program, Step
from fairway.kernels.sampling import Draw, Score
from fairway.kernels.select import select_backend
from fairway.tensors import F32, DenseTensor

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


def native_logits(logits: F32) -> Executable:
    """An executable whose last run's logits are these: they are the rows of a table that it looks up."""
    program, count = Program(), len(logits)
    backend = select_backend()
    shown, out = program.buffer(logits.shape[1]), program.buffer(logits.shape[1], "outputs")
    program.record(p.Embed(backend.matrix(DenseTensor("f32", logits)), shown))
    program.record(p.SelectOutputs(shown, out))
    program.logits = out
    executable = backend.compile(program, CacheShape(1, count, 1, 1, 1), Limits(count, count, count))
    rows = np.arange(count, dtype=np.int32)
    starts = np.arange(count + 1, dtype=np.int32)
    executable.run(Step(rows, np.zeros(count, np.int32), starts, rows[:, None], rows))
    return executable


@dataclass
class NothingRunner:
    """The same logits in every step, at no cost; they lie where a model's would."""

    vocab_size: int
    max_context: int = 8192
    num_blocks: int = 16384
    block_size: int = 16
    max_tokens: int = 8192
    max_sequences: int = 128
    max_outputs: int = 128
    logits: F32 = field(init=False)
    executable: Executable = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(0)
        self.logits = random.normal(0, 3, (self.max_outputs, self.vocab_size)).astype(np.float32)
        self.executable = native_logits(self.logits)

    def run(self, batch: Batch) -> F32:
        return self.logits[: batch.num_outputs]

    def choose(self, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | None]:
        return self.executable.choose(rows, draws, self.vocab_size)

    def score(self, rows: Sequence[int], numbers: Sequence[int]) -> list[Score]:
        return self.executable.score(rows, numbers, self.vocab_size)

    def load_adapter(self, adapter: str, packed: PackedAdapter) -> None:
        """Nothing to load."""

    def unload_adapter(self, adapter: str) -> None:
        """Nothing to unload."""


def microseconds_per_step(
    runner: NothingRunner, num_streams: int, sampling: SamplingParams, options: argparse.Namespace
) -> float:
    engine = Engine(runner)
    prompts = np.random.default_rng(1).integers(0, options.vocabulary, (num_streams, options.context))
    for prompt in prompts.tolist():
        engine.add(Request(prompt, sampling))
    while engine.scheduler.waiting or any(request.num_new > 1 for request in engine.scheduler.running):
        engine.step()
    mailboxes = {request_id: Mailbox() for request_id in engine.scheduler.requests}
    times = []
    for _ in range(options.steps):
        start = time.perf_counter()
        events = engine.step()
        deliver([(mailboxes[event.request_id], event) for event in events])
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
    runner = NothingRunner(options.vocabulary)
    rows = [
        {
            "sampling": name,
            **{
                str(n): round(microseconds_per_step(runner, n, sampling, options), 1) for n in options.streams
            },
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
