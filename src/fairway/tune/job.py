"""Everything that training needs, made once by `prepare_job`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fairway.formats.bundle import Bundle
from fairway.tune.batches import BatchPlan
from fairway.tune.lora_layers import LoraLayers
from fairway.tune.prefix_tokens import PrefixTokens
from fairway.tune.recipe import Recipe
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import Held
from fairway.tune.windows import Windows


@dataclass(frozen=True)
class Job:
    """`trained` are leaves by the names that they are saved under."""

    decoder: TorchDecoder
    trained: Mapping[str, Tensor]
    lora: LoraLayers | None
    recipe: Recipe
    examples: Sequence[Any]
    """What the objective made of each row, an `encode.Example` or several; its length is in tokens."""
    held_out: Sequence[Any]
    batches: BatchPlan
    device: torch.device
    bundle: Bundle
    max_context: int
    base: TorchDecoder | None = None
    """The model without its adapter; None where all weights are trained."""
    teacher: TorchDecoder | None = None
    """Frozen, to distill from."""
    prefix: PrefixTokens | None = None
    windows: Windows | None = None
    """What is learned instead of whole examples."""
    matrices: frozenset[str] = frozenset()
    """Trained tensors that Muon moves."""
    weights: Mapping[str, Held] = field(default_factory=dict)
    """The model's own, by the families' names."""
    stored: Mapping[str, str] = field(default_factory=dict)
    """Their names in the checkpoint."""

    @property
    def items(self) -> Sequence[Any] | Windows:
        """What `batches` counts."""
        return self.examples if self.windows is None else self.windows

    def train(self, is_training: bool) -> None:
        """Whether dropout is on."""
        if self.lora is not None:
            self.lora.is_training = is_training
