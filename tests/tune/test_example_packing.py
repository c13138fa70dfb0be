"""Packing: nothing split or lost, boundaries kept, the same for the same seed; and the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.errors import UsageError
from fairway.tune.encode import IGNORED, Example
from fairway.tune.order import shuffled
from fairway.tune.packing import join, pack

LENGTHS = st.lists(st.integers(1, 50), max_size=80)


def example(*ids, learned=None):
    ids = np.array(ids, np.int32)
    return Example("", ids, np.ones(len(ids), bool) if learned is None else np.array(learned, bool))


def first_fit(lengths, capacity, order):
    """What the name says, without a tree."""
    packs, room = [], []
    for index in order:
        at = next((at for at, left in enumerate(room) if left >= lengths[index]), len(packs))
        if at == len(packs):
            packs.append([])
            room.append(capacity)
        packs[at].append(index)
        room[at] -= lengths[index]
    return packs


@given(LENGTHS, st.integers(50, 120), st.integers(0, 5))
def test_packs_are_those_of_first_fit(lengths, capacity, seed):
    packs = pack(lengths, capacity, seed=seed)
    assert packs == first_fit(lengths, capacity, shuffled(len(lengths), seed=seed, epoch=0).tolist())
    assert sorted(index for one in packs for index in one) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in one) <= capacity for one in packs)


def test_seed_and_epoch_decide():
    lengths = list(range(1, 40))
    assert pack(lengths, 64, seed=1) == pack(lengths, 64, seed=1)
    assert pack(lengths, 64, seed=1) != pack(lengths, 64, seed=2)
    assert pack(lengths, 64, seed=1, epoch=1) != pack(lengths, 64, seed=1)


def test_what_fits_nowhere_is_an_error():
    with pytest.raises(UsageError, match="Example 1 has 9 tokens and a sequence 8"):
        pack([3, 9], 8, seed=0)


def test_boundaries_of_a_sequence():
    packed = join([example(5, 6, 7, learned=[0, 1, 1]), example(8, 9)])
    assert packed.ids.tolist() == [5, 6, 7, 8, 9]
    assert packed.labels.tolist() == [IGNORED, 6, 7, IGNORED, 9]
    assert packed.positions.tolist() == [0, 1, 2, 0, 1]
    assert packed.segments.tolist() == [0, 0, 0, 1, 1]
    assert packed.lengths == (3, 2)
    assert {array.dtype for array in (packed.ids, packed.labels, packed.positions, packed.segments)} == {
        np.dtype(np.int32)
    }


def test_joining_changes_no_example():
    one = example(1, 2)
    join([one, one])
    assert one.learned.tolist() == [True, True]
    assert one.labels.tolist() == [1, 2]


def test_order_is_written_down():
    """A run that is resumed under another NumPy must see the same rows."""
    assert shuffled(8, seed=7, epoch=0).tolist() == [7, 4, 6, 1, 5, 0, 2, 3]
    assert shuffled(8, seed=7, epoch=1).tolist() == [7, 4, 3, 0, 1, 5, 2, 6]
    assert sorted(shuffled(1000, seed=0, epoch=3).tolist()) == list(range(1000))
