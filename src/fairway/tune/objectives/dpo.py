"""Direct preference optimisation (https://arxiv.org/abs/2305.18290), with TRL's names and losses.

loss = -log sigmoid(beta * ((log pi(chosen) - log ref(chosen)) - (log pi(rejected) - log ref(rejected))))
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fairway.tune.objectives.objective import Batch, Measured
from fairway.tune.objectives.pairs import preference_figures
from fairway.tune.objectives.references import Compared
from fairway.tune.recipe import Recipe


def _sigmoid(ratios: Tensor, lengths: Tensor, beta: float, recipe: Recipe) -> Tensor:  # noqa: ARG001
    return -logsigmoid(beta * (ratios[:, 0] - ratios[:, 1]))


def _robust(ratios: Tensor, lengths: Tensor, beta: float, recipe: Recipe) -> Tensor:  # noqa: ARG001
    """Labels that are wrong with the probability `label_smoothing` (https://arxiv.org/abs/2403.00409)."""
    wrong, margin = recipe.label_smoothing, beta * (ratios[:, 0] - ratios[:, 1])
    return (-(1 - wrong) * logsigmoid(margin) + wrong * logsigmoid(-margin)) / (1 - 2 * wrong)


def _ipo(ratios: Tensor, lengths: Tensor, beta: float, recipe: Recipe) -> Tensor:  # noqa: ARG001
    """Means over tokens, as IPO's authors want it (https://arxiv.org/abs/2310.12036)."""
    means = ratios / lengths
    return (means[:, 0] - means[:, 1] - 1 / (2 * beta)) ** 2


LOSSES: dict[str, Callable[[Tensor, Tensor, float, Recipe], Tensor]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "ipo": _ipo,
}
"""Of log-ratios [pairs, 2] and the answers' tokens [pairs, 2]: the loss of each pair."""


class Dpo(Compared):
    """Items are `Pair`s; the loss is a mean over pairs."""

    shown = "rewards/margins"

    def measured(self, batch: Batch) -> Measured:
        recipe = self.job.recipe
        logps = self.logps(batch.items)
        ratios = self.log_ratios(batch, logps)
        lengths = torch.tensor([each.num_answers for each in batch.items], device=logps.device)
        losses = LOSSES[recipe.loss](ratios, lengths, recipe.strength, recipe)
        rewards = recipe.strength * ratios.detach()
        figures = preference_figures(
            rewards[:, 0], rewards[:, 1], (logps[:, 0].detach(), logps[:, 1].detach())
        )
        return Measured(losses.sum(), figures)
