"""When to kill a training run, and where in its work one was killed. Looks at the run's folder from outside.

The rule: a moment is chosen by what the folder shows and a part of the time that follows; where the kill fell
is told from what the process left.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.workloads.processes import Child

Place: TypeAlias = Literal["loading", "update", "checkpoint", "publishing", "end"]
SPREAD_S = {"update": 0.04, "checkpoint": 0.003, "publishing": 0.02, "end": 0.05}
"""A kill falls within so long after its place is reached."""
IN_THE_MIDDLE: tuple[tuple[Place, int], ...] = (("update", 4), ("checkpoint", 4))
"""How many kills of each kind a run gets between loading and its end."""
LOOK_S = 0.0003
"""Between two looks. Who sleeps is woken sooner than who computes, where a machine is busy."""
RESULTS = ("adapter", "model")


@dataclass(frozen=True)
class Moment:
    """`step`: the update from which on. `part`, 0 to 1: of the time within which the kill falls."""

    place: Place
    step: int
    part: float


@dataclass(frozen=True)
class Left:
    """What a run's folder shows."""

    metrics: int | None
    """The file's number, which changes when a run goes on."""
    halves: frozenset[str]
    """Files within which a process ended, or is."""


def plan(chance: random.Random, num_steps: int) -> list[Moment]:
    """The moments of one run, in its order: somewhere while it loads, in its middle, and towards its end."""
    places = [place for place, count in IN_THE_MIDDLE for _ in range(count)]
    chance.shuffle(places)
    steps = sorted(chance.sample(range(1, num_steps // 2), len(places)))
    moments = [Moment(*each, chance.random()) for each in zip(places, steps, strict=True)]
    moments.insert(chance.randrange(len(moments) + 1), Moment("loading", 0, chance.random()))
    last: Place = chance.choice(("publishing", "end"))
    return [*moments, Moment(last, num_steps, chance.random())]


def kill_at(moment: Moment, child: Child, out: Path, loading_s: float) -> Place | None:
    """Kills the process; where it was. None for one that ended before."""
    before = look(out)
    if moment.place == "loading":
        spread, is_there = loading_s, _at_once
    else:
        spread, is_there = SPREAD_S[moment.place], _SIGNS[moment.place]
    while not is_there(out, moment.step, before):
        if child.poll() is not None:
            return None
        time.sleep(LOOK_S)
    end = time.monotonic() + moment.part * spread
    while time.monotonic() < end and child.poll() is None:
        time.sleep(min(0.001, max(0.0, end - time.monotonic())))
    child.kill()
    return fallen(out, before) if child.wait() < 0 else None


def look(out: Path) -> Left:
    metrics = out / "metrics.jsonl"
    number = metrics.stat().st_ino if metrics.is_file() else None
    return Left(number, frozenset(each.name for each in (out / "checkpoints").glob(".*.part")))


def fallen(out: Path, before: Left) -> Place:
    """Where a process that is dead was, told from what it changed."""
    after = look(out)
    if is_finished(out) or _result_is_whole(out):
        return "end"
    if _result_is_begun(out):
        return "publishing"
    if after.halves - before.halves:
        return "checkpoint"
    return "loading" if after.metrics == before.metrics else "update"


def is_finished(out: Path) -> bool:
    facts = out / "run.json"
    return facts.is_file() and bool(json.loads(facts.read_text("utf-8")).get("finished"))


def num_steps(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


def _at_once(out: Path, step: int, before: Left) -> bool:  # noqa: ARG001
    return True


def _updates(out: Path, step: int, before: Left) -> bool:
    return look(out).metrics != before.metrics and num_steps(out) >= step


def _writes(out: Path, step: int, before: Left) -> bool:
    return any(int(name.split("-")[1].split(".")[0]) >= step for name in look(out).halves - before.halves)


def _result_is_begun(out: Path, *_: object) -> bool:
    return any(name in each.name for each in out.glob("*") for name in RESULTS)


def _result_is_whole(out: Path, *_: object) -> bool:
    return any((out / name / "fairway.json").is_file() for name in RESULTS)


_SIGNS: dict[Place, Callable[[Path, int, Left], bool]] = {
    "update": _updates, "checkpoint": _writes, "publishing": _result_is_begun, "end": _result_is_whole,
}  # fmt: skip
