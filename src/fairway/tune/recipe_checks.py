"""Which settings of a recipe go together, whatever it learns.

The rule: what would change nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairway.errors import SettingsError
from fairway.tune.length_stages import check_stages

if TYPE_CHECKING:
    from fairway.tune.recipe import Recipe

DECAY = {"num_decay_steps": None, "decay_type": "cosine", "min_lr_ratio": 0.0}
MUON = {"muon_learning_rate": 0.02, "muon_momentum": 0.95}
"""Settings that mean something beside another one only, and what they are where nobody set them."""


def check_recipe(recipe: Recipe) -> None:
    """Raises `SettingsError`."""
    if recipe.num_train_epochs == 0 and recipe.max_steps is None:
        raise SettingsError("num_train_epochs is 0: nothing would be trained.", hint="Say 1 or more.")
    if recipe.begins_anew and recipe.method != "full":
        raise SettingsError(
            f"init {recipe.init} begins from scratch: an adapter on nothing.", hint="Say --method full."
        )
    if recipe.gate_settings is not None and recipe.use_dora:
        raise SettingsError(
            "The gate asks an adapter as it is served; a DoRA is not.",
            hint="Leave gate and require out; a merged DoRA is scored by fairway gate.",
        )
    _check_optimizer(recipe)
    _check_decay(recipe)
    _check_windows(recipe)


def _check_optimizer(recipe: Recipe) -> None:
    if recipe.optim != "muon":
        _refuse_idle(recipe, MUON, "without optim muon", "Add --optim muon")
    elif recipe.method != "full":
        raise SettingsError("Muon moves the matrices of layers themselves.", hint="Say --method full.")


def _check_decay(recipe: Recipe) -> None:
    if recipe.lr_scheduler_type != "warmup_stable_decay":
        hint = "Add --lr-scheduler-type warmup_stable_decay"
        _refuse_idle(recipe, DECAY, f"with lr_scheduler_type {recipe.lr_scheduler_type}", hint)
    elif recipe.num_decay_steps is None:
        raise SettingsError(
            "lr_scheduler_type warmup_stable_decay needs num_decay_steps, the number of updates that decay.",
            hint="Say --num-decay-steps N.",
        )


def _check_windows(recipe: Recipe) -> None:
    if recipe.is_wrapped and not recipe.packing:
        raise SettingsError("packing_strategy has no meaning without packing.", hint="Add --packing.")
    if recipe.length_stages and not recipe.is_wrapped:
        raise SettingsError(
            "length_stages are of windows that are cut from joined texts.",
            hint="Add --packing --packing-strategy wrapped.",
        )
    check_stages(recipe.length_stages, recipe.max_length)


def _refuse_idle(recipe: Recipe, defaults: Mapping[str, object], where: str, hint: str) -> None:
    idle = [name for name, default in defaults.items() if getattr(recipe, name) != default]
    if idle:
        raise SettingsError(f"{idle[0]} has no meaning {where}.", hint=f"{hint}, or leave it out.")
