"""What LoRA adapters cost beside the base alone: many in one batch, one for everyone, none at all.

    python benchmarks/adapters.py                        about two minutes
    python benchmarks/adapters.py --shape tiny --rounds 2 --steps 4

One engine, random weights, random adapters on every linear layer. In every round each way takes its turn,
and its rate is divided by the base's in the same round. "no adapters recorded" is a program that takes
none, over the same weights: what the possibility alone costs.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.contest import commit  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.engine.engine import Engine  # noqa: E402
from fairway.engine.request import Request  # noqa: E402
from fairway.engine.sampling_params import SamplingParams  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.kernels.lora import adaptable  # noqa: E402
from fairway.kernels.program import Delta, Limits, Linear, Program  # noqa: E402
from fairway.map.cpu import read_processor  # noqa: E402
from fairway.map.random_models import PREFIX, SHAPES, random_model  # noqa: E402
from fairway.models.loader import Model  # noqa: E402
from fairway.runtimes.loading import Loaded, NativeOptions, load_engine  # noqa: E402
from fairway.runtimes.model_runner import ModelRunner  # noqa: E402
from fairway.tensors import DenseTensor  # noqa: E402

PROMPT = 128
BLOCK = 16
BASE = "base alone"


@dataclass
class Way:
    """One way to run the work, and its rate in every round."""

    engine: Engine
    adapters: Sequence[str]
    """Of the sequences, in turn."""
    rates: list[float] = field(default_factory=list)


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shape", choices=list(SHAPES), default="qwen2.5-0.5b", help="of the model (default %(default)s)")
    add("--weights", default="int4", help="default %(default)s")
    add("--adapters", type=int, default=8, help="default %(default)s")
    add("--rank", type=int, default=16, help="default %(default)s")
    add("--batches", default="32,1", help="sequences at once (default %(default)s)")
    add("--steps", type=int, default=24, help="of decoding in each turn (default %(default)s)")
    add("--rounds", type=int, default=15, help="default %(default)s")
    add("--threads", type=int, default=allowed_cores(), help="default: allowed cores")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def loaded_model(args: argparse.Namespace, batches: Sequence[int]) -> Loaded:
    """Room for every way's prompts at once, so that each is read only in the first round."""
    blocks = 4 * sum(batches) * -(-(PROMPT + args.steps + 2) // BLOCK)
    options = NativeOptions(
        name=args.shape,
        weight_type=args.weights,
        context=PROMPT + args.steps + 2,
        kv_type="f16",
        num_blocks=blocks,
        block_size=BLOCK,
        threads=args.threads,
        max_sequences=max(batches),
        max_loras=args.adapters,
        max_lora_rank=args.rank,
    )
    return load_engine(random_model(PREFIX + args.shape), options)


def random_deltas(program: Program, rank: int, seed: int) -> dict[str, Delta]:
    dice = np.random.default_rng(seed)

    def values(*shape: int) -> DenseTensor:
        return DenseTensor("f32", dice.standard_normal(shape, np.float32) * np.float32(0.02))

    return {
        part.name: Delta(values(rank, linear.x.width), values(part.width, rank), 2.0)
        for linear in adaptable(program.operations)
        for part in linear.lora
    }


def load_adapters(loaded: Loaded, count: int, rank: int) -> tuple[list[str], int]:
    """Their identities, and the bytes of one."""
    names, num_bytes = [f"adapter {number}" for number in range(count)], 0
    for seed, name in enumerate(names):
        packed = loaded.runner.pack_adapter(random_deltas(loaded.model.program, rank, seed))
        loaded.engine.adapters.load(name, packed)
        num_bytes = packed.num_bytes
    return names, num_bytes


def without_adapters(loaded: Loaded) -> Engine:
    """An engine of its own over the same weights, recorded as if there were no adapters."""
    model, options = loaded.model, loaded.options
    operations = [replace(o, lora=()) if isinstance(o, Linear) else o for o in model.program.operations]
    plain: Model = replace(model, program=replace(model.program, operations=operations))
    limits = Limits(options.max_tokens_per_step, options.max_sequences, options.max_sequences)
    return Engine(ModelRunner(plain, plain.cache_shape(options.num_blocks, BLOCK), limits))


def decoding_rate(way: Way, batch: int, steps: int) -> float:
    """Tokens per second once everyone has a first token."""
    sampling = SamplingParams(temperature=0.0, max_tokens=steps + 2, ignore_eos=True)
    dice = np.random.default_rng(batch)
    waiting = set()
    for number in range(batch):
        adapter = way.adapters[number % len(way.adapters)]
        request = Request(dice.integers(0, 1000, PROMPT).tolist(), sampling, adapter=adapter)
        way.engine.add(request)
        waiting.add(request.id)
    while waiting:
        waiting -= {event.request_id for event in way.engine.step()}
    start = time.perf_counter()
    for _ in range(steps):
        way.engine.step()
    rate = batch * steps / (time.perf_counter() - start)
    for request_id in list(way.engine.scheduler.requests):
        way.engine.abort(request_id)
    return rate


def measure(ways: Mapping[str, Way], batch: int, args: argparse.Namespace) -> dict[str, list[float]]:
    """Rates by way and round; the order turns round from round to round."""
    for way in ways.values():
        decoding_rate(way, batch, 2)
    for number in range(args.rounds):
        order = list(ways.values())
        for way in order if number % 2 == 0 else reversed(order):
            way.rates.append(decoding_rate(way, batch, args.steps))
    return {name: way.rates for name, way in ways.items()}


def ratios(rates: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Each way's rate over the base's of the same round."""
    return {name: [a / b for a, b in zip(each, rates[BASE], strict=True)] for name, each in rates.items()}


def spread(values: Sequence[float]) -> str:
    """Median and the middle half."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def page(found: Mapping[int, Mapping[str, Sequence[float]]], known: Mapping[str, Any]) -> str:
    parts = [f"# Adapters beside the base alone, {known['model']}, {known['date']}", facts(known)]
    for batch, rates in found.items():
        shares = ratios(rates)
        rows = [
            [name, f"{statistics.median(each):.1f}", spread(shares[name])] for name, each in rates.items()
        ]
        parts += [f"## Batch of {batch}", table(["", "tokens/s", "of the base alone, middle half"], rows)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    args = arguments()
    batches = [int(batch) for batch in args.batches.split(",")]
    known: dict[str, Any] = {"date": now(), "model": args.shape, "weights": args.weights}
    known["CPU of others before"] = f"{busy_share() or 0:.0%}"
    loaded = loaded_model(args, batches)
    names, num_bytes = load_adapters(loaded, args.adapters, args.rank)
    known |= {
        "adapters": args.adapters,
        "rank": args.rank,
        "an adapter in memory": f"{num_bytes / 1e6:.1f} MB",
    }
    known |= {"rounds": args.rounds, "decoding": f"{args.steps} steps after {PROMPT} tokens"}
    plain, found = without_adapters(loaded), {}
    for batch in batches:
        ways = {
            BASE: Way(loaded.engine, [""]),
            f"{min(batch, args.adapters)} adapters": Way(loaded.engine, names),
            "one adapter for all": Way(loaded.engine, names[:1]),
            "no adapters recorded": Way(plain, [""]),
        }
        found[batch] = measure(ways, batch, args)
    known |= {"processor": read_processor(platform.system()).name, "threads": args.threads}
    known["Fairway's commit"] = commit()
    shown = page(found, known)
    widest = {name: statistics.median(each) for name, each in ratios(found[batches[0]]).items()}
    picture = bars(f"Decoding, batch of {batches[0]}: share of the base alone", widest, "{:.2f}")
    save(args.results, f"adapters-{args.shape}", known | {"rates": found}, shown, picture)
    print(shown)


if __name__ == "__main__":
    main()
