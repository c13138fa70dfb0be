"""Odds ratio preference optimisation (https://arxiv.org/abs/2403.07691): learning and preferring in one step.

    loss = cross entropy of the chosen answer - beta * log sigmoid(log odds(chosen) - log odds(rejected))

Odds are of the mean log-probability of a token. TRL's cross entropy counts the prompt too; here, as in sft,
only the answer is learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fairway.tune.objectives.logps import answer_logps
from fairway.tune.objectives.objective import Batch, Measured, Objective
from fairway.tune.objectives.pairs import preference_figures


class Orpo(Objective):
    """Items are `Pair`s; the loss is a mean over pairs."""

    shown = "rewards/margins"

    def batch(self, numbers: Sequence[int], *, held_out: bool = False) -> Batch:
        items = self.job.held_out if held_out else self.job.examples
        pairs = [items[each] for each in numbers]
        return Batch(pairs, len(pairs), sum(map(len, pairs)))

    def measured(self, batch: Batch) -> Measured:
        logps = answer_logps(self.job, [each for pair in batch.items for each in pair.sequences])
        means = torch.stack([each.mean() for each in logps]).unflatten(0, (-1, 2))
        chosen, rejected = means.unbind(1)
        log_odds = (chosen - rejected) - (_log_of_rest(chosen) - _log_of_rest(rejected))
        ratios = logsigmoid(log_odds)
        cross_entropy = -torch.cat(logps[::2]).mean()
        beta, count = self.job.recipe.strength, len(batch.items)
        loss = cross_entropy * count - beta * ratios.sum()
        better, worse = chosen.detach(), rejected.detach()
        figures = preference_figures(beta * better, beta * worse, (better, worse))
        figures["nll_loss"] = cross_entropy.item() * count, count
        figures["log_odds_chosen"] = log_odds.sum().item(), count
        return Measured(loss, figures)


def _log_of_rest(logps: Tensor) -> Tensor:
    """log(1 - exp(logps)), without losing what is small."""
    return torch.where(logps > -0.6931472, torch.log(-torch.expm1(logps)), torch.log1p(-torch.exp(logps)))
