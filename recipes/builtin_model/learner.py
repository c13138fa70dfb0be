"""One optimiser step over a list of batches, shared by pre-training and the instruction pass.

The team's processes divide the batches among themselves and end each step with equal weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .model import LanguageModel
from .optimizer import Optimizer
from .settings import ModelShape
from .team import Team, replace_by_sums

GRADIENT_NORM = 1.0
IGNORED = -100

Batch = tuple[Tensor, Tensor]


class Learner:
    """A model and its optimiser. `loss` may be replaced by a compiled form of it."""

    def __init__(self, shape: ModelShape, weight_decay: float, team: Team) -> None:
        self.team = team
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = LanguageModel(shape).to(self.device)
        self.loss = self.model.loss
        self.optimizer = Optimizer(self.model, weight_decay, team)

    def learn(self, batches: list[Batch], muon_lr: float, adam_lr: float) -> float:
        """Update on the mean loss over all counted targets; returns it, in nats per token."""
        num_targets = sum(int((targets != IGNORED).sum()) for _, targets in batches)
        loss = self._sum_over_team(self._accumulate(batches, num_targets))
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step(muon_lr, adam_lr)
        self.optimizer.zero_grad()
        return loss

    def state_dict(self) -> dict[str, object]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _accumulate(self, batches: list[Batch], num_targets: int) -> Tensor:
        """Gradients of this process's batches; returns its part of the mean loss."""
        total = torch.zeros(1, device=self.device)
        for batch in batches[self.team.rank :: self.team.size]:
            inputs, targets = (tensor.to(self.device) for tensor in batch)
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = self.loss(inputs, targets) / num_targets
            loss.backward()
            total += loss.detach()
        return total

    def _sum_over_team(self, loss: Tensor) -> float:
        """Sum the gradients and the loss over all processes, in one message."""
        if self.team.size > 1:
            parts = [_gradient(weight) for weight in self.model.parameters()] + [loss]
            replace_by_sums(parts, self.team)
        return loss.item()


def _gradient(weight: Tensor) -> Tensor:
    """The weight's gradient, zero where this process had no batch."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad
