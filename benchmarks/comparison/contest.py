"""One comparison from the choice to the report: prepare all, then rounds of everyone's turn."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from benchmarks.comparison.columns import HTTP, LOAD, Column, columns_for
from benchmarks.comparison.http_clients import Texts
from benchmarks.comparison.http_rounds import serve_round
from benchmarks.comparison.limits import limits_meter
from benchmarks.comparison.results import OURS, Report, Row
from benchmarks.comparison.shapes import RANDOM, ROOT, model_of
from benchmarks.comparison.turns import Contest, Contestant, attempt, prepare, say
from benchmarks.peers.protocol import Model, Place
from benchmarks.peers.servers import SERVERS, Server
from benchmarks.peers.table import PEERS
from fairway.map.cpu import read_processor


@dataclass(frozen=True)
class Choice:
    """What a run of the comparison is asked to do."""

    shape: str
    layers: int | None
    peers: tuple[str, ...]
    """Parts of names; "" is everyone."""
    columns: tuple[str, ...]
    rounds: int
    context: int
    """Tokens before the decoded ones."""
    place: Place

    def has(self, name: str) -> bool:
        return name == OURS or any(part.lower() in name.lower() for part in self.peers)

    @property
    def measures_engines(self) -> bool:
        return any(key != HTTP for key in self.columns)


class Comparison:
    """Everyone who takes part, prepared; `rounds` measures and `report` tells what there is so far."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self.model = model_of(choice.shape, choice.place.cache, choice.layers)
        columns = columns_for(self.model.context, choice.context)
        self.columns = [column for column in columns if column.key in choice.columns]
        self.contest = Contest(self.model, choice.place, self.columns, prepared_engines(choice, self.model))
        self.servers = prepared_servers(choice, self.model)
        self.meter = limits_meter(choice.place)
        self.finished = 0

    def rounds(self) -> Iterator[Report]:
        """The report after every round, so that a run that is stopped loses one round."""
        try:
            for number in range(self.choice.rounds):
                say(f"round {number + 1} of {self.choice.rounds}")
                self.meter.measure()
                self.contest.round()
                self.finished += 1
                yield self.report()
        finally:
            self.contest.close()
        for number in range(self.choice.rounds if self.servers else 0):
            say(f"HTTP, round {number + 1} of {self.choice.rounds}")
            serve_round(self.servers, self.model, self.choice.place, Texts(number))
            yield self.report()

    def report(self) -> Report:
        return Report(
            date=self.date,
            model=self.model.name,
            machine=machine(self.choice.place),
            workload={"rounds": self.finished} | workload(self.columns),
            num_matrix_weights=self.model.num_matrix_weights,
            titles=titles(self.choice, self.columns),
            rows=[each.row for each in self.contest.contestants],
            http_rows=[row for _, row in self.servers],
            limits=self.meter.limits(),
        )


def prepared_engines(choice: Choice, model: Model) -> list[Contestant]:
    if not choice.measures_engines:
        return []
    wanted = [(peer, variant) for peer in PEERS for variant in peer.variants]
    return [
        prepare(peer, variant, model, choice.place)
        for peer, variant in wanted
        if choice.has(peer.name) or choice.has(f"{peer.name} {variant}")
    ]


def prepared_servers(choice: Choice, model: Model) -> list[tuple[Server, Row]]:
    """Only random models have the tokenizer in which a word is a token everywhere."""
    if HTTP not in choice.columns or choice.shape not in RANDOM:
        return []
    servers = []
    for server in SERVERS:
        if choice.has(server.name) or choice.has(server.name.replace("llama-server", "llama.cpp")):
            row = Row(server.name, server.variant)
            attempt(row, lambda server=server: server.install(model, choice.place))
            servers.append((server, row))
    return servers


def titles(choice: Choice, columns: list[Column]) -> dict[str, str]:
    found = {column.key: column.title for column in columns}
    return found | ({LOAD: "load, s"} if LOAD in choice.columns else {})


def machine(place: Place) -> dict[str, Any]:
    processor = read_processor(platform.system())
    return {
        "processor": processor.name,
        "threads": place.threads,
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Fairway's commit": commit(),
        "load average at the end": f"{os.getloadavg()[0]:.1f}",
    }


def commit() -> str:
    """Of the working tree, with a + where it has changes."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def workload(columns: list[Column]) -> dict[str, Any]:
    steps = [f"{each.title} {each.generate} after {each.prompt}" for each in columns if each.generate]
    return {"decoding steps": ", ".join(steps)} if steps else {}
