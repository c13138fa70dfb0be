"""What the prefix cache is worth: hit rate beside the ideal, time to first token, throughput.

    python benchmarks/prefix_reuse.py                      everything, some minutes
    python benchmarks/prefix_reuse.py --loads users,chat   only these
    python benchmarks/prefix_reuse.py --layers 2 --requests 8 --tokens-per-block 4 --users 4 --shared 64

The loads: Mooncake's traces of conversations, whole ones drawn at random and every length divided alike; many
users after one system prompt; chats and agents whose every turn brings back all before. Each is asked of
Fairway with its cache, of Fairway without it, and of llama.cpp's server with room for as many clients; the
text is the same for all. Answers are greedy and have a fixed length.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE, words  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.protocol import Model, Place, Unavailable  # noqa: E402
from benchmarks.workloads.asking import Ask, Client  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.prefix_loads import Conversations, Load, ManyUsers, Replay, Seen  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from benchmarks.workloads.sized_servers import SERVERS, Room, SizedServer, serving  # noqa: E402
from benchmarks.workloads.trace import ideal_hit_rate, read_trace, sample, scaled  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402

TRACES = ROOT.parent / "shared" / "data" / "traces" / "mooncake"
LOADS = ("users", "chat", "agent", "conversation", "synthetic")
WITHOUT = "llama-server Q4_0, cache off"
"""Not asked by default: it takes the longest of all and says what the Fairway line without cache says."""

Results = dict[str, dict[str, Seen | str]]
"""Part of a load -> server -> what was seen, or why nothing was."""


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    names = [server.name for server in SERVERS]
    add("--loads", type=words, default=list(LOADS), metavar="A,B", help=f"of {', '.join(LOADS)}")
    add("--servers", type=words, metavar="A,B", help=f"parts of {'; '.join(names)} (default: but the last)")
    add("--shape", choices=list(RANDOM), default="qwen2.5-0.5b", help="of the model (default %(default)s)")
    add("--layers", type=int, help="cut the model to so many layers, to try things out")
    add("--requests", type=int, default=80, help="of each trace (default %(default)s)")
    add("--tokens-per-block", type=int, default=16, help="for 512 of the trace (default %(default)s)")
    add("--in-flight", type=int, default=8, help="requests of a trace under way (default %(default)s)")
    add("--users", type=int, default=32, help="who share a system prompt (default %(default)s)")
    add("--shared", type=int, default=1000, help="tokens of that prompt (default %(default)s)")
    add("--traces", type=Path, default=TRACES, help="folder of Mooncake's traces (default %(default)s)")
    add("--threads", type=int, default=allowed_cores())
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def loads(args: argparse.Namespace) -> Iterator[Load]:
    if unknown := set(args.loads) - set(LOADS):
        sys.exit(f"There is no load {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}.")
    shared = args.shared
    if "users" in args.loads:
        yield ManyUsers(f"{args.users} users, {shared} shared tokens", args.users, shared)
    if "chat" in args.loads:
        yield Conversations("8 chats of 6 turns", 8, 6, shared // 5, said=40, generate=32)
    if "agent" in args.loads:
        yield Conversations("4 agents of 8 steps", 4, 8, shared * 3 // 5, said=90, generate=16)
    for name in ("conversation", "synthetic"):
        if name in args.loads:
            yield replay(name, args)


def replay(name: str, args: argparse.Namespace) -> Replay:
    whole = read_trace(args.traces / f"{name}_trace.jsonl")
    entries = sample(whole, args.requests)
    asks: list[Ask] = [scaled(entry, args.tokens_per_block) for entry in entries]
    title = f"Mooncake {name}, {len(asks)} requests"
    return Replay(title, asks, ideal_hit_rate(entries, args.tokens_per_block), args.in_flight)


def chosen(names: Sequence[str] | None) -> list[SizedServer]:
    if names is None:
        return [server for server in SERVERS if server.name != WITHOUT]
    return [server for server in SERVERS if any(part.lower() in server.name.lower() for part in names)]


def measure(server: SizedServer, model: Model, place: Place, load: Load) -> Iterator[tuple[str, Seen | str]]:
    """What was seen of each part; a server that cannot, with its reason."""
    say(f"{load.title}: {server.name}")
    try:
        server.install(model, place)
        command = server.words(model, place, Room(load.clients, load.longest))
        with serving(command, server.ready_path, place, server.name) as (url, _):
            yield from zip(load.parts, load.run(Client(url, model.name)), strict=True)
    except (Unavailable, OSError) as error:
        for part in load.parts:
            yield part, str(error)


def page(results: Results, known: Mapping[str, Any]) -> str:
    parts = [f"# Prefix reuse, {known['model']}, {known['date']}", facts(known), LEGEND]
    for title, rows in results.items():
        parts += [f"## {title}", part_table(rows)]
    return "\n\n".join(parts) + "\n"


LEGEND = """Hit rate: prompt tokens found in the cache, as the server itself reports, over all prompt tokens;
ideal: what a cache without end gives. Prompt tokens per second count all prompt tokens, wherever they came
from; both rates are over the whole time of the load. Fairway shares whole blocks of 16 tokens, so where
texts part in the middle of a block it stays some tokens below the ideal."""


def part_table(rows: Mapping[str, Seen | str]) -> str:
    head = ["server", "hit rate", "ideal", "first token, median", "first token, p95", "prompt tokens/s",
            "answer tokens/s", "whole"]  # fmt: skip
    return table(head, [line(name, seen) for name, seen in rows.items()])


def line(name: str, seen: Seen | str) -> list[str]:
    if isinstance(seen, str):
        return [name, seen, *["–"] * 6]
    return [
        name,
        f"{seen.hit_rate:.1%}",
        f"{seen.ideal:.1%}",
        f"{seen.first_median_s:.2f} s",
        f"{seen.first_p95_s:.2f} s",
        f"{seen.prompt_rate:.0f}",
        f"{seen.output_rate:.1f}",
        f"{seen.whole_s:.1f} s",
    ]


def picture(results: Results) -> str:
    values = {
        f"{part}: {server}": seen.output_rate
        for part, rows in results.items()
        for server, seen in rows.items()
        if isinstance(seen, Seen)
    }
    return bars("Answer tokens per second", values)


def as_data(results: Results) -> dict[str, Any]:
    return {
        part: {name: seen if isinstance(seen, str) else asdict(seen) for name, seen in rows.items()}
        for part, rows in results.items()
    }


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), args.threads, 1, args.llama_bin)
    model = model_of(args.shape, place.cache, args.layers)
    known = {"date": now(), "model": model.name, "CPU of others before": f"{busy_share() or 0:.0%}"}
    known["in flight"] = f"{args.in_flight} of a trace, {args.tokens_per_block} tokens for a block of 512"
    results: Results = {}
    for load in loads(args):
        for server in chosen(args.servers):
            for part, seen in measure(server, model, place, load):
                results.setdefault(part, {})[server.name] = seen
        facts_now = known | machine(place)
        shown = page(results, facts_now)
        save(args.results, "prefix-reuse", facts_now | {"results": as_data(results)}, shown, picture(results))
    print(shown)


if __name__ == "__main__":
    main()
