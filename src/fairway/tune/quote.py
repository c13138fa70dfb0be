"""What a job will take, from an update or two that are measured and then forgotten."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import torch

from fairway.errors import DoesNotFit
from fairway.formats.bundle import Bundle
from fairway.models.families import read_config
from fairway.models.sizes import Expected, expected_tensors, num_parameters
from fairway.tune.prepare_job import num_trained
from fairway.tune.recipe import Recipe
from fairway.tune.trainer import Trainer

GRADIENT_BYTES, MOMENT_BYTES, MUON_BYTES = 4, 8, 4
"""Of a trained parameter; moments are those of AdamW, and the one of Muon."""
TRIALS, LONG_SECONDS = 2, 10.0
"""The first update of a process makes its kernels' code and counts only where it takes long anyway."""
FOUR_BITS = (4 + 32 / 64) / 8
"""Bytes of a weight of QLoRA with its share of a scale; of a table two."""


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

    def cost(self, price_per_hour: float) -> float:
        """In the currency of the price."""
        return self.seconds / 3600 * price_per_hour


def check_memory(bundle: Bundle, recipe: Recipe, free_bytes: int, teacher: Bundle | None = None) -> None:
    """Raises `DoesNotFit` where the weights, and what AdamW keeps beside them, are more than there is."""
    tensors = expected_tensors(read_config(bundle.config, bundle.config_name)).values()
    needed = sum(each.num_elements * _bytes_per_value(each, recipe) for each in tensors)
    if teacher is not None:
        taught = num_parameters(read_config(teacher.config, teacher.config_name))
        needed += (2 if recipe.bf16 else 4) * taught
    if needed > free_bytes and not torch.cuda.is_available():
        raise DoesNotFit(
            f"Training {bundle.name} needs {gib(needed)} of memory at least, and {gib(free_bytes)} are free.",
            hint="Name a smaller model." if recipe.method == "qlora" else "Try --method qlora.",
        )


def _bytes_per_value(tensor: Expected, recipe: Recipe) -> float:
    if recipe.method == "full":
        is_muon = recipe.optim == "muon" and tensor.role == "linear"
        return 4 + GRADIENT_BYTES + (MUON_BYTES if is_muon else MOMENT_BYTES)
    if tensor.role == "float":
        return 4
    if recipe.method == "qlora":
        return FOUR_BITS if tensor.role == "linear" else 2
    return 2 if recipe.bf16 else 4


def gib(num_bytes: float) -> str:
    """ "1.50 GiB" """
    return f"{num_bytes / (1 << 30):.2f} GiB"


def measure(trainer: Trainer) -> Quote:
    """Runs an update's gradients without changing anything that training starts from."""
    job = trainer.job
    seconds, num_tokens = 0.0, 0
    for _ in range(TRIALS):
        start = time.monotonic()
        _, num_tokens = trainer.gradients(trainer.progress.step)
        seconds = time.monotonic() - start
        for each in job.trained.values():
            each.grad = None
        if seconds > LONG_SECONDS:
            break
    speed = num_tokens / seconds
    total = trainer.objective.total_tokens(num_tokens)
    by_muon = sum(job.trained[name].numel() for name in job.matrices)
    memory = peak_bytes() + MOMENT_BYTES * num_trained(job) - (MOMENT_BYTES - MUON_BYTES) * by_muon
    steps = job.batches.num_steps
    return Quote(len(job.examples), steps, total, num_trained(job), speed, total / speed, memory)


def peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
