"""Loading a safetensors file beside the `safetensors` library, both by mapping it.

    python benchmarks/safetensors_load.py --shape qwen2.5-0.5b

Two figures for each: until every tensor of the file is there as an array, and until every page of every
tensor has been read once. The file is in the system's memory; both run in one process, turn about.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.environments import ensure_environment  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, model_of  # noqa: E402
from benchmarks.converting import NEEDED  # noqa: E402
from benchmarks.peers.protocol import Place  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402

WORKER = Path(__file__).with_name("workers") / "safetensors_worker.py"
PHASES = {"open_s": "every tensor is there", "read_s": "every page is read"}


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shape", choices=list(RANDOM), default="qwen2.5-1.5b", help="of the model (default %(default)s)")
    add("--layers", type=int, help="cut the model to so many layers, to try things out")
    add("--rounds", type=int, default=30, help="turns of each (default %(default)s)")
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def measured(file: Path, rounds: int, python: Path) -> dict[str, dict[str, list[float]]]:
    """Program -> phase -> seconds of each round."""
    command = [str(python), str(WORKER), str(file), str(rounds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{WORKER.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    return found


def page(found: Mapping[str, Mapping[str, Sequence[float]]], known: Mapping[str, Any]) -> str:
    """Ratios are of the same round."""
    rows = []
    ours, theirs = found["Fairway"], found["safetensors"]
    for phase, title in PHASES.items():
        ratios = sorted(a / b for a, b in zip(ours[phase], theirs[phase], strict=True))
        quarter = len(ratios) // 4
        figures = [f"{1e3 * statistics.median(each[phase]):.2f} ms" for each in (ours, theirs)]
        spread = f"{ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f}"
        rows.append([title, *figures, f"{statistics.median(ratios):.3f}", spread])
    head = ["until", "Fairway", "safetensors", "Fairway / safetensors", "middle half"]
    return (
        f"# Loading safetensors, {known['model']}, {known['date']}\n\n{facts(known)}\n\n{table(head, rows)}\n"
    )


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), allowed_cores())
    known = {"date": now(), "model": args.shape, "CPU of others before": f"{busy_share():.0%}"}
    file = model_of(args.shape, place.cache, args.layers).folder / "model.safetensors"
    python = ensure_environment(place.environment("converting"), NEEDED)
    found = measured(file, args.rounds, python)
    known |= {"file": f"{file.stat().st_size / 1e6:,.0f} MB"} | machine(place)
    reading = {name: 1e3 * statistics.median(each["read_s"]) for name, each in found.items()}
    chart = bars(f"{args.shape}: ms until every page is read", reading)
    text = page(found, known)
    save(args.results, f"safetensors-load-{args.shape}", known | {"seconds": found}, text, chart)
    print(text)


if __name__ == "__main__":
    main()
