"""The step size of every update, as transformers' schedulers have it."""

from __future__ import annotations

import math

from fairway.errors import SettingsError
from fairway.tune.recipe import Recipe


def rate_at(recipe: Recipe, step: int, total: int) -> float:
    """Of update `step`, from 0."""
    return recipe.rate * share_at(recipe, step, total)


def share_at(recipe: Recipe, step: int, total: int) -> float:
    """Of the highest step size, in update `step`, from 0."""
    kind = recipe.lr_scheduler_type
    if kind == "constant":
        return 1.0
    warmup = _warmup(recipe, total)
    if step < warmup:
        return _above(recipe, step / max(1, warmup))
    if kind == "constant_with_warmup":
        return 1.0
    if kind == "warmup_stable_decay":
        return _decayed(recipe, total - step)
    done = (step - warmup) / max(1, total - warmup)
    return max(0.0, 1 - done) if kind == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def check_schedule(recipe: Recipe, total: int) -> None:
    """Raises `SettingsError` where warm-up and decay are more than all updates."""
    warmup, decay = _warmup(recipe, total), recipe.num_decay_steps or 0
    if warmup + decay > total:
        raise SettingsError(
            f"{warmup:,} updates warm up and {decay:,} decay, of {total:,} in all.",
            hint=f"Set num_decay_steps to {max(0, total - warmup):,} at most.",
            param="num_decay_steps",
        )


def _warmup(recipe: Recipe, total: int) -> int:
    """Updates that warm up."""
    return recipe.warmup_steps or math.ceil(total * recipe.warmup_ratio)


def _decayed(recipe: Recipe, left: int) -> float:
    """`left`: updates from this one to the end."""
    decay = recipe.num_decay_steps or 0
    if left >= decay:
        return 1.0
    done = (decay - left) / decay
    falls = {
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "1-sqrt": 1 - math.sqrt(done),
    }
    return _above(recipe, falls[recipe.decay_type])


def _above(recipe: Recipe, share: float) -> float:
    """From `min_lr_ratio` to one."""
    return recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * share
