"""What `fairway plan` predicts beside what is then measured: resident memory, file sizes, speed.

    python benchmarks/plan_accuracy.py memory            every combination in a process of its own
    python benchmarks/plan_accuracy.py sizes
    python benchmarks/plan_accuracy.py speed             on a quiet machine; limits are measured first
    python benchmarks/plan_accuracy.py unseen            speed of what the shares in engines.toml never saw
    python benchmarks/plan_accuracy.py table             writes benchmarks/results/plan-accuracy.md

Models: the built-in one, ../shared/data/models, those that benchmarks/compare.py made (random weights), and
for `unseen` shapes of other families (random weights, in memory).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.plan_cases import ADAPTER_RANK, CASES, SHAPES, Case
from fairway.convert.hops import prepare
from fairway.convert.settings import ConvertSettings
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.formats.bundle import Bundle
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.kernels.lora import adaptable
from fairway.kernels.machine_limits import QUICK_PASSES, MachineLimits, measure_limits
from fairway.kernels.program import Program
from fairway.map.compare import foretold
from fairway.map.known_limits import measure_and_keep
from fairway.map.measure import Prompts, Workload, measure_engine
from fairway.map.plan import Plan
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.random_models import served_random
from fairway.map.settings import PlanSettings
from fairway.map.speed import Load, Silicon
from fairway.registry.resolve import BUILTIN_FOLDER
from fairway.runtimes.adapters import opener
from fairway.runtimes.heap import release_unused
from fairway.runtimes.loading import Loaded, load_engine
from fairway.tensors import DenseTensor

RESULTS = Path(__file__).parent / "results"
MEASURED = Path("~/.cache/fairway-benchmarks/plan-accuracy").expanduser()
MADE = Path("~/.cache/fairway-benchmarks/models").expanduser()
SHARED = Path(__file__).parents[2] / "shared/data/models"
MODELS = {
    "builtin": BUILTIN_FOLDER,
    "stories260k": SHARED / "stories260k",
    "babyllama": SHARED / "babyllama",
    "qwen2.5-0.5b": MADE / "qwen2.5-0.5b/huggingface",
    "qwen2.5-0.5b Q4_K_M": MADE / "qwen2.5-0.5b/Q4_K_M.gguf",
    "qwen2.5-0.5b Q8_0": MADE / "qwen2.5-0.5b/Q8_0.gguf",
    "qwen2.5-1.5b": MADE / "qwen2.5-1.5b/huggingface",
}
SIZE_TYPES = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q2_K")


WRITTEN = 32
"""Tokens of each answer in a measurement of speed."""
REPEATS = {"builtin": 25, "babyllama": 25}
"""Of models whose turns last milliseconds; three of others."""
TURNS = 4
SIDES = ("prefill", "decode")
BAND = 0.2
"""What the plan says of its own predictions."""
STEADY = 1.1
"""The machine's limits may change by so much while a case is measured."""


def planned(case: Case) -> tuple[Bundle, Plan]:
    """Just as much cache as the case fills."""
    shape = SHAPES.get(case.model)
    bundle = open_bundle(MODELS[case.model]) if shape is None else served_random(shape)
    settings = PlanSettings(
        weights=case.weights,
        context=case.context,
        kv=case.kv,
        max_sequences=case.batch,
        kv_share=1.0,
        adapters=case.adapters,
        adapter_rank=ADAPTER_RANK,
    )
    return bundle, plan(bundle, probe(), settings)


def measure_memory(case: Case) -> dict[str, Any]:
    import fairway.console.pages
    import fairway.server.run  # noqa: F401  a server's memory is counted

    bundle, decided = planned(case)
    loaded = load_engine(bundle, decided.native_options("measured"))
    adapters = load_adapters(loaded, case.adapters) or [""]
    release_unused()
    random = np.random.default_rng(0)
    for number in range(case.batch):
        ids = random.integers(0, loaded.model.vocab_size, case.context - 2).tolist()
        sampling = SamplingParams(temperature=0.0, max_tokens=2, ignore_eos=True)
        loaded.engine.add(Request(ids, sampling, adapter=adapters[number % len(adapters)]))
    while loaded.engine.has_work:
        loaded.engine.step()
    resident = psutil.Process().memory_info().rss
    return {"predicted": decided.need.total_bytes, "measured": resident}


def load_adapters(loaded: Loaded, count: int) -> list[str]:
    """Random ones, read from PEFT's folders as any other; their names."""
    open_one = opener(loaded.bundle.config, loaded.model, loaded.runner.pack_adapter, ADAPTER_RANK)
    names = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            write_peft(random_adapter(loaded.model.program, number), Path(folder))
            opened = open_one(Path(folder))
        loaded.engine.adapters.load(opened.adapter.digest, opened.packed)
        names.append(opened.adapter.digest)
    return names


def random_adapter(program: Program, seed: int) -> Adapter:
    random, layers = np.random.default_rng(seed), {}
    for linear in adaptable(program.operations):
        for part in linear.lora:
            a = random.standard_normal((ADAPTER_RANK, linear.x.width), np.float32) / 100
            b = random.standard_normal((part.width, ADAPTER_RANK), np.float32) / 100
            layers[part.name] = LoraLayer(DenseTensor("f32", a), DenseTensor("f32", b), ADAPTER_RANK)
    return Adapter(f"random-{seed}", None, layers)


def measure_speed(case: Case) -> dict[str, Any]:
    """The machine's limits are measured before and after, and their mean predicts; a turn during which the
    machine itself changed by more than a tenth (neighbours) is taken again, four times at most."""
    bundle, decided = planned(case)
    loaded = load_engine(bundle, decided.native_options("measured"))
    prompt = case.context - WRITTEN
    work, prompts = Workload(prompt, WRITTEN, case.batch), Prompts(loaded.model.vocab_size)
    measure_engine(loaded.engine, Workload(min(prompt, 64), 4, 1), prompts)
    for turn in range(1, TURNS + 1):
        before = measure_and_keep(probe())
        seen = [measure_engine(loaded.engine, work, prompts) for _ in range(REPEATS.get(case.model, 3))]
        after = measure_limits(passes=QUICK_PASSES)
        if is_steady(before.limits, after) or turn == TURNS:
            break
    limits = before.limits.mean(after)
    silicon = replace(before, limits=limits).silicon()
    predicted = foretold(bundle, decided, Load(prompt, WRITTEN, case.batch), silicon)
    return {
        "prefill": {
            "predicted": predicted.prefill_tokens_per_s,
            "measured": median(rates.prefill for rates in seen),
        },
        "decode": {
            "predicted": predicted.decode_tokens_per_s,
            "measured": median(rates.decode for rates in seen),
        },
        "silicon": asdict(silicon),
        "memory_gb_s": limits.memory_bytes_per_s / 1e9,
        "int8_tops": limits.int8_ops_per_s / 1e12,
        "turns": turn,
        "is_steady": is_steady(before.limits, after),
    }


def is_steady(before: MachineLimits, after: MachineLimits) -> bool:
    ratios = (
        after.memory_bytes_per_s / before.memory_bytes_per_s,
        after.int8_ops_per_s / before.int8_ops_per_s,
    )
    return all(1 / STEADY < ratio < STEADY for ratio in ratios)


def measure_sizes() -> Iterator[dict[str, Any]]:
    """Predicted from headers alone; written by `fairway convert`, without proof, and removed."""
    for model in ("builtin", "babyllama", "qwen2.5-0.5b"):
        bundle = open_bundle(MODELS[model])
        for kind in SIZE_TYPES:
            out = MEASURED / "size.gguf"
            settings = ConvertSettings(to="gguf", type=kind, out=out, force=True)
            try:
                conversion = prepare(bundle, settings)
            except Exception as error:  # noqa: BLE001  rows too short for a type: said, not measured
                print(f"{model} {kind}: {error}")
                continue
            words = ["convert", str(MODELS[model]), "--to", "gguf", "--type", kind, "--out", str(out)]
            done = subprocess.run(
                [sys.executable, "-m", "fairway", *words, "--force", "--accept", "measuring sizes"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if not out.is_file():
                print(f"{model} {kind}: {done.stderr.strip()[:200]}")
                continue
            written = out.stat().st_size
            out.unlink()
            yield {"model": model, "type": kind, "predicted": conversion.num_bytes, "measured": written}


def once(kind: str, index: int) -> None:
    """One case in this process."""
    measure = measure_memory if kind == "memory" else measure_speed
    print(json.dumps(measure(CASES[kind][index])))


def run(kind: str, only: str) -> None:
    """All cases whose name holds `only`, each in a process of its own; memory twice, so that packed
    weights are mapped as they are from the second start on."""
    for index, case in enumerate(CASES[kind]):
        if only not in case.name:
            continue
        words = [sys.executable, __file__, kind, "--once", str(index)]
        for _ in range(2 if kind == "memory" and "1.5b" in case.model else 1):
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        keep(f"{kind}-{index}", asdict(case) | found)
        print(case.name, found, flush=True)


def keep(name: str, row: dict[str, Any]) -> None:
    MEASURED.mkdir(parents=True, exist_ok=True)
    (MEASURED / f"{name}.json").write_text(json.dumps(row))


def kept(kind: str) -> list[dict[str, Any]]:
    paths = sorted(MEASURED.glob(f"{kind}-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    return [json.loads(path.read_text()) for path in paths]


def limits_of(row: dict[str, Any]) -> str:
    unsteady = "" if row["is_steady"] else " ~"
    return f"{row['memory_gb_s']:.0f} GB/s, {row['int8_tops']:.2f} TOPS{unsteady}"


def adapters_of(row: dict[str, Any]) -> str:
    count = row.get("adapters", 0)
    return f", {count} adapters of rank {ADAPTER_RANK}" if count else ""


def foretold_again(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what today's estimator says, from the limits that were measured with it."""
    case = Case(row["model"], row["weights"], row["context"], row["batch"], row["kv"])
    bundle, decided = planned(case)
    silicon = Silicon(**row["silicon"])
    speed = foretold(bundle, decided, Load(case.context - WRITTEN, WRITTEN, case.batch), silicon)
    prefill = row["prefill"] | {"predicted": speed.prefill_tokens_per_s}
    decode = row["decode"] | {"predicted": speed.decode_tokens_per_s}
    return row | {"prefill": prefill, "decode": decode}


def difference(row: dict[str, Any]) -> str:
    return f"{row['predicted'] / row['measured'] - 1:+.1%}"


def speed_table(kind: str) -> list[str]:
    """How near the predictions are, in a sentence and row by row."""
    rows = [foretold_again(row) for row in kept(kind)]
    cells = [
        (row, what, row[what]["predicted"] / row[what]["measured"] - 1) for row in rows for what in SIDES
    ]
    return [
        summary([apart for _, _, apart in cells]),
        "",
        "| model | weights | requests x tokens | cache | limits | what | predicted | measured | difference |",
        "|---|---|---:|---|---|---|---:|---:|---:|",
        *(
            f"| {row['model']} | {row['weights']} | {row['batch']} x {row['context']} | {row['kv']} "
            f"| {limits_of(row)} | {what} "
            f"| {row[what]['predicted']:.4g} | {row[what]['measured']:.4g} | {apart:+.1%} |"
            for row, what, apart in cells
        ),
    ]


def summary(apart: Sequence[float]) -> str:
    within = sum(abs(each) <= BAND for each in apart)
    return (
        f"Half of them are within {median(map(abs, apart)):.0%}, {within} of {len(apart)} within {BAND:.0%}, "
        f"and the farthest is {max(apart, key=abs):+.0%} off."
    )


def table() -> str:
    machine = probe()
    lines = [
        "# Predicted and measured",
        "",
        f"`benchmarks/plan_accuracy.py` on {machine.processor}, {machine.num_cores} cores, native engine.",
        "",
        "## Resident memory, with the cache full",
        "",
        "| model | weights | requests x tokens | cache | predicted, MB | measured, MB | difference |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row['model']}{adapters_of(row)} | {row['weights']} | {row['batch']} x {row['context']} "
        f"| {row['kv']} | {row['predicted'] / 1e6:.1f} | {row['measured'] / 1e6:.1f} | {difference(row)} |"
        for row in kept("memory")
    ]
    lines += ["", "## Files", "", "| model | type | predicted, bytes | written, bytes | difference |"]
    lines += ["|---|---|---:|---:|---:|"]
    lines += [
        f"| {row['model']} | {row['type']} | {row['predicted']:,} | {row['measured']:,} "
        f"| {row['predicted'] / row['measured'] - 1:+.3%} |"
        for row in kept("sizes")
    ]
    lines += [
        "",
        "## Speed, tokens per second of the whole batch",
        "",
        "Limits: the mean of what was measured just before and just after. A case during which they changed",
        f"by more than a tenth (the machine is shared) was measured again, {TURNS} times at most; ~: it",
        "never stood still. Single turns were up to 47 % off where neighbours changed the machine.",
        "",
        "### What the shares never saw",
        "",
        "Other shapes, contexts and batches, measured once after the shares in engines.toml had been set.",
        *speed_table("unseen"),
        "",
        "### What the shares were set with",
        *speed_table("speed"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("what", choices=("memory", "sizes", "speed", "unseen", "table"))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once is not None:
        once(args.what, args.once)
    elif args.what == "sizes":
        for index, row in enumerate(measure_sizes()):
            keep(f"sizes-{index}", row)
            print(row, flush=True)
    elif args.what == "table":
        (RESULTS / "plan-accuracy.md").write_text(table(), "utf-8")
    else:
        run(args.what, args.only)


if __name__ == "__main__":
    main()
