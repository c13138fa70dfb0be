"""One comparison from the choice to the report: prepare all, then rounds of everyone's turn."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

from benchmarks.comparison.budget import Budget
from benchmarks.comparison.columns import Column, columns_for, titles_of
from benchmarks.comparison.http_loads import Texts
from benchmarks.comparison.http_rounds import HttpContestant, http_round
from benchmarks.comparison.limits import LimitsMeter
from benchmarks.comparison.results import OURS, Report, Row
from benchmarks.comparison.shapes import RANDOM, ROOT, model_of
from benchmarks.comparison.turns import Contest, Contestant, attempt, prepare, say
from benchmarks.peers.protocol import Model, Place
from benchmarks.peers.servers import SERVERS
from benchmarks.peers.table import PEERS
from fairway.map.cpu import read_processor


@dataclass(frozen=True)
class Choice:
    """What a run of the comparison is asked to do."""

    shape: str
    layers: int | None
    engines: tuple[str, ...]
    """Parts of names; "" is everyone."""
    columns: tuple[str, ...]
    http: bool
    rounds: int
    context: int
    """Tokens before the decoded ones."""
    place: Place

    def has(self, name: str) -> bool:
        return name.startswith(OURS) or any(part.lower() in name.lower() for part in self.engines)


class Comparison:
    """Everyone who takes part, prepared; `turns` measures and `report` tells what there is so far."""

    def __init__(self, choice: Choice) -> None:
        self.choice, place = choice, choice.place
        self.date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        self.model = model_of(choice.shape, place.cache, choice.layers)
        columns = columns_for(self.model.context, choice.context)
        self.columns = [column for column in columns if column.key in choice.columns]
        self.servers = prepared_servers(choice, self.model)
        self.contest = Contest(
            self.model,
            place,
            self.columns,
            measures_loads="load" in choice.columns,
            contestants=prepared_engines(choice, self.model),
            meter=LimitsMeter(place.threads),
        )
        for server in self.servers:
            server.engine = self.contest.find(f"{server.server.engine} {server.server.variant}")
        self.finished = 0

    def turns(self, budget: Budget) -> Iterator[Report]:
        """The report after every turn, so that a run that is stopped loses one turn."""
        try:
            for number in budget.rounds(self.choice.rounds):
                say(f"{self.model.name}, round {number + 1} of {self.choice.rounds}")
                for _ in self._round(number, budget):
                    yield self.report()
                self.finished += 1
                yield self.report()
        finally:
            self.contest.close()

    def _round(self, number: int, budget: Budget) -> Iterator[None]:
        if self.choice.columns:
            yield from self.contest.round(budget)
        yield from http_round(self.contest, self.servers, Texts(number), budget)

    def report(self) -> Report:
        rows = [each.row for each in self.contest.contestants] if self.choice.columns else []
        return Report(
            date=self.date,
            model=self.model.name,
            machine=machine(self.choice.place),
            workload={"complete rounds": self.finished} | workload(self.columns),
            num_matrix_weights=self.model.num_matrix_weights,
            titles=titles_of(self.choice.columns, self.columns),
            rows=rows,
            http_rows=[each.row for each in self.servers],
            limits=self.contest.meter.limits,
        )


def prepared_engines(choice: Choice, model: Model) -> list[Contestant]:
    """Without columns, only those whose servers are measured."""
    wanted = [(peer, variant) for peer in PEERS for variant in peer.variants]
    if not choice.columns:
        served = {(server.engine, server.variant) for server in SERVERS}
        wanted = [(peer, variant) for peer, variant in wanted if (peer.name, variant) in served]
    return [
        prepare(peer, variant, model, choice.place)
        for peer, variant in wanted
        if choice.has(f"{peer.name} {variant}")
    ]


def prepared_servers(choice: Choice, model: Model) -> list[HttpContestant]:
    """Only random models have the tokenizer in which a word is a token everywhere."""
    if not choice.http or choice.shape not in RANDOM:
        return []
    servers = []
    for server in SERVERS:
        if choice.has(f"{server.name} {server.variant}") or choice.has(f"{server.engine} {server.variant}"):
            row = Row(server.name, server.variant)
            attempt(row, partial(server.install, model, choice.place))
            servers.append(HttpContestant(server, row))
    return servers


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
