"""The one job that trains: its process, followed by what that writes into the run folder."""

from __future__ import annotations

import sys
from typing import Any

from fairway.tune.jobs.job import TuningJob
from fairway.tune.jobs.job_store import JobStore
from fairway.tune.jobs.overview import InTraining
from fairway.tune.jobs.process import Process
from fairway.tune.jobs.run_figures import Follower, is_begun, is_finished
from fairway.tune.recipe import FILE_NAME
from fairway.tune.run_folder import FACTS

FAIRWAY = (sys.executable, "-m", "fairway")


def check_command(store: JobStore, job: TuningJob) -> list[str]:
    """Reads all rows as training will."""
    return [*_tune(store, job), "--check", "--json", "--preview", "0", *_recipe(store, job)]


def train_command(store: JobStore, job: TuningJob) -> list[str]:
    """Begins the run, or goes on with it."""
    run = store.run_folder(job)
    how = ["--resume"] if is_begun(run) else _recipe(store, job)
    return [*_tune(store, job), "--out", str(run), "--json", *how]


def _recipe(store: JobStore, job: TuningJob) -> list[str]:
    return ["--recipe", str(store.place(job) / FILE_NAME)]


def _tune(store: JobStore, job: TuningJob) -> list[str]:
    training, validation = store.data(job)
    held_out = [] if validation is None else ["--validation", str(validation)]
    return [*FAIRWAY, "tune", job.asked.base.path, str(training), *held_out]


class Training:
    """A job's process. `progressed`: whether it did an update since it was begun here."""

    def __init__(self, store: JobStore, job: TuningJob, niceness: int) -> None:
        self.job_id = job.id
        self.run = store.run_folder(job)
        self.progressed = False
        place = store.place(job)
        self.process = Process(place / "training.lock", place / "training.txt")
        self._seconds: list[float] = []
        self._last: dict[str, Any] | None = None
        self._looked_at, self._is_finished = 0, False
        told = [each.data["step"] for each in store.events(job) if each.type == "metrics"]
        self._follower = Follower(self.run, max(told, default=0))
        if not self.process.is_running():
            self.process.start(train_command(store, job), niceness)

    def is_finished(self) -> bool:
        """Whether the result is there; the process may still be ending."""
        try:
            changed = (self.run / FACTS).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if changed != self._looked_at:
            self._looked_at, self._is_finished = changed, is_finished(self.run)
        return self._is_finished

    def new_figures(self) -> list[dict[str, Any]]:
        found = list(self._follower.new_lines())
        if found:
            self.progressed, self._last = True, found[-1]
        self._seconds += [each["seconds"] for each in found]
        return found

    def seen(self, job: TuningJob) -> InTraining | None:
        """How far it is; None before its first update here."""
        last = self._last
        if last is None:
            return None
        return InTraining(job.id, job.asked.base.name, last["step"], last["num_steps"], last["loss"])

    def seconds_left(self, last: dict[str, Any]) -> float:
        """By the updates that were seen."""
        mean = sum(self._seconds) / len(self._seconds)
        return mean * float(last["num_steps"] - last["step"])
