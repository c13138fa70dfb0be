"""What moves the trained tensors: AdamW, and PyTorch's Muon for matrices of layers where a recipe wants it.

Muon (https://kellerjordan.github.io/posts/muon/) moves a matrix by its momentum with all singular values
brought near one. The rule: all that an update depends on beside gradients is in `state`, by tensors' names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from fairway.errors import UnsupportedError
from fairway.tensors import F32
from fairway.tune.recipe import Recipe

MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What the two keep beside a tensor; AdamW the first two, Muon the last."""


class Optimizer:
    """Of one run. `matrices` names the tensors that Muon moves."""

    def __init__(self, trained: Mapping[str, Tensor], matrices: Collection[str], recipe: Recipe) -> None:
        self._trained = trained
        others = [each for name, each in trained.items() if name not in matrices]
        self._parts = [(_adamw(others, recipe), recipe.rate)] if others else []
        if matrices:
            muon = _muon([each for name, each in trained.items() if name in matrices], recipe)
            self._parts.append((muon, recipe.muon_learning_rate))

    def step(self, share: float) -> None:
        """Moves every tensor at `share` of the highest step size, and forgets the gradients."""
        for optimizer, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, F32]:
        """ "exp_avg/NAME" and so on; nothing before the first step."""
        held = {id(tensor): state for part, _ in self._parts for tensor, state in part.state.items()}
        return {
            f"{moment}/{name}": held[id(tensor)][moment].detach().cpu().numpy()
            for name, tensor in self._trained.items()
            for moment in MOMENTS
            if moment in held.get(id(tensor), {})
        }

    def restore(self, state: Mapping[str, F32], step: int) -> None:
        """Takes back what `state` gave after `step` updates."""
        names = {id(tensor): name for name, tensor in self._trained.items()}
        for part, _ in self._parts:
            for tensor in (each for group in part.param_groups for each in group["params"]):
                name = names[id(tensor)]
                found = {
                    moment: state[f"{moment}/{name}"] for moment in MOMENTS if f"{moment}/{name}" in state
                }
                moments = {key: _like(tensor, values) for key, values in found.items()}
                if "exp_avg" in moments:
                    moments["step"] = torch.tensor(float(step))
                if moments:
                    part.state[tensor] = moments


def _adamw(tensors: list[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """With Muon beside it no tensor decays: what is left are tables, norms and biases."""
    decay = 0.0 if recipe.optim == "muon" else recipe.weight_decay
    groups = [
        {"params": [each for each in tensors if each.dim() > 1], "weight_decay": decay},
        {"params": [each for each in tensors if each.dim() <= 1], "weight_decay": 0.0},
    ]
    betas = (recipe.adam_beta1, recipe.adam_beta2)
    used = [group for group in groups if group["params"]]
    return torch.optim.AdamW(used, recipe.rate, betas, recipe.adam_epsilon, fused=True)


def _muon(tensors: list[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise UnsupportedError(
            f"PyTorch {torch.__version__} has no Muon.",
            hint="Install torch 2.9 or newer, or leave optim out.",
        )
    muon: torch.optim.Optimizer = torch.optim.Muon(
        tensors, recipe.muon_learning_rate, recipe.weight_decay, recipe.muon_momentum
    )
    return muon


def _like(tensor: Tensor, values: F32) -> Tensor:
    """In memory of PyTorch's, so that equal steps give equal bits in every process."""
    made = torch.empty_like(tensor, requires_grad=False)
    return made.copy_(torch.from_numpy(np.array(values)))
