"""The loop: update, measure, save. It owns the trained tensors and the optimizer.

The rule: what an update does depends on the state before it and on (seed, step) alone, so that a run that was
killed anywhere ends in the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairway.errors import FairwayError
from fairway.registry.progress import Progress
from fairway.tensors import F32
from fairway.tune.checkpoints import Checkpoint, Checkpoints, Progressed
from fairway.tune.job import Job
from fairway.tune.objectives.objective import Measured
from fairway.tune.objectives.table import kind_of
from fairway.tune.optimizer import Optimizer
from fairway.tune.schedule import share_at

OBJECTIVE = "objective/"
"""Names of what a checkpoint holds for the objective."""


class Interrupted(FairwayError):
    """The user stopped training; a checkpoint is there."""

    exit_code = 130


@dataclass(frozen=True)
class Update:
    """What one update did, for whoever shows it."""

    step: int
    num_steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    num_tokens: int
    seconds: float
    epoch: float
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the objective tells beside the loss, by TRL's names."""
    held_out_loss: float | None = None
    held_out: Mapping[str, float] = field(default_factory=dict)
    """The objective's figures of the held-out examples."""
    samples: Sequence[Mapping[str, Any]] = ()
    """What the model wrote, where it learns from its own answers."""


@dataclass(frozen=True)
class Means:
    """Of several batches."""

    loss: float
    figures: Mapping[str, float]


class Trainer:
    """One run. `tell` hears of every update; `should_stop` is asked after each."""

    def __init__(
        self,
        job: Job,
        checkpoints: Checkpoints,
        tell: Callable[[Update], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.job, self.checkpoints, self._tell, self._should_stop = job, checkpoints, tell, should_stop
        self.objective = kind_of(job.recipe.objective).make(job)
        self.progress = Progressed()
        self.is_begun = False
        self._best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()
        self._optimizer = Optimizer(job.trained, job.matrices, job.recipe)

    @property
    def is_over(self) -> bool:
        return self.progress.is_over or self.progress.step >= self.job.batches.num_steps

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on where a checkpoint ends."""
        self.progress = checkpoint.progress
        tensors = checkpoint.tensors
        self.objective.restore(
            {name.removeprefix(OBJECTIVE): tensors[name] for name in tensors if name.startswith(OBJECTIVE)}
        )
        self.is_begun = True
        for name, tensor in self.job.trained.items():
            _fill(tensor, checkpoint.tensors[f"trained/{name}"])
            if f"best/{name}" in checkpoint.tensors:
                self._best[name] = torch.empty_like(tensor, requires_grad=False)
                _fill(self._best[name], checkpoint.tensors[f"best/{name}"])
        self._optimizer.restore(tensors, self.progress.step)

    def begin(self, progress: Progress) -> None:
        """Once before the first update; a run that goes on has done it."""
        if not self.is_begun:
            self.job.train(False)
            with torch.no_grad():
                self.objective.begin(progress)
        self.is_begun = True

    def run(self) -> dict[str, Tensor]:
        """The trained tensors at the end: of the best measurement, where training stops early.

        Raises `Interrupted` after writing a checkpoint.
        """
        self.begin(_unseen)
        self._saved_at = time.monotonic()
        if self.progress.step == 0 and not self.progress.held_out:
            self._measure()
        while not self.is_over:
            update = self.update()
            found = self._measure() if self._measurement_is_due() else None
            if found is not None:
                update = replace(update, held_out_loss=found.loss, held_out=found.figures)
            self._tell(replace(update, samples=self.objective.samples()))
            stopped = self._should_stop()
            if stopped or self._save_is_due():
                self.save()
            if stopped and not self.is_over:
                raise Interrupted(f"Stopped after update {self.progress.step}, which is saved.")
        return self._best or dict(self.job.trained)

    def update(self) -> Update:
        """One update of the trained tensors."""
        job, step, start = self.job, self.progress.step, time.monotonic()
        means, num_tokens = self.gradients(step)
        norm = torch.nn.utils.clip_grad_norm_(
            list(job.trained.values()), job.recipe.max_grad_norm or float("inf")
        )
        if not np.isfinite(means.loss):
            raise FairwayError(
                f"The loss of update {step + 1} is {means.loss}.",
                hint="Lower learning_rate, or leave bf16 out.",
            )
        share = share_at(job.recipe, step, job.batches.num_steps)
        self._optimizer.step(share)
        self.progress.step += 1
        self.progress.num_tokens += num_tokens
        seconds = time.monotonic() - start
        self.progress.seconds += seconds
        epoch = job.batches.epoch_at(step + 1)
        steps = job.batches.num_steps
        rate = job.recipe.rate * share
        done = Update(step + 1, steps, means.loss, rate, float(norm), num_tokens, seconds, epoch)
        return replace(done, figures=means.figures)

    def gradients(self, step: int) -> tuple[Means, int]:
        """Adds one update's gradients to the trained tensors; its means, and its tokens."""
        objective = self.objective
        batches = objective.batches(step)
        weight = max(1.0, sum(each.weight for each in batches))
        self.job.train(True)
        found = []
        for at, batch in enumerate(batches):
            torch.manual_seed(_seed(self.job.recipe.seed, step, at))
            measured = objective.measured(batch)
            (measured.loss / weight).backward()
            found.append(replace(measured, loss=measured.loss.detach()))
        return self._means(found, weight), sum(each.num_tokens for each in batches)

    def held_out(self) -> Means:
        """Of the held-out examples, with the weights as they are."""
        self.job.train(False)
        with torch.no_grad():
            batches = self.objective.held_out()
            found = [self.objective.judged(each) for each in batches]
        return self._means(found, max(1.0, sum(each.weight for each in batches)))

    def _means(self, found: Iterable[Measured], weight: float) -> Means:
        loss, sums = 0.0, dict[str, tuple[float, float]]()
        for each in found:
            loss += each.loss.item() / weight
            for name, (value, count) in each.figures.items():
                total, counted = sums.get(name, (0.0, 0.0))
                sums[name] = total + value, counted + count
        means = {name: total / counted for name, (total, counted) in sums.items() if counted}
        return Means(loss, self.objective.summary(means))

    def save(self) -> None:
        """A checkpoint of now."""
        tensors: dict[str, F32] = {}
        for name, tensor in self.job.trained.items():
            tensors[f"trained/{name}"] = _values(tensor)
        tensors |= self._optimizer.state()
        tensors |= {f"best/{name}": _values(tensor) for name, tensor in self._best.items()}
        tensors |= {f"{OBJECTIVE}{name}": values for name, values in self.objective.state().items()}
        self.checkpoints.save(Checkpoint(self.progress, tensors))
        self._saved_at = time.monotonic()

    def _measurement_is_due(self) -> bool:
        step, every = self.progress.step, self.job.recipe.eval_steps
        at_end = step == self.job.batches.num_steps
        return at_end or (step in self.job.batches.epoch_ends if every is None else step % every == 0)

    def _measure(self) -> Means | None:
        if not self.job.held_out:
            return None
        found, state, patience = self.held_out(), self.progress, self.job.recipe.early_stopping_patience
        loss = found.loss
        state.held_out.append((state.step, loss))
        if patience is None:
            return found
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step, state.num_worse = loss, state.step, 0
            self._best = {name: tensor.detach().clone() for name, tensor in self.job.trained.items()}
        else:
            state.num_worse += 1
            state.is_over = state.num_worse >= patience
        return found

    def _save_is_due(self) -> bool:
        recipe = self.job.recipe
        late = time.monotonic() - self._saved_at >= recipe.save_seconds
        return self.is_over or late or self.progress.step % recipe.save_steps == 0


def _unseen(done: int, total: int, what: str) -> None:
    """For a beginning that nobody watches."""


def _seed(seed: int, step: int, batch: int) -> int:
    return int(np.random.SeedSequence([seed, step, batch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _fill(tensor: Tensor, values: F32) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.array(values)))


def _values(tensor: Tensor) -> F32:
    values: F32 = tensor.detach().cpu().numpy()
    return values
