"""Frequencies of each scaling type, against values worked out from the papers' formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fairway.models.rope import FORMULAS, frequencies
from fairway.models.rope_config import TYPES, RopeConfig

PLAIN = RopeConfig(theta=10_000.0, rotary=8, max_positions=2048, original_positions=512)


def expected_plain() -> np.ndarray:
    return 10_000.0 ** (-np.arange(0, 8, 2) / 8)


def test_default_is_a_geometric_series() -> None:
    inv_freq, factor = frequencies(PLAIN, 2048)
    assert inv_freq.dtype == np.float32
    np.testing.assert_allclose(inv_freq, expected_plain(), rtol=1e-6)
    assert factor == 1.0


def test_linear_divides_every_frequency() -> None:
    inv_freq, _ = frequencies(replace(PLAIN, type="linear", factor=4.0), 2048)
    np.testing.assert_allclose(inv_freq, expected_plain() / 4, rtol=1e-6)


def test_dynamic_changes_nothing_within_the_original_context() -> None:
    rope = replace(PLAIN, type="dynamic", factor=4.0)
    np.testing.assert_array_equal(frequencies(rope, 2048)[0], frequencies(PLAIN, 2048)[0])
    theta = 10_000.0 * (4.0 * 4096 / 2048 - 3.0) ** (8 / 6)
    np.testing.assert_allclose(frequencies(rope, 4096)[0], theta ** (-np.arange(0, 8, 2) / 8), rtol=1e-6)


def test_llama3_keeps_short_waves_and_divides_long_ones() -> None:
    rope = replace(PLAIN, type="llama3", rotary=64, factor=8.0)
    plain = frequencies(replace(PLAIN, rotary=64), 1)[0]
    inv_freq, _ = frequencies(rope, 2048)
    wavelength = 2 * math.pi / plain
    np.testing.assert_array_equal(inv_freq[wavelength < 128], plain[wavelength < 128])
    np.testing.assert_array_equal(inv_freq[wavelength > 512], plain[wavelength > 512] / 8)
    between = (wavelength > 128) & (wavelength < 512)
    assert between.any()
    assert (inv_freq[between] < plain[between]).all()
    assert (inv_freq[between] > plain[between] / 8).all()


def test_yarn_extrapolates_first_and_interpolates_last() -> None:
    rope = replace(PLAIN, type="yarn", rotary=32, factor=4.0)
    plain = frequencies(replace(PLAIN, rotary=32), 1)[0]
    inv_freq, factor = frequencies(rope, 2048)
    assert inv_freq[0] == plain[0]
    np.testing.assert_allclose(inv_freq[-1], plain[-1] / 4, rtol=1e-6)
    assert factor == pytest.approx(0.1 * math.log(4) + 1)
    assert frequencies(replace(rope, attention_factor=1.5), 2048)[1] == 1.5
    both = replace(rope, mscale=0.5, mscale_all_dim=1.0)
    assert frequencies(both, 2048)[1] == pytest.approx((0.05 * math.log(4) + 1) / (0.1 * math.log(4) + 1))


def test_longrope_is_chosen_by_the_served_context() -> None:
    rope = replace(
        PLAIN, type="longrope", factor=4.0, short_factors=(1.0,) * 4, long_factors=(1.0, 2.0, 4.0, 8.0)
    )
    np.testing.assert_allclose(frequencies(rope, 512)[0], expected_plain(), rtol=1e-6)
    np.testing.assert_allclose(frequencies(rope, 513)[0], expected_plain() / [1, 2, 4, 8], rtol=1e-6)
    expected = math.sqrt(1 + math.log(4) / math.log(512))
    assert frequencies(rope, 100)[1] == frequencies(rope, 2048)[1] == pytest.approx(expected)


def test_every_type_that_is_read_has_a_formula() -> None:
    assert tuple(FORMULAS) == TYPES


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_gives_finite_float32(kind: str) -> None:
    rope = replace(PLAIN, type=kind, factor=2.0, short_factors=(1.0,) * 4, long_factors=(2.0,) * 4)
    for context in (1, 512, 2048, 100_000):
        inv_freq, factor = frequencies(rope, context)
        assert inv_freq.dtype == np.float32
        assert inv_freq.shape == (4,)
        assert np.isfinite(inv_freq).all()
        assert factor > 0
