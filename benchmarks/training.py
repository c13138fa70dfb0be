"""LoRA training beside transformers' Trainer with PEFT: tokens per second, peak memory, and the same loss.

    python benchmarks/training.py                              some minutes
    python benchmarks/training.py --shapes babyllama --steps 20 --rounds 1

Both learn the same rows in the same order with the same rank, rate and number of threads; a run is a
process of its own, turn about. Two kinds of rows: instructions as they come, of which Trainer pads each batch
to its longest, and texts that are all of one length. A rate counts tokens of rows, not padding, over the
updates after the first. TFLOP/s counts the products of the frozen matrices alone, forward and back: four
operations for each weight and token, in the output layer for each learned token.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE, words  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.environments import ensure_environment  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, SHAPES, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.converting import TOKENIZER, measured, with_tokenizer  # noqa: E402
from benchmarks.peers.protocol import Place  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.kernels.machine_limits import measure_limits  # noqa: E402
from fairway.models.families import read_config  # noqa: E402
from fairway.models.sizes import expected_tensors  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "text"
WORKERS = Path(__file__).with_name("workers")
OURS, THEIRS = "Fairway", "Trainer + PEFT"
PEER = ("torch==2.13.0", "transformers", "peft", "accelerate", "safetensors")
Rows = list[dict[str, list[int]]]


@dataclass
class Runs:
    """Of one program on one kind of rows."""

    rates: list[float] = field(default_factory=list)
    peaks_mib: list[float] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    operations_per_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """A model and what it learns, as files."""

    title: str
    model: Path
    data: Path
    recipe: Path
    folder: Path


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shapes", type=words, default=["babyllama", "qwen2.5-0.5b"], metavar="A,B", help=f"of {SHAPES}")
    add("--steps", type=int, default=12, help="updates of each run (default %(default)s)")
    add("--batch", type=int, default=8, help="rows of an update (default %(default)s)")
    add("--length", type=int, default=256, help="tokens of each text (default %(default)s)")
    add("--rank", type=int, default=8)
    add("--bf16", action="store_true", help="multiply in bfloat16, both")
    add("--rounds", type=int, default=2, help="turns of each (default %(default)s)")
    add("--layers", type=int, help="cut random shapes to so many layers, to try things out")
    add("--text", type=Path, default=DATA, help="folder with finetune/ and books/")
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def core_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return list(project["dependencies"])


def tasks(shape: str, args: argparse.Namespace, place: Place, folder: Path) -> Iterator[Task]:
    """Instructions as they come, and texts of one length."""
    model = model_of(shape, place.cache, args.layers).folder
    if shape in RANDOM:
        model = with_tokenizer(model, TOKENIZER, folder / shape)
    recipe = {
        "method": "lora", "r": args.rank, "lora_alpha": 2.0 * args.rank, "learning_rate": 2e-4, "seed": 1,
        "lr_scheduler_type": "constant", "max_steps": args.steps, "bf16": args.bf16,
        "per_device_train_batch_size": args.batch, "raw": True, "max_length": args.length,
        "too_long": "truncate",
    }  # fmt: skip
    for title, data in (("instructions", instructions(args.text)), (f"texts of {args.length}", texts(args))):
        place_of = folder / f"{shape}-{title.split()[0]}"
        place_of.mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in data)
        (place_of / "data.jsonl").write_text(lines, "utf-8")
        settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.items())
        (place_of / "recipe.toml").write_text(settings, "utf-8")
        yield Task(f"{shape}, {title}", model, place_of / "data.jsonl", place_of / "recipe.toml", place_of)


def instructions(folder: Path) -> list[dict[str, str]]:
    path = folder / "finetune" / "instructions-rasbt" / "instruction-data.json"
    rows = json.loads(path.read_text("utf-8"))
    return [
        {"prompt": f"{row['instruction']}\n{row['input']}\n", "completion": row["output"]} for row in rows
    ]


def texts(args: argparse.Namespace) -> list[dict[str, str]]:
    """More characters than the tokens that are kept of them, of a book."""
    book = min((args.text / "books").glob("*.md")).read_text("utf-8")
    size = 8 * args.length
    return [{"text": book[start : start + size]} for start in range(0, len(book) - size, size)]


def rows_of(task: Task, python: Path) -> Rows:
    out = task.folder / "rows.json"
    called([python, WORKERS / "tune_rows.py", task.model, task.data, task.recipe, out])
    rows: Rows = json.loads(out.read_text("utf-8"))
    return rows


def called(command: Sequence[object]) -> float:
    """Peak MiB of a process that must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(allowed_cores())}
    return measured(command, environment)[1]


def ours(task: Task, python: Path) -> tuple[Path, float]:
    out = task.folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    tune = [python, "-m", "fairway", "tune", task.model, task.data, "--out", out, "--recipe", task.recipe]
    return out / "metrics.jsonl", called(tune)


def theirs(task: Task, python: Path) -> tuple[Path, float]:
    out = task.folder / "theirs.jsonl"
    worker = WORKERS / "trainer_peft_worker.py"
    peak = called([python, worker, task.model, task.folder / "rows.json", task.recipe, out])
    return out, peak


def race(task: Task, args: argparse.Namespace, python: Path) -> dict[str, Runs]:
    rows = rows_of(task, python)
    updates = [rows[step * args.batch : (step + 1) * args.batch] for step in range(args.steps)]
    tokens = [sum(len(row["input_ids"]) for row in each) for each in updates]
    operations = sum(operations_of(task.model, each) for each in updates[1:])
    found = {OURS: Runs(), THEIRS: Runs()}
    for turn in range(args.rounds):
        for name, run in ((OURS, ours), (THEIRS, theirs)):
            say(f"{task.title}, round {turn + 1}: {name}")
            file, peak = run(task, python)
            lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            seconds = [line["seconds"] for line in lines]
            found[name].rates.append(sum(tokens[1:]) / sum(seconds[1:]))
            found[name].operations_per_s.append(operations / sum(seconds[1:]))
            found[name].peaks_mib.append(peak)
            found[name].losses.append([line["loss"] for line in lines])
    return found


def operations_of(model: Path, rows: Rows) -> float:
    """Of the matrices alone, in one update that changes none of them."""
    config = read_config(json.loads((model / "config.json").read_text("utf-8")))
    tensors = expected_tensors(config).values()
    linear = sum(each.num_elements for each in tensors if each.role == "linear")
    head = config.vocab_size * config.hidden_size if config.tied_embeddings else 0
    tokens = sum(len(row["input_ids"]) for row in rows)
    learned = sum(label >= 0 for row in rows for label in row["labels"][1:])
    return 4.0 * (tokens * linear + learned * head)


def page(results: Mapping[str, Mapping[str, Runs]], known: Mapping[str, Any]) -> str:
    parts = [f"# LoRA training, {known['date']}", facts(known)]
    head = ["", "tokens/s", "spread", "TFLOP/s", "peak memory", "first loss", "last loss"]
    for title, runs in results.items():
        rows = [
            [name, f"{statistics.median(each.rates):,.0f}", f"{min(each.rates):,.0f}-{max(each.rates):,.0f}",
             f"{statistics.median(each.operations_per_s) / 1e12:.3f}",
             f"{statistics.median(each.peaks_mib):,.0f} MiB", f"{each.losses[0][0]:.4f}",
             f"{each.losses[0][-1]:.4f}"]
            for name, each in runs.items()
        ]  # fmt: skip
        ratios = [a / b for a, b in zip(runs[OURS].rates, runs[THEIRS].rates, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        parts += [f"## {title}", table(head, rows),
                  f"{OURS} / {THEIRS}: {statistics.median(ratios):.2f} ({spread})."]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), allowed_cores())
    known: dict[str, Any] = {
        "date": now(), "updates": args.steps, "rows of an update": args.batch, "rank": args.rank,
        "multiplied in": "bfloat16" if args.bf16 else "float32",
        "CPU of others before": f"{busy_share():.0%}",
    }  # fmt: skip
    python = ensure_environment(place.environment("training"), [*PEER, *core_requirements()])
    results: dict[str, dict[str, Runs]] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="training-", dir=place.cache) as folder:
        for shape in args.shapes:
            for task in tasks(shape, args, place, Path(folder)):
                results[task.title] = race(task, args, python)
    limits = measure_limits()
    limit = limits.bf16_ops_per_s if args.bf16 else limits.f32_ops_per_s
    known |= machine(place) | {"limit of products": f"{(limit or 0) / 1e12:.2f} TFLOP/s"}
    known |= {"minutes": f"{(time.monotonic() - began) / 60:.0f}"}
    rates = {f"{task}: {name}": statistics.median(each.rates) for task, runs in results.items()
             for name, each in runs.items()}  # fmt: skip
    figures = {task: {name: vars(each) for name, each in runs.items()} for task, runs in results.items()}
    name = "-".join(["training", *args.shapes] + ["bf16"] * args.bf16)
    save(
        args.results,
        name,
        known | {"results": figures},
        page(results, known),
        bars("LoRA: tokens per second", rates),
    )
    print(page(results, known))


if __name__ == "__main__":
    main()
