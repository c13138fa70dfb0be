"""Every operation natively against the reference, on each instruction set, at odd sizes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_programs import WEIGHTS, weight_tensor

from fairway.kernels import program as p
from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import CacheShape, Limits, Program, Step
from fairway.kernels.reference import ReferenceBackend
from fairway.tensors import DenseTensor, GroupedTensor

RANDOM = np.random.default_rng(11)
REFERENCE = ReferenceBackend()
BACKENDS = {isa: NativeBackend(isa, 2) for isa in native_isas()}
pytestmark = pytest.mark.skipif(not BACKENDS, reason="no native variant on this machine")
isas = pytest.mark.parametrize("isa", BACKENDS)
seeds = st.integers(0, 9)
WIDTHS = (1, 7, 16, 31, 48, 172)


def run_one(backend, x, make, width, out_width=None):
    """Embeds the rows of x, records what `make(backend, x, out)` gives, returns its output rows."""
    program, rows = Program(), len(x)
    source = program.buffer(width)
    out = program.buffer(out_width or width)
    logits = program.buffer(out_width or width, "outputs")
    program.record(p.Embed(backend.matrix(DenseTensor("f32", x)), source))
    for operation in make(backend, source, out):
        program.record(operation)
    program.record(p.SelectOutputs(out, logits))
    program.logits = logits
    executable = backend.compile(program, CacheShape(1, 8, 16, 1, 8), Limits(64, 4, 64))
    ids = np.arange(rows, dtype=np.int32)
    table = np.arange(8, dtype=np.int32)[None]
    return executable.run(Step(ids, ids + 3, np.array([0, rows], np.int32), table, ids)).copy()


def both(isa, x, make, out_width=None):
    width = x.shape[1]
    native = run_one(BACKENDS[isa], x, make, width, out_width)
    return native, run_one(REFERENCE, x, make, width, out_width)


def values(rows, width, scale=1.0):
    return RANDOM.standard_normal((rows, width), np.float32) * np.float32(scale)


@isas
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("rows", [1, 2, 3, 6, 7, 13])
@pytest.mark.parametrize(("outputs", "columns"), [(16, 32), (1, 1), (15, 33), (50, 172), (33, 96)])
def test_linear(isa, kind, rows, outputs, columns) -> None:
    x, weight = values(rows, columns), values(outputs, columns)
    bias = values(1, outputs)[0]

    def make(backend, source, out):
        matrix = backend.matrix(weight_tensor(weight, kind))
        return [p.Linear(source, matrix, out, bias=bias), p.Linear(source, matrix, out, bias, out, 0.5)]

    native, reference = both(isa, x, make, outputs)
    np.testing.assert_allclose(native, reference, rtol=2e-5, atol=2e-5 * columns**0.5)


def grouped(bits, group, zero, offsets, rows, columns):
    groups = -(-columns // group)
    low, high, element = (-128, 128, np.int8) if bits == 8 else (0, 1 << bits, np.uint8)
    codes = RANDOM.integers(low, high, (rows, columns)).astype(element)
    scales = RANDOM.random((rows, groups), np.float32).astype(np.float16).astype(np.float32)
    added = -RANDOM.random((rows, groups), np.float32).astype(np.float16).astype(np.float32)
    return GroupedTensor(bits, group, codes, scales, zero, added if offsets else None)


@isas
@pytest.mark.parametrize(
    ("bits", "zero"), [(4, 8), (4, 0), (4, 3), (4, 15), (5, 16), (5, 0), (5, 9), (6, 32), (6, 0), (8, 0)]
)
@pytest.mark.parametrize("group", [16, 32])
@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("columns", [16, 40, 160])
def test_linear_of_every_grouped_form(isa, bits, zero, group, offsets, columns) -> None:
    tensor = grouped(bits, group, zero, offsets, 35, columns)
    native, reference = both(
        isa, values(9, columns), lambda b, x, out: [p.Linear(x, b.matrix(tensor), out)], 35
    )
    np.testing.assert_allclose(native, reference, rtol=1e-5, atol=1e-3)


@isas
@pytest.mark.parametrize(("bits", "zero"), [(4, 8), (4, 0), (5, 16), (6, 32), (6, 0), (8, 0)])
@pytest.mark.parametrize("group", [16, 32])
@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("size", [2.0**-30, 0.5, 1.0, 2.0**30])
def test_groups_without_a_scale_add_nothing(isa, bits, zero, group, offsets, size) -> None:
    """Whatever codes they have, and whatever power of two the activations' scale is."""
    tensor = grouped(bits, group, zero, offsets, 20, 172)
    tensor.scales[RANDOM.random(tensor.scales.shape) < 0.4] = 0
    tensor.scales[3] = 0
    x = (values(7, 172) * np.float32(size)).astype(np.float32)
    x[2] = 0

    def make(backend, source, out):
        return [p.Linear(source, backend.matrix(tensor), out)]

    native, reference = both(isa, x, make, 20)
    np.testing.assert_allclose(native, reference, rtol=2e-4, atol=2e-4 * size)


@isas
@pytest.mark.parametrize("kind", ["int4", "int5", "int6", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_codes_cannot_hold_is_not_a_number_in_its_own_row_only(isa, kind, bad) -> None:
    tensor = weight_tensor(values(33, 100), kind)
    x = values(7, 100)

    def make(backend, source, out):
        return [p.Linear(source, backend.matrix(tensor), out)]

    fine, _ = both(isa, x, make, 33)
    x[4, 99] = bad
    native, reference = both(isa, x, make, 33)
    assert np.isnan(native[4]).all() and np.isnan(reference[4]).all()
    assert np.array_equal(np.delete(native, 4, 0), np.delete(fine, 4, 0))


@isas
def test_the_largest_products_do_not_saturate(isa) -> None:
    """int8 -128 and 127 against +-127, int4 15, int6 63: sums of pairs that overflow careless int16."""
    x = np.where(np.arange(64) % 3, 127, -127).astype(np.float32)[None].repeat(2, 0)
    for codes, bits, zero in (
        (-128, 8, 0),
        (127, 8, 0),
        (15, 4, 0),
        (0, 4, 8),
        (31, 5, 0),
        (63, 6, 0),
        (0, 6, 32),
    ):
        tensor = GroupedTensor(
            bits,
            32,
            np.full((16, 64), codes, np.int8 if bits == 8 else np.uint8),
            np.ones((16, 2), np.float32),
            zero,
        )
        native, reference = both(isa, x, lambda b, s, o, t=tensor: [p.Linear(s, b.matrix(t), o)], 16)
        assert np.array_equal(native, reference)


@isas
@pytest.mark.parametrize("size", [1e-38, 1e-12, 1e12, 1e34])
def test_scales_outside_float16_range_are_kept(isa, size) -> None:
    tensor = grouped(8, 32, 0, False, 17, 64)
    scaled = GroupedTensor(8, 32, tensor.values, tensor.scales * np.float32(size) + np.float32(size))
    native, reference = both(isa, values(2, 64), lambda b, x, o: [p.Linear(x, b.matrix(scaled), o)], 17)
    np.testing.assert_allclose(native, reference, rtol=2e-3, atol=1e-3 * np.abs(reference).max())


@isas
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_embed(isa, kind, width) -> None:
    tensor = weight_tensor(values(9, width), kind)
    native, reference = both(
        isa, values(9, width), lambda b, x, out: [p.Embed(b.matrix(tensor), out, 1.7)], width
    )
    assert np.array_equal(native, reference)


@isas
@pytest.mark.parametrize("width", WIDTHS)
def test_norms(isa, width) -> None:
    weight, bias = values(2, width)
    for make in (
        lambda b, x, out: [p.RMSNorm(x, weight, out, 1e-5)],
        lambda b, x, out: [p.RMSNorm(x, weight, x, 1e-5), p.Add(x, x, out)],
        lambda b, x, out: [p.LayerNorm(x, weight, bias, out, 1e-5)],
    ):
        native, reference = both(isa, values(5, width, 3.0) + 1, make)
        np.testing.assert_allclose(native, reference, rtol=3e-5, atol=3e-5)


@isas
@pytest.mark.parametrize("head_size", [4, 20, 64])
def test_norm_of_each_head(isa, head_size) -> None:
    weight = values(1, head_size)[0]
    native, reference = both(
        isa, values(5, 3 * head_size), lambda b, x, out: [p.RMSNorm(x, weight, out, 1e-6, head_size)]
    )
    np.testing.assert_allclose(native, reference, rtol=3e-5, atol=3e-5)


@isas
@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("width", WIDTHS)
def test_activations(isa, activation, width) -> None:
    x = np.concatenate([values(4, 2 * width, 4.0), np.full((1, 2 * width), -200, np.float32)])
    native, reference = both(isa, x, lambda b, s, o: [p.Gate(s, o, activation)], width)
    np.testing.assert_allclose(native, reference, rtol=2e-5, atol=2e-5)
    native, reference = both(isa, x, lambda b, s, o: [p.Activate(s, o, activation)])
    np.testing.assert_allclose(native, reference, rtol=2e-5, atol=2e-6)


@isas
@pytest.mark.parametrize("width", WIDTHS)
def test_add_position_and_soft_cap(isa, width) -> None:
    table = values(16, width)
    for make in (
        lambda b, x, out: [p.Add(x, x, out, -0.25), p.Add(out, x, out)],
        lambda b, x, out: [p.AddPosition(table, x), p.Add(x, x, out)],
        lambda b, x, out: [p.Add(x, x, out), p.SoftCap(out, 5.0)],
    ):
        native, reference = both(isa, values(6, width, 4.0), make)
        np.testing.assert_allclose(native, reference, rtol=2e-6, atol=2e-6)


@isas
@pytest.mark.parametrize(("head_size", "half"), [(8, 4), (20, 7), (64, 32), (80, 16)])
def test_rope(isa, head_size, half) -> None:
    inv_freq = (10000.0 ** -(np.arange(half) / half)).astype(np.float32)
    native, reference = both(
        isa, values(5, 3 * head_size),
        lambda b, x, out: [p.Rope(x, head_size, inv_freq, 1.2), p.Add(x, x, out, 0.0)],
    )  # fmt: skip
    np.testing.assert_allclose(native, reference, rtol=2e-6, atol=2e-6)


@isas
@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 200), st.integers(1, 20), st.sampled_from(WEIGHTS), st.integers(0, 9)
)
def test_linear_at_random_shapes(isa, outputs, columns, rows, kind, seed) -> None:
    random = np.random.default_rng(seed)
    tensor = weight_tensor(random.standard_normal((outputs, columns), np.float32), kind)
    x = random.standard_normal((rows, columns), np.float32)
    native, reference = both(isa, x, lambda b, s, o: [p.Linear(s, b.matrix(tensor), o)], outputs)
    np.testing.assert_allclose(native, reference, rtol=2e-5, atol=2e-5 * columns**0.5)


@isas
def test_a_buffer_changed_after_its_use_is_quantised_again(isa) -> None:
    tensor = weight_tensor(values(16, 32), "int8")

    def make(backend, x, out):
        matrix = backend.matrix(tensor)
        return [p.Linear(x, matrix, out), p.Add(x, x, x), p.Linear(x, matrix, out, residual=out)]

    native, reference = both(isa, values(3, 32), make, 16)
    np.testing.assert_allclose(native, reference, rtol=1e-5, atol=1e-4)


@isas
def test_not_a_number_stays_in_its_row(isa) -> None:
    x = values(3, 32)
    x[1] = np.nan
    native, _ = both(isa, x, lambda b, s, o: [p.Activate(s, o, "silu")])
    assert np.isnan(native[1]).all()
    assert np.isfinite(native[[0, 2]]).all()
