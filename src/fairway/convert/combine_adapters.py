"""Several LoRA adapters as one, by weight, as PEFT's `add_weighted_adapter` means it.

    cat       the sum of what each adds, exactly: matrices end to end, ranks add up
    linear    the sum of the A's times the sum of the B's, each by the square root of its weight

The rule: one adapter with the weight 1 stays as it is, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from fairway.errors import UnsupportedError, UsageError
from fairway.formats.floats import floats
from fairway.formats.lora import Adapter, LoraLayer
from fairway.tensors import F32, DenseTensor

Combination: TypeAlias = Literal["cat", "linear"]
Share: TypeAlias = "tuple[LoraLayer, float]"


def combined(adapters: Sequence[tuple[Adapter, float]], how: Combination = "cat") -> Adapter:
    """One adapter that counts as all of them by their weights, in float32.

    Raises `UnsupportedError` for a DoRA and for whole replaced tensors, which cannot be weighed or added, and
    `UsageError` for "linear" with unequal ranks or a weight that is no number.
    """
    [(first, weight), *rest] = adapters
    if not rest and weight == 1:
        return first
    for adapter, weight in adapters:
        if not math.isfinite(weight):
            raise UsageError(f"The weight of {adapter.name} is {weight}, which is no number.")
        if adapter.uses_dora:
            raise UnsupportedError(
                f"The adapter {adapter.name} is a DoRA, whose rows' lengths cannot be weighed or added.",
                hint="Merge it alone, with the weight 1.",
            )
    layers: dict[str, list[Share]] = {}
    for adapter, weight in adapters:
        for name, layer in adapter.layers.items():
            layers.setdefault(name, []).append((layer, weight))
    join = _end_to_end if how == "cat" else _added
    return Adapter(
        name="+".join(adapter.name for adapter, _ in adapters),
        base=next((adapter.base for adapter, _ in adapters if adapter.base), None),
        layers={name: join(name, shares) for name, shares in layers.items()},
        replaced=_replaced(adapters),
        sources=tuple(source for adapter, _ in adapters for source in adapter.sources),
    )


def _end_to_end(name: str, shares: Sequence[Share]) -> LoraLayer:  # noqa: ARG001  called as `_added` is
    a = np.concatenate([floats(layer.a) * np.float32(weight * layer.scale) for layer, weight in shares])
    b = np.concatenate([floats(layer.b) for layer, _ in shares], axis=1)
    return _layer(a, b)


def _added(name: str, shares: Sequence[Share]) -> LoraLayer:
    ranks = sorted({layer.rank for layer, _ in shares})
    if len(ranks) > 1:
        raise UsageError(
            f"The adapters change {name[:120]} with ranks {ranks}, which cannot be added.",
            hint="Combine them with --combination cat.",
        )
    counts = [weight * layer.scale for layer, weight in shares]
    roots = [np.float32(math.sqrt(abs(count))) for count in counts]
    signs = [np.float32(math.copysign(1, count)) for count in counts]
    a = sum(
        floats(layer.a) * root * sign for (layer, _), root, sign in zip(shares, roots, signs, strict=True)
    )
    b = sum(floats(layer.b) * root for (layer, _), root in zip(shares, roots, strict=True))
    return _layer(np.asarray(a, np.float32), np.asarray(b, np.float32))


def _layer(a: F32, b: F32) -> LoraLayer:
    """With an alpha that makes the scale 1."""
    return LoraLayer(DenseTensor("f32", a), DenseTensor("f32", np.ascontiguousarray(b)), float(a.shape[0]))


def _replaced(adapters: Sequence[tuple[Adapter, float]]) -> Mapping[str, DenseTensor]:
    """Whole tensors of one adapter; those that several would change have no sum."""
    found: dict[str, DenseTensor] = {}
    changed = {f"{name}.weight" for adapter, _ in adapters for name in adapter.layers}
    for adapter, weight in adapters:
        for name, tensor in adapter.replaced.items():
            if weight != 1 or name in found or name in changed:
                raise UnsupportedError(
                    f"The adapter {adapter.name} replaces {name[:120]}, which cannot be weighed or added.",
                    hint="Merge it alone, with the weight 1.",
                )
            found[name] = tensor
    return found
