"""Pre-train the model. Run the same command again after a kill and it continues.

    python -m recipes.builtin_model.train --data TEXT_FOLDER --work WORK_FOLDER

The rule: everything that decides the next step (weights, optimiser, stream positions, clock) is in
one checkpoint, and nothing else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .checkpoint import JsonLog, load_checkpoint, save_checkpoint
from .command import read_command
from .data import WindowStream, prepare
from .evaluate import bits_per_byte
from .learner import Batch, Learner
from .model import num_parameters
from .schedule import StepClock, learning_rate_share, stage_of
from .settings import Recipe
from .team import Team, run_team

QUICK_SAMPLE = 60_000


class Trainer:
    """A learner with its streams and its clock; one `step` at a time."""

    def __init__(self, recipe: Recipe, tokens: np.ndarray, timer: Callable[[], float], team: Team) -> None:
        self.plan, self.timer, self.team = recipe.train, timer, team
        torch.manual_seed(self.plan.seed)
        self.learner = Learner(recipe.model, self.plan.weight_decay, team)
        self.streams = [WindowStream(tokens, n, self.plan.seed) for n in self.plan.lengths]
        self.clock = StepClock()
        self.step_number = self.num_tokens = 0

    @property
    def progress(self) -> float:
        return self.clock.elapsed_s / self.plan.budget_s

    def step(self) -> dict[str, float]:
        """One optimiser step; returns the line for the log."""
        begun_s, plan = self.timer(), self.plan
        stream = self.streams[stage_of(self.progress, plan)]
        share = learning_rate_share(self.progress, plan)
        batches = self._batches(stream)
        loss = self.learner.learn(batches, plan.muon_lr * share, plan.adam_lr * share)
        self.step_number += 1
        self.num_tokens += plan.tokens_per_step
        self.clock.add(self.team.from_first(self.timer() - begun_s))
        return {
            "step": self.step_number,
            "tokens": self.num_tokens,
            "loss": round(loss, 5),
            "lr": round(plan.muon_lr * share, 7),
            "length": stream.length,
            "epoch": stream.position.epoch,
            "elapsed_s": round(self.clock.elapsed_s, 2),
        }

    def _batches(self, stream: WindowStream) -> list[Batch]:
        num_batches = self.plan.tokens_per_step // self.plan.tokens_per_micro_batch
        num_windows = self.plan.tokens_per_micro_batch // stream.length
        return [stream.next_batch(num_windows) for _ in range(num_batches)]

    def state_dict(self) -> dict[str, object]:
        return {
            **self.learner.state_dict(),
            "streams": [stream.state_dict() for stream in self.streams],
            "clock": self.clock.state_dict(),
            "random": torch.get_rng_state(),
            "step_number": self.step_number,
            "num_tokens": self.num_tokens,
        }

    def load_state_dict(self, state: dict) -> None:
        self.learner.load_state_dict(state)
        for stream, saved in zip(self.streams, state["streams"], strict=True):
            stream.load_state_dict(saved)
        self.clock.load_state_dict(state["clock"])
        torch.set_rng_state(state["random"])
        self.step_number, self.num_tokens = state["step_number"], state["num_tokens"]


@dataclass
class Keeper:
    """What the first process does beside stepping: judge now and then, log, save."""

    trainer: Trainer
    work: Path
    judge: Callable[[], float] | None = None

    def __post_init__(self) -> None:
        self.log = JsonLog(self.work / "pretrain.jsonl", self.trainer.step_number)
        self.saved_s = self.judged_s = self.trainer.clock.elapsed_s

    def after_step(self, line: dict[str, float]) -> None:
        now_s, plan = self.trainer.clock.elapsed_s, self.trainer.plan
        if self.judge and now_s - self.judged_s >= plan.evaluate_every_s:
            self.judged_s = now_s
            line["books_bits_per_byte"] = round(self.judge(), 4)
        self.log.write(line)
        if now_s - self.saved_s >= plan.checkpoint_every_s or self.trainer.progress >= 1.0:
            self.saved_s = now_s
            save_checkpoint(self.work / "pretrain.pt", self.trainer.state_dict())


def run(trainer: Trainer, work: Path, judge: Callable[[], float] | None = None) -> None:
    """Continue from the checkpoint in `work`, if there is one, until the budget is spent."""
    if state := load_checkpoint(work / "pretrain.pt"):
        trainer.load_state_dict(state)
    keeper = Keeper(trainer, work, judge) if trainer.team.is_first else None
    while trainer.progress < 1.0:
        line = trainer.step()
        if keeper:
            keeper.after_step(line)


def pretrain(team: Team, data: Path, work: Path, recipe: Recipe) -> None:
    """What each process of the team does."""
    tokenizer, tokens, texts = prepare(data, work, recipe)
    trainer = Trainer(recipe, tokens, time.monotonic, team)
    model = trainer.learner.model
    trainer.learner.loss = torch.compile(model.loss, dynamic=False)
    sample = [text[20_000 : 20_000 + QUICK_SAMPLE] for text in texts.held_out_books.values()]

    def judge() -> float:
        return bits_per_byte(model, tokenizer, sample, 512, 256)

    if team.is_first:
        print(f"{num_parameters(model):,} parameters, {len(tokens):,} tokens per epoch")
    run(trainer, work, judge)


def main() -> None:
    command = read_command(__doc__)
    prepare(command.data, command.work, command.recipe)
    run_team(command.processes, pretrain, command.data, command.work, command.recipe)


if __name__ == "__main__":
    main()
