"""int8 and int4 weights: errors, exact scales, and the native way equal to NumPy's to the bit."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.kernels import quantize
from fairway.kernels.extension import native_isas
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.kernels.reference_ops import dequantize

sizes = st.sampled_from([1.0, 1e-20, 1e20, 1e-37, 0.0])
METHODS = {
    **{f"int{bits}": partial(quantize_low, bits=bits) for bits in (4, 5, 6)},
    "int8": quantize_int8,
    "int8 by 16": lambda weight: quantize_int8(weight, 16),
}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@methods
@pytest.mark.parametrize("isa", native_isas())
@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 100), st.sampled_from([1.0, 1e-20, 1e20, 1e-37, 0.0]), st.integers(0, 9)
)
def test_native_and_numpy_agree_to_the_bit(method, isa, rows, columns, size, seed) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, columns), np.float32) * np.float32(size)
    if seed == 0:
        weight = np.rint(weight * 2)  # ties, zeros and repeated extremes
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore", invalid="ignore", under="ignore"):
        patch.setattr(quantize, "native_isas", lambda: ())
        expected = method(weight)
        patch.setattr(quantize, "native_isas", lambda: (isa,))
        found = method(weight)
    assert np.array_equal(found.values, expected.values)
    assert np.array_equal(found.scales, expected.scales)


@methods
def test_scales_are_exact_in_float16_apart_from_a_power_of_two(method) -> None:
    scales = method(np.random.default_rng(1).standard_normal((20, 64), np.float32)).scales
    mantissas = np.frexp(scales)[0] * 2048
    assert np.array_equal(mantissas, np.rint(mantissas))


@methods
def test_zeros_stay_zero(method) -> None:
    assert not dequantize(method(np.zeros((3, 40), np.float32))).any()


@methods
@pytest.mark.parametrize("shape", [(4, 32), (3, 172), (1, 1), (2, 33)])
def test_shapes_are_kept(method, shape) -> None:
    tensor = method(np.ones(shape, np.float32))
    assert tensor.shape == shape
    assert tensor.scales.shape == (shape[0], -(-shape[1] // tensor.group))
    np.testing.assert_allclose(dequantize(tensor), 1, rtol=1e-3)


def test_other_types_and_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        quantize_low(np.ones((2, 32)), 4)
    with pytest.raises(ValueError, match="4, 5 or 6 bits"):
        quantize_low(np.ones((2, 32), np.float32), 3)
    with pytest.raises(ValueError, match="16 or 32"):
        quantize_int8(np.ones((2, 32), np.float32), 64)
