"""Two engines on the same cores: what they do together beside what one does alone, and what idling costs.

    python benchmarks/two_engines.py                     about two minutes
    python benchmarks/two_engines.py --layers 2 --seconds 1 --rounds 1 --idle 2

Each engine is a process with as many threads as there are cores. In every round one works alone, then the
other, then both at once; 1.00 means that sharing the cores costs nothing. The idle server has answered a
request before; its processor time is counted over some seconds in which nobody asks.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from benchmarks.workloads.cpu_use import cpu_per_minute  # noqa: E402
from benchmarks.workloads.made_up_words import made_up_words  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from benchmarks.workloads.shared_cores import WORKS, EngineProcess, Rate, engine_processes, rates_of  # noqa: E402
from benchmarks.workloads.sized_servers import Fairway, LlamaServer, Room, SizedServer, serving  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402

WARM_UP_S = 0.1
SETTLE_S = 1.0


@dataclass
class Shared:
    """Rates of one work, tokens per second, by round."""

    alone: list[float] = field(default_factory=list)
    """The mean of both, each with the cores to itself."""
    together: list[float] = field(default_factory=list)
    """The sum of both at once."""
    alone_per_cpu: list[float] = field(default_factory=list)
    """Tokens per second of processor time: the mean of both."""
    together_per_cpu: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median over the rounds of together / alone."""
        return statistics.median(b / a for a, b in zip(self.alone, self.together, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """The same for each second of processor time."""
        pairs = zip(self.alone_per_cpu, self.together_per_cpu, strict=True)
        return statistics.median(b / a for a, b in pairs)

    def add(self, alone: Sequence[Rate], together: Sequence[Rate]) -> None:
        self.alone.append(statistics.mean(rate.per_s for rate in alone))
        self.together.append(sum(rate.per_s for rate in together))
        self.alone_per_cpu.append(statistics.mean(rate.per_cpu_s for rate in alone))
        self.together_per_cpu.append(statistics.mean(rate.per_cpu_s for rate in together))


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--works", type=words, default=list(WORKS), metavar="A,B", help=f"of {', '.join(WORKS)}")
    add("--rounds", type=int, default=3, help="of one, the other, both (default %(default)s)")
    add("--seconds", type=float, default=4.0, help="of each measurement (default %(default)s)")
    add("--idle", type=float, default=10.0, help="seconds of watching idle servers, 0: none (default 10)")
    add("--weights", default="int4", help="default %(default)s")
    add("--shape", choices=list(RANDOM), default="qwen2.5-0.5b", help="of the model (default %(default)s)")
    add("--layers", type=int, help="cut the model to so many layers, to try things out")
    add("--threads", type=int, default=allowed_cores(), help="of each engine (default: allowed cores)")
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools: its idle server is watched too")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def measure(engines: Sequence[EngineProcess], args: argparse.Namespace) -> dict[str, Shared]:
    """Works take turns too, so that a noisy minute hurts all alike."""
    found = {work: Shared() for work in args.works}
    for work in args.works:
        rates_of(engines, work, WARM_UP_S)
    for number in range(args.rounds):
        say(f"round {number + 1} of {args.rounds}")
        for work, shared in found.items():
            alone = [rates_of([one], work, args.seconds)[0] for one in engines]
            shared.add(alone, rates_of(engines, work, args.seconds))
    return found


def idle_servers(model: Model, place: Place, seconds: float) -> Iterator[tuple[str, float]]:
    """Seconds of processor time per minute of each server that can be started."""
    servers: list[SizedServer] = [Fairway()]
    if place.llama_tools:
        servers.append(LlamaServer())
    for server in servers if seconds else []:
        say(f"idle: {server.name}")
        try:
            yield server.name, idle_server(server, model, place, seconds)
        except (Unavailable, OSError) as error:
            say(f"{server.name}: {error}")


def idle_server(server: SizedServer, model: Model, place: Place, seconds: float) -> float:
    command = server.words(model, place, Room(clients=4, longest=256))
    with serving(command, server.ready_path, place, server.name) as (url, pid):

        async def one_answer() -> None:
            await Client(url, model.name).ask(Ask(made_up_words(16, 0), 8))
            await asyncio.sleep(SETTLE_S)

        asyncio.run(one_answer())
        return cpu_per_minute(pid, seconds)


def page(found: Mapping[str, Shared], idle: Mapping[str, float], known: Mapping[str, Any]) -> str:
    head = ["work", "one engine alone, tokens/s", "two together, tokens/s", "together / alone",
            "the same per second of processor time"]  # fmt: skip
    rows = [
        [
            work,
            f"{statistics.median(each.alone):.1f}",
            f"{statistics.median(each.together):.1f}",
            f"{each.ratio:.0%}",
            f"{each.cpu_ratio:.0%}",
        ]
        for work, each in found.items()
    ]
    title = f"# Two engines on the same cores, {known['model']}, {known['date']}"
    parts = [title, facts(known), table(head, rows)]
    if idle:
        waiting = [[name, f"{seconds:.2f} s"] for name, seconds in idle.items()]
        parts += ["## Idle", table(["server", "processor time per idle minute"], waiting)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    args = arguments()
    if unknown := set(args.works) - set(WORKS):
        sys.exit(f"There is no work {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}.")
    place = Place(args.cache.expanduser().resolve(), args.threads, 1, args.llama_bin)
    model = model_of(args.shape, place.cache, args.layers)
    known = {"date": now(), "model": model.name, "weights": args.weights, "rounds": args.rounds}
    known["CPU of others before"] = f"{busy_share() or 0:.0%}"
    with engine_processes(2, model.folder, args.weights, args.threads) as engines:
        found = measure(engines, args)
    idle = dict(idle_servers(model, place, args.idle))
    known |= machine(place)
    shown = page(found, idle, known)
    data = known | {"works": {work: asdict(each) for work, each in found.items()}, "idle": idle}
    picture = bars("Two engines together / one alone", {work: each.ratio for work, each in found.items()})
    save(args.results, f"two-engines-{model.name}", data, shown, picture)
    print(shown)


if __name__ == "__main__":
    main()
