"""Objectives that compare with the model that training starts from.

Its log-probabilities are made once, before the first update, and kept in every checkpoint: no second model
is in memory, whatever the method, and a run that goes on has the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairway.registry.progress import Progress
from fairway.tensors import F32
from fairway.tune.job import Job
from fairway.tune.objectives.logps import answer_logps
from fairway.tune.objectives.objective import Batch, Objective, alike


class Compared(Objective):
    """Items have two `sequences`, the examples whose log-probabilities are compared."""

    begins = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._references: dict[str, F32] = {}

    def begin(self, progress: Progress) -> None:
        used, held_out = self._used(), self.job.held_out
        total = len(used) + len(held_out)
        self._references["train"] = self._asked(self.job.examples, used, (0, total), progress)
        self._references["held_out"] = self._asked(
            held_out, range(len(held_out)), (len(used), total), progress
        )

    def _used(self) -> Sequence[int]:
        """The examples that an update will see."""
        batches = self.job.batches
        if batches.num_steps >= batches.epoch_ends[0]:
            return range(len(self.job.examples))
        return sorted({each for step in range(batches.num_steps) for one in batches.at(step) for each in one})

    def _asked(
        self, items: Sequence[Any], used: Sequence[int], counted: tuple[int, int], progress: Progress
    ) -> F32:
        """Log-probabilities [items, 2]; of those not used 0."""
        found = np.zeros((len(items), 2), np.float32)
        done, total = counted
        for group in alike([items[each] for each in used]):
            numbers = [used[each] for each in group]
            found[numbers] = self.logps([items[each] for each in numbers]).cpu().numpy()
            done += len(numbers)
            progress(done, total, "")
        return found

    def state(self) -> dict[str, F32]:
        return {f"reference/{name}": values for name, values in self._references.items()}

    def restore(self, state: Mapping[str, F32]) -> None:
        self._references = {name.removeprefix("reference/"): np.array(state[name]) for name in state}

    def batch(self, numbers: Sequence[int], *, held_out: bool = False) -> Batch:
        items = self.job.held_out if held_out else self.job.examples
        chosen = [items[each] for each in numbers]
        kept = self._references.get("held_out" if held_out else "train")
        reference = None if kept is None else torch.from_numpy(kept[list(numbers)]).to(self.job.device)
        return Batch(chosen, len(chosen), sum(map(len, chosen)), reference)

    def logps(self, items: Sequence[Any]) -> Tensor:
        """Of whole answers, [items, 2]."""
        sequences = [each for item in items for each in item.sequences]
        sums = torch.stack([each.sum() for each in answer_logps(self.job, sequences)])
        return sums.unflatten(0, (-1, 2))

    def log_ratios(self, batch: Batch, logps: Tensor) -> Tensor:
        """How much likelier the answers have become, [items, 2].

        Before the first update the policy is its own reference, so that one can be tried.
        """
        return logps - (logps.detach() if batch.extra is None else batch.extra)
