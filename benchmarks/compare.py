"""Fairway beside its peers: same model, same machine, taking turns in one run.

    python benchmarks/compare.py                     every engine, Qwen2.5-0.5B's shape
    python benchmarks/compare.py --quick             one round of short workloads
    python benchmarks/compare.py --engines llama.cpp,OpenVINO --columns prefill,stream --rounds 5
    python benchmarks/compare.py --columns none --http --minutes 20
    python benchmarks/compare.py --readme            the latest quiet table into README.md

Each peer lives in an environment of its own that is made the first time (under --cache, outside the
project). Writes a dated table, its JSON and a plot to benchmarks/results/, anew after every turn.
docs/guides/benchmarks.md says how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.comparison.budget import Budget  # noqa: E402
from benchmarks.comparison.columns import COLUMN_KEYS  # noqa: E402
from benchmarks.comparison.contest import Choice, Comparison  # noqa: E402
from benchmarks.comparison.plot import svg  # noqa: E402
from benchmarks.comparison.readme import fill_readme  # noqa: E402
from benchmarks.comparison.results import Report, read_report  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, SHAPES  # noqa: E402
from benchmarks.comparison.table import markdown  # noqa: E402
from benchmarks.peers.protocol import Place, Unavailable  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fairway-benchmarks"
RESULTS = Path(__file__).with_name("results")
NONE = "none"


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    what = parser.add_argument_group("what is measured").add_argument
    what("--shapes", type=words, default=["qwen2.5-0.5b"], metavar="A,B", help=f"of {', '.join(SHAPES)}")
    what("--engines", type=words, default=[""], metavar="A,B", help="parts of names; Fairway always runs")
    what("--columns", type=words, default=list(COLUMN_KEYS), metavar="A,B",
         help=f"of {', '.join(COLUMN_KEYS)}, or {NONE}")  # fmt: skip
    what("--http", action="store_true", help="servers with 1, 8, 32 and 128 streaming clients as well")
    what("--rounds", type=int, default=3, help="turns of each engine (default %(default)s)")
    what("--minutes", type=float, help="begin no round that will not be over by then")
    what("--context", type=int, default=128, help="tokens before the decoded ones (default %(default)s)")
    what("--layers", type=int, help="cut random shapes to so many layers, to try things out")
    what("--threads", type=int, default=allowed_cores(), help="of every engine (default: allowed cores)")
    what("--quick", action="store_true", help="one round, short prompts")
    where = parser.add_argument_group("where things are").add_argument
    where("--cache", type=Path, default=CACHE, help="environments, builds, models (default %(default)s)")
    where("--jobs", type=int, default=1, help="processes that build at once (default %(default)s)")
    where("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    where("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    instead = parser.add_argument_group("instead of measuring").add_argument
    instead("--prepare-only", action="store_true", help="install and convert")
    instead("--render", type=Path, metavar="JSON", help="write table and plot of such a file again")
    instead("--readme", type=Path, nargs="?", const=RESULTS, metavar="JSON",
            help="put this table (default: the latest of a quiet machine) into README.md")  # fmt: skip
    return parser.parse_args()


def words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def choice_of(args: argparse.Namespace, shape: str) -> Choice:
    keys = [] if args.columns == [NONE] else args.columns
    if unknown := set(keys) - set(COLUMN_KEYS):
        sys.exit(f"There is no column {', '.join(sorted(unknown))}; there are {', '.join(COLUMN_KEYS)}.")
    if shape not in SHAPES:
        sys.exit(f"There is no shape {shape}; there are {', '.join(SHAPES)}.")
    place = Place(args.cache.expanduser().resolve(), args.threads, args.jobs, args.llama_bin)
    layers = args.layers if shape in RANDOM else None
    rounds, context = (1, 16) if args.quick else (args.rounds, args.context)
    return Choice(shape, layers, tuple(args.engines), tuple(keys), args.http, rounds, context, place)


def write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "json": json.dumps(report.to_dict(), indent=1) + "\n",
        "md": markdown(report),
        "svg": svg(report),
    }
    for ending, text in texts.items():
        (folder / f"{report.stem}.{ending}").write_text(text, "utf-8")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # workers are stopped on the way out
    args = arguments()
    if args.readme:
        print(fill_readme(ROOT / "README.md", args.readme))
    elif args.render:
        write(read_report(args.render), args.render.parent)
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    comparisons = list(prepared(args))
    budget = Budget(args.minutes)
    for comparison in comparisons if not args.prepare_only else []:
        measure(comparison, budget, args.results)
    for comparison in comparisons:
        print(markdown(comparison.report()))


def measure(comparison: Comparison, budget: Budget, folder: Path) -> None:
    """Writes after every turn, and also what there is of the last one when the run is stopped."""
    try:
        for report in comparison.turns(budget):
            write(report, folder)
    finally:
        if (report := comparison.report()).has_values:
            write(report, folder)


def prepared(args: argparse.Namespace) -> Iterator[Comparison]:
    """All shapes first: installing and converting takes nothing from the minutes of measuring."""
    for shape in args.shapes:
        try:
            yield Comparison(choice_of(args, shape))
        except Unavailable as error:
            print(f"{shape}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
