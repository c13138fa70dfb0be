"""The reference against plain formulas, and its promise: a token does not see its batch."""

from functools import partial

import numpy as np
import pytest
from kernel_programs import WEIGHTS, Sequence, Shape, decoder, limits, run_steps, step_of

from fairway.kernels import reference_ops as ops
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.kernels.reference import ReferenceBackend
from fairway.tensors import GroupedTensor

RANDOM = np.random.default_rng(7)


def test_activations_round_half_to_even_and_pad() -> None:
    x = np.zeros((1, 40), np.float32)
    x[0, :4] = [127, 0.5, 1.5, -2.5]
    values, scales = ops.quantize_activations(x)
    assert values.shape == (1, 2, 32)
    assert values[0, 0, :4].tolist() == [127, 0, 2, -2]
    assert scales.tolist() == [[1.0, 1.0]]


def test_scales_of_activations_are_powers_of_two_that_no_value_exceeds() -> None:
    x = RANDOM.standard_normal((1, 32 * 200), np.float32) * np.exp2(RANDOM.integers(-90, 90, 6400)).astype(
        "f4"
    )
    values, scales = ops.quantize_activations(x)
    assert (np.frexp(scales)[0] == 0.5).all()
    assert (np.abs(values).max(axis=2) >= 63).all()
    error = np.abs(values * scales[:, :, None] - x.reshape(1, 200, 32))
    assert (error <= scales[:, :, None] / 2).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_codes_cannot_hold_is_not_a_number_in_its_own_row_only(bad) -> None:
    tensor = quantize_low(RANDOM.standard_normal((9, 64), np.float32), 4)
    x = RANDOM.standard_normal((3, 64), np.float32)
    fine = ops.linear_grouped(x, tensor)
    x[1, 40] = bad
    found = ops.linear_grouped(x, tensor)
    assert np.isnan(found[1]).all()
    assert np.array_equal(found[[0, 2]], fine[[0, 2]])


@pytest.mark.parametrize(
    "quantize", [quantize_int8, *(partial(quantize_low, bits=bits) for bits in (4, 5, 6))]
)
@pytest.mark.parametrize("columns", [32, 172, 5])
def test_grouped_product_is_close_to_its_dequantised_matrix(quantize, columns) -> None:
    tensor = quantize(RANDOM.standard_normal((9, columns), np.float32))
    x = RANDOM.standard_normal((3, columns), np.float32)
    exact = x @ ops.dequantize(tensor).T
    assert np.abs(ops.linear_grouped(x, tensor) - exact).max() < 0.03 * np.abs(exact).max()


def test_offsets_and_zero() -> None:
    values = RANDOM.integers(0, 16, (4, 48)).astype(np.uint8)
    scales, offsets = RANDOM.random((2, 4, 3), np.float32)
    tensor = GroupedTensor(4, 16, values, scales, zero=3, offsets=offsets)
    x = RANDOM.integers(-127, 128, (2, 48)).astype(np.float32)
    x[:, [0, 32]] = 127
    expected = x @ ops.dequantize(tensor).T
    np.testing.assert_allclose(ops.linear_grouped(x, tensor), expected, rtol=1e-4, atol=1e-2)


def test_int4_beats_plain_rounding_and_int8_is_fine() -> None:
    weight = RANDOM.standard_normal((64, 256), np.float32)
    scale = np.abs(weight.reshape(64, 8, 32)).max(axis=2, keepdims=True) / 7
    plain = np.rint(weight.reshape(64, 8, 32) / scale) * scale - weight.reshape(64, 8, 32)
    error = ops.dequantize(quantize_low(weight, 4)) - weight
    assert np.square(error).mean() < 0.85 * np.square(plain).mean()
    assert np.abs(ops.dequantize(quantize_int8(weight)) - weight).max() < 0.02


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_token_does_not_see_its_batch(weights) -> None:
    made = decoder(ReferenceBackend(), Shape(weights=weights, window=20, softcap=30.0))
    tokens = RANDOM.integers(0, 101, 40).tolist()
    alone = run_steps(
        ReferenceBackend().compile(made.program, made.cache(), limits()),
        Sequence(tokens, [5, 2, 9]), [40], 4,
    )  # fmt: skip
    executable = ReferenceBackend().compile(made.program, made.cache(), limits())
    first, other = Sequence(tokens, [5, 2, 9]), Sequence(tokens[::-1], [1, 3, 4])
    first.cached = 0
    chunks = [executable.run(step_of([(first, 17)], 4)).copy()]
    first.cached = 17
    chunks.append(executable.run(step_of([(other, 40), (first, 23)], 4))[40:].copy())
    assert np.array_equal(np.concatenate(chunks), alone)


def test_greedy_takes_the_first_of_equals() -> None:
    made = decoder(ReferenceBackend(), Shape())
    executable = ReferenceBackend().compile(made.program, made.cache(), limits())
    step = step_of([(Sequence([1, 2, 3], [0]), 3)], 1)
    assert executable.greedy(step).tolist() == executable.run(step).argmax(axis=1).tolist()
