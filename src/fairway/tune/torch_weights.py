"""A bundle's weights as PyTorch tensors, by the names that families ask for, from any container.

The rule: they lie where PyTorch allocates, so that equal steps give equal bits in every process; and what is
read of one tensor is let go before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from fairway.formats.bundle import Bundle, Tensors
from fairway.formats.quantized_folder import with_weights
from fairway.models.config import DecoderConfig
from fairway.models.conversion import floats_of
from fairway.models.families import read_config
from fairway.models.names import check_tensors, stored_names
from fairway.models.sizes import Expected, expected_tensors
from fairway.registry.progress import Progress
from fairway.tune.frozen_matrix import FrozenMatrix

Held: TypeAlias = Tensor | FrozenMatrix
Hold = Callable[[Tensors, str, Expected], Held]
"""How a tensor is held, given by its name in the checkpoint; it may be read a few rows at a time."""


@dataclass(frozen=True)
class Loaded:
    """`stored`: family name -> the name in the checkpoint."""

    config: DecoderConfig
    weights: Mapping[str, Held]
    stored: Mapping[str, str]


def load_weights(
    bundle: Bundle, matrices: torch.dtype | Hold, device: torch.device, progress: Progress | None = None
) -> Loaded:
    """Matrices in the given type or way, vectors in float32. Raises what `models.load_model` raises."""
    bundle = with_weights(bundle)
    config = read_config(bundle.config, bundle.config_name)
    expected = expected_tensors(config)
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    check_tensors(bundle, shapes, tied=config.tied_embeddings)
    stored = {name: each for name, each in stored_names(bundle.tensors.infos).items() if name in expected}
    weights: dict[str, Held] = {}
    for done, (name, tensor) in enumerate(expected.items(), 1):
        kind = torch.float32 if tensor.role == "float" else matrices
        if isinstance(kind, torch.dtype):
            values = torch.empty(tensor.shape, dtype=kind, device=device)
            weights[name] = values.copy_(torch.from_numpy(floats_of(bundle.tensors.read(stored[name]))))
        else:
            weights[name] = kind(bundle.tensors, stored[name], tensor)
        for source in bundle.sources:
            source.release()
        if progress is not None:
            progress(done, len(expected), name)
    return Loaded(config, weights, stored)
