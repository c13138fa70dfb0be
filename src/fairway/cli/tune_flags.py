"""Which flags of `fairway tune` go together. The rule: one that would change nothing is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fairway.errors import UsageError
from fairway.settings import flag_name
from fairway.tune.recipe import Recipe
from fairway.tune.settings import DataSettings

FLAGS = {field.name: flag_name(field.name) for field in dataclasses.fields(Recipe)} | {
    name: f"{flag_name(name)}/--no-{flag_name(name)[2:]}"
    for name in ("packing", "bf16", "gradient_checkpointing", "use_rslora", "use_dora",
                 "bnb_4bit_use_double_quant", "keep_epochs", "raw", "gate",
                 "token_accuracy")
}  # fmt: skip
DATA = {field.name for field in dataclasses.fields(DataSettings)}
LORA = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "target_modules", "keep_epochs")
FOUR_BITS = ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant")
METHODS = dict.fromkeys(LORA, ("lora", "qlora")) | dict.fromkeys(FOUR_BITS, ("qlora",))
METHODS |= {"num_virtual_tokens": ("prefix",)}
"""Settings that mean something with these methods only."""
MEASURED = {"eval_steps", "early_stopping_patience", "gate", "require", "metric", "gate_max_tokens"}
RUN = ("out", "resume", "dry_run", "accept", "price_per_hour")
CHECK = {"strict": "--strict", "page": "--html", "preview": "--preview"}


def given_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a recipe that the command line sets."""
    return {name: flags[name] for name in FLAGS if flags[name] is not None and flags[name] != ()}


def check_alone(flags: Mapping[str, Any]) -> None:
    """What --check does not need. Raises `UsageError`."""
    named = [name for name in given_settings(flags) if name not in DATA]
    named += [name for name in RUN if flags[name]]
    if named:
        raise UsageError(
            f"--check trains nothing, so {flag_name(named[0])} has no meaning.", hint="Leave it out."
        )


def check_training(flags: Mapping[str, Any], recipe: Recipe | None, *, is_measured: bool) -> None:
    """What training does not need; `recipe` None: a run goes on. Raises `UsageError`."""
    of_check = [name for name in CHECK if flags[name]]
    if of_check:
        raise UsageError(f"{CHECK[of_check[0]]} belongs to --check.", hint="Add --check, or leave it out.")
    given = given_settings(flags)
    if recipe is None:
        if given or flags["recipe_file"] or flags["dry_run"]:
            raise UsageError(
                "--resume goes on with the recipe of the run.", hint="Leave the other settings out."
            )
        return
    idle = [name for name in given if recipe.method not in METHODS.get(name, (recipe.method,))]
    if idle:
        raise UsageError(
            f"{flag_name(idle[0])} has no meaning with --method {recipe.method}.",
            hint=f"Leave it out, or say --method {METHODS[idle[0]][0]}.",
        )
    unmeasured = [name for name in MEASURED & given.keys() if not is_measured]
    in_file = recipe.early_stopping_patience is not None or recipe.gate_settings is not None
    if not is_measured and (unmeasured or in_file):
        name = unmeasured[0] if unmeasured else "early_stopping_patience or gate in the recipe"
        raise UsageError(f"{flag_name(name)} needs held-out data.", hint="Name it with --validation FILE.")
    if recipe.gate_settings is not None:
        recipe.gate_settings.metrics()
