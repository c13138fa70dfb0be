"""LoRA beside frozen weights: two thin matrices per linear layer (https://arxiv.org/abs/2106.09685).

    y = x @ W.T + scale * dropout(x) @ A.T @ B.T         A [rank, in], B [out, rank]

A begins as PEFT's does (Kaiming uniform), B with zeros, so that the first step starts from the base model.
DoRA trains how long each row of the sum is as well; see dora.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import MAGNITUDE
from fairway.kernels.program import Linear, Program
from fairway.tensors import DenseTensor
from fairway.tune.dora import Multiply, stretched
from fairway.tune.forward_names import NamedMatrix
from fairway.tune.forward_parts import layer_of
from fairway.tune.lora_targets import LoraSettings, matching
from fairway.tune.products import linear, linear_lora
from fairway.tune.torch_weights import Held

RowLengths = Callable[[str], Tensor]
"""The norms of a frozen matrix's rows, [out], by its layer's name."""


class LoraLayers:
    """The trained matrices, by the names that PEFT gives them."""

    def __init__(
        self, settings: LoraSettings, shapes: Mapping[str, tuple[int, int]], lengths: RowLengths | None = None
    ) -> None:
        """`shapes`: [out, in] of adapted layers, by name without ".weight". `lengths` makes it a DoRA."""
        self.settings = settings
        self.layers = tuple(shapes)
        self.tensors: dict[str, Tensor] = {}
        self._lengths: dict[str, Tensor] = {}
        rank = settings.r
        self.scale = settings.lora_alpha / (math.sqrt(rank) if settings.use_rslora else rank)
        self.is_training = True
        for name, (rows, columns) in shapes.items():
            a = torch.empty(rank, columns)
            torch.nn.init.kaiming_uniform_(a, a=math.sqrt(5))
            self.tensors[f"{name}.lora_A.weight"] = a
            self.tensors[f"{name}.lora_B.weight"] = torch.zeros(rows, rank)
            if lengths is not None:
                self._lengths[name] = lengths(name).float()
                self.tensors[f"{name}.{MAGNITUDE}"] = self._lengths[name].clone()

    def product(self, name: str, x: Tensor, weight: Tensor | None, multiply: Multiply) -> Tensor:
        """What the adapted layer whose weight is `name` makes of x.

        `multiply` multiplies anything with its frozen matrix; `weight` is that matrix where it is a tensor.
        """
        layer = name.removesuffix(".weight")
        a = self.tensors.get(f"{layer}.lora_A.weight")
        if a is None:
            return multiply(x)
        b = self.tensors[f"{layer}.lora_B.weight"]
        half_a, half_b = a.to(x.dtype), b.to(x.dtype)
        is_dropped = self.is_training and self.settings.lora_dropout > 0
        magnitude = self.tensors.get(f"{layer}.{MAGNITUDE}")
        if magnitude is None and weight is not None and not is_dropped:
            return linear_lora(x, weight, half_a, half_b, self.scale)
        dropped = functional.dropout(x, self.settings.lora_dropout) if is_dropped else x
        change = linear(linear(dropped, half_a) * self.scale, half_b)
        if magnitude is None:
            return multiply(x) + change
        stretch = magnitude / stretched(self._lengths[layer], a, b * self.scale, multiply)
        stretch = stretch.to(x.dtype)
        if is_dropped:
            return multiply(x) + (stretch - 1) * multiply(dropped) + stretch * change
        return stretch * (multiply(x) + change)

    @property
    def uses_dora(self) -> bool:
        return bool(self._lengths)

    def to(self, device: torch.device) -> None:
        """Moves all of them."""
        for tensors in (self.tensors, self._lengths):
            tensors.update({name: each.to(device) for name, each in tensors.items()})

    def adapter(self, name: str, base: str | None, tensors: Mapping[str, Tensor]) -> Adapter:
        """What is written to disk, of tensors named as `self.tensors`."""
        return Adapter(name, base, {layer: self._layer(layer, tensors) for layer in self.layers})

    def _layer(self, layer: str, tensors: Mapping[str, Tensor]) -> LoraLayer:
        parts = [
            DenseTensor("f32", tensors[name].detach().float().cpu().numpy())
            for name in (f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", f"{layer}.{MAGNITUDE}")
            if name in tensors
        ]
        settings = self.settings
        magnitude = parts[2] if len(parts) == 3 else None
        return LoraLayer(parts[0], parts[1], settings.lora_alpha, settings.use_rslora, magnitude)


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


def lora_for(program: Program, settings: LoraSettings, lengths: RowLengths | None = None) -> LoraLayers:
    """`lengths` makes it a DoRA. Raises `SettingsError` where a target module names no layer."""
    shapes = linear_shapes(program)
    names: Sequence[str] = matching(tuple(shapes), settings.target_modules)
    return LoraLayers(settings, {name: shapes[name] for name in names}, lengths)


def row_lengths(program: Program, weights: Mapping[str, Held]) -> RowLengths:
    """Of frozen weights, for `lora_for`."""
    matrices = [each.matrix for each in program.operations if isinstance(each, Linear)]
    turned = {name for each in matrices if isinstance(each, NamedMatrix) and each.input_first
              for name in each.names}  # fmt: skip

    def lengths(layer: str) -> Tensor:
        weight = weights[f"{layer}.weight"]
        if not isinstance(weight, Tensor):
            return weight.row_lengths()
        return weight.norm(dim=0 if f"{layer}.weight" in turned else 1, dtype=torch.float32)

    return lengths
