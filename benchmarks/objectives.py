"""What preferences and rewards teach a small model: DPO's margin and GRPO's reward, before and after.

    python benchmarks/objectives.py                  about six minutes on two cores
    python benchmarks/objectives.py --steps 4 --only grpo

Needs fairway[tune] and ../shared. Both runs are `fairway tune` as a user calls it. Preferences are those of
*Build a Large Language Model (from Scratch)* whose two answers differ, 100 of them held out; the reward wants
one sentence of at most twelve words, for the same instructions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.contest import commit  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.map.cpu import read_processor  # noqa: E402
from fairway.report.loss_chart import figure_chart  # noqa: E402

TRIPLES = ROOT.parent / "shared/data/text/finetune/instructions-rasbt/instruction-data-with-preference.json"
NUM_HELD_OUT = 100
REWARD = '''"""One sentence of at most twelve words."""


def brief(completions, **_):
    return [worth(each.strip()) for each in completions]


def worth(text):
    sentences, words = text.count("."), len(text.split())
    return 0.5 * (sentences == 1 and text.endswith(".")) + 0.5 * (2 < words <= 12)
'''
FLAGS: dict[str, tuple[str, ...]] = {
    "dpo": ("--learning-rate", "5e-4", "--lr-scheduler-type", "cosine", "--warmup-ratio", "0.1",
            "--num-train-epochs", "1", "--beta", "0.1"),
    "grpo": ("--learning-rate", "1e-3", "--lr-scheduler-type", "constant", "--max-steps", "60",
             "--num-generations", "8", "--per-device-train-batch-size", "16",
             "--gradient-accumulation-steps", "4", "--beta", "0.04", "--max-completion-length", "40",
             "--eval-steps", "20"),
}  # fmt: skip
SHOWN = {
    "dpo": ("loss", "rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected"),
    "grpo": ("reward", "reward_std", "kl", "completions/mean_length", "completions/clipped_ratio"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--only", choices=list(FLAGS))
    parser.add_argument("--steps", type=int, help="stop after so many updates")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    for objective in FLAGS if wanted.only is None else [wanted.only]:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            lines = trained(objective, wanted, Path(folder))
            told(objective, lines, time.monotonic() - start, wanted)


def trained(objective: str, wanted: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The figures of every update."""
    rows = [row for row in json.loads(TRIPLES.read_text("utf-8")) if row["chosen"] != row["rejected"]]
    make, flags = (row_of_dpo, FLAGS["dpo"]) if objective == "dpo" else (row_of_grpo, FLAGS["grpo"])
    files = [folder / "train.jsonl", folder / "held-out.jsonl"]
    for path, part in zip(files, (rows[:-NUM_HELD_OUT], rows[-NUM_HELD_OUT:]), strict=True):
        path.write_text("".join(json.dumps(make(row)) + "\n" for row in part), "utf-8")
    reward = folder / "reward.py"
    reward.write_text(REWARD, "utf-8")
    command = [sys.executable, "-m", "fairway", "tune", wanted.model, str(files[0]), "--validation",
               str(files[1]), "--out", str(folder / "run"), "--objective", objective, *flags]  # fmt: skip
    if objective == "grpo":
        command += ["--reward", f"{reward}:brief"]
    if wanted.steps is not None:
        command += ["--max-steps", str(wanted.steps)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(wanted.threads)})
    text = (folder / "run" / "metrics.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def row_of_dpo(row: Mapping[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("instruction", "input", "chosen", "rejected")}


def row_of_grpo(row: Mapping[str, str]) -> dict[str, str]:
    return {"prompt": "\n".join(filter(None, (row["instruction"], row["input"])))}


def told(
    objective: str, lines: Sequence[Mapping[str, Any]], seconds: float, wanted: argparse.Namespace
) -> None:
    tenth = max(1, len(lines) // 10)
    held_out = [line for line in lines if "held_out_loss" in line]
    rows = []
    for name in SHOWN[objective]:
        first, last = (sum(line[name] for line in part) / tenth for part in (lines[:tenth], lines[-tenth:]))
        measured = [line.get(f"held_out_{name}") for line in held_out[-1:]]
        rows.append(
            [name, f"{first:.3f}", f"{last:.3f}", f"{measured[0]:.3f}" if measured[0] is not None else ""]
        )
    head = ["figure", "first tenth of the updates", "last tenth", "held out, at the end"]
    about = {
        "date": now(), "machine": f"{read_processor(platform.system()).name}, {wanted.threads} thread",
        "python": platform.python_version(), "commit": commit(), "model": wanted.model,
        "updates": len(lines), "seconds": round(seconds),
        "flags": " ".join(FLAGS[objective]),
    }  # fmt: skip
    page = f"# {objective.upper()} on {wanted.model}\n\n{facts(about)}\n\n{table(head, rows)}\n"
    shown = "rewards/margins" if objective == "dpo" else "reward"
    points = [(line["step"], line[shown]) for line in lines]
    measured_points = [(line["step"], line[f"held_out_{shown}"]) for line in held_out]
    data = about | {"lines": list(lines)}
    path = save(
        wanted.results,
        f"objective-{objective}-{wanted.model}",
        data,
        page,
        figure_chart(shown, points, measured_points),
    )
    print(f"{page}\n{path}")


if __name__ == "__main__":
    main()
