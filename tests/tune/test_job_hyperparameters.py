"""From OpenAI's hyperparameters to recipes."""

from dataclasses import replace

import pytest

from fairway.errors import SettingsError
from fairway.tune.jobs.hyperparameters import check_recipe, recipe_of, resolved
from fairway.tune.jobs.job import Asked, Base, Hyperparameters
from fairway.tune.recipe import Recipe

BASE = Base("builtin", "/models/builtin", "llama", 1)


@pytest.mark.parametrize(
    ("num_examples", "epochs", "batch"),
    [(1, 25, 1), (10, 10, 1), (20, 5, 2), (33, 3, 3), (100, 3, 8), (8_000, 3, 8), (20_000, 1, 8)],
)
def test_auto_is_decided_by_the_number_of_examples(num_examples, epochs, batch) -> None:
    used = resolved(Hyperparameters(), num_examples, Recipe())
    assert used == Hyperparameters(epochs, batch, 1.0)


def test_what_is_said_stays() -> None:
    wanted = Hyperparameters(n_epochs=7, batch_size=12, learning_rate_multiplier=0.5)
    assert resolved(wanted, 100, Recipe()) == wanted


@pytest.mark.parametrize(
    ("batch", "at_once", "accumulated"),
    [(1, 1, 1), (8, 8, 1), (12, 6, 2), (7, 7, 1), (13, 1, 13), (64, 8, 8)],
)
def test_a_large_batch_is_computed_in_parts(batch, at_once, accumulated) -> None:
    recipe = recipe_of(Asked(BASE, "file-1", seed=5), Hyperparameters(3, batch, 2.0), 100, Recipe())
    assert (recipe.per_device_train_batch_size, recipe.gradient_accumulation_steps) == (at_once, accumulated)
    assert (recipe.num_train_epochs, recipe.seed, recipe.keep_epochs) == (3.0, 5, True)
    assert recipe.learning_rate == pytest.approx(2 * Recipe().rate)
    assert recipe.save_steps == -(-100 // batch)


def test_the_server_s_recipe_says_what_the_client_does_not() -> None:
    base = replace(Recipe(), r=32, bf16=True, learning_rate=1e-3, max_steps=9)
    recipe = recipe_of(Asked(BASE, "file-1"), Hyperparameters(3, 4, 1.0), 100, base)
    assert recipe.token_accuracy
    assert (recipe.r, recipe.bf16, recipe.learning_rate, recipe.max_steps) == (32, True, 1e-3, None)
    with pytest.raises(SettingsError, match="has the method full"):
        check_recipe(replace(Recipe(), method="full"))


def test_preferences_are_the_objective_dpo() -> None:
    asked = Asked(BASE, "file-1", method="dpo", hyperparameters=Hyperparameters(beta=0.3))
    recipe = recipe_of(asked, Hyperparameters(3, 4, 1.0, 0.3), 100, Recipe())
    assert (recipe.objective, recipe.beta) == ("dpo", 0.3)
    assert recipe.learning_rate == recipe_of(asked, Hyperparameters(3, 4, 2.0), 100, Recipe()).rate / 2
    assert recipe.learning_rate < Recipe().rate  # each objective has its own
    with pytest.raises(SettingsError, match="has the objective dpo"):
        check_recipe(recipe)
