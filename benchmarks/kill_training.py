"""Kills training runs while they load, update, write checkpoints, publish and end; compares what they leave.

    python benchmarks/kill_training.py --work /tmp/kills                200 kills
    python benchmarks/kill_training.py --work /tmp/kills --minutes 5    a piece of them; again for more

Needs fairway[tune]. A run is `fairway tune` in a process of its own, killed with SIGKILL ten times and gone
on with by --resume; its final weights must be those of a run left alone, byte for byte. The model is a small
one with random weights, so that kills fall where a folder changes, and not only where Python starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.contest import commit  # noqa: E402
from benchmarks.comparison.shapes import write_random  # noqa: E402
from benchmarks.workloads.kill_moments import Moment, is_finished, kill_at, num_steps, plan  # noqa: E402
from benchmarks.workloads.processes import Begin, Child, forked, fresh  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, table  # noqa: E402
from fairway.map.cpu import read_processor  # noqa: E402
from fairway.models.random import QWEN2_5_0_5B  # noqa: E402

STEPS = 40
SMALL: Mapping[str, Any] = dict(QWEN2_5_0_5B) | {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
EVERY_RUN = ("--max-steps", str(STEPS), "--save-steps", "1")
MEASURED = ("--validation", "{work}/answers.jsonl", "--eval-steps", "5", "--early-stopping-patience", "99")
WINDOWS = ("--packing", "--packing-strategy", "wrapped", "--max-length", "64", "--length-stages", "16:0.5")
METHODS: Mapping[str, tuple[str, ...]] = {
    "lora": ("answers", "--r", "4", "--lora-dropout", "0.1", *MEASURED),
    "full": ("answers", "--method", "full", "--packing", "--gradient-accumulation-steps", "2"),
    "qlora": ("answers", "--method", "qlora", "--r", "4", "--bnb-4bit-use-double-quant"),
    "dpo": ("pairs", "--objective", "dpo", "--r", "4", "--lora-dropout", "0.1"),
    "prefix": ("answers", "--method", "prefix", "--num-virtual-tokens", "4"),
    "muon": ("answers", "--method", "full", "--init", "random_fan_in", "--optim", "muon", *WINDOWS),
}
"""Name -> its data and flags."""
PLACES = ("loading", "update", "checkpoint", "publishing", "end")
HEAD = ["", "while it loads", "in an update", "within a checkpoint", "publishing the result", "at the end"]


@dataclass(frozen=True)
class Lab:
    """Where runs happen."""

    work: Path

    @property
    def said(self) -> Path:
        """What the last process said."""
        return self.work / "said.txt"

    def prepare(self) -> None:
        """Model and data, where they are not there yet."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not (self.work / "small").exists():
            write_random(SMALL, self.work / "small")
        asked = [f"What is {number} and one?" for number in range(16)]
        answers = [{"prompt": each, "completion": f"It is {at + 1}."} for at, each in enumerate(asked)]
        pairs = [each | {"chosen": each["completion"], "rejected": "Who knows?"} for each in answers]
        for name, rows in (("answers", answers), ("pairs", [_without(each) for each in pairs])):
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (self.work / f"{name}.jsonl").write_text(lines, "utf-8")

    def start(self, method: str, out: Path, begin: Begin = forked) -> Child:
        """Begins a run, or goes on with it."""
        data, *flags = (each.format(work=self.work) for each in METHODS[method])
        if (out / "run.json").is_file():
            held_out = flags[flags.index("--validation") :][:2] if "--validation" in flags else []
            flags = [*held_out, "--resume"]
        else:
            flags += EVERY_RUN
        files = (str(self.work / "small"), f"{self.work}/{data}.jsonl")
        return begin(["tune", *files, "--out", str(out), *flags], self.said)

    def end(self, child: Child) -> None:
        """Lets it finish."""
        code = child.wait()
        if code:
            raise SystemExit(f"{self.said.read_text('utf-8')}\nA run ended with exit code {code}.")

    def left_alone(self, method: str) -> tuple[Path, float]:
        """A run that nothing happened to, by this commit, and how long it loaded, in seconds."""
        out, by = self.work / f"whole-{method}", self.work / f"whole-{method}.json"
        known = json.loads(by.read_text("utf-8")) if by.is_file() else {}
        if known.get("commit") != commit():
            shutil.rmtree(out, ignore_errors=True)
            begun, child = time.monotonic(), self.start(method, out)
            while child.poll() is None and not num_steps(out):
                time.sleep(0.01)
            known = {"commit": commit(), "loading_s": time.monotonic() - begun}
            self.end(child)
            by.write_text(json.dumps(known), "utf-8")
        return out, known["loading_s"]


def _without(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("prompt", "chosen", "rejected")}


def killed_run(lab: Lab, method: str, moments: Sequence[Moment], loading: Begin) -> Counter[str]:
    """Kills one run at all moments and lets it end; where it was each time.

    `loading` begins the process that is killed while it loads.
    """
    out, (whole, seconds) = lab.work / "run", lab.left_alone(method)
    shutil.rmtree(out, ignore_errors=True)
    found: Counter[str] = Counter()
    for moment in moments:
        if is_finished(out):
            break
        child = lab.start(method, out, loading if moment.place == "loading" else forked)
        place = kill_at(moment, child, out, seconds)
        found.update([] if place is None else [place])
    if not is_finished(out):
        lab.end(lab.start(method, out))
    for path in sorted(whole.rglob("*.safetensors")):
        name = path.relative_to(whole)
        if (out / name).read_bytes() != path.read_bytes():
            raise SystemExit(f"{method}: after kills {moments} {name} differs from the run left alone.")
    return found


def kill_often(lab: Lab, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs until there are enough kills or the time is over; all that were made in this folder."""
    path, end = lab.work / "runs.jsonl", time.monotonic() + 60 * args.minutes
    done = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    while num_kills(done) < args.kills and time.monotonic() < end:
        number, begun = len(done), time.monotonic()
        method = list(METHODS)[number % len(METHODS)]
        moments = plan(random.Random(f"{args.seed} {number}"), STEPS)
        places = killed_run(lab, method, moments, fresh if number < len(METHODS) else forked)
        seconds = round(time.monotonic() - begun, 1)
        done.append({"method": method, "killed": dict(places), "seconds": seconds, "commit": commit()})
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(f"{num_kills(done)} kills, {len(done)} runs: all equal", file=sys.stderr, flush=True)
    return done


def num_kills(done: Sequence[Mapping[str, Any]]) -> int:
    return sum(sum(each["killed"].values()) for each in done)


def by_method(done: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {method: Counter() for method in METHODS}
    for each in done:
        found[each["method"]].update(each["killed"])
    return found


def page(done: Sequence[Mapping[str, Any]], known: Mapping[str, Any]) -> str:
    found = by_method(done)
    found["all"] = sum(found.values(), Counter())
    rows = [[name, *(str(counts[place]) for place in PLACES)] for name, counts in found.items()]
    flags = facts({f"`{name}`": f"`{' '.join(each[1:])}`" for name, each in METHODS.items()})
    said = (
        f"{num_kills(done)} kills of {len(done)} runs, each killed up to ten times: the final weights of "
        "every run are those of the run left alone, byte for byte."
    )
    title = f"# Killed and gone on with, {known['date']}"
    return "\n\n".join([title, facts(known), said, table(HEAD, rows), flags]) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--work", type=Path, required=True, help="folder that this goes on in")
    parser.add_argument("--kills", type=int, default=200, help="in all (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=600, help="stop after the run that passes so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the page")
    args = parser.parse_args()
    lab = Lab(args.work)
    lab.prepare()
    done = kill_often(lab, args)
    if num_kills(done) < args.kills:
        return
    known = {
        "date": now(),
        "model": f"{SMALL['num_hidden_layers']} layers of width {SMALL['hidden_size']}, random weights",
        "a run": f"{STEPS} updates, a checkpoint after each",
        "processor": read_processor(platform.system()).name,
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "Fairway's commits": ", ".join(dict.fromkeys(each["commit"] for each in done)),
        "seconds": round(sum(each["seconds"] for each in done)),
    }
    stem = args.results / f"{known['date'][:10]}-kill-training"
    shown = page(done, known)
    stem.with_suffix(".md").write_text(shown, "utf-8")
    stem.with_suffix(".json").write_text(json.dumps(known | {"runs": done}, indent=1) + "\n", "utf-8")
    print(shown)


if __name__ == "__main__":
    main()
