"""The best mix at every size: exact bytes, nothing dominated, and as good as trying everything."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.autoquantize import front as module
from fairway.autoquantize.front import Option, front_of

options = st.builds(
    Option, st.sampled_from("abcde"), st.integers(0, 2000), st.floats(0, 10, allow_subnormal=False)
)
groups = st.lists(st.lists(options, min_size=1, max_size=4), max_size=5)


def totals(choice, fixed):
    return fixed + sum(each.num_bytes for each in choice), sum(each.divergence for each in choice)


@given(groups, st.integers(0, 500), st.integers(0, 8000))
def test_as_good_as_trying_everything(given_groups, fixed, budget):
    front = front_of(given_groups, fixed)
    fitting = [totals(each, fixed) for each in product(*given_groups)]
    fitting = [each for each in fitting if each[0] <= budget]
    index = front.within(budget)
    if not fitting:
        assert index is None
        return
    assert front.num_bytes[index] <= budget
    assert front.divergences[index] == pytest.approx(min(kl for _, kl in fitting), abs=1e-9)


@given(groups, st.integers(0, 500))
def test_more_bytes_are_never_worse(given_groups, fixed):
    front = front_of(given_groups, fixed)
    assert (np.diff(front.num_bytes) > 0).all()
    assert (np.diff(front.divergences) < 0).all()


@given(st.lists(st.lists(options, min_size=1, max_size=4, unique_by=lambda o: o.type), max_size=5))
def test_every_point_is_what_its_choices_sum_up_to(given_groups):
    front = front_of(given_groups, 7)
    for num_bytes, divergence, choice in zip(front.num_bytes, front.divergences, front.choices, strict=True):
        taken = [
            next(option for option in group if option.type == name)
            for group, name in zip(given_groups, choice, strict=True)
        ]
        assert totals(taken, 7) == (num_bytes, pytest.approx(divergence))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_a_thinned_front_loses_little_and_never_exceeds(seed):
    random = np.random.default_rng(seed)
    made = [
        [Option(str(bits), bits * int(size), float(weight) * 4.0**-bits) for bits in range(2, 9)]
        for size, weight in zip(random.integers(1000, 9000, 20), random.random(20), strict=True)
    ]
    whole = front_of(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_POINTS", 512)
        thin = front_of(made)
    assert len(thin) <= 512
    budget = int(whole.num_bytes[len(whole) // 2])
    index = thin.within(budget)
    assert thin.num_bytes[index] <= budget
    assert thin.divergences[index] <= whole.divergences[whole.within(budget)] * 1.1


def test_the_first_point_that_is_good_enough():
    front = front_of([[Option("small", 1, 4.0), Option("middle", 2, 2.0), Option("large", 4, 0.0)]])
    assert [front.reaching(kl) for kl in (5.0, 4.0, 3.0, 2.0, 1.0, 0.0)] == [0, 0, 1, 1, 2, 2]
    assert [front.within(size) for size in (0, 1, 3, 9)] == [None, 0, 1, 2]
