"""Kills a training run at random moments, resumes it, and compares the adapter with that of a run left alone.

    python benchmarks/kill_training.py --kills 200 --out benchmarks/results/DATE-kill-training.json

Needs fairway[tune]. Every process is killed with SIGKILL after a random part of the time that a run needs, so
that kills hit loading, updates, checkpoints and the end alike. They are forked from one that has imported
PyTorch and computed nothing: imports leave nothing to be damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

STEPS = 12
FLAGS = ("--max-steps", str(STEPS), "--save-steps", "1", "--r", "4", "--lora-dropout", "0.1")
SAID = "said.txt"
FIRST, LOADING, WHOLE = "before the first update", "while it went on", "not at all"
FILES = ("adapter_model.safetensors", "adapter_config.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Write the figures here, as JSON.")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(wanted.model, wanted.kills, random.Random(wanted.seed), Path(folder))
    print(json.dumps(found, indent=1))
    if wanted.out is not None:
        wanted.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def kill_often(model: str, num_kills: int, chance: random.Random, folder: Path) -> dict[str, Any]:
    data = folder / "facts.jsonl"
    rows = [{"prompt": f"What is {at} and one?", "completion": f"It is {at + 1}."} for at in range(16)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    begun = time.monotonic()
    wait(process(model, data, folder / "whole", FLAGS), None)
    moments_of = Moments(chance, time.monotonic() - begun)
    moments: Counter[str] = Counter()
    runs = 0
    while moments.total() < num_kills:
        runs += 1
        moments += killed_run(model, data, folder / f"run-{runs}", (moments_of, num_kills - moments.total()))
        for name in FILES:
            found, expected = (folder / each / "adapter" / name for each in (f"run-{runs}", "whole"))
            if found.read_bytes() != expected.read_bytes():
                raise SystemExit(
                    f"After {moments.total()} kills {name} differs from the run that was left alone."
                )
        print(f"{moments.total()} kills, {runs} runs: equal; {dict(moments)}", flush=True)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "model": model,
        "flags": " ".join(FLAGS),
        "kills": moments.total(),
        "killed": dict(moments.most_common()),
        "runs": runs,
        "runs_equal_to_the_one_left_alone": runs,
        "seconds_of_a_run": round(moments_of.seconds, 1),
        "seconds": round(time.monotonic() - begun),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
    }


class Moments:
    """When to kill: within the time that a run needs, which changes with what else the machine does."""

    def __init__(self, chance: random.Random, seconds: float) -> None:
        self.seconds = seconds
        self._chance = chance

    def draw(self) -> float:
        return self._chance.uniform(0, 1.1) * self.seconds

    def saw(self, moment: str) -> None:
        """Later after a kill that came before any update, earlier after an end that none came before."""
        self.seconds *= {FIRST: 1.1, LOADING: 1.1, WHOLE: 0.8}.get(moment, 1.0)


def killed_run(model: str, data: Path, out: Path, how: tuple[Moments, int]) -> Counter[str]:
    """Kills one run until it ends by itself; when that was."""
    moments_of, most = how
    moments: Counter[str] = Counter()
    while True:
        begun, steps = (out / "run.json").is_file(), num_steps(out)
        child = process(model, data, out, ("--resume",) if begun else FLAGS)
        code = wait(child, moments_of.draw() if moments.total() < most else None)
        if code is None:
            found = moment(out, begun, steps)
            moments_of.saw(found)
            moments[found] += 1
            continue
        moments_of.saw(WHOLE)
        if code not in (0, 2):  # 2: it was killed after the run was marked as finished
            said = (out.parent / SAID).read_text("utf-8")
            raise SystemExit(f"{said}The run ended with exit code {code} after {moments.total()} kills.")
        return moments


def moment(out: Path, was_begun: bool, steps: int) -> str:
    """Where in its work the process was, told from what it left."""
    if any(out.rglob("*.part")):
        return "within a file"
    if (out / "adapter").exists():
        return "at the end"
    if num_steps(out) != steps:
        return "between updates"
    return LOADING if was_begun else FIRST


def num_steps(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return len(metrics.read_text("utf-8").splitlines()) if metrics.is_file() else 0


def process(model: str, data: Path, out: Path, flags: tuple[str, ...]) -> int:
    """Begins a run; its process id."""
    from fairway.cli.main import run
    from fairway.tune import trainer  # noqa: F401  imports PyTorch before the first fork

    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    with (out.parent / SAID).open("wb") as said:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said.fileno(), 2)
    os._exit(run(["tune", model, str(data), "--out", str(out), *flags]))


def wait(child: int, seconds: float | None) -> int | None:
    """The exit code; None for one that was killed because it took longer."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    done, status = os.waitpid(child, 0)
    return None if os.waitstatus_to_exitcode(status) == -signal.SIGKILL else os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
