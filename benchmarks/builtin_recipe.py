"""The built-in model's pre-training by `fairway tune`, beside transformers and the trainer that made it.

    python benchmarks/builtin_recipe.py --work WORK                300 updates of each, an hour on two cores
    python benchmarks/builtin_recipe.py --work WORK --before main --steps 100
    python benchmarks/builtin_recipe.py --work WORK --show         the page of what is there; runs nothing

WORK is what `python -m recipes.builtin_model.prepare` made; needs torch 2.9 and transformers. All begin
with the same weights and learn the same windows at the same rates, through all three lengths. `--before
COMMIT` runs the recipe's own trainer too, from a commit that still has it. Of what was killed, `fairway tune`
goes on and the others begin again; what is whole stays.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from recipes.builtin_model.settings import RECIPE_FILE  # noqa: E402

from benchmarks.comparison.contest import commit  # noqa: E402
from benchmarks.workloads.chart import lines  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.map.cpu import read_processor  # noqa: E402

WORKERS = Path(__file__).with_name("workers")
OURS, THEIRS, BEFORE = "fairway tune", "transformers", "the recipe's own trainer"
DECAYED = 0.6
"""Share of the updates that decay, as in pretrain.toml."""
SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 150, 200, 250, 300)
Losses = Mapping[str, Sequence[float]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder of recipes.builtin_model.prepare")
    add("--out", type=Path, help="folder of the runs (default WORK/compared)")
    add("--steps", type=int, default=300, help="updates of each (default %(default)s)")
    add("--before", metavar="COMMIT", help="run that commit's own trainer too")
    add("--show", action="store_true", help="run nothing")
    add("--results", type=Path, default=RESULTS, help="where the page goes (default %(default)s)")
    return parser.parse_args()


def write_recipe(path: Path, steps: int) -> None:
    """pretrain.toml, with all of its schedule in fewer updates."""
    changed = {
        "max_steps": str(steps),
        "lr_scheduler_kwargs": f'{{ num_decay_steps = {round(DECAYED * steps)}, decay_type = "linear" }}',
        "eval_steps": str(max(1, steps // 3)),
        "save_seconds": "60",
    }
    kept = [
        f"{name} = {changed[name]}" if (name := line.split(" =")[0]) in changed else line
        for line in RECIPE_FILE.with_name("pretrain.toml").read_text("utf-8").splitlines()
    ]
    path.write_text("\n".join(kept) + "\n", "utf-8")


def run_all(work: Path, out: Path, before: str | None, steps: int) -> None:
    """One after the other; those that are whole already stay."""
    out.mkdir(parents=True, exist_ok=True)
    recipe, weights, windows = out / "recipe.toml", out / "weights.npz", out / "windows.npz"
    model, data = work / "scratch", work / "text.jsonl"
    if not windows.exists():
        write_recipe(recipe, steps)
        call(WORKERS / "recipe_windows.py", model, data, recipe, weights, windows)
    if len(losses_of(out / "run" / "metrics.jsonl")) < steps:
        begun = (out / "run" / "run.json").exists()
        how = ["--resume"] if begun else ["--recipe", recipe]
        held_out = ["--validation", work / "held-out.jsonl"]
        call("-m", "fairway", "tune", model, data, *held_out, "--out", out / "run", *how)
    if len(losses_of(out / "transformers.jsonl")) < steps:
        files = (model / "config.json", weights, windows, recipe, out / "transformers.jsonl")
        call(WORKERS / "recipe_transformers.py", *files)
    if before is not None and len(losses_of(out / "before.jsonl")) < steps:
        check_out(before, out / "before")
        files = (out / "before", weights, windows, recipe, out / "before.jsonl")
        call(WORKERS / "recipe_before.py", *files)


def call(*command: object) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, *map(str, command)], env=environment, check=True)


def check_out(revision: str, folder: Path) -> None:
    """The recipes of a commit."""
    git = ["git", "-C", str(ROOT), "archive", revision, "recipes"]
    archive = subprocess.run(git, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(folder, filter="data")


def losses_of(path: Path) -> list[float]:
    if not path.exists():
        return []
    return [json.loads(line)["loss"] for line in path.read_text("utf-8").splitlines() if line.endswith("}")]


def found(out: Path) -> dict[str, list[float]]:
    files = {
        OURS: out / "run" / "metrics.jsonl",
        THEIRS: out / "transformers.jsonl",
        BEFORE: out / "before.jsonl",
    }
    return {name: losses for name, path in files.items() if (losses := losses_of(path))}


def page(losses: Losses, known: Mapping[str, object]) -> str:
    names = list(losses)
    rows = [
        [str(step), *(f"{losses[name][step - 1]:.4f}" if step <= len(losses[name]) else "" for name in names)]
        for step in sorted({*SHOWN, *map(len, losses.values())})
        if step <= max(map(len, losses.values()))
    ]
    parts = [
        f"# The built-in model's recipe by `fairway tune`, {known['date']}",
        facts(known),
        "Loss of an update, in nats per token:",
        table(["update", *names], rows),
        "How far the loss of an update is from that of `fairway tune`, as a mean over updates:",
        table(["", "of the first 5", "of 20", "of all", "mean loss of the last 20 in common", "fairway tune"],
              [difference(losses, name) for name in names[1:]]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def difference(losses: Losses, name: str) -> list[str]:
    pairs = list(zip(losses[OURS], losses[name], strict=False))
    apart = [abs(ours - theirs) for ours, theirs in pairs]
    means = [f"{statistics.fmean(apart[:count]):.4f}" for count in (5, 20, len(apart))]
    last = pairs[-20:]
    return [f"{name}, {len(pairs)} updates", *means, f"{statistics.fmean(theirs for _, theirs in last):.4f}",
            f"{statistics.fmean(ours for ours, _ in last):.4f}"]  # fmt: skip


def main() -> None:
    args = arguments()
    out = args.out or args.work / "compared"
    if not args.show:
        run_all(args.work, out, args.before, args.steps)
    losses = found(out)
    known = {
        "date": now(), "commit": commit(), "processor": read_processor(platform.system()).name,
        "tokens of an update": "8,192", "updates of the schedule": args.steps,
        "updates done": ", ".join(f"{name} {len(each)}" for name, each in losses.items()),
        "recipe": "`recipes/builtin_model/pretrain.toml`, its schedule in fewer updates",
    }  # fmt: skip
    curves = {name: [(at, each[at - 1]) for at in SHOWN if at <= len(each)] for name, each in losses.items()}
    picture = lines("Loss", "updates", curves)
    print(save(args.results, "builtin-recipe", known | {"losses": losses}, page(losses, known), picture))


if __name__ == "__main__":
    main()
