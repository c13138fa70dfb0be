"""Peak memory, speed and loss of the ways to fine-tune: the same model, rows and order, a process each.

    python benchmarks/tune_memory.py                       Qwen2.5-0.5B's shape, a few minutes each
    python benchmarks/tune_memory.py --cases "LoRA;QLoRA" --steps 2

Needs fairway[tune]. The peak is the most memory that a process held from its start to the adapter on disk,
mapped files among it. Speed is of all updates but the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.contest import commit  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.map.cpu import read_processor  # noqa: E402

MODEL = Path("~/.cache/fairway-benchmarks/models/qwen2.5-0.5b/huggingface").expanduser()
TWICE = "--gradient-checkpointing"
CASES = {
    "LoRA": (),
    "LoRA, layers twice": (TWICE,),
    "LoRA, layers twice, bf16": (TWICE, "--bf16"),
    "QLoRA": ("--method", "qlora"),
    "QLoRA, double": ("--method", "qlora", "--bnb-4bit-use-double-quant"),
    "QLoRA, bf16": ("--method", "qlora", "--bf16"),
}
"""QLoRA computes layers twice unless told otherwise."""
CHILD = """
import resource, sys
from fairway.cli.main import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""
Seen = dict[str, float]


def write_rows(path: Path, num_rows: int, num_words: int) -> None:
    """A word is a token or more, so that each row fills a sequence."""
    dice = random.Random(0)
    words = [f"w{number:04}" for number in range(500)]
    rows = [{"text": " ".join(dice.choices(words, k=num_words))} for _ in range(num_rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def measure(rows: Path, out: Path, args: argparse.Namespace, flags: Sequence[str]) -> Seen:
    """Peak in bytes, tokens per second, first and last loss of one run in a process of its own."""
    command = [sys.executable, "-c", CHILD, "tune", str(args.model), str(rows), "--out", str(out),
               "--max-steps", str(args.steps), "--per-device-train-batch-size", str(args.batch),
               "--max-length", str(args.tokens), "--too-long", "truncate", "--r", "16",
               "--learning-rate", "1e-3", *flags]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    updates = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    peak = int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024)
    tokens, seconds = (sum(each[key] for each in updates[1:]) for key in ("num_tokens", "seconds"))
    speed = tokens / seconds
    return {"peak": peak, "speed": speed, "first": updates[0]["loss"], "last": updates[-1]["loss"]}


def page(found: Mapping[str, Seen], known: Mapping[str, Any]) -> str:
    base = next(iter(found.values()))["peak"]
    rows = [
        [name, f"{each['peak'] / (1 << 30):.2f}", f"{each['peak'] / base:.2f}", f"{each['speed']:.1f}",
         f"{each['first']:.4f}", f"{each['last']:.4f}"]
        for name, each in found.items()
    ]  # fmt: skip
    head = ["", "peak, GiB", f"of {next(iter(found))}", "tokens/s", "first loss", "last loss"]
    title = f"# Memory of fine-tuning, {known['model']}, {known['date']}"
    return "\n\n".join([title, facts(known), table(head, rows)]) + "\n"


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--model", type=Path, default=MODEL, help="folder of the model (default: Qwen2.5-0.5B's shape)")
    add("--name", default="qwen2.5-0.5b", help="of the model, for the page (default %(default)s)")
    add(
        "--cases",
        type=lambda text: text.split(";"),
        default=list(CASES),
        metavar="A;B",
        help="; ".join(CASES),
    )
    add("--steps", type=int, default=4, help="updates (default %(default)s)")
    add("--batch", type=int, default=4, help="rows in an update (default %(default)s)")
    add("--tokens", type=int, default=128, help="of a row (default %(default)s)")
    add("--results", type=Path, default=RESULTS, help="folder for the page (default %(default)s)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    known = {"date": now(), "model": args.name, "CPU of others before": f"{busy_share():.0%}", "rank": 16}
    known |= {"an update": f"{args.batch} rows of {args.tokens} tokens", "updates": args.steps}
    found: dict[str, Seen] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_rows(rows, args.steps * args.batch, args.tokens)
        for number, name in enumerate(args.cases):
            found[name] = measure(rows, Path(folder) / f"run-{number}", args, CASES[name])
            print(name, found[name], file=sys.stderr)
    known |= {
        "processor": read_processor(platform.system()).name,
        "threads": os.environ.get("OMP_NUM_THREADS", allowed_cores()),
    }
    known["Fairway's commit"] = commit()
    shown = page(found, known)
    picture = bars(
        "Peak memory, GiB", {key: each["peak"] / (1 << 30) for key, each in found.items()}, "{:.2f}"
    )
    save(args.results, f"tune-memory-{args.name}", known | {"found": found}, shown, picture)
    print(shown)


if __name__ == "__main__":
    main()
