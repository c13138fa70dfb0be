"""A bundle's weights as PyTorch tensors, by the names that families ask for, from any container.

The rule: they lie where PyTorch allocates, so that equal steps give equal bits in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import with_weights
from fairway.models.config import DecoderConfig
from fairway.models.conversion import floats_of
from fairway.models.families import read_config
from fairway.models.names import check_tensors, stored_names
from fairway.models.sizes import expected_tensors
from fairway.registry.progress import Progress


@dataclass(frozen=True)
class Loaded:
    """`stored`: family name -> the name in the checkpoint."""

    config: DecoderConfig
    weights: Mapping[str, Tensor]
    stored: Mapping[str, str]


def load_weights(
    bundle: Bundle, matrices: torch.dtype, device: torch.device, progress: Progress | None = None
) -> Loaded:
    """Matrices in the given type, vectors in float32. Raises what `models.load_model` raises."""
    bundle = with_weights(bundle)
    config = read_config(bundle.config, bundle.config_name)
    expected = expected_tensors(config)
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    check_tensors(bundle, shapes, tied=config.tied_embeddings)
    stored = {name: each for name, each in stored_names(bundle.tensors.infos).items() if name in expected}
    weights = {}
    for done, (name, tensor) in enumerate(expected.items(), 1):
        kind = torch.float32 if tensor.role == "float" else matrices
        weights[name] = torch.empty(tensor.shape, dtype=kind, device=device)
        weights[name].copy_(torch.from_numpy(floats_of(bundle.tensors.read(stored[name]))))
        for source in bundle.sources:
            source.release()
        if progress is not None:
            progress(done, len(expected), name)
    return Loaded(config, weights, stored)
