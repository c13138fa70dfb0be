"""Group relative policy optimisation (https://arxiv.org/abs/2402.03300), with TRL's names and losses.

Every prompt is answered `num_generations` times by the engine that serves the model, as it is after the last
update. An answer's advantage is its reward against the others of its group; its tokens become likelier or
less, within `epsilon` of what they were when they were sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fairway.engine.sampling_params import SamplingParams
from fairway.errors import InternalError
from fairway.formats.lora import Adapter
from fairway.formats.prefix_peft import Prefix
from fairway.tensors import F32
from fairway.tune.encode import Example, encoder_for
from fairway.tune.job import Job
from fairway.tune.model_now import beside_now, changes_weights, weights_now
from fairway.tune.objectives.logps import token_logps
from fairway.tune.objectives.objective import Batch, Measured, Objective
from fairway.tune.recipe import Recipe
from fairway.tune.rewards import rewards_of
from fairway.tune.rollouts import RolloutEngine, Sizes
from fairway.tune.rows import ASSISTANT, ChatRow, Messages, PromptRow, Row

HELD_OUT = 1 << 32
"""In place of the update, in the seeds of held-out answers."""
OF_GROUPS = ("reward_std", "frac_reward_zero_std")
"""Figures that a single answer does not have."""
SMALL = 1e-4
"""Added to a group's deviation, as TRL has it."""


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt to answer."""

    ids: list[int]
    messages: list[dict[str, Any]]
    reference: str
    """The row's own answer; "" where it has none."""
    record: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(eq=False)
class Rollout:
    """One sampled answer."""

    example: Example
    advantage: float
    figures: F32
    """In the order of `Grpo.names`."""
    old: Tensor | None = None
    """Log-probabilities when it was sampled, [answer]; None until they are first computed."""
    sample: dict[str, Any] = field(default_factory=dict)
    """To look at."""

    @property
    def num_answer(self) -> int:
        return self.example.num_learned


def question_of(
    row: Row, examples: Sequence[Example], record: Callable[[], Mapping[str, Any]]
) -> list[Question]:
    """Everything before the last answer; of a prompt alone, all of it."""
    found = []
    for each in examples:
        ids = each.ids[: int(each.learned.argmax())] if each.learned.any() else each.ids
        messages, reference = _asked(row)
        found.append(Question(ids.tolist(), [one.for_template() for one in messages], reference, record()))
    return found


def _asked(row: Row) -> tuple[Messages, str]:
    if isinstance(row, PromptRow):
        return row.prompt, ""
    if not isinstance(row, ChatRow):
        raise InternalError(f"{type(row).__name__} is no question")
    last = max((at for at, each in enumerate(row.messages) if each.role == ASSISTANT), default=0)
    return row.messages[:last], row.messages[last].content


def prompts_per_update(recipe: Recipe) -> Recipe:
    """As `Batches` counts: TRL's batch sizes count answers."""
    answers = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    prompts = answers // recipe.num_generations
    return replace(recipe, per_device_train_batch_size=prompts, gradient_accumulation_steps=1)


class Grpo(Objective):
    """Items are `Question`s."""

    shown = "reward"
    held_out_name = "loss (minus the reward)"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._rewards = rewards_of(job.recipe.reward)
        self._encoder = encoder_for(job.bundle, job.recipe.data)
        self._engine: RolloutEngine | None = None
        self._rollouts: list[Rollout] = []
        self._samples: list[dict[str, Any]] = []
        self.names = (
            "reward",
            "reward_std",
            "frac_reward_zero_std",
            "completions/mean_length",
            "completions/clipped_ratio",
            *(f"rewards/{each.name}/mean" for each in self._rewards),
        )

    def batches(self, step: int) -> list[Batch]:
        recipe = self.job.recipe
        if self.job.batches.is_first(step) or not self._rollouts:
            numbers = [each for one in self.job.batches.at(step) for each in one]
            asked = [self.job.examples[each] for each in numbers]
            self._rollouts = self._sampled(asked, recipe.num_generations, (step, numbers))
            self._samples = [each.sample for each in self._rollouts]
        size = recipe.per_device_train_batch_size
        parts = [self._rollouts[start : start + size] for start in range(0, len(self._rollouts), size)]
        return [self._batch(each) for each in parts]

    def held_out(self) -> list[Batch]:
        questions = self.job.held_out
        found = self._sampled(questions, 1, (HELD_OUT, range(len(questions))))
        return [self._batch(found)]

    def judged(self, batch: Batch) -> Measured:
        rewards = sum(float(each.figures[0]) for each in batch.items)
        loss = torch.tensor(-rewards * batch.weight / len(batch.items))
        figures = self._figures(batch.items)
        return Measured(loss, {name: each for name, each in figures.items() if name not in OF_GROUPS})

    def measured(self, batch: Batch) -> Measured:
        recipe, rollouts = self.job.recipe, batch.items
        examples = [each.example for each in rollouts]
        logps = token_logps(self.job.decoder, self.job, examples, recipe.temperature)
        for each, values in zip(rollouts, logps, strict=True):
            each.old = values.detach() if each.old is None else each.old
        now, old = torch.cat(logps), torch.cat([each.old for each in rollouts])
        lengths = torch.tensor([each.num_answer for each in rollouts], device=now.device)
        advantages = torch.tensor([each.advantage for each in rollouts], device=now.device)
        advantages = advantages.repeat_interleave(lengths)
        losses, clipped = _clipped_loss(torch.exp(now - old), advantages, recipe.epsilon)
        figures = self._figures(rollouts)
        figures["clip_ratio/region_mean"] = float(clipped.sum()), len(now)
        if recipe.strength:
            divergence = self._divergence(examples, now)
            losses = losses + recipe.strength * divergence
            figures["kl"] = divergence.sum().item(), len(now)
        if recipe.loss == "grpo":
            losses = losses / lengths.repeat_interleave(lengths)
        return Measured(losses.sum(), figures)

    def samples(self) -> list[dict[str, Any]]:
        samples, self._samples = self._samples, []
        return samples

    def total_tokens(self, tried: int) -> int:
        return tried * self.job.batches.num_steps

    def state(self) -> dict[str, F32]:
        """Answers that are used in more than one update; token ids are exact in float32."""
        if self.job.recipe.num_iterations == 1 or not self._rollouts:
            return {}
        rollouts = self._rollouts
        lengths = [(len(each.example), each.num_answer) for each in rollouts]
        return {
            "ids": np.concatenate([each.example.ids for each in rollouts]).astype(np.float32),
            "lengths": np.array(lengths, np.float32),
            "advantages": np.array([each.advantage for each in rollouts], np.float32),
            "figures": np.stack([each.figures for each in rollouts]),
            "old": torch.cat([each.old for each in rollouts if each.old is not None]).cpu().numpy(),
        }

    def restore(self, state: Mapping[str, F32]) -> None:
        self._rollouts = []
        if not state:
            return
        lengths = state["lengths"].astype(np.int64)
        ids = np.split(state["ids"].astype(np.int32), np.cumsum(lengths[:-1, 0]))
        old = np.split(np.array(state["old"]), np.cumsum(lengths[:-1, 1]))
        for at, (length, answered) in enumerate(lengths.tolist()):
            example = _example(ids[at].tolist(), length - answered)
            kept = torch.from_numpy(old[at]).to(self.job.device)
            figures = np.array(state["figures"][at])
            self._rollouts.append(Rollout(example, float(state["advantages"][at]), figures, kept))

    def _batch(self, rollouts: list[Rollout]) -> Batch:
        counts_answers = self.job.recipe.loss == "grpo"
        weight = len(rollouts) if counts_answers else sum(each.num_answer for each in rollouts)
        return Batch(rollouts, weight, sum(len(each.example) for each in rollouts))

    def _figures(self, rollouts: Sequence[Rollout]) -> dict[str, tuple[float, float]]:
        sums = np.stack([each.figures for each in rollouts]).sum(axis=0, dtype=np.float64).tolist()
        return {name: (value, len(rollouts)) for name, value in zip(self.names, sums, strict=True)}

    def _divergence(self, examples: Sequence[Example], now: Tensor) -> Tensor:
        """From the model without its adapter, of each token, never negative."""
        assert self.job.base is not None
        with torch.no_grad():
            base = torch.cat(token_logps(self.job.base, self.job, examples, self.job.recipe.temperature))
        return torch.exp(base - now) - (base - now) - 1

    def _sampled(
        self, questions: Sequence[Question], times: int, place: tuple[int, Sequence[int]]
    ) -> list[Rollout]:
        """Each question answered so often, and judged; `place` is what the seeds are made of."""
        step, numbers = place
        seeds = [_seed(self.job.recipe.seed, step, number, at) for number in numbers for at in range(times)]
        asked = [each for each in questions for _ in range(times)]
        answers = self._answers([each.ids for each in asked], seeds)
        rewards = self._judged(asked, answers)
        total = rewards.sum(axis=1)
        groups = total.reshape(-1, times)
        deviations = np.repeat(groups.std(axis=1, ddof=1) if times > 1 else np.zeros(len(groups)), times)
        advantages = (total - np.repeat(groups.mean(axis=1), times)) / (deviations + SMALL)
        found = []
        for at, (one, answer) in enumerate(zip(asked, answers, strict=True)):
            is_cut = answer[-1] not in self._encoder.end_ids
            figures = (total[at], deviations[at], deviations[at] == 0, len(answer), is_cut, *rewards[at])
            example = _example(one.ids + answer, len(one.ids))
            sample = {"prompt": one.messages, "completion": self._text(answer), "reward": float(total[at])}
            found.append(
                Rollout(example, float(advantages[at]), np.array(figures, np.float32), sample=sample)
            )
        return found

    def _answers(self, prompts: list[list[int]], seeds: list[int]) -> list[list[int]]:
        job, recipe = self.job, self.job.recipe
        beside = beside_now(job)
        if self._engine is None:
            sizes = self._sizes(beside, len(prompts))
            self._engine = RolloutEngine(sizes, self._encoder.tokenizer, self._encoder.end_ids)
            self._engine.load(weights_now(job))
        elif changes_weights(job):
            self._engine.load(weights_now(job))
        how = SamplingParams(temperature=recipe.temperature, max_tokens=recipe.max_completion_length)
        return self._engine.sample(beside, prompts, seeds, how)

    def _sizes(self, beside: Adapter | Prefix | None, num_prompts: int) -> Sizes:
        job, recipe = self.job, self.job.recipe
        longest = max(len(each) for each in (*job.examples, *job.held_out)) + recipe.max_completion_length
        num_virtual = len(job.prefix) if job.prefix is not None else 0
        at_once = max(num_prompts, len(job.held_out), recipe.num_generations)
        rank = max(each.rank for each in beside.layers.values()) if isinstance(beside, Adapter) else 0
        return Sizes(min(longest + num_virtual, job.max_context), at_once, rank)

    def _judged(self, asked: Sequence[Question], answers: Sequence[list[int]]) -> npt.NDArray[np.float64]:
        """[answers, rewards]"""
        columns: dict[str, Sequence[Any]] = {
            name: [each.record.get(name) for each in asked] for name in asked[0].record
        }
        columns |= {
            "prompts": [each.messages for each in asked],
            "completions": [self._text(each) for each in answers],
            "completion_ids": answers,
            "references": [each.reference for each in asked],
        }
        return np.array([each.of(columns) for each in self._rewards], np.float64).T

    def _text(self, answer: list[int]) -> str:
        return self._encoder.tokenizer.decode(answer)


def _clipped_loss(ratios: Tensor, advantages: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Of each token: the loss, and whether the ratio was cut."""
    losses = -torch.minimum(ratios * advantages, ratios.clamp(1 - epsilon, 1 + epsilon) * advantages)
    low, high = (ratios < 1 - epsilon) & (advantages < 0), (ratios > 1 + epsilon) & (advantages > 0)
    return losses, low | high


def _example(ids: list[int], num_prompt: int) -> Example:
    return Example("", np.array(ids, np.int32), np.arange(len(ids)) >= num_prompt)


def _seed(seed: int, step: int, number: int, at: int) -> int:
    words = np.random.SeedSequence([seed, step, number, at]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
