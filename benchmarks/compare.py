"""Fairway beside its peers: same model, same machine, taking turns in one run.

    python benchmarks/compare.py                     everything, Qwen2.5-0.5B's shape
    python benchmarks/compare.py --quick             one round of short workloads
    python benchmarks/compare.py --peers llama.cpp,OpenVINO --columns prefill,stream --rounds 5

Each peer lives in an environment of its own that is made the first time (under --cache, outside the
project). Writes a dated table, its JSON and a plot to benchmarks/results/. docs/guides/benchmarks.md
says how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.columns import COLUMN_KEYS, HTTP  # noqa: E402
from benchmarks.comparison.contest import Choice, Comparison  # noqa: E402
from benchmarks.comparison.plot import svg  # noqa: E402
from benchmarks.comparison.results import Report, report_from  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, SHAPES  # noqa: E402
from benchmarks.comparison.table import markdown  # noqa: E402
from benchmarks.peers.protocol import Place, Unavailable  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fairway-benchmarks"
RESULTS = Path(__file__).with_name("results")


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shapes", type=words, default=["qwen2.5-0.5b"], metavar="A,B", help=f"of {', '.join(SHAPES)}")
    add("--peers", type=words, default=[""], metavar="A,B", help="parts of names; Fairway always runs")
    add(
        "--columns", type=words, default=list(COLUMN_KEYS), metavar="A,B", help=f"of {', '.join(COLUMN_KEYS)}"
    )
    add("--rounds", type=int, default=3, help="turns of each engine (default 3)")
    add("--context", type=int, default=128, help="tokens before the decoded ones (default 128)")
    add("--layers", type=int, help="cut random shapes to so many layers, to try things out")
    add("--threads", type=int, default=allowed_cores(), help="of every engine (default: allowed cores)")
    add("--quick", action="store_true", help="one round, short prompts, no HTTP")
    add("--cache", type=Path, default=CACHE, help="environments, builds and models (default %(default)s)")
    add("--jobs", type=int, default=1, help="processes that build at once (default 1)")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--prepare-only", action="store_true", help="install and convert, measure nothing")
    add("--render", type=Path, metavar="JSON", help="write table and plot of such a file again, and end")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def choice_of(args: argparse.Namespace, shape: str) -> Choice:
    keys = [key for key in args.columns if not (args.quick and key == HTTP)]
    if unknown := set(keys) - set(COLUMN_KEYS):
        sys.exit(f"There is no column {', '.join(sorted(unknown))}; there are {', '.join(COLUMN_KEYS)}.")
    if shape not in SHAPES:
        sys.exit(f"There is no shape {shape}; there are {', '.join(SHAPES)}.")
    place = Place(args.cache.expanduser().resolve(), args.threads, args.jobs, args.llama_bin)
    layers = args.layers if shape in RANDOM else None
    rounds, context = (1, 16) if args.quick else (args.rounds, args.context)
    return Choice(shape, layers, tuple(args.peers), tuple(keys), rounds, context, place)


def write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{report.date[:10]}-{report.model}"
    stem.with_name(stem.name + ".json").write_text(json.dumps(report.to_dict(), indent=1) + "\n", "utf-8")
    stem.with_name(stem.name + ".md").write_text(markdown(report), "utf-8")
    stem.with_name(stem.name + ".svg").write_text(svg(report), "utf-8")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # workers are stopped on the way out
    args = arguments()
    if args.render:
        write(report_from(json.loads(args.render.read_text("utf-8"))), args.render.parent)
        return
    for shape in args.shapes:
        try:
            comparison = Comparison(choice_of(args, shape))
        except Unavailable as error:
            print(f"{shape}: {error}", file=sys.stderr)
            continue
        if not args.prepare_only:
            measure(comparison, args.results)
        print(markdown(comparison.report()))


def measure(comparison: Comparison, folder: Path) -> None:
    """Writes after every round, and what there is of the last one when the run is stopped."""
    try:
        for report in comparison.rounds():
            write(report, folder)
    finally:
        if comparison.report().has_values:
            write(comparison.report(), folder)


if __name__ == "__main__":
    main()
