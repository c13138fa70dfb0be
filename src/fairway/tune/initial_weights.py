"""Weights to begin training from nothing: what a config calls for, random as a recipe's `init` says.

"random", as transformers has it: matrices and tables are normal with the config's `initializer_range`.
"random_fan_in": matrices inside layers are normal with 1/sqrt(their inputs), and zero where they add to the
residual stream, so that every layer begins by changing nothing. Norms are one, biases zero. The rule: a
function of the seed and the tensor's place alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairway.kernels import program as p
from fairway.tune.forward_names import NamedFloats, NamedMatrix
from fairway.tune.forward_parts import layer_matrices

STD = 0.02
"""Where a config does not say, as in transformers."""


@dataclass(frozen=True)
class Initial:
    """`std` is that of what `by_fan_in` does not decide."""

    std: float
    seed: int
    by_fan_in: bool = False


def begin_anew(weights: Mapping[str, Tensor], program: p.Program, initial: Initial) -> None:
    """Overwrites every tensor, by the families' names."""
    ones = _norms(program)
    deviations = _by_fan_in(program) if initial.by_fan_in else {}
    random = torch.Generator().manual_seed(initial.seed)
    for name, tensor in weights.items():
        if name in ones:
            tensor.fill_(ones[name])
        elif tensor.dim() < 2:
            tensor.zero_()
        else:
            std = deviations.get(name, initial.std)
            tensor.copy_(torch.empty(tensor.shape).normal_(0, std, generator=random))


def _by_fan_in(program: p.Program) -> dict[str, float]:
    """The standard deviation of every matrix inside layers."""
    found: dict[str, float] = {}
    for name, operation in layer_matrices(program):
        assert isinstance(operation.matrix, NamedMatrix)
        found[name] = operation.matrix.columns**-0.5 if operation.residual is None else 0.0
    return found


def _norms(program: p.Program) -> dict[str, float]:
    """What is stored where a norm multiplies by one; some families store its distance from that."""
    found: dict[str, float] = {}
    for operation in program.operations:
        if isinstance(operation, p.RMSNorm | p.LayerNorm):
            weight = operation.weight
            assert isinstance(weight, NamedFloats)
            found |= dict.fromkeys(weight.names, 1.0 - weight.offset)
    return found
