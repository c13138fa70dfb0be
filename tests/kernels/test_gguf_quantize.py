"""Floats to ggml's blocks, read back by `formats`: errors, extremes, importance, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.formats.gguf_types import BY_NAME, decode_float32
from fairway.kernels import gguf_quantize
from fairway.kernels.extension import native_isas
from fairway.kernels.gguf_quantize import TYPES, quantize, quantize_dense, reference
from fairway.kernels.reference_ops import to_float32
from fairway.tensors import DenseTensor

types = pytest.mark.parametrize("type", TYPES)
ways = pytest.mark.parametrize("way", [quantize, reference], ids=["quantize", "reference"])

LARGEST_ERRORS = {
    "Q8_0": 0.0056, "Q6_K": 0.018, "Q5_1": 0.035, "Q5_K": 0.037, "Q5_0": 0.041, "Q4_1": 0.072, "Q4_K": 0.073,
    "IQ4_NL": 0.076, "IQ4_XS": 0.077, "Q4_0": 0.084, "Q3_K": 0.147, "Q2_K": 0.275,
}  # fmt: skip
"""Root mean square over that of normally distributed weights."""


def numbers(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)


def decoded(blocks, type):
    return decode_float32(BY_NAME[type], blocks.reshape(-1)).reshape(len(blocks), -1)


def error(weight, blocks, type, importance=1.0):
    difference = (decoded(blocks, type) - weight).astype(np.float64) ** 2
    return float(
        np.sqrt((difference * importance).sum() / (weight.astype(np.float64) ** 2 * importance).sum())
    )


@types
def test_block_sizes_are_those_of_the_format(type) -> None:
    kind = BY_NAME[type]
    assert (TYPES[type].block_size, TYPES[type].block_bytes) == (kind.block_size, kind.block_bytes)


@types
@ways
def test_errors_are_small(type, way) -> None:
    weight = numbers(64, 512)
    assert error(weight, way(weight, type), type) < LARGEST_ERRORS[type]


@types
@ways
def test_zeros_stay_zero(type, way) -> None:
    assert not decoded(way(np.zeros((3, 512), np.float32), type), type).any()


@types
@ways
@pytest.mark.parametrize("value", [1.0, -1.0, 60000.0, -60000.0, 1e-4])
def test_equal_weights_stay_nearly_equal(type, way, value) -> None:
    weight = np.full((2, 256), value, np.float32)
    worst = {"Q2_K": 0.04, "Q3_K": 0.03}.get(type, 0.02)
    np.testing.assert_allclose(decoded(way(weight, type), type), weight, rtol=worst, atol=2e-7)


SIZES = [65504.0, 1.0, 1e-3, 1e-5, 1e-7, 1e-12, 1e-30, 1e-42, 0.0]
shapes = st.sampled_from([(1, 256), (3, 256), (2, 512), (5, 768), (1, 2816)])


@types
@pytest.mark.parametrize("isa", native_isas())
@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from(SIZES), st.integers(0, 9), st.booleans())
def test_native_and_numpy_agree_to_the_bit(type, isa, shape, size, seed, is_weighted) -> None:
    weight = made_up(shape, size, seed)
    importance = np.abs(numbers(1, shape[1], seed + 1)[0]) if is_weighted else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_quantize, "native_isas", lambda: (isa,))
        found = quantize(weight, type, importance)
    assert np.array_equal(found, reference(weight, type, importance))


def made_up(shape, size, seed):
    """Weights of many kinds: ties, repeated extremes, lone outliers, one sign only, groups of zeros."""
    weight = np.clip(numbers(*shape, seed) / 4, -1, 1)
    if seed == 1:
        weight = np.rint(weight * 4) / 4
    if seed == 2:
        weight = np.abs(weight)
    if seed == 3:
        weight = -np.abs(weight)
    if seed == 4:
        weight[:, ::50] = 1
    if seed == 5:
        weight[:, : shape[1] // 2] = 0
    if seed == 6:
        weight[:] = weight[:, :1]
    if seed == 7:
        weight *= np.exp(4 * numbers(shape[0], shape[1], seed=8) - 8).astype(np.float32)
    return np.clip(weight, -1, 1) * np.float32(size)


@types
@settings(max_examples=30, deadline=None)
@given(st.sampled_from([65504.0, 1.0, 1e-6, 1e-7, 1e-12, 1e-30, 1e-42]), st.integers(0, 99))
def test_no_size_of_weights_gives_more_than_half_a_range_of_error(type, size, seed) -> None:
    weight = np.clip(numbers(2, 256, seed) / 4, -1, 1) * np.float32(size)
    found = decoded(quantize(weight, type), type)
    assert np.isfinite(found).all()
    smallest = 2.0**-24  # of float16
    bound = np.abs(weight).max() * 0.5 + 128 * smallest
    assert np.abs(found - weight).max() <= bound


@types
def test_a_group_far_smaller_than_its_neighbours_does_not_harm_them(type) -> None:
    weight = numbers(4, 512)
    weight[:, :32] *= np.float32(1e-6)
    assert error(weight, quantize(weight, type), type) < LARGEST_ERRORS[type] * 1.1


@types
def test_importance_lowers_the_error_where_it_counts(type) -> None:
    weight = numbers(64, 512)
    importance = np.exp(2 * numbers(1, 512, seed=1))[0]
    plain, weighted = quantize(weight, type), quantize(weight, type, importance)
    assert error(weight, weighted, type, importance) <= error(weight, plain, type, importance)
    if type != "Q8_0":
        assert error(weight, weighted, type, importance) < 0.97 * error(weight, plain, type, importance)


@types
def test_equal_importance_changes_nothing(type) -> None:
    weight = numbers(8, 256)
    expected = quantize(weight, type)
    for importance in (np.ones(256), np.full(256, 7.0), np.zeros(256)):
        assert np.array_equal(quantize(weight, type, importance.astype(np.float32)), expected)


@types
def test_columns_without_importance_keep_their_meaning(type) -> None:
    importance = np.zeros(512, np.float32)
    importance[:64] = 1e30
    weight = numbers(16, 512)
    assert error(weight, quantize(weight, type, importance), type) < 2 * LARGEST_ERRORS[type]


@types
def test_halves_are_quantised_as_the_floats_they_are(type) -> None:
    halves = numbers(4, 512).astype(np.float16)
    bits = (numbers(4, 512).view(np.uint32) >> 16).astype(np.uint16)
    for weight in (DenseTensor("f16", halves), DenseTensor("bf16", bits)):
        assert np.array_equal(quantize_dense(weight, type), quantize(to_float32(weight), type))


@types
def test_rows_do_not_look_at_each_other(type) -> None:
    weight = numbers(9, 512)
    alone = np.concatenate([quantize(row[None], type) for row in weight])
    assert np.array_equal(quantize(weight, type), alone)


@types
@ways
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-1e6, "-1e.06")])
def test_what_float16_cannot_hold_is_refused_by_place(type, way, value, shown) -> None:
    weight = numbers(3, 512)
    weight[2, 300] = value
    with pytest.raises(ValueError, match=f"row 2, column 300 is {shown}"):
        way(weight, type)


@types
def test_rows_that_are_not_whole_blocks_are_refused(type) -> None:
    with pytest.raises(ValueError, match="rows of 100 are not whole blocks of"):
        quantize(numbers(2, 100), type)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="Q9_9 is not a type that can be written"):
        quantize(numbers(2, 32), "Q9_9")
    with pytest.raises(ValueError, match="weights are f32"):
        quantize(numbers(2, 32).astype(np.float64), "Q8_0")
    for importance in (np.ones(31), np.full(32, -1.0), np.full(32, np.nan)):
        with pytest.raises(ValueError, match="importance is 32 finite numbers, none below 0"):
            quantize(numbers(2, 32), "Q4_0", importance.astype(np.float32))


@types
def test_no_rows_give_no_blocks(type) -> None:
    assert quantize(np.empty((0, 256), np.float32), type).shape == (
        0,
        gguf_quantize.TYPES[type].row_bytes(256),
    )
