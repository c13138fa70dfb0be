"""The schedule as a table, and the clock that a pause does not derail."""

import pytest

pytest.importorskip("torch")

from builtin_fixtures import tiny_recipe
from recipes.builtin_model.schedule import StepClock, learning_rate_share, stage_of


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0.0, 0.0), (0.005, 0.5), (0.2, 1.0), (0.4, 1.0), (0.7, 0.5), (1.0, 0.0), (1.1, 0.0)],
)
def test_learning_rate(progress, share):
    assert learning_rate_share(progress, tiny_recipe().train) == pytest.approx(share)


@pytest.mark.parametrize(("progress", "stage"), [(0.0, 0), (0.59, 0), (0.61, 1), (0.9, 2), (1.0, 2)])
def test_stage(progress, stage):
    assert stage_of(progress, tiny_recipe().train) == stage


def test_pause_counts_as_a_few_steps():
    clock = StepClock()
    for step_s in [2.0] * 10 + [600.0]:
        clock.add(step_s)
    assert clock.elapsed_s == 20.0 + 8.0


def test_clock_survives_a_restart():
    clock, other = StepClock(), StepClock()
    for step_s in [2.0] * 6:
        clock.add(step_s)
    other.load_state_dict(clock.state_dict())
    other.add(100.0)
    assert other.elapsed_s == 20.0
