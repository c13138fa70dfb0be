"""The jobs and what happens to them: every change of a status, with the event that tells it.

Knows no process and no thread: it belongs to the queue's. The rule: memory never says what the disk does not,
but for estimates.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from fairway.tune.jobs.errors import JobMissing, WrongStatus
from fairway.tune.jobs.files import FileStore
from fairway.tune.jobs.job import Asked, Event, JobError, Status, TuningJob
from fairway.tune.jobs.job_store import JobStore
from fairway.tune.jobs.names import new_id
from fairway.tune.jobs.run_figures import metrics_of

MAY_CANCEL: tuple[Status, ...] = ("validating_files", "queued", "running", "paused")
MAY_PAUSE: tuple[Status, ...] = ("queued", "running")
MAY_RESUME: tuple[Status, ...] = ("paused",)


class Ledger:
    """All jobs of a folder, the oldest first."""

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self._jobs = {job.id: job for job in store.all()}

    def all(self) -> list[TuningJob]:
        return list(self._jobs.values())

    def find(self, job_id: str) -> TuningJob:
        """Raises `JobMissing`."""
        if job_id not in self._jobs:
            raise JobMissing(f"There is no fine-tuning job {job_id[:80]!r} here.", param="fine_tuning_job_id")
        return self._jobs[job_id]

    def first(self, *statuses: Status) -> TuningJob | None:
        """The oldest job of the first status that any has."""
        found = [job for status in statuses for job in self._jobs.values() if job.status == status]
        return found[0] if found else None

    def create(self, asked: Asked, files: FileStore) -> TuningJob:
        job = TuningJob(new_id("ftjob"), asked, int(time.time()), hyperparameters=asked.hyperparameters)
        held_out = None if asked.validation_file is None else files.path(asked.validation_file)
        self.store.create(job, files.path(asked.training_file), held_out)
        self._jobs[job.id] = job
        self.tell(job, f"Created fine-tuning job: {job.id}")
        also = "" if asked.validation_file is None else f" and validation file: {asked.validation_file}"
        self.tell(job, f"Validating training file: {asked.training_file}{also}")
        return job

    def change(self, job: TuningJob, **values: Any) -> TuningJob:  # noqa: ANN401
        """The job as it is from now on, on disk."""
        changed = self.estimate(job, **values)
        self.store.save(changed)
        return changed

    def estimate(self, job: TuningJob, **values: Any) -> TuningJob:  # noqa: ANN401
        """The same, in memory alone."""
        self._jobs[job.id] = replace(self._jobs[job.id], **values)
        return self._jobs[job.id]

    def cancel(self, job_id: str) -> TuningJob:
        job = self._allowed(job_id, "cancelled", MAY_CANCEL)
        job = self.change(job, status="cancelled", finished_s=int(time.time()), estimated_finish_s=None)
        self.tell(job, "The job was cancelled")
        return job

    def pause(self, job_id: str) -> TuningJob:
        job = self._allowed(job_id, "paused", MAY_PAUSE)
        job = self.change(job, status="paused", estimated_finish_s=None)
        self.tell(job, "The job was paused")
        return job

    def resume(self, job_id: str) -> TuningJob:
        job = self._allowed(job_id, "resumed", MAY_RESUME)
        job = self.change(job, status="queued")
        self.tell(job, "The job was resumed and waits in the queue")
        return job

    def fail(self, job: TuningJob, error: JobError) -> TuningJob:
        now = int(time.time())
        job = self.change(job, status="failed", error=error, finished_s=now, estimated_finish_s=None)
        self.tell(job, f"The job failed: {error.message}", level="error")
        return job

    def tell(
        self,
        job: TuningJob,
        message: str,
        *,
        level: Literal["info", "warn", "error"] = "info",
    ) -> None:
        self.tell_all(job, [Event(new_id("ftevent"), int(time.time()), message, level)])

    def tell_all(self, job: TuningJob, events: Sequence[Event]) -> None:
        self.store.add_events(job, list(events))

    def _allowed(self, job_id: str, what: str, statuses: Sequence[Status]) -> TuningJob:
        job = self.find(job_id)
        if job.status not in statuses:
            possible = ", ".join(statuses)
            raise WrongStatus(
                f"The job {job.id} is {job.status} and cannot be {what}.", hint=f"It could be if {possible}."
            )
        return job


def step_event(figures: dict[str, Any]) -> Event:
    """What one update did, as OpenAI tells it."""
    data = {"total_steps": figures["num_steps"], **metrics_of(figures)}
    message = f"Step {figures['step']}/{figures['num_steps']}: training loss={figures['loss']:.2f}"
    if "held_out_loss" in figures:
        message += f", validation loss={figures['held_out_loss']:.2f}"
    return Event(new_id("ftevent"), int(time.time()), message, "info", "metrics", data)
