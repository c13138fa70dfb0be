"""What an answer is worth: a table of metrics, a function of the user's own, and the bar that they must pass.

    exact_match>=0.8,stops>=0.95,loss<=2.1

Knows texts and numbers, no model. The rule: a figure is a mean over rows between 0 and 1, except loss.
"""

from __future__ import annotations

import importlib.util
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fairway.errors import SettingsError

Metric: TypeAlias = Callable[[str, str], float]
"""(answer, expected) -> 0 to 1."""
LOSS, STOPS = "loss", "stops"
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_BAR = re.compile(r"\s*(?P<name>\w+)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>[-+\d.eE]+)\s*")


def exact_match(answer: str, expected: str) -> float:
    return float(answer.strip() == expected.strip())


def contains(answer: str, expected: str) -> float:
    return float(expected.strip() in answer)


def same_json(answer: str, expected: str) -> float:
    """Equal as JSON values, however they are written."""
    try:
        return float(json.loads(answer) == json.loads(expected))
    except ValueError:
        return 0.0


METRICS: Mapping[str, Metric] = {"exact_match": exact_match, "contains": contains, "json": same_json}


@dataclass(frozen=True)
class Bar:
    """One thing that is asked for."""

    name: str
    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value:g}"

    def missed_by(self, figures: Mapping[str, float | None]) -> str | None:
        """What is wrong, in words; None where the bar is passed."""
        found = figures[self.name]
        if found is None:
            return f"{self.name} could not be measured, and {self} is asked for"
        return (
            None if COMPARISONS[self.sign](found, self.value) else f"{self.name} is {found:.4g}, not {self}"
        )


def metrics_named(names: Iterable[str]) -> dict[str, Metric]:
    """By name, or "file.py:function". Raises `SettingsError`."""
    return dict(_metric(name) for name in names)


def _metric(name: str) -> tuple[str, Metric]:
    if name in METRICS:
        return name, METRICS[name]
    file, colon, function = name.rpartition(":")
    if not colon or not function.isidentifier():
        known = ", ".join(METRICS)
        raise SettingsError(
            f"There is no metric {name!r}.", hint=f"There are: {known}, and file.py:function.", param="metric"
        )
    return function, _own(Path(file), function)


def _own(path: Path, function: str) -> Metric:
    """A user's function(answer, expected); what goes wrong in it is told with its name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SettingsError(f"{path} is no Python file.", hint="Write file.py:function.", param="metric")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{path} cannot be loaded: {type(error).__name__}: {error}.") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise SettingsError(f"{path} has no function {function}.", param="metric")

    def measured(answer: str, expected: str) -> float:
        try:
            return float(found(answer, expected))
        except Exception as error:
            raise SettingsError(
                f"{function} of {path} failed: {type(error).__name__}: {error}.",
                hint=f"It was given the answer {answer[:60]!r} and the expected text {expected[:60]!r}.",
            ) from error

    return measured


def parse_bars(text: str) -> tuple[Bar, ...]:
    """ "exact_match>=0.8,stops>=0.95". Raises `SettingsError`."""
    return tuple(_bar(part) for part in text.split(",") if part.strip())


def _bar(text: str) -> Bar:
    match = _BAR.fullmatch(text)
    try:
        return Bar(match["name"], match["sign"], float(match["value"]))  # type: ignore[index]
    except (TypeError, ValueError):
        raise SettingsError(
            f"{text.strip()!r} is no requirement.",
            hint="Write exact_match>=0.8,stops>=0.95.",
            param="require",
        ) from None


def with_required(names: Sequence[str], bars: Sequence[Bar]) -> tuple[str, ...]:
    """The metrics to measure: those that were chosen, and those that a bar asks for."""
    asked = [bar.name for bar in bars if bar.name in METRICS]
    return tuple(dict.fromkeys((*names, *asked)))


def check_bars(bars: Sequence[Bar], metrics: Iterable[str]) -> None:
    """Raises `SettingsError` for a bar on something that is not measured."""
    known = (LOSS, STOPS, *metrics)
    for bar in bars:
        if bar.name not in known:
            raise SettingsError(
                f"{bar} asks for {bar.name!r}, which is not measured.",
                hint=f"There are: {', '.join(known)}.",
                param="require",
            )
