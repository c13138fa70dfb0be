"""Kahneman-Tversky optimisation (https://arxiv.org/abs/2402.01306): answers that were found good or bad.

    good:  desirable_weight   * (1 - sigmoid(beta * (ratio - kl)))
    bad:   undesirable_weight * (1 - sigmoid(beta * (kl - ratio)))

ratio is how much likelier the answer has become; kl is estimated, as TRL does it, by each prompt with the
answer of the row before. No gradient flows through kl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fairway.tune.encode import Example
from fairway.tune.objectives.objective import Batch, Measured
from fairway.tune.objectives.references import Compared
from fairway.tune.rows import KtoRow, Row


@dataclass(frozen=True, eq=False)
class Judged:
    """One answer, and the same prompt with a stranger's."""

    example: Example
    mismatched: Example
    is_good: bool

    def __len__(self) -> int:
        return len(self.example) + len(self.mismatched)

    @property
    def sequences(self) -> tuple[Example, Example]:
        return self.example, self.mismatched


def judged_of(row: Row, examples: Sequence[Example], record: object) -> list[Judged]:  # noqa: ARG001
    """One of a judged answer, two of a preference; `mismatch` gives them their strangers."""
    if isinstance(row, KtoRow):
        return [Judged(each, each, row.label) for each in examples]
    return [Judged(each, each, each.part == "chosen") for each in examples]


def mismatch(items: Sequence[Judged]) -> list[Judged]:
    """Each with the answer of the row before it whose prompt is another; the first with the last."""
    prompts = [_prompt(each.example).tobytes() for each in items]
    last = len(items) - 1
    before = next((at for at in range(last, 0, -1) if prompts[at] != prompts[0]), last)
    limit = max(len(each.example) for each in items)
    found = []
    for at, each in enumerate(items):
        if at and prompts[at] != prompts[at - 1]:
            before = at - 1
        found.append(Judged(each.example, _mixed(each.example, items[before].example, limit), each.is_good))
    return found


def _prompt(example: Example) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    prompt: np.ndarray[tuple[int], np.dtype[np.int32]] = example.ids[: int(example.learned.argmax())]
    return prompt


def _mixed(asked: Example, other: Example, limit: int) -> Example:
    """The prompt of one with the answer of the other, of at most `limit` tokens."""
    prompt, start = _prompt(asked), int(other.learned.argmax())
    learned = np.concatenate([np.zeros(len(prompt), np.bool_), other.learned[start:]])
    return Example("", np.concatenate([prompt, other.ids[start:]])[:limit], learned[:limit])


class Kto(Compared):
    """Items are `Judged`; the loss is a mean over answers."""

    shown = "rewards/margins"

    def measured(self, batch: Batch) -> Measured:
        recipe, beta = self.job.recipe, self.job.recipe.strength
        logps = self.logps(batch.items)
        ratios = self.log_ratios(batch, logps)
        kl = ratios[:, 1].detach().mean().clamp(min=0)
        good = torch.tensor([each.is_good for each in batch.items], device=logps.device)
        signs = torch.where(good, 1.0, -1.0)
        weights = torch.where(good, recipe.desirable_weight, recipe.undesirable_weight)
        losses = weights * (1 - torch.sigmoid(beta * signs * (ratios[:, 0] - kl)))
        rewards = beta * ratios[:, 0].detach()
        figures = {"kl": (kl.item() * len(good), float(len(good)))}
        for name, chosen in (("chosen", good), ("rejected", ~good)):
            count = int(chosen.sum())
            figures[f"rewards/{name}"] = rewards[chosen].sum().item(), count
            figures[f"logps/{name}"] = logps[chosen, 0].detach().sum().item(), count
        return Measured(losses.sum(), figures)

    def summary(self, means: Mapping[str, float]) -> dict[str, float]:
        found = dict(means)
        if "rewards/chosen" in means and "rewards/rejected" in means:
            found["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        return found
