"""Names that users of transformers, TRL and PEFT know: honoured, harmless, or refused with what to use."""

import dataclasses

import pytest

from fairway.errors import SettingsError
from fairway.tune.recipe import Recipe, read_recipe
from fairway.tune.training_arguments import FIXED, RENAMED, translated, without_foreign

KNOWN = [field.name for field in dataclasses.fields(Recipe)]


def test_a_recipe_of_transformers_names(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'optim = "adamw_torch"\nfp16 = false\nlogging_steps = 1\nmax_seq_length = 64\n'
        'save_strategy = "steps"\ndataloader_num_workers = 0\nnum_train_epochs = 2\n'
        "gradient_checkpointing_kwargs = {use_reentrant = false}\n",
        "utf-8",
    )
    recipe = read_recipe(path, {})
    assert (recipe.max_length, recipe.num_train_epochs) == (64, 2.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fp16 = true", "fp16 in .* is True, which cannot be done here. Use bf16"),
        ('optim = "adafactor"', "Unknown value 'adafactor'"),
        ("lr_scheduler_kwargs = {seed = 1}", "seed of lr_scheduler_kwargs in .* is not known"),
        ("min_lr_ratio = 0.1\nlr_scheduler_kwargs = {min_lr_ratio = 1}", "is given beside it too"),
        ("lr_scheduler_kwargs = {num_stable_steps = 1}", "what max_steps leaves between"),
        ("logging_steps = 10", "metrics.jsonl"),
        ('output_dir = "out"', "Say it as --out FOLDER"),
        ("neftune_noise_alpha = 5", "lora_dropout"),
        ("dataloader_num_workers = false", "dataloader_num_workers in .* is False"),
        ("max_seq_length = 64\nmax_length = 32", "max_seq_length in .* is another name of max_length"),
        ("learning_rat = 1", "Did you mean learning_rate"),
    ],
)
def test_what_cannot_be_honoured_is_refused(tmp_path, line, said):
    path = tmp_path / "recipe.toml"
    path.write_text(line + "\n", "utf-8")
    with pytest.raises(SettingsError, match=said):
        read_recipe(path, {})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("m d --max_steps 3 --out=a_b", "m d --max-steps 3 --out=a_b"),
        ("--fp16 False m", "m"),
        ("--full_determinism m d", "m d"),
        ("--eval_on_start true --per_gpu_train_batch_size=2", "--per-device-train-batch-size=2"),
        (
            '--lr_scheduler_kwargs={"num_decay_steps":3,"decay_type":"linear"} m',
            "--num-decay-steps=3 --decay-type=linear m",
        ),
        ("--logging_steps 1 --r 2", "--r 2"),
        ("--no-such 1", "--no-such 1"),
    ],
)
def test_the_command_line_in_transformers_spelling(given, kept):
    assert without_foreign(given.split(), KNOWN) == kept.split()


@pytest.mark.parametrize("given", ["--fp16 m", "--run_name mine", "--report_to", "--lr_scheduler_kwargs=3"])
def test_flags_that_cannot_be_honoured(given):
    if given == "--report_to":
        assert without_foreign([given], KNOWN) == ["--report-to"]
        return
    with pytest.raises(SettingsError, match="on the command line is"):
        without_foreign(given.split(), KNOWN)


def test_a_schedule_in_a_table(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'lr_scheduler_type = "warmup_stable_decay"\noptim = "adamw_torch_fused"\n'
        'lr_scheduler_kwargs = { num_decay_steps = 7, decay_type = "1-sqrt", warmup_type = "linear" }\n'
    )
    recipe = read_recipe(path, {})
    assert (recipe.num_decay_steps, recipe.decay_type, recipe.min_lr_ratio) == (7, "1-sqrt", 0.0)


def test_every_name_has_one_meaning():
    assert not FIXED.keys() & RENAMED.keys()
    assert set(RENAMED.values()) <= set(KNOWN)
    assert translated({"seed": 1}, KNOWN, "here") == {"seed": 1}
