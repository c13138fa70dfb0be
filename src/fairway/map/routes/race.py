"""Two or three of the best routes, measured on this machine with the same small workload.

Our own engine runs here; llama.cpp runs where llama-bench is installed and the file is there. Every other
route says why it was not raced. The rule: what was measured is noted and the next plan starts from it, unless
others kept the machine busy: that says nothing of the next time.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairway.errors import FairwayError, ToolFailed
from fairway.map.history import Corrections, Subject, note
from fairway.map.known_limits import LITTLE_NOISE, taken_by_others
from fairway.map.measure import Prompts, Workload, measure_engine
from fairway.map.plan import rate
from fairway.map.probe import probe
from fairway.map.routes.candidates import NATIVE, Finder
from fairway.map.routes.choose import rank
from fairway.map.routes.route import Answer, Route
from fairway.runtimes.loading import load_engine

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

MOST = 3
WARM_TOKENS = 16
BENCH_TIMEOUT_S = 300


class Steps(Protocol):
    """Where progress is shown."""

    def step(self, title: str) -> AbstractContextManager[Any]: ...


@dataclass(frozen=True)
class Lap:
    """One route's turn."""

    route: Route
    measured: Mapping[str, float]
    """Empty where it could not be raced."""
    predicted: Mapping[str, float]
    """Of the race's own workload."""
    why_not: str = ""
    others: float = 0.0
    """Share of the processor that other programs took just before."""

    @property
    def is_quiet(self) -> bool:
        return self.others < LITTLE_NOISE

    def text(self) -> str:
        if not self.measured:
            return f"{self.route.name}: {self.why_not}"
        expected = self.predicted.get("decode_tokens_per_s")
        predicted = f", predicted {rate(expected)}" if expected else ""
        decode, prefill = self.measured["decode_tokens_per_s"], self.measured["prefill_tokens_per_s"]
        return f"{self.route.name}: writes {rate(decode)} tokens/s{predicted}; reads {rate(prefill)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "route": self.route.name,
            "predicted": dict(self.predicted),
            "measured": dict(self.measured),
            "why_not": self.why_not,
            "others": round(self.others, 2),
        }


def corrections_of(laps: Sequence[Lap]) -> Corrections:
    """What the race says of its routes, whatever was measured before."""
    ratios = {
        (lap.route.engine, lap.route.weights, what): (lap.measured[what] / lap.predicted[what],)
        for lap in laps
        for what in lap.measured.keys() & lap.predicted.keys()
    }
    return Corrections(ratios)


def race(answer: Answer, finder: Finder, steps: Steps) -> list[Lap]:
    """The best and its alternatives, those of them that are here."""
    routes = [answer.best, *(route for route, _ in answer.alternatives)]
    here = [route for route in routes if route.device.is_here]
    more = [
        each
        for each in finder.candidates(answer.best.device)
        if isinstance(each, Route) and each.engine == NATIVE and all(each.weights != r.weights for r in here)
    ]
    laps: list[Lap] = []
    for route in [*here, *rank(more, finder.question)][:MOST]:
        with steps.step(f"Raced {route.tool} {route.weights}"):
            laps.append(_lap(route, finder))
    return laps


def _lap(route: Route, finder: Finder) -> Lap:
    load = finder.question.load(route.context)
    work = Workload(load.prompt, min(load.answer, 32), min(load.users, 8))
    others = taken_by_others()
    try:
        if route.engine == NATIVE:
            measured = _native(route, finder, work)
        elif route.engine.startswith("llama-cpp"):
            measured = _llama(route, work)
        else:
            return Lap(route, {}, {}, "not raced: Fairway times no server but its own; --run starts it")
    except FairwayError as error:
        return Lap(route, {}, {}, error.message)
    predicted = _foretold(route, finder, work)
    subject = Subject("plan --measure", probe(), finder.bundle.name, route.engine, route.weights, work.batch)
    lap = Lap(route, measured, predicted, others=others)
    if lap.is_quiet:
        note(subject, predicted, measured)
    return lap


def _native(route: Route, finder: Finder, work: Workload) -> dict[str, float]:
    assert route.plan is not None
    loaded = load_engine(finder.bundle, route.plan.native_options(finder.bundle.name))
    prompts = Prompts(loaded.model.vocab_size)
    measure_engine(loaded.engine, Workload(WARM_TOKENS, 2, 1), prompts)
    rates = measure_engine(loaded.engine, work, prompts)
    return {"decode_tokens_per_s": rates.decode, "prefill_tokens_per_s": rates.prefill}


def _llama(route: Route, work: Workload) -> dict[str, float]:
    """llama-bench measures one sequence; a crowd is not compared with it. Raises `ToolFailed`."""
    program = shutil.which("llama-bench")
    words = shlex.split(route.commands[-1])
    model = Path(words[words.index("-m") + 1])
    if program is None:
        raise ToolFailed("not raced: llama-bench is not installed")
    if work.batch > 1:
        raise ToolFailed("not raced: llama-bench times one person, not several")
    if not model.is_file():
        raise ToolFailed(f"not raced: {model} is not there; {route.commands[0]} makes it")
    command = [program, "-m", str(model), "-p", str(work.prompt), "-n", str(work.generate), "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BENCH_TIMEOUT_S, check=True)
        rows = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ToolFailed(f"not raced: llama-bench failed ({error})") from error
    rates = {"n_prompt": "prefill_tokens_per_s", "n_gen": "decode_tokens_per_s"}
    return {name: float(row["avg_ts"]) for row in rows for key, name in rates.items() if row.get(key)}


def _foretold(route: Route, finder: Finder, work: Workload) -> dict[str, float]:
    """Of this very workload, without the corrections of before."""
    question = replace(finder.question, users=work.batch)
    plain = replace(finder, question=question, corrections=Corrections())
    for each in plain.candidates(route.device):
        if isinstance(each, Route) and _same(each, route) and each.speed is not None:
            return {
                "decode_tokens_per_s": each.speed.decode_tokens_per_s,
                "prefill_tokens_per_s": each.speed.prefill_tokens_per_s,
            }
    return {}


def _same(one: Route, other: Route) -> bool:
    return (one.engine, one.weights) == (other.engine, other.weights)
