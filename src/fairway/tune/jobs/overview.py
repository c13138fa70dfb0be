"""What an operator sees of the jobs at a glance. Values alone: any thread may read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from fairway.tune.jobs.job import Status, TuningJob

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class InTraining:
    """The job that trains, after its last update."""

    job_id: str
    model: str
    """Its base."""
    step: int
    num_steps: int
    loss: float


@dataclass(frozen=True)
class Overview:
    """The jobs that this server runs; none where another one has the folder."""

    num_jobs: Mapping[Status, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    in_training: InTraining | None = None


def overview_of(jobs: Iterable[TuningJob], in_training: InTraining | None) -> Overview:
    counts = Counter(job.status for job in jobs)
    return Overview({status: counts[status] for status in STATUSES}, in_training)
