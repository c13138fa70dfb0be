"""The loop: update, measure, save. It owns the trained tensors and the optimizer.

The rule: what an update does depends on the state before it and on (seed, step) alone, so that a run that was
killed anywhere ends in the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fairway.errors import FairwayError
from fairway.tensors import F32
from fairway.tune.batches import Batches
from fairway.tune.checkpoints import Checkpoint, Checkpoints, Progressed
from fairway.tune.encode import Example
from fairway.tune.lora_layers import LoraLayers
from fairway.tune.packing import join
from fairway.tune.prefix_tokens import PrefixTokens
from fairway.tune.recipe import Recipe
from fairway.tune.schedule import rate_at
from fairway.tune.torch_decoder import Tokens, TorchDecoder, tokens_of

MEASURED_AT_ONCE = 2048
"""Tokens of held-out examples that are computed at once."""


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
    held_out_loss: float | None = None


@dataclass(frozen=True)
class Job:
    """Everything that training needs. `trained` are leaves by the names that they are saved under."""

    decoder: TorchDecoder
    trained: Mapping[str, Tensor]
    lora: LoraLayers | None
    recipe: Recipe
    examples: Sequence[Example]
    held_out: Sequence[Example]
    batches: Batches
    device: torch.device
    prefix: PrefixTokens | None = None


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
        self.progress = Progressed()
        self._best: dict[str, Tensor] = {}
        self._saved_at = time.monotonic()
        self._optimizer = _optimizer(job)

    @property
    def is_over(self) -> bool:
        return self.progress.is_over or self.progress.step >= self.job.batches.num_steps

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on where a checkpoint ends."""
        self.progress = checkpoint.progress
        for name, tensor in self.job.trained.items():
            _fill(tensor, checkpoint.tensors[f"trained/{name}"])
            if f"best/{name}" in checkpoint.tensors:
                self._best[name] = torch.empty_like(tensor, requires_grad=False)
                _fill(self._best[name], checkpoint.tensors[f"best/{name}"])
            if f"exp_avg/{name}" in checkpoint.tensors:
                state = {key: torch.zeros_like(tensor) for key in ("exp_avg", "exp_avg_sq")}
                for key, values in state.items():
                    _fill(values.detach(), checkpoint.tensors[f"{key}/{name}"])
                self._optimizer.state[tensor] = {**state, "step": torch.tensor(float(self.progress.step))}

    def run(self) -> dict[str, Tensor]:
        """The trained tensors at the end: of the best measurement, where training stops early.

        Raises `Interrupted` after writing a checkpoint.
        """
        self._saved_at = time.monotonic()
        if self.progress.step == 0 and not self.progress.held_out:
            self._measure()
        while not self.is_over:
            update = self.update()
            loss = self._measure() if self._measurement_is_due() else None
            self._tell(replace(update, held_out_loss=loss))
            stopped = self._should_stop()
            if stopped or self._save_is_due():
                self.save()
            if stopped and not self.is_over:
                raise Interrupted(f"Stopped after update {self.progress.step}, which is saved.")
        return self._best or dict(self.job.trained)

    def update(self) -> Update:
        """One update of the trained tensors."""
        job, step, start = self.job, self.progress.step, time.monotonic()
        rate = rate_at(job.recipe, step, job.batches.num_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss, num_tokens = self.gradients(step)
        norm = torch.nn.utils.clip_grad_norm_(
            list(job.trained.values()), job.recipe.max_grad_norm or float("inf")
        )
        if not np.isfinite(loss):
            raise FairwayError(
                f"The loss of update {step + 1} is {loss}.", hint="Lower learning_rate, or leave bf16 out."
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.num_tokens += num_tokens
        seconds = time.monotonic() - start
        self.progress.seconds += seconds
        epoch = job.batches.epoch_at(step + 1)
        return Update(step + 1, job.batches.num_steps, loss, rate, float(norm), num_tokens, seconds, epoch)

    def gradients(self, step: int) -> tuple[float, int]:
        """Adds one update's gradients to the trained tensors; its mean loss per label, and its tokens."""
        job = self.job
        batches = [self._tokens([job.examples[each] for each in one]) for one in job.batches.at(step)]
        num_labels = max(1, sum(len(each.labels) for each in batches))
        _train(job.lora, True)
        total = 0.0
        for at, tokens in enumerate(batches):
            torch.manual_seed(_seed(job.recipe.seed, step, at))
            loss = job.decoder.loss(tokens) / num_labels
            loss.backward()
            total += loss.item()
        return total, sum(len(each.ids) for each in batches)

    def held_out_loss(self) -> float:
        """Mean cross entropy per label of the held-out examples."""
        _train(self.job.lora, False)
        total, num_labels = 0.0, 0
        with torch.no_grad():
            for group in _groups(self.job.held_out):
                tokens = self._tokens(group)
                total += self.job.decoder.loss(tokens).item()
                num_labels += len(tokens.labels)
        return total / max(1, num_labels)

    def save(self) -> None:
        """A checkpoint of now."""
        tensors: dict[str, F32] = {}
        for name, tensor in self.job.trained.items():
            tensors[f"trained/{name}"] = _values(tensor)
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self._optimizer.state[tensor]:
                    tensors[f"{key}/{name}"] = _values(self._optimizer.state[tensor][key])
        tensors |= {f"best/{name}": _values(tensor) for name, tensor in self._best.items()}
        self.checkpoints.save(Checkpoint(self.progress, tensors))
        self._saved_at = time.monotonic()

    def _tokens(self, examples: Sequence[Example]) -> Tokens:
        return tokens_of(join(examples), self.job.device)

    def _measurement_is_due(self) -> bool:
        step, every = self.progress.step, self.job.recipe.eval_steps
        at_end = step == self.job.batches.num_steps
        return at_end or (step in self.job.batches.epoch_ends if every is None else step % every == 0)

    def _measure(self) -> float | None:
        if not self.job.held_out:
            return None
        loss, state, patience = self.held_out_loss(), self.progress, self.job.recipe.early_stopping_patience
        state.held_out.append((state.step, loss))
        if patience is None:
            return loss
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_step, state.num_worse = loss, state.step, 0
            self._best = {name: tensor.detach().clone() for name, tensor in self.job.trained.items()}
        else:
            state.num_worse += 1
            state.is_over = state.num_worse >= patience
        return loss

    def _save_is_due(self) -> bool:
        recipe = self.job.recipe
        late = time.monotonic() - self._saved_at >= recipe.save_seconds
        return self.is_over or late or self.progress.step % recipe.save_steps == 0


def _optimizer(job: Job) -> torch.optim.Optimizer:
    recipe = job.recipe
    decayed = [each for each in job.trained.values() if each.dim() > 1]
    others = [each for each in job.trained.values() if each.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    betas = (recipe.adam_beta1, recipe.adam_beta2)
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, recipe.rate, betas, recipe.adam_epsilon, fused=True)


def _groups(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples of like length together, as many as are computed at once."""
    groups: list[list[Example]] = []
    room = 0
    for each in sorted(examples, key=len):
        if len(each) > room:
            groups.append([])
            room = max(MEASURED_AT_ONCE, len(each))
        groups[-1].append(each)
        room -= len(each)
    return groups


def _train(lora: LoraLayers | None, is_training: bool) -> None:
    if lora is not None:
        lora.is_training = is_training


def _seed(seed: int, step: int, batch: int) -> int:
    return int(np.random.SeedSequence([seed, step, batch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _fill(tensor: Tensor, values: F32) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.array(values)))


def _values(tensor: Tensor) -> F32:
    values: F32 = tensor.detach().cpu().numpy()
    return values
