"""Windows of joined texts: every token is learned, and a step's windows are a function of the step."""

from collections import Counter

import numpy as np
import pytest

from fairway.errors import FormatError
from fairway.tune.encode import Example
from fairway.tune.recipe import Recipe
from fairway.tune.windows import WindowBatches, Windows, cut

LENGTHS = (60, 1, 90, 49)
WRAPPED = {"packing": True, "packing_strategy": "wrapped", "max_length": 16}


def texts(lengths=LENGTHS):
    ids = np.arange(sum(lengths), dtype=np.int32)
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    return [Example("", each, np.ones(len(each), np.bool_)) for each in parts]


def planned(**settings):
    recipe = Recipe(**WRAPPED | settings)
    windows = Windows(texts(), [*recipe.stage_lengths, 16])
    return windows, WindowBatches(windows, recipe)


def learned(windows, batches):
    return [int(token) for batch in batches for number in batch for token in windows[number].ids[1:]]


def test_an_epoch_learns_every_token_and_few_of_them_twice():
    windows, plan = planned(per_device_train_batch_size=1, num_train_epochs=2)
    first, second = plan.epoch_ends
    assert plan.num_steps == second == 2 * first
    for steps in (range(first), range(first, second)):
        counts = Counter(learned(windows, [batch for step in steps for batch in plan.at(step)]))
        assert set(counts) == set(range(200))
        assert sum(counts.values()) < 200 + 15
    assert plan.at(0) != plan.at(first)


def test_windows_grow_while_an_update_keeps_its_tokens():
    stages = ("8:0.5",)
    windows, plan = planned(
        max_steps=10, length_stages=stages, per_device_train_batch_size=2, gradient_accumulation_steps=3
    )
    assert [plan.length_at(step) for step in range(10)] == [8] * 5 + [16] * 5
    for step in range(10):
        batches = plan.at(step)
        assert len(batches) == 3
        assert {sum(len(windows[number]) for number in batch) for batch in batches} == {32}


def test_a_step_decides_its_windows_and_a_seed_decides_all():
    windows, plan = planned(max_steps=20)
    _, same = planned(max_steps=20)
    _, other = planned(max_steps=20, seed=7)
    assert [plan.at(step) for step in (13, 2)] == [same.at(step) for step in (13, 2)]
    assert plan.at(2) != other.at(2)
    assert all(len(windows[number]) == 16 for batch in plan.at(19) for number in batch)


def test_an_update_goes_on_with_the_next_epoch():
    _, plan = planned(max_steps=9, per_device_train_batch_size=5)
    assert all(sum(map(len, plan.at(step))) == 5 for step in range(9))
    assert plan.epoch_at(9) == pytest.approx(45 / 14)
    assert plan.epoch_ends == [3, 6, 9]


def test_held_out_windows_hold_every_token_once():
    found = cut(texts(), 16)
    assert sorted(int(token) for each in found for token in each.ids[1:]) == list(range(1, 200))
    assert max(map(len, found)) == 16
    assert cut([], 16) == []


def test_what_is_not_learned_in_a_text_is_not_learned_in_a_window():
    [text] = texts((40,))
    text.learned[:20] = False
    windows = Windows([text], [16])
    assert windows[10].learned.tolist() == [False] * 10 + [True] * 6
    assert windows[30].ids.tolist() == [*range(30, 40), *range(6)]


def test_too_little_text_is_a_sentence():
    with pytest.raises(FormatError, match="have 200 tokens, and a window has 512"):
        Windows(texts(), [64, 512])
