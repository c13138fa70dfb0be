"""LoRA beside frozen weights: two thin matrices per linear layer (https://arxiv.org/abs/2106.09685).

    y = x @ W.T + scale * dropout(x) @ A.T @ B.T         A [rank, in], B [out, rank]

A begins as PEFT's does (Kaiming uniform), B with zeros, so that the first step starts from the base model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fairway.formats.lora import Adapter, LoraLayer
from fairway.kernels.program import Linear, Program
from fairway.tensors import DenseTensor
from fairway.tune.forward_names import NamedMatrix
from fairway.tune.forward_parts import layer_of
from fairway.tune.lora_targets import LoraSettings, matching


class LoraLayers:
    """The trained matrices, by the names that PEFT gives them."""

    def __init__(self, settings: LoraSettings, shapes: Mapping[str, tuple[int, int]]) -> None:
        """`shapes`: [out, in] of each adapted layer, by its name without ".weight"."""
        self.settings = settings
        self.layers = tuple(shapes)
        self.tensors: dict[str, Tensor] = {}
        rank = settings.r
        self.scale = settings.lora_alpha / (math.sqrt(rank) if settings.use_rslora else rank)
        self.is_training = True
        for name, (rows, columns) in shapes.items():
            a = torch.empty(rank, columns)
            torch.nn.init.kaiming_uniform_(a, a=math.sqrt(5))
            self.tensors[f"{name}.lora_A.weight"] = a
            self.tensors[f"{name}.lora_B.weight"] = torch.zeros(rows, rank)

    def added(self, name: str, x: Tensor, values: Tensor) -> Tensor:
        """`values` and what the layer whose weight is `name` adds to them."""
        layer = name.removesuffix(".weight")
        a = self.tensors.get(f"{layer}.lora_A.weight")
        if a is None:
            return values
        b = self.tensors[f"{layer}.lora_B.weight"]
        x = functional.dropout(x, self.settings.lora_dropout, training=self.is_training)
        return values + functional.linear(functional.linear(x, a.to(x.dtype)), b.to(x.dtype)) * self.scale

    def adapter(self, name: str, base: str | None, tensors: Mapping[str, Tensor]) -> Adapter:
        """What is written to disk, of tensors named as `self.tensors`."""
        return Adapter(name, base, {layer: self._layer(layer, tensors) for layer in self.layers})

    def _layer(self, layer: str, tensors: Mapping[str, Tensor]) -> LoraLayer:
        a, b = (
            DenseTensor("f32", tensors[f"{layer}.{part}.weight"].detach().float().cpu().numpy())
            for part in ("lora_A", "lora_B")
        )
        return LoraLayer(a, b, self.settings.lora_alpha, self.settings.use_rslora)


def linear_shapes(program: Program) -> dict[str, tuple[int, int]]:
    """[out, in] of every linear layer inside the decoder's layers, by name without ".weight"."""
    found = {}
    for operation in program.operations:
        if isinstance(operation, Linear) and layer_of(operation) is not None:
            matrix = operation.matrix
            assert isinstance(matrix, NamedMatrix)
            for name, size in zip(matrix.names, matrix.sizes, strict=True):
                found[name.removesuffix(".weight")] = (size, matrix.columns)
    return found


def lora_for(program: Program, settings: LoraSettings) -> LoraLayers:
    """Raises `SettingsError` where a target module names no layer."""
    shapes = linear_shapes(program)
    names: Sequence[str] = matching(tuple(shapes), settings.target_modules)
    return LoraLayers(settings, {name: shapes[name] for name in names})
