"""What a job will take, from one update that is measured and then forgotten."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from fairway.tune.prepare_job import num_trained
from fairway.tune.trainer import Job, Trainer

MOMENT_BYTES = 8
"""Of AdamW, per trained parameter."""


@dataclass(frozen=True)
class Quote:
    """Seconds are of training alone, without held-out measurements."""

    num_examples: int
    num_updates: int
    num_tokens: int
    """In all epochs."""
    num_trained: int
    tokens_per_s: float
    seconds: float
    memory_bytes: int
    """The peak that the trial needed, and the optimizer's moments."""


def measure(trainer: Trainer) -> Quote:
    """Runs one update's gradients without changing anything that training starts from."""
    job = trainer.job
    start = time.monotonic()
    _, num_tokens = trainer.gradients(trainer.progress.step)
    speed = num_tokens / (time.monotonic() - start)
    for each in job.trained.values():
        each.grad = None
    total = tokens_of(job)
    memory = peak_bytes() + MOMENT_BYTES * num_trained(job)
    steps = job.batches.num_steps
    return Quote(len(job.examples), steps, total, num_trained(job), speed, total / speed, memory)


def tokens_of(job: Job) -> int:
    """Tokens that all updates see."""
    per_epoch = sum(len(each) for each in job.examples)
    return round(per_epoch * job.batches.epoch_at(job.batches.num_steps))


def peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
