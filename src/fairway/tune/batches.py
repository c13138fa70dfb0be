"""Which examples make which update: a function of the recipe and the step alone, so that any step can be the
first after a restart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from fairway.tune.order import shuffled
from fairway.tune.packing import pack
from fairway.tune.recipe import Recipe


class BatchPlan(Protocol):
    """Which items make which update. Pure: the same question gets the same answer."""

    num_steps: int
    epoch_ends: list[int]
    """The number of updates after which each epoch is over."""

    @property
    def num_tokens(self) -> int:
        """Of one epoch."""

    def is_first(self, step: int) -> bool:
        """Whether an update is the first of those that see its items."""

    def at(self, step: int) -> list[list[int]]:
        """The batches of one update, each a list of items that are computed at once."""

    def epoch_at(self, step: int) -> float:
        """How many epochs are done after `step` updates."""


class Batches:
    """A `BatchPlan` of whole examples; `lengths` are their tokens."""

    def __init__(self, lengths: Sequence[int], recipe: Recipe, capacity: int) -> None:
        """`capacity` is how many tokens a pack may hold."""
        self._lengths, self._recipe, self._capacity = lengths, recipe, capacity
        self._rows = lru_cache(maxsize=2)(self._rows_of)
        whole, part = divmod(recipe.num_train_epochs, 1)
        self.epoch_ends: list[int] = []
        """The number of updates after which each epoch is over."""
        end = 0
        for epoch in range(math.ceil(recipe.num_train_epochs) if recipe.max_steps is None else 1):
            steps = self._num_steps(epoch)
            end += steps if epoch < whole else math.ceil(part * steps)
            self.epoch_ends.append(end)
        while recipe.max_steps is not None and end < recipe.max_steps:
            end += self._num_steps(len(self.epoch_ends))
            self.epoch_ends.append(end)
        self.num_steps = end if recipe.max_steps is None else recipe.max_steps

    @property
    def num_tokens(self) -> int:
        return sum(self._lengths)

    def is_first(self, step: int) -> bool:
        """Whether an update is the first of the `num_iterations` that see its examples."""
        return (step - self._start(step)) % self._recipe.num_iterations == 0

    def at(self, step: int) -> list[list[int]]:
        """The batches of one update, each a list of examples that are computed at once."""
        epoch = self._epoch(step)
        inside = (step - self._start(step)) // self._recipe.num_iterations
        size = self._recipe.per_device_train_batch_size
        per_step = size * self._recipe.gradient_accumulation_steps
        rows = self._rows(epoch)[inside * per_step : (inside + 1) * per_step]
        return [
            [each for row in rows[start : start + size] for each in row]
            for start in range(0, len(rows), size)
        ]

    def epoch_at(self, step: int) -> float:
        """How many epochs are done after `step` updates."""
        epoch = next((at for at, end in enumerate(self.epoch_ends) if step <= end), len(self.epoch_ends) - 1)
        start = self.epoch_ends[epoch - 1] if epoch else 0
        return epoch + (step - start) / max(1, self._num_steps(epoch))

    def _epoch(self, step: int) -> int:
        return next(at for at, end in enumerate(self.epoch_ends) if step < end)

    def _start(self, step: int) -> int:
        """The first update of its epoch."""
        epoch = self._epoch(step)
        return self.epoch_ends[epoch - 1] if epoch else 0

    def _num_steps(self, epoch: int) -> int:
        per_step = self._recipe.per_device_train_batch_size * self._recipe.gradient_accumulation_steps
        return -(-len(self._rows(epoch)) // per_step) * self._recipe.num_iterations

    def _rows_of(self, epoch: int) -> list[list[int]]:
        """Examples, or packs of them, in the order of the epoch."""
        seed = self._recipe.seed
        if self._recipe.packing:
            return pack(self._lengths, self._capacity, seed=seed, epoch=epoch)
        return [[each] for each in shuffled(len(self._lengths), seed=seed, epoch=epoch).tolist()]
