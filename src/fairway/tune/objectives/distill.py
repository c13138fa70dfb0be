"""Distillation: the student learns what a teacher of the same vocabulary thinks of every next token.

    loss = alpha * cross entropy + (1 - alpha) * T^2 * KL(teacher || student)      both at temperature T

T^2 keeps gradients alike at every temperature (https://arxiv.org/abs/1503.02531). Logits of both models exist
for a chunk of labels at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fairway.tune.chunked_loss import per_row
from fairway.tune.objectives.objective import Batch, Measured
from fairway.tune.objectives.sft import Sft
from fairway.tune.packing import join
from fairway.tune.torch_decoder import tokens_of


class Distill(Sft):
    """Items are `Example`s; the loss is a mean over labels."""

    shown = "kl"

    def measured(self, batch: Batch) -> Measured:
        job, alpha = self.job, self.job.recipe.alpha
        assert job.teacher is not None
        tokens = tokens_of(join(batch.items), job.device)
        with torch.no_grad():
            taught = job.teacher.hidden(tokens)[tokens.rows]
        hidden = job.decoder.hidden(tokens)[tokens.rows]
        parts = per_row(job.decoder.logits, self._parts, hidden, taught, tokens.labels).unbind(1)
        divergence, cross_entropy = (each.sum() for each in parts)
        figures = {
            "kl": (divergence.item(), batch.weight),
            "nll_loss": (cross_entropy.item(), batch.weight),
        }
        scale = (1 - alpha) * job.recipe.temperature**2
        return Measured(alpha * cross_entropy + scale * divergence, figures)

    def _parts(self, logits: Tensor, taught: Tensor, labels: Tensor) -> Tensor:
        """KL divergence and cross entropy, [rows, 2]."""
        assert self.job.teacher is not None
        temperature = self.job.recipe.temperature
        with torch.no_grad():
            teacher = self.job.teacher.logits(taught)[:, : logits.shape[1]]
            wanted = functional.log_softmax(teacher / temperature, dim=-1)
        student = functional.log_softmax(logits[:, : wanted.shape[1]] / temperature, dim=-1)
        divergence = functional.kl_div(student, wanted, reduction="none", log_target=True).sum(dim=1)
        cross_entropy = functional.cross_entropy(logits, labels, reduction="none")
        return torch.stack([divergence, cross_entropy], dim=1)
