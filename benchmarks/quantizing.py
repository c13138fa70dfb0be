"""Quantising a GGUF file beside llama.cpp's llama-quantize: time, peak memory, and what it costs in quality.

    python benchmarks/quantizing.py --llama-bin DIR                  both tables, some minutes
    python benchmarks/quantizing.py --llama-bin DIR --skip-quality --mixes Q4_K_M,Q8_0

Time is the whole process, turn about, from its start until the result is safe on the disk (which ours waits
for itself), from a source that the system has in memory. Peak memory is the process's resident set, in which
mapped pages of the source count for both. Quality is the built-in model's, on held-out text. Runs of one day
are gathered on one page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE, words  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.environments import whole  # noqa: E402
from benchmarks.comparison.shapes import model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.llama_build import llama_tools  # noqa: E402
from benchmarks.peers.llama_gguf import write_bf16_gguf  # noqa: E402
from benchmarks.peers.protocol import Model, Place  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.held_out import held_out_texts  # noqa: E402
from benchmarks.workloads.quantized_file import Judge  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.proof.forward import windows  # noqa: E402
from fairway.quantize.mixes import MIXES  # noqa: E402
from fairway.text.loader import load_tokenizer  # noqa: E402

WORKER = Path(__file__).with_name("workers") / "quantize_worker.py"
TEXT = ROOT.parent / "shared" / "data" / "text"
WINDOW = 512
LEFT_OUT = ("F32", "F16", "BF16", "Q2_K_S")
"""Not quantised; and what llama-quantize refuses without an importance matrix."""
OURS, THEIRS = "Fairway", "llama-quantize"
Row = dict[str, dict[str, float]]
"""Numbers by program."""


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    known = [mix for mix in MIXES if mix not in LEFT_OUT]
    add("--mixes", type=words, default=known, metavar="A,B", help="(default: all that both make)")
    add("--shape", default="qwen2.5-0.5b", help="of the random model that is timed (default %(default)s)")
    add("--rounds", type=int, default=3)
    add("--skip-speed", action="store_true")
    add("--skip-quality", action="store_true")
    add("--windows", type=int, default=24, help=f"of {WINDOW} tokens (default %(default)s)")
    add("--text", type=Path, default=TEXT, help="folder with books/ (default %(default)s)")
    add("--threads", type=int, default=allowed_cores())
    add("--cache", type=Path, default=CACHE, help="where models are kept")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def bf16_of(model: Model) -> Path:
    path = model.made / "bf16.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            write_bf16_gguf(model.folder, partial)
    return path


def commands(source: Path, target: Path, mix: str, place: Place) -> dict[str, list[str]]:
    program = str(llama_tools(place) / "llama-quantize")
    return {
        OURS: [sys.executable, str(WORKER), str(source), str(target), mix],
        THEIRS: [program, str(source), str(target), mix, str(place.threads)],
    }


def measured(command: Sequence[str], target: Path) -> dict[str, float]:
    """Seconds to a target safe on the disk, and peak bytes, of one process; the target is removed again."""
    target.unlink(missing_ok=True)
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    with target.open("rb") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    target.unlink()
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024}


def speeds(mixes: Sequence[str], source: Path, place: Place, rounds: int) -> dict[str, Row]:
    """Medians by mix and program."""
    target = source.with_name("timed.gguf")
    with source.open("rb") as file:
        while file.read(64 << 20):
            pass
    found: dict[str, Row] = {}
    for mix in mixes:
        runs: dict[str, list[dict[str, float]]] = {OURS: [], THEIRS: []}
        for _ in range(rounds):
            for name, command in commands(source, target, mix, place).items():
                runs[name].append(measured(command, target))
        found[mix] = {name: middle(each) for name, each in runs.items()}
        tell(mix, found[mix], "seconds")
    return found


def middle(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of the times; of memory the most."""
    seconds = statistics.median(run["seconds"] for run in runs)
    return {"seconds": seconds, "peak_bytes": max(run["peak_bytes"] for run in runs)}


def qualities(args: argparse.Namespace, place: Place) -> dict[str, Row]:
    model = model_of("builtin", place.cache)
    source, bundle = bf16_of(model), open_bundle(model.folder)
    assert bundle.tokenizer is not None
    texts = held_out_texts("builtin", args.text)
    judge = Judge(
        model, source, windows(load_tokenizer(bundle.tokenizer), texts, WINDOW, args.windows), place.threads
    )
    target = source.with_name("judged.gguf")
    found: dict[str, Row] = {}
    for mix in args.mixes:
        found[mix] = {}
        for name, command in commands(source, target, mix, place).items():
            subprocess.run(command, check=True, capture_output=True)
            found[mix][name] = judge.judge(target)
        tell(mix, found[mix], "kl_mean")
    return found


def tell(mix: str, row: Row, key: str) -> None:
    say(f"{mix}, {key}: " + ", ".join(f"{name} {each[key]:.3g}" for name, each in row.items()))


def side_by_side(row: Row, key: str, form: str, scale: float = 1) -> list[str]:
    """Ours and theirs."""
    return [format(row[name][key] * scale, form) for name in (OURS, THEIRS)]


def ratio(row: Row, key: str) -> str:
    return format(row[OURS][key] / row[THEIRS][key], ".3f")


def speed_table(found: dict[str, Row]) -> str:
    head = ["mix", f"seconds, {OURS}", THEIRS, "times as fast", f"peak memory, MB, {OURS}", THEIRS]
    lines = [
        [
            mix,
            *side_by_side(row, "seconds", ".2f"),
            f"{row[THEIRS]['seconds'] / row[OURS]['seconds']:.1f}",
            *side_by_side(row, "peak_bytes", ".0f", 1e-6),
        ]
        for mix, row in found.items()
    ]
    return table(head, lines)


def quality_table(found: dict[str, Row]) -> str:
    head = ["mix", f"error, {OURS}", THEIRS, "ratio", f"KL mean, {OURS}", THEIRS, "ratio"]
    lines = [
        [
            mix,
            *side_by_side(row, "error", ".5f"),
            ratio(row, "error"),
            *side_by_side(row, "kl_mean", ".3g"),
            ratio(row, "kl_mean"),
            *side_by_side(row, "same_top", ".2%"),
        ]
        for mix, row in found.items()
    ]
    return table([*head, f"same top token, {OURS}", THEIRS], lines)


def gathered(results: Path, found: dict[str, Any]) -> dict[str, Any]:
    """With what earlier runs of the day found for other mixes, in the order of `MIXES`."""
    path = results / f"{found['date'][:10]}-quantizing.json"
    earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for key in ("speed", "quality"):
        rows = earlier.get(key, {}) | found.get(key, {})
        found[key] = {mix: rows[mix] for mix in MIXES if mix in rows}
    return found


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), args.threads, 1, args.llama_bin)
    known: dict[str, Any] = {"date": now(), "timed model": args.shape, "rounds": args.rounds}
    known["judged by"] = f"the built-in model, {args.windows} windows of {WINDOW} tokens"
    found: dict[str, Any] = {}
    if not args.skip_speed:
        found["speed"] = speeds(args.mixes, bf16_of(model_of(args.shape, place.cache)), place, args.rounds)
    if not args.skip_quality:
        found["quality"] = qualities(args, place)
    known |= machine(place)
    data = gathered(args.results, known | found)
    tables = [speed_table(data["speed"]), quality_table(data["quality"])]
    page = "\n\n".join([f"# Quantising, {known['date']}", facts(known), *tables]) + "\n"
    rows = [(f"{mix}, {name}", run) for mix, row in data["speed"].items() for name, run in row.items()]
    picture = bars(f"Quantising {args.shape}, seconds", {name: run["seconds"] for name, run in rows})
    save(args.results, "quantizing", data, page, picture)
    print(page)


if __name__ == "__main__":
    main()
