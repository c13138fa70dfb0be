"""Draw the loss curve of both passes from the folders that fairway tune left.

python -m recipes.builtin_model.plot --work WORK_FOLDER --out docs/images/builtin-model-loss.png
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from fairway.tune.recipe import FILE_NAME, Recipe, read_recipe
from fairway.tune.run_folder import METRICS

SMOOTHING = 20


def read_log(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def smoothed(values: list[float]) -> np.ndarray:
    """Mean over the last SMOOTHING values, fewer at the start."""
    sums = np.cumsum([0.0, *values])
    stops = np.arange(1, len(values) + 1)
    starts = np.maximum(0, stops - SMOOTHING)
    return (sums[stops] - sums[starts]) / (stops - starts)


def draw_pretraining(axes: Axes, lines: list[dict[str, float]], recipe: Recipe) -> None:
    """Loss over tokens, a mark where windows grow, and the losses of held-out books."""
    tokens = np.cumsum([line["num_tokens"] for line in lines]) / 1e6
    losses = [line["loss"] for line in lines]
    axes.plot(tokens, losses, color="#c8d3e0", linewidth=0.6)
    axes.plot(tokens, smoothed(losses), color="#1f4e79", label="training loss")
    for share, length in growing(recipe):
        at = tokens[-1] * share
        axes.axvline(at, color="#999999", linestyle=":", linewidth=0.8)
        axes.annotate(f" windows of {length}", (at, 5.0), rotation=90, fontsize=8)
    measured = [(at, line["held_out_loss"]) for at, line in zip(tokens, lines, strict=True)
                if "held_out_loss" in line]  # fmt: skip
    axes.plot(*zip(*measured, strict=True), "o-", color="#c0504d", label="held-out books (sample)")
    axes.set(xlabel="tokens (millions)", ylabel="nats per token", ylim=(3.0, 6.5), title="Pre-training")
    axes.legend(loc="lower left")


def growing(recipe: Recipe) -> list[tuple[float, int | None]]:
    """(share of the updates, length) of every stage but the first."""
    lengths = (*recipe.stage_lengths, recipe.max_length)
    return list(zip(np.cumsum(recipe.stage_shares).tolist(), lengths[1:], strict=True))


def draw_instruction(axes: Axes, lines: list[dict[str, float]]) -> None:
    losses = [line["loss"] for line in lines]
    axes.plot(losses, color="#c8d3e0", linewidth=0.6)
    axes.plot(smoothed(losses), color="#1f4e79")
    top = math.ceil(max(losses) * 2) / 2
    axes.set(xlabel="steps", ylabel="nats per learned token", ylim=(None, top), title="Instruction pass")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(10, 4), width_ratios=(2.4, 1), layout="constrained"
    )
    pretrain, instruct = args.work / "pretrain", args.work / "instruct"
    draw_pretraining(left, read_log(pretrain / METRICS), read_recipe(pretrain / FILE_NAME, {}))
    draw_instruction(right, read_log(instruct / METRICS))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
