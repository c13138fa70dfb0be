"""Kills a training run at random moments, resumes it, and compares the adapter with that of a run left alone.

    python benchmarks/kill_training.py --kills 200

Needs fairway[tune]. Every process is killed with SIGKILL after a random part of the time that a run needs, so
that kills hit loading, updates, checkpoints and the end alike.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 12
FLAGS = ("--max-steps", str(STEPS), "--save-steps", "1", "--r", "4", "--lora-dropout", "0.1")
SAID = "said.txt"
FILES = ("adapter_model.safetensors", "adapter_config.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kill_often(wanted.model, wanted.kills, random.Random(wanted.seed), Path(folder))


def kill_often(model: str, num_kills: int, chance: random.Random, folder: Path) -> None:
    data = folder / "facts.jsonl"
    rows = [{"prompt": f"What is {at} and one?", "completion": f"It is {at + 1}."} for at in range(16)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    start = time.monotonic()
    process(model, data, folder / "whole", FLAGS).wait()
    whole = time.monotonic() - start
    kills = runs = 0
    while kills < num_kills:
        runs += 1
        kills += killed_run(model, data, folder / f"run-{runs}", (chance, whole, num_kills - kills))
        for name in FILES:
            found, expected = (folder / each / "adapter" / name for each in (f"run-{runs}", "whole"))
            if found.read_bytes() != expected.read_bytes():
                raise SystemExit(f"After {kills} kills {name} differs from the run that was left alone.")
        print(f"{kills} kills, {runs} runs: equal", flush=True)


def killed_run(model: str, data: Path, out: Path, how: tuple[random.Random, float, int]) -> int:
    """Kills one run until it ends by itself; how often that was."""
    chance, whole, most = how
    kills = 0
    while True:
        begun = (out / "run.json").is_file()
        child = process(model, data, out, ("--resume",) if begun else FLAGS)
        try:
            child.wait(chance.uniform(0, 1.1) * whole if kills < most else None)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
            continue
        if child.returncode not in (0, 2):  # 2: it was killed after the run was marked as finished
            said = (out.parent / SAID).read_text("utf-8")
            raise SystemExit(f"{said}The run ended with exit code {child.returncode} after {kills} kills.")
        return kills


def process(model: str, data: Path, out: Path, flags: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fairway", "tune", model, str(data), "--out", str(out), *flags]
    with (out.parent / SAID).open("wb") as said:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)


if __name__ == "__main__":
    main()
