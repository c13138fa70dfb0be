"""Predictions beside what was then measured, remembered, shown, and used to predict better.

One line of JSON for each comparison. The rule: noting costs a microsecond and never fails a command.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fairway.map.known_limits import fingerprint
from fairway.map.probe import Machine
from fairway.map.speed import Speed
from fairway.map.state import append_line, read_lines, state_folder

FILE_NAME = "history.jsonl"
LAST = 7
"""Comparisons that a correction is made of."""
SMALLEST, LARGEST = 0.4, 2.5
"""A correction beyond these is a broken measurement."""
FLOOR = 0.1
"""No band is narrower: neighbours on the machine alone make as much."""


@dataclass(frozen=True)
class Comparison:
    """One number that was predicted and then measured."""

    time: str
    command: str
    machine: str
    """Its fingerprint."""
    model: str
    engine: str
    weights: str
    what: str
    """decode_tokens_per_s, prefill_tokens_per_s, answer_tokens_per_s, memory_bytes, ..."""
    predicted: float
    measured: float
    batch: int = 1

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured / self.predicted if self.predicted else 0.0


@dataclass(frozen=True)
class Corrections:
    """What this machine's own measurements say about predictions, by engine, weights and what."""

    ratios: Mapping[tuple[str, str, str], Sequence[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, comparisons: Iterable[Comparison], machine: str) -> Corrections:
        found: dict[tuple[str, str, str], list[float]] = {}
        for each in comparisons:
            if each.machine == machine and SMALLEST < each.ratio < LARGEST:
                found.setdefault((each.engine, each.weights, each.what), []).append(each.ratio)
        return cls({key: ratios[-LAST:] for key, ratios in found.items()})

    def applied(self, speed: Speed, engine: str, weights: str) -> Speed:
        """The prediction moved by the median of what was seen, and a band as wide as that spread."""
        decode = self._ratios(engine, weights, "decode_tokens_per_s")
        prefill = self._ratios(engine, weights, "prefill_tokens_per_s")
        if not decode and not prefill:
            return speed
        write, read = (statistics.median(each) if each else 1.0 for each in (decode, prefill))
        seen = [value / middle for values, middle in ((decode, write), (prefill, read)) for value in values]
        spread = max(abs(value - 1) for value in seen)
        error = min(speed.error, max(FLOOR, spread)) if len(seen) > 2 else speed.error
        return replace(
            speed,
            decode_tokens_per_s=speed.decode_tokens_per_s * write,
            output_tokens_per_s=speed.output_tokens_per_s * write,
            prefill_tokens_per_s=speed.prefill_tokens_per_s * read,
            first_token_s=speed.first_token_s / read,
            error=error,
            basis="measured",
        )

    def _ratios(self, engine: str, weights: str, what: str) -> Sequence[float]:
        return self.ratios.get((engine, weights, what), ())


@dataclass(frozen=True)
class Subject:
    """What the numbers of one note are about."""

    command: str
    machine: Machine
    model: str
    engine: str
    weights: str
    batch: int = 1


def note(
    subject: Subject,
    predicted: Mapping[str, float],
    measured: Mapping[str, float],
    folder: Path | None = None,
) -> None:
    """Keeps every number that both sides have."""
    path = (folder or state_folder()) / FILE_NAME
    now, machine = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), fingerprint(subject.machine)
    for what in predicted.keys() & measured.keys():
        comparison = Comparison(
            now, subject.command, machine, subject.model, subject.engine, subject.weights, what,
            round(predicted[what], 4), round(measured[what], 4), subject.batch,
        )  # fmt: skip
        append_line(path, asdict(comparison))


def comparisons(folder: Path | None = None) -> list[Comparison]:
    """All that was noted, the oldest first."""
    return [
        found
        for line in read_lines((folder or state_folder()) / FILE_NAME)
        if (found := _comparison(line)) is not None
    ]


def _comparison(line: Mapping[str, Any]) -> Comparison | None:
    try:
        return Comparison(**line)
    except TypeError:
        return None


def corrections_for(machine: Machine, folder: Path | None = None) -> Corrections:
    return Corrections.of(comparisons(folder), fingerprint(machine))
