"""Steps that break their contract are refused in the same words by both backends, never a crash."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_programs import Sequence, Shape, decoder, run_steps, step_of

from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import Limits, Step
from fairway.kernels.reference import ReferenceBackend

BACKENDS = {"reference": ReferenceBackend(), **{isa: NativeBackend(isa, 2) for isa in native_isas()}}
LIMITS = Limits(8, 3, 4)


def executable_of(name):
    made = decoder(BACKENDS[name], Shape(layers=1))
    return BACKENDS[name].compile(made.program, made.cache(num_blocks=4), LIMITS)


EXECUTABLES = {name: executable_of(name) for name in BACKENDS}
backends = pytest.mark.parametrize("name", BACKENDS)


def i32(*values):
    return np.array(values, np.int32)


GOOD = Step(i32(1, 2, 3), i32(0, 1, 16), i32(0, 2, 3), np.array([[0, -1], [1, 3]], np.int32), i32(1, 2))
BROKEN = {
    "negative token": replace(GOOD, token_ids=i32(1, -1, 3)),
    "token beyond the vocabulary": replace(GOOD, token_ids=i32(1, 101, 3)),
    "fewer positions": replace(GOOD, positions=i32(0, 1)),
    "negative position": replace(GOOD, positions=i32(-1, 0, 16)),
    "a gap in positions": replace(GOOD, positions=i32(0, 2, 16)),
    "huge position": replace(GOOD, positions=i32(2**31 - 2, 2**31 - 1, 16)),
    "position beyond the table": replace(GOOD, positions=i32(0, 1, 32)),
    "negative block": replace(GOOD, positions=i32(15, 16, 16)),
    "block beyond the cache": replace(GOOD, block_tables=np.array([[0, 1], [1, 4]], np.int32)),
    "huge block": replace(GOOD, block_tables=np.array([[2**31 - 1, 1], [1, 2]], np.int32)),
    "starts not at 0": replace(GOOD, starts=i32(1, 2, 3)),
    "starts fall": replace(GOOD, starts=i32(0, 4, 3)),
    "starts end early": replace(GOOD, starts=i32(0, 1, 2)),
    "starts end late": replace(GOOD, starts=i32(0, 2, 4)),
    "starts overflow": replace(GOOD, starts=i32(0, -(2**31), 3)),
    "no sequence": replace(GOOD, starts=i32(0), block_tables=np.zeros((0, 2), np.int32)),
    "no starts": replace(GOOD, starts=i32()),
    "no block table": replace(GOOD, block_tables=np.zeros((2, 0), np.int32)),
    "block table of another step": replace(GOOD, block_tables=np.zeros((3, 2), np.int32)),
    "output beyond the step": replace(GOOD, output_rows=i32(0, 3)),
    "negative output": replace(GOOD, output_rows=i32(-1)),
    "too many outputs": replace(GOOD, output_rows=i32(0, 1, 2, 0, 1)),
    "too many tokens": Step(i32(*range(9)), i32(*range(9)), i32(0, 9), np.zeros((1, 2), np.int32), i32(0)),
    "too many sequences": Step(
        i32(1, 1, 1, 1), i32(0, 0, 0, 0), i32(0, 1, 2, 3, 4), np.array([[0], [1], [2], [3]], np.int32), i32(0)
    ),
    "no tokens": Step(i32(), i32(), i32(0, 0), np.zeros((1, 1), np.int32), i32()),
}


@backends
@pytest.mark.parametrize("step", BROKEN.values(), ids=BROKEN)
def test_refused(name, step) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        EXECUTABLES[name].run(step)
    assert np.isfinite(EXECUTABLES[name].run(GOOD)).all()


@backends
def test_allowed(name) -> None:
    executable = EXECUTABLES[name]
    assert executable.run(GOOD).shape == (2, 101)
    assert executable.run(replace(GOOD, output_rows=i32())).shape == (0, 101)
    assert executable.greedy(replace(GOOD, output_rows=i32(2, 0, 2))).shape == (3,)
    idle = Step(i32(5), i32(3), i32(0, 0, 1), np.array([[-7], [2]], np.int32), i32(0))
    assert executable.run(idle).shape == (1, 101)


@backends
def test_a_refused_step_leaves_the_cache_alone(name) -> None:
    executable, sequence = EXECUTABLES[name], Sequence([1, 2, 3, 4], [2])
    before = run_steps(executable, sequence, [3], 1)
    broken = replace(step_of([(Sequence([9, 9, 9], [2]), 3)], 1), output_rows=i32(5))
    with pytest.raises(ValueError, match="output row"):
        executable.run(broken)
    after = run_steps(executable, sequence, [1], 1)
    again = run_steps(executable, Sequence([1, 2, 3, 4], [1]), [4], 1)
    assert np.array_equal(np.concatenate([before, after]), again)


@pytest.mark.parametrize("name", native_isas())
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_steps_never_crash(name, data) -> None:
    numbers = st.one_of(st.integers(-2, 20), st.sampled_from([2**31 - 1, -(2**31), 101, 100]))

    def array(least, most):
        return i32(*data.draw(st.lists(numbers, min_size=least, max_size=most)))

    tables = array(4, 4).reshape(data.draw(st.sampled_from([(1, 4), (2, 2), (4, 1)])))
    step = Step(array(0, 4), array(0, 4), array(0, 4), tables, array(0, 3))
    with contextlib.suppress(ValueError):
        EXECUTABLES[name].run(step)


@pytest.mark.parametrize("name", native_isas())
def test_other_types_and_strides_are_taken(name) -> None:
    expected = EXECUTABLES[name].run(GOOD).copy()
    wide = replace(GOOD, token_ids=np.array([1, 9, 2, 9, 3], np.int64)[::2])
    assert np.array_equal(EXECUTABLES[name].run(wide), expected)
