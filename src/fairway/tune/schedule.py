"""The step size of every update, as transformers' schedulers have it."""

from __future__ import annotations

import math

from fairway.tune.recipe import Recipe


def rate_at(recipe: Recipe, step: int, total: int) -> float:
    """Of update `step`, from 0."""
    return recipe.rate * _share(recipe, step, total)


def _share(recipe: Recipe, step: int, total: int) -> float:
    kind = recipe.lr_scheduler_type
    if kind == "constant":
        return 1.0
    warmup = recipe.warmup_steps or math.ceil(total * recipe.warmup_ratio)
    if step < warmup:
        return step / max(1, warmup)
    if kind == "constant_with_warmup":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return max(0.0, 1 - done) if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))
