"""A LoRA adapter, whatever file it came from: per linear layer two thin matrices and how strongly they count.

    weight = base weight + scale * (B @ A)      A [rank, in], B [out, rank]

DoRA (https://arxiv.org/abs/2402.09353) also states how long each row of that sum is: its `magnitude`.

Layers carry Hugging Face's names and row order. lora_peft.py and lora_gguf.py read and write it;
convert/merge_lora.py merges it. Rule: what is neither of these is refused by name, never left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fairway.errors import FormatError
from fairway.formats.source import Source
from fairway.tensors import DenseTensor

MAX_LAYERS = 100_000


@dataclass(frozen=True)
class LoraLayer:
    """What is added to one linear layer."""

    a: DenseTensor
    """[rank, in]"""
    b: DenseTensor
    """[out, rank]"""
    alpha: float
    """As its file states it."""
    uses_rslora: bool = False
    """Whether alpha counts by the square root of the rank."""
    magnitude: DenseTensor | None = None
    """[out], of DoRA."""

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.uses_rslora else self.rank)

    @property
    def effective_alpha(self) -> float:
        """The alpha that gives this scale without rsLoRA, which GGUF does not know."""
        return self.alpha * math.sqrt(self.rank) if self.uses_rslora else self.alpha


@dataclass(frozen=True)
class Adapter:
    """A whole adapter."""

    name: str
    base: str | None
    """The model that it was trained on, by name or hub id."""
    layers: Mapping[str, LoraLayer]
    """By the layer's name, `model.layers.0.self_attn.q_proj`; its weight is `.weight` of that."""
    replaced: Mapping[str, DenseTensor] = field(default_factory=dict)
    """Whole tensors that training changed besides (modules_to_save, biases), by their full names."""
    sources: tuple[Source, ...] = ()
    """The files that it was read from, tensors first."""

    @property
    def uses_dora(self) -> bool:
        return any(layer.magnitude is not None for layer in self.layers.values())

    @property
    def num_parameters(self) -> int:
        return sum(part.values.size for layer in self.layers.values() for part in parts_of(layer))

    @property
    def digest(self) -> str:
        """Of all that it computes, whatever it is called: layers, scales and values as they are stored."""
        found = hashlib.sha256()
        for name, layer in sorted(self.layers.items()):
            parts = parts_of(layer)
            head = [name, layer.scale, [[part.type, part.shape] for part in parts]]
            found.update(json.dumps(head).encode())
            for part in parts:
                found.update(np.ascontiguousarray(part.values).data)
        return f"sha256:{found.hexdigest()}"


def parts_of(layer: LoraLayer) -> list[DenseTensor]:
    """A, B, and the magnitude where there is one."""
    return [layer.a, layer.b, *([] if layer.magnitude is None else [layer.magnitude])]


def checked_layer(name: str, layer: LoraLayer, where: str) -> LoraLayer:
    """Raises `FormatError` unless the parts fit each other and the scale is a number."""
    a, b = layer.a.shape, layer.b.shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or min(*a, *b) < 1:
        raise FormatError(
            f"The LoRA matrices of {name[:120]} in {where} do not fit: A {list(a)[:4]}, B {list(b)[:4]}.",
            hint="Save the adapter again.",
        )
    if layer.magnitude is not None and layer.magnitude.shape != (b[0],):
        found = list(layer.magnitude.shape)[:4]
        raise FormatError(
            f"The magnitude of {name[:120]} in {where} is {found}, not [{b[0]}].",
            hint="Save the adapter again.",
        )
    if not math.isfinite(layer.alpha):
        raise FormatError(f"The alpha of {name[:120]} in {where} is {layer.alpha}, which is no number.")
    return layer
