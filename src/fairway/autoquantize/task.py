"""A model that is to become smaller, before anything is measured: matrices, groups, sizes and usual mixes.

Reads headers and a few rows. The rule: what no mix can reach is refused here, with the number that can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fairway.autoquantize.groups import Group, aligned, fixed_bytes, groups_of, matrices
from fairway.autoquantize.settings import Goal
from fairway.convert.encode import num_bytes
from fairway.convert.gguf_keys import gguf_keys
from fairway.convert.job import Conversion, TensorJob
from fairway.convert.preflight import size
from fairway.errors import DoesNotFit, UnsupportedError, UsageError
from fairway.formats.gguf_tensors import GgufTensors
from fairway.proof.hop import Side
from fairway.quantize.mixes import Facts, type_of

Types: TypeAlias = Mapping[str, str]
"""GGUF's name of a matrix -> its type."""

USUAL = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""Mixes that are measured beside the choice."""


@dataclass(frozen=True)
class Task:
    """What there is to choose."""

    name: str
    jobs: tuple[TensorJob, ...]
    """Of the matrices."""
    groups: tuple[Group, ...]
    fixed_bytes: int
    """What the file holds beside them."""
    usual: Mapping[str, Types]

    def size(self, types: Types) -> int:
        """Of the whole file, to the byte."""
        sizes = (num_bytes(types[job.name], job.rows.info.num_elements) for job in self.jobs)
        return self.fixed_bytes + sum(map(aligned, sizes))

    def types(self, choice: Sequence[str]) -> dict[str, str]:
        """From a type for each group."""
        return {job.name: kind for group, kind in zip(self.groups, choice, strict=True) for job in group.jobs}

    def stored(self, types: Types) -> dict[str, str]:
        """By the source's names, without what is not to be rounded."""
        return {
            job.source: types[job.name]
            for job in self.jobs
            if types.get(job.name, job.rows.info.type) != job.rows.info.type
        }

    @property
    def smallest(self) -> int:
        return self.fixed_bytes + sum(min(map(group.num_bytes, group.errors)) for group in self.groups)

    @property
    def largest(self) -> int:
        """With every matrix as it is stored."""
        return self.fixed_bytes + sum(group.num_bytes(group.stored) for group in self.groups)

    def check(self, goal: Goal) -> None:
        """Raises `DoesNotFit` for a budget that no mix reaches, `UsageError` for one that needs none."""
        budget = goal.budget_bytes
        if budget is not None and budget < self.smallest:
            raise DoesNotFit(
                f"The smallest file that {self.name} can become has {size(self.smallest)}, "
                f"and --budget says {size(budget)}.",
                hint=f"Ask for --budget {typed(self.smallest)}, or take a smaller model.",
            )
        if budget is not None and budget >= self.largest:
            raise UsageError(
                f"{self.name} has {size(self.largest)} as it is stored, which is within --budget "
                f"{size(budget)}: nothing need be rounded.",
                hint="fairway convert MODEL --to gguf keeps it exact; for a smaller file, ask for less.",
            )


def task_of(conversion: Conversion) -> Task:
    """Raises `UnsupportedError` for a source that is quantised or that this engine does not run."""
    jobs = tuple(matrices(conversion))
    facts = _facts(conversion)
    usual: dict[str, Types] = {}
    for mix in USUAL:
        types = {job.name: type_of(mix, job.name, job.shape, facts) for job in jobs}
        if types not in usual.values():
            usual[mix] = types
    fixed = fixed_bytes(conversion, jobs)
    return Task(conversion.source_name, jobs, tuple(groups_of(jobs)), fixed, usual)


def _facts(conversion: Conversion) -> Facts:
    side = Side(conversion.source)
    if side.config is None:
        raise UnsupportedError(
            f"{conversion.source.path} cannot be measured: {side.obstacle}",
            hint="Choose a type yourself: --to Q4_K_M.",
        )
    config, tensors = side.config, conversion.source.tensors
    architecture = (
        tensors.architecture if isinstance(tensors, GgufTensors) else gguf_keys(config).architecture
    )
    tied = all(job.name != "output.weight" for job in conversion.jobs)
    return Facts(architecture, config.num_layers, config.num_heads, config.num_kv_heads, tied)


def typed(num: int) -> str:
    """A size that can be typed, rounded up: 2 713 408 is 2.72MB."""
    unit, name = next((u, n) for u, n in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "")) if num >= u)
    return f"{-(-num * 100 // unit) / 100:g}{name}"
