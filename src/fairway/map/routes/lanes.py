"""Hops between formats: the shortest way over the catalogue's lanes, Fairway's own first.

A lane of Fairway's is proven by its converter each time that it runs; others are said to be unproven.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.map.catalogue import Catalogue
from fairway.map.catalogue.schema import Conversion

OWN = "fairway"


@dataclass(frozen=True)
class Hop:
    """One lane, as a step of a route."""

    reads: str
    writes: str
    by: str
    keeps: str
    proof: str
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def format_of(bundle: Bundle, catalogue: Catalogue) -> str:
    """The catalogue's id of a bundle's container. Raises `UnsupportedError` where the map has none."""
    for each in catalogue.formats.values():
        if bundle.container in each.containers:
            return each.id
    raise UnsupportedError(f"The map has no format for {bundle.container}.")


def way(catalogue: Catalogue, start: str, goal: str) -> tuple[Hop, ...] | None:
    """The fewest hops, nothing if both are one; None where no lanes lead there."""
    if start == goal:
        return ()
    seen = {start}
    waiting: deque[tuple[str, tuple[Hop, ...]]] = deque([(start, ())])
    lanes = sorted(catalogue.conversions.values(), key=lambda lane: lane.by != OWN)
    while waiting:
        here, hops = waiting.popleft()
        for lane in lanes:
            if lane.reads != here or lane.writes in seen or not _is_open(catalogue, lane):
                continue
            found = (*hops, _hop(lane))
            if lane.writes == goal:
                return found
            seen.add(lane.writes)
            waiting.append((lane.writes, found))
    return None


def _is_open(catalogue: Catalogue, lane: Conversion) -> bool:
    """Lanes of tools that are being given up lead nowhere new."""
    tool = catalogue.tools.get(lane.by)
    return lane.by == OWN or tool is None or tool.status in ("active", "experimental")


def _hop(lane: Conversion) -> Hop:
    proof = "every tensor compared, and the model run beside its source" if lane.by == OWN else "none here"
    return Hop(lane.reads, lane.writes, lane.by, lane.keeps, proof)
