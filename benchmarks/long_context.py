"""Tokens per second against the length of the context, up to 32 k, for every type of the cache.

    python benchmarks/long_context.py                        some minutes, the longest for llama.cpp
    python benchmarks/long_context.py --layers 2 --longest 2048 --no-llama

One sequence on a model of the shape of Qwen2.5-0.5B with random weights. Prefill is the reading of 512
tokens after so many others, decode the writing of one after them. llama-bench (-p 512 -n N -d DEPTH) does
the same on the same weights in Q4_0, depth by depth until its time is over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.llama_build import build, llama_tools  # noqa: E402
from benchmarks.peers.llama_cpp import gguf  # noqa: E402
from benchmarks.peers.protocol import Model, Place, Unavailable  # noqa: E402
from benchmarks.workloads.chart import lines  # noqa: E402
from benchmarks.workloads.depths import CHUNK, Cost, engine_costs, llama_costs  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from benchmarks.workloads.variations import kv_types  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.map.planner import plan  # noqa: E402
from fairway.map.probe import probe  # noqa: E402
from fairway.map.settings import PlanSettings  # noqa: E402
from fairway.runtimes.loading import load_engine  # noqa: E402

SHORTEST = 512
Curves = Mapping[str, Sequence[Cost]]


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--longest", type=int, default=32_768, help="context of the last point (default %(default)s)")
    add("--generate", type=int, default=16, help="tokens written at each depth (default %(default)s)")
    add("--weights", default="int4", help="of Fairway (default %(default)s)")
    add("--shape", choices=list(RANDOM), default="qwen2.5-0.5b", help="of the model (default %(default)s)")
    add("--layers", type=int, help="cut the model to so many layers, to try things out")
    add("--no-llama", action="store_true", help="Fairway alone")
    add(
        "--llama-minutes", type=float, default=5.0, help="for all depths of llama-bench (default %(default)s)"
    )
    add("--threads", type=int, default=allowed_cores())
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def depths(longest: int, generate: int) -> list[int]:
    """Doubling, and the last one such that its chunk and answer still fit."""
    last = (longest - generate) // CHUNK * CHUNK - CHUNK
    if last < SHORTEST:
        sys.exit(f"--longest {longest} is too short; the least is {SHORTEST + CHUNK + generate}.")
    found = [SHORTEST]
    while found[-1] < last:
        found.append(found[-1] * 2)
    return [*found[:-1], last]


def fairway_curve(model: Model, kv: str, args: argparse.Namespace) -> list[Cost]:
    bundle = open_bundle(model.folder)
    settings = PlanSettings(
        weights=args.weights,
        kv=kv,  # type: ignore[arg-type]
        context=args.longest,
        threads=args.threads,
        max_tokens_per_step=CHUNK,
        max_sequences=1,
    )
    loaded = load_engine(bundle, plan(bundle, probe(), settings).native_options(model.name))
    return list(engine_costs(loaded.engine, depths(args.longest, args.generate), args.generate))


def curves(model: Model, place: Place, args: argparse.Namespace) -> Iterator[tuple[str, list[Cost]]]:
    for kv in kv_types():
        if kv != "f32":
            say(f"Fairway, {kv} cache")
            yield f"Fairway {args.weights}, {kv} cache", fairway_curve(model, kv, args)
    if args.no_llama:
        return
    say("llama.cpp")
    try:
        yield "llama.cpp Q4_0, f16 cache", llama_curve(model, place, args)
    except Unavailable as error:
        say(f"llama.cpp: {error}")


def llama_curve(model: Model, place: Place, args: argparse.Namespace) -> list[Cost]:
    build(place)
    tool = llama_tools(place) / "llama-bench"
    points, limit_s = depths(args.longest, args.generate), 60 * args.llama_minutes
    path = gguf(model, "Q4_0", place)
    return list(llama_costs(tool, path, points, args.generate, args.threads, limit_s))


def page(found: Curves, known: Mapping[str, Any]) -> str:
    parts = [f"# Long context, {known['model']}, {known['date']}", facts(known)]
    parts += ["## Prefill, tokens per second", rate_table(found, "prefill")]
    parts += ["## Decode, tokens per second", rate_table(found, "decode")]
    return "\n\n".join(parts) + "\n"


def rate_table(found: Curves, what: str) -> str:
    points = sorted({cost.depth for costs in found.values() for cost in costs})
    rows = []
    for depth in points:
        costs = (next((cost for cost in each if cost.depth == depth), None) for each in found.values())
        rows.append(
            [f"{depth:,}", *("–" if cost is None else f"{getattr(cost, what):.1f}" for cost in costs)]
        )
    return table(["tokens before", *found], rows)


def picture(found: Curves, model: str) -> str:
    """Decoding only: prefill is in the table, on a scale of its own."""
    series = {name: [(cost.depth, cost.decode) for cost in costs] for name, costs in found.items()}
    return lines(f"{model}, one stream: tokens per second by context", "tokens before", series)


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), args.threads, 1, args.llama_bin)
    model = model_of(args.shape, place.cache, args.layers)
    known = {"date": now(), "model": model.name, "CPU of others before": f"{busy_share() or 0:.0%}"}
    found = dict(curves(model, place, args))
    known |= machine(place)
    data = known | {"curves": {name: [cost.to_dict() for cost in costs] for name, costs in found.items()}}
    shown = page(found, known)
    save(args.results, f"long-context-{model.name}", data, shown, picture(found, model.name))
    print(shown)


if __name__ == "__main__":
    main()
