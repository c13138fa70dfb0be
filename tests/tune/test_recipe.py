"""Recipes, the order of examples, and the step size: what needs no PyTorch."""

from pathlib import Path

import pytest

from fairway.errors import SettingsError
from fairway.tune.batches import Batches
from fairway.tune.lora_targets import matching
from fairway.tune.recipe import Recipe, read_recipe, with_objective
from fairway.tune.schedule import check_schedule, rate_at

WRAPPED = 'packing = true\npacking_strategy = "wrapped"\n'
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj")


def test_flags_override_the_file_and_what_is_written_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('r = 16\nlearning_rate = 1e-3\ntarget_modules = ["q_proj"]\n', "utf-8")
    recipe = read_recipe(path, {"r": 4, "bf16": None, "target_modules": ()})
    assert (recipe.r, recipe.rate, recipe.target_modules) == (4, 1e-3, ("q_proj",))
    path.write_text(recipe.to_toml(), "utf-8")
    assert read_recipe(path, {}) == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat = 1", "Did you mean learning_rate?"),
        ("per_device_batch_size = 1", "Did you mean per_device_train_batch_size?"),
        ("r = 0", "the smallest that works is 1"),
        ('bf16 = "yes"', "must be true or false"),
        ('lr_scheduler_type = "cosin"', "Did you mean cosine?"),
        ("[lora]\nr = 1", "Unknown setting lora"),
        ("r = ", "not valid TOML"),
        ("num_train_epochs = 0", "nothing would be trained"),
        ("gate = true\nuse_dora = true", "asks an adapter as it is served; a DoRA is not"),
        ("gate = true\nuse_dora = true", "a DoRA is not"),
        ('optim = "adam"', "Did you mean adamw_hf?"),
        ('optim = "muon"', "moves the matrices of layers themselves. Say --method full"),
        ("muon_learning_rate = 0.1", "muon_learning_rate has no meaning without optim muon"),
        ("num_decay_steps = 4", "num_decay_steps has no meaning with lr_scheduler_type linear"),
        ('lr_scheduler_type = "warmup_stable_decay"', "needs num_decay_steps"),
        ('packing_strategy = "wrapped"', "no meaning without packing"),
        ('packing = true\nlength_stages = ["8:0.5"]', "Add --packing --packing-strategy wrapped"),
        (WRAPPED + 'length_stages = ["64"]', "'64', which is no LENGTH:SHARE"),
        (WRAPPED + 'length_stages = ["64:1.5"]', "'64:1.5', which is no LENGTH:SHARE"),
        (WRAPPED + 'length_stages = ["64:0.5", "32:0.2"]', "do not grow: 64, 32"),
        (WRAPPED + 'max_length = 64\nlength_stages = ["64:0.5"]', "do not grow: 64, 64"),
        (WRAPPED + 'length_stages = ["32:0.5", "64:0.5"]', "leave no update for windows of max_length"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as raised:
        read_recipe(path, {})
    assert said in str(raised.value)


def test_target_modules() -> None:
    assert matching(LAYERS, ("all-linear",)) == list(LAYERS)
    assert matching(LAYERS, ("q_proj",)) == [LAYERS[0], LAYERS[2]]
    assert matching(LAYERS, (LAYERS[1],)) == [LAYERS[1]]
    with pytest.raises(SettingsError, match="Did you mean q_proj"):
        matching(LAYERS, ("q_porj",))


@pytest.mark.parametrize("packing", [False, True])
def test_every_epoch_sees_every_example_once(packing: bool) -> None:
    lengths = [3 + at % 7 for at in range(23)]
    recipe = Recipe(
        num_train_epochs=2, per_device_train_batch_size=2, gradient_accumulation_steps=2, packing=packing
    )
    batches = Batches(lengths, recipe, 20)
    first, second = batches.epoch_ends
    assert batches.num_steps == second
    seen = [[each for step in part for batch in batches.at(step) for each in batch]
            for part in (range(first), range(first, second))]  # fmt: skip
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(23))
    assert seen[0] != seen[1]
    assert all(len(batches.at(step)) <= 2 for step in range(second))
    assert batches.epoch_at(first) == 1
    assert batches.epoch_at(second) == 2


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 3), (1.0, 5), (1.5, 8)])
def test_parts_of_an_epoch(epochs: float, steps: int) -> None:
    recipe = Recipe(num_train_epochs=epochs, per_device_train_batch_size=2)
    assert Batches([5] * 10, recipe, 20).num_steps == steps


def test_max_steps_goes_through_as_many_epochs_as_it_takes() -> None:
    batches = Batches([5] * 10, Recipe(max_steps=12, per_device_train_batch_size=2), 20)
    assert batches.num_steps == 12
    assert all(batches.at(step) for step in range(12))
    assert batches.epoch_at(12) == 2.4


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 3])
def test_step_sizes_are_those_of_transformers(kind: str, warmup: int) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = transformers.get_scheduler(kind, optimizer, warmup, 10)
    recipe = Recipe(lr_scheduler_type=kind, warmup_steps=warmup, learning_rate=0.5)
    for step in range(10):
        assert rate_at(recipe, step, 10) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("fall", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize(("warmup", "least"), [(0, 0.0), (3, 0.1)])
def test_warmup_stable_decay_is_that_of_transformers(fall: str, warmup: int, least: float) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    kwargs = {"num_decay_steps": 5, "decay_type": fall, "min_lr_ratio": least}
    scheduler = transformers.get_scheduler(
        "warmup_stable_decay", optimizer, warmup, 12, scheduler_specific_kwargs=kwargs
    )
    recipe = Recipe(lr_scheduler_type="warmup_stable_decay", warmup_steps=warmup, learning_rate=0.5, **kwargs)
    check_schedule(recipe, 12)
    for step in range(12):
        assert rate_at(recipe, step, 12) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_a_schedule_that_is_longer_than_the_run_is_refused() -> None:
    recipe = Recipe(lr_scheduler_type="warmup_stable_decay", warmup_steps=3, num_decay_steps=9)
    with pytest.raises(
        SettingsError, match=r"3 updates warm up and 9 decay, of 10 in all\. Set num_decay_steps to 7"
    ):
        check_schedule(recipe, 10)


@pytest.mark.parametrize("objective", ["dpo", "grpo"])
def test_windows_are_for_answers_and_texts(objective: str) -> None:
    recipe = Recipe(packing_strategy="wrapped")
    with pytest.raises(SettingsError, match="--packing-strategy has no meaning with --objective"):
        with_objective(recipe, objective)


def test_trl_is_not_told_of_muon() -> None:
    recipe = Recipe(method="full", optim="muon", backend="trl")
    with pytest.raises(SettingsError, match="--optim has no meaning with --backend trl"):
        with_objective(recipe, "sft")
