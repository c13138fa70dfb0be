"""The comparison of the built-in model's recipe: its schedule in fewer updates, and its page."""

from benchmarks.builtin_recipe import BEFORE, OURS, THEIRS, found, page, write_recipe

from fairway.tune.recipe import read_recipe
from fairway.tune.schedule import check_schedule


def test_the_schedule_in_fewer_updates(tmp_path):
    write_recipe(tmp_path / "recipe.toml", 300)
    recipe = read_recipe(tmp_path / "recipe.toml", {})
    assert (recipe.max_steps, recipe.num_decay_steps, recipe.decay_type) == (300, 180, "linear")
    assert (recipe.optim, recipe.stage_lengths, recipe.max_length) == ("muon", (256, 512), 1024)
    check_schedule(recipe, 300)


def test_runs_of_different_lengths_are_compared_where_both_are(tmp_path):
    losses = {OURS: [8.0, 7.0, 6.0], THEIRS: [8.0, 7.5]}
    shown = page(losses, {"date": "today"})
    assert "| 2 | 7.0000 | 7.5000 |" in shown
    assert "| 3 | 6.0000 |  |" in shown
    assert f"| {THEIRS}, 2 updates | 0.2500 | 0.2500 | 0.2500 | 7.7500 | 7.5000 |" in shown


def test_half_a_line_of_a_run_that_was_killed_is_not_read(tmp_path):
    (tmp_path / "before.jsonl").write_text('{"loss": 8.5, "seconds": 1}\n{"lo', "utf-8")
    assert found(tmp_path) == {BEFORE: [8.5]}
