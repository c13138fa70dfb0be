"""Draw the loss curve of both passes from their logs.

python -m recipes.builtin_model.plot --work WORK_FOLDER --out docs/images/builtin-model-loss.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

SMOOTHING = 20


def read_log(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def smoothed(values: list[float]) -> np.ndarray:
    """Mean over the last SMOOTHING values, fewer at the start."""
    sums = np.cumsum([0.0, *values])
    stops = np.arange(1, len(values) + 1)
    starts = np.maximum(0, stops - SMOOTHING)
    return (sums[stops] - sums[starts]) / (stops - starts)


def draw_pretraining(axes: Axes, lines: list[dict[str, float]]) -> None:
    """Loss over tokens, a mark where windows grow, and the judgements on held-out books."""
    tokens = [line["tokens"] / 1e6 for line in lines]
    losses = [line["loss"] for line in lines]
    axes.plot(tokens, losses, color="#c8d3e0", linewidth=0.6)
    axes.plot(tokens, smoothed(losses), color="#1f4e79", label="training loss")
    for before, after in itertools.pairwise(lines):
        if after["length"] != before["length"]:
            axes.axvline(after["tokens"] / 1e6, color="#999999", linestyle=":", linewidth=0.8)
            axes.annotate(
                f" windows of {after['length']}", (after["tokens"] / 1e6, 5.0), rotation=90, fontsize=8
            )
    axes.set(xlabel="tokens (millions)", ylabel="nats per token", ylim=(3.0, 6.5), title="Pre-training")
    judged = [line for line in lines if "books_bits_per_byte" in line]
    right = axes.twinx()
    right.plot(
        [line["tokens"] / 1e6 for line in judged],
        [line["books_bits_per_byte"] for line in judged],
        "o-",
        color="#c0504d",
        label="held-out books (sample)",
    )
    right.set(ylabel="bits per byte", ylim=(1.4, 2.4))
    handles = axes.get_lines()[1:2] + right.get_lines()
    axes.legend(handles=handles, loc="lower left")


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
    draw_pretraining(left, read_log(args.work / "pretrain.jsonl"))
    draw_instruction(right, read_log(args.work / "instruct.jsonl"))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
