"""Weights to begin training from nothing: what a config calls for, random as transformers has it.

Matrices and tables are normal with the config's `initializer_range`, norms are one, biases zero. The rule: a
function of the seed and the tensor's place alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairway.kernels import program as p
from fairway.tune.forward_names import NamedFloats

STD = 0.02
"""Where a config does not say, as in transformers."""


def begin_anew(weights: Mapping[str, Tensor], program: p.Program, std: float, seed: int) -> None:
    """Overwrites every tensor, by the families' names."""
    ones = _norms(program)
    random = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        if name in ones:
            tensor.fill_(ones[name])
        elif tensor.dim() < 2:
            tensor.zero_()
        else:
            tensor.copy_(torch.empty(tensor.shape).normal_(0, std, generator=random))


def _norms(program: p.Program) -> dict[str, float]:
    """What is stored where a norm multiplies by one; some families store its distance from that."""
    found: dict[str, float] = {}
    for operation in program.operations:
        if isinstance(operation, p.RMSNorm | p.LayerNorm):
            weight = operation.weight
            assert isinstance(weight, NamedFloats)
            found |= dict.fromkeys(weight.names, 1.0 - weight.offset)
    return found
