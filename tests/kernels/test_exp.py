"""The kernels' own exponential: 2 ulp everywhere, exact at 0, the same bits in every place."""

import numpy as np
import pytest

from fairway.kernels.extension import MISSING, native, native_isas

pytestmark = pytest.mark.skipif(MISSING is not None, reason="extension not built")
isas = pytest.mark.parametrize("isa", native_isas())


def exp(isa, x):
    return native.exp(isa, np.asarray(x, np.float32))


@isas
def test_within_two_ulp(isa) -> None:
    x = np.concatenate([np.linspace(-87.3, 88.3, 400_001), np.linspace(-1, 1, 100_001)]).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(exp(isa, x) - exact) / np.spacing(exact.astype(np.float32))).max() <= 2


@isas
def test_special_values(isa) -> None:
    found = exp(isa, [0.0, -0.0, -np.inf, -88.0, np.inf, np.nan])
    assert found[:4].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert found[4] > 2e38
    assert np.isnan(found[5])


@isas
def test_the_same_bits_in_every_place(isa) -> None:
    x = np.random.default_rng(0).normal(0, 20, 16).astype(np.float32)
    for shift in range(16):
        assert np.array_equal(exp(isa, np.roll(x, shift)), np.roll(exp(isa, x), shift))


def test_all_variants_agree_to_the_bit() -> None:
    x = np.random.default_rng(1).normal(0, 30, 5001).astype(np.float32)
    results = [exp(isa, x) for isa in native_isas()]
    assert all(np.array_equal(results[0], other) for other in results)
