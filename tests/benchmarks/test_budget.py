"""The minutes of a run, with a clock that the tests turn."""

import pytest
from benchmarks.comparison.budget import Budget


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("minutes", "round_s", "expected"),
    [(None, 1e6, 4), (10, 60, 4), (2, 60, 2), (2.9, 60, 2), (0.1, 60, 1)],
)
def test_a_round_begins_only_if_one_like_the_last_still_fits(minutes, round_s, expected):
    clock = Clock()
    begun = 0
    for _ in Budget(minutes, clock).rounds(4):
        begun += 1
        clock.now += round_s
    assert begun == expected


def test_a_long_first_round_does_not_forbid_short_ones():
    clock = Clock()
    lengths = iter([100, 10, 10])
    begun = []
    for number in Budget(3.4, clock).rounds(3):
        begun.append(number)
        clock.now += next(lengths)
    assert begun == [0, 1, 2]


def test_time_that_was_spent_before_counts():
    clock = Clock()
    budget = Budget(1, clock)
    assert not budget.is_spent
    clock.now += 61
    assert budget.is_spent
    assert list(budget.rounds(3)) == []
