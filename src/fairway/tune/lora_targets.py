"""Which layers LoRA adapts, and how: PEFT's names with PEFT's meaning."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.errors import SettingsError

ALL = "all-linear"


@dataclass(frozen=True)
class LoraSettings:
    """Defaults are the recipe's; see `recipe.Recipe`."""

    r: int
    lora_alpha: float
    lora_dropout: float
    use_rslora: bool
    target_modules: tuple[str, ...]


def matching(layers: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Layers whose name is a target or ends with ".target". Raises `SettingsError` for one that hits none."""
    if tuple(targets) == (ALL,):
        return list(layers)
    for target in targets:
        if not any(_is_hit(layer, target) for layer in layers):
            raise _nothing(target, layers)
    return [layer for layer in layers if any(_is_hit(layer, target) for target in targets)]


def _is_hit(layer: str, target: str) -> bool:
    return layer == target or layer.endswith(f".{target}")


def _nothing(target: str, layers: Sequence[str]) -> SettingsError:
    known = sorted({layer.rpartition(".")[2] for layer in layers} | {ALL})
    nearest = difflib.get_close_matches(target, known, n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known)}."
    return SettingsError(f"This model has no linear layer {target!r}.", hint=hint, param="target_modules")
