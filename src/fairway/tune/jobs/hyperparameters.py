"""From OpenAI's hyperparameters to a recipe of `fairway tune`. Light to import."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fairway.errors import SettingsError
from fairway.tune.jobs.job import Asked, Hyperparameters
from fairway.tune.recipe import Recipe

EPOCHS, MOST_EPOCHS = 3, 25
FEW_EXAMPLES, MANY_EXAMPLES = 100, 25_000
"""Fewer seen in all: more epochs; more: fewer. As OpenAI's own guide to preparing data has it."""
EXAMPLES_PER_BATCH = 10
"""A batch is at most this part of the examples, so that few of them still make many updates."""
SAVE_S = 60.0
SUPERVISED = "supervised"


def _objective(asked: Asked) -> dict[str, Any]:
    """What one of OpenAI's methods adds to a recipe: accuracies, or `--objective dpo` and its beta."""
    if asked.method == SUPERVISED:
        return {"token_accuracy": True}
    beta = asked.hyperparameters.beta
    return {"objective": asked.method} | ({} if beta in (None, "auto") else {"beta": beta})


def check_recipe(recipe: Recipe) -> Recipe:
    """The recipe that jobs start from. Raises `SettingsError` where its result could not be served."""
    if recipe.method != "lora":
        raise SettingsError(
            f"The recipe of fine-tuning jobs has the method {recipe.method}.", hint='Say method = "lora".'
        )
    if recipe.objective is not None:
        raise SettingsError(
            f"The recipe of fine-tuning jobs has the objective {recipe.objective}.",
            hint="Leave it out: each job says whether it is supervised or dpo.",
        )
    return recipe


def resolved(wanted: Hyperparameters, num_examples: int, recipe: Recipe) -> Hyperparameters:
    """With every "auto" decided."""
    largest = max(1, min(recipe.per_device_train_batch_size, num_examples // EXAMPLES_PER_BATCH))
    multiplier = wanted.learning_rate_multiplier
    return replace(
        wanted,
        n_epochs=_epochs(num_examples) if wanted.n_epochs == "auto" else wanted.n_epochs,
        batch_size=largest if wanted.batch_size == "auto" else wanted.batch_size,
        learning_rate_multiplier=1.0 if multiplier == "auto" else multiplier,
    )


def recipe_of(asked: Asked, used: Hyperparameters, num_examples: int, base: Recipe) -> Recipe:
    """What the job trains with: the server's recipe, and what the client said in its place."""
    assert used.n_epochs != "auto"
    assert used.batch_size != "auto"
    assert used.learning_rate_multiplier != "auto"
    base = recipe_for_check(asked, base)
    at_once = _largest_part(used.batch_size, base.per_device_train_batch_size)
    per_epoch = max(1, -(-num_examples // used.batch_size))
    return replace(
        base,
        num_train_epochs=float(used.n_epochs),
        max_steps=None,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=used.batch_size // at_once,
        learning_rate=base.rate * used.learning_rate_multiplier,
        seed=asked.seed,
        save_steps=min(base.save_steps, per_epoch),
        keep_epochs=True,
        save_seconds=min(base.save_seconds, SAVE_S),
    )


def recipe_for_check(asked: Asked, base: Recipe) -> Recipe:
    """What decides how rows are read."""
    return replace(base, **_objective(asked))


def _epochs(num_examples: int) -> int:
    seen = EPOCHS * num_examples
    if seen < FEW_EXAMPLES:
        return min(MOST_EPOCHS, FEW_EXAMPLES // max(1, num_examples))
    return max(1, MANY_EXAMPLES // num_examples) if seen > MANY_EXAMPLES else EPOCHS


def _largest_part(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return next(each for each in range(min(number, most), 0, -1) if number % each == 0)
