"""The top of a row: natively and in NumPy the same ids, equal values by id, infinities last."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.kernels import choose
from fairway.kernels.choose import top
from fairway.kernels.extension import native_isas


@pytest.mark.parametrize("isa", native_isas())
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 200), st.integers(1, 250), st.integers(0, 99))
def test_native_and_numpy_agree(isa, rows, width, count, seed) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(-20, 20, (rows, width)).astype(np.float32)
    logits[random.random((rows, width)) < 0.1] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "native_isas", lambda: ())
        expected = top(logits, count)
        patch.setattr(choose, "native_isas", lambda: (isa,))
        found = top(logits, count)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_not_a_number_is_never_before_a_number() -> None:
    ids, _ = top(np.array([[np.nan, 1, np.nan, 3, 2]], np.float32), 3)
    assert ids.tolist() == [[3, 4, 1]]


def test_the_top_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="top 0"):
        top(np.zeros((1, 5), np.float32), 0)
