"""Trackers that are told what a run does: MLflow and Weights & Biases, through their own libraries.

Knows neither. The rule: a tracker that fails is told of once and left out from then on; training goes on.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fairway.errors import MissingExtra, SettingsError
from fairway.formats.atomic import atomic_file
from fairway.formats.json_text import read_object

FILE_NAME = "tracking.json"
MODULES = {"mlflow": "fairway.tune.track_mlflow", "wandb": "fairway.tune.track_wandb"}
NONE = "none"


@dataclass(frozen=True)
class TrackedRun:
    """What is said at the beginning."""

    folder: Path
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    """Lineage: base, data and recipe by digest."""
    known_id: str | None = None
    """Of the run that is gone on with."""


class Tracker(Protocol):
    """One library. Any method may raise anything."""

    def begin(self, run: TrackedRun) -> str:
        """The run's id, by which it can be gone on with."""
        ...

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...

    def finish(self, files: Sequence[Path], *, completed: bool) -> None:
        """`files` and folders are kept with the run."""
        ...


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """Those to tell. Raises `SettingsError` for an unknown one, `MissingExtra` for one that is not there."""
    wanted = tuple(dict.fromkeys(part.strip() for name in names for part in name.split(",") if part.strip()))
    for name in wanted:
        if name not in (*MODULES, NONE):
            known = ", ".join(MODULES)
            raise SettingsError(
                f"There is no tracker {name!r}.", hint=f"There are: {known}, {NONE}.", param="report_to"
            )
        if name != NONE and importlib.util.find_spec(name) is None:
            raise MissingExtra(
                f"--report-to {name} needs {name}, which is not installed.",
                hint=f"Run: pip install 'fairway[{name}]'.",
            )
    return tuple(name for name in wanted if name != NONE)


class Trackers:
    """All that were asked for; `warn` is told of a failure in one line."""

    def __init__(self, names: Sequence[str], warn: Callable[[str], None]) -> None:
        self._names, self._warn = check_trackers(names), warn
        self._told: dict[str, Tracker] = {}

    def begin(self, run: TrackedRun) -> None:
        """Begins a run in each, or goes on with the one that the folder names."""
        path = run.folder / FILE_NAME
        ids = dict(read_object(path)) if path.is_file() else {}
        for name in self._names:
            known = ids.get(name)
            ids[name] = self._guarded(name, partial(self._begun, name, run, known))
        if self._told:
            with atomic_file(path) as file:
                file.write((json.dumps(ids, indent=1) + "\n").encode("utf-8"))

    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        numbers = {name: float(value) for name, value in figures.items() if value is not None}
        for name, tracker in list(self._told.items()):
            self._guarded(name, partial(tracker.log, step, numbers))

    def finish(self, files: Sequence[Path], *, completed: bool) -> None:
        there = [path for path in files if path.exists()]
        for name, tracker in list(self._told.items()):
            self._guarded(name, partial(tracker.finish, there, completed=completed))

    def _begun(self, name: str, run: TrackedRun, known: str | None) -> str:
        tracker: Tracker = importlib.import_module(MODULES[name]).tracker()
        found = tracker.begin(replace(run, known_id=known))
        self._told[name] = tracker
        return found

    def _guarded(self, name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever the call gives
        try:
            return call()
        except Exception as error:  # noqa: BLE001  a tracker must not end a training
            self._told.pop(name, None)
            reason = str(error).strip().partition("\n")[0][:200]
            self._warn(f"Note: {name} failed and is told nothing more: {type(error).__name__}: {reason}")
            return None
