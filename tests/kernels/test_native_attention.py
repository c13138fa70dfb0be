"""Paged attention natively against the reference: head shapes, cache types, blocks, windows, caps."""

import numpy as np
import pytest
from kernel_programs import Sequence, limits, run_steps

from fairway.kernels import program as p
from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import CacheShape, Program
from fairway.kernels.reference import ReferenceBackend
from fairway.tensors import DenseTensor

BACKENDS = {isa: NativeBackend(isa, 2) for isa in native_isas()}
pytestmark = pytest.mark.skipif(not BACKENDS, reason="no native variant on this machine")
isas = pytest.mark.parametrize("isa", BACKENDS)
RANDOM = np.random.default_rng(5)
# int8: weights are rounded to 15 bits of the largest, a hundredth of what the values' codes lose.
TOLERANCES = {"f32": 3e-5, "f16": 3e-5, "int8": 5e-4}


def attention_program(backend, table, heads, kv_heads, size, window=None, softcap=None):
    """q, k and v of a token are the row of its id; the attended values are the logits."""
    program = Program()
    qkv = program.buffer((heads + 2 * kv_heads) * size)
    out = program.buffer(heads * size)
    logits = program.buffer(heads * size, "outputs")
    q, k = qkv.columns(0, heads * size), qkv.columns(heads * size, kv_heads * size)
    v = qkv.columns((heads + kv_heads) * size, kv_heads * size)
    program.record(p.Embed(backend.matrix(DenseTensor("f32", table)), qkv))
    program.record(p.WriteCache(k, v, 1))
    program.record(p.Attention(q, out, 1, heads, kv_heads, size, 0.3, window, softcap))
    program.record(p.SelectOutputs(out, logits))
    program.logits = logits
    return program


def compare(
    isa,
    heads,
    kv_heads,
    size,
    block_size,
    element,
    counts,
    window=None,
    softcap=None,
    scale=1.0,
    tolerance=None,
):
    tolerance = tolerance or TOLERANCES[element]
    length = sum(counts)
    table = RANDOM.standard_normal((length, (heads + 2 * kv_heads) * size), np.float32) * np.float32(scale)
    tokens = RANDOM.permutation(length).tolist()
    num_blocks = -(-length // block_size)
    blocks = RANDOM.permutation(num_blocks + 3)[:num_blocks].tolist()
    cache = CacheShape(2, num_blocks + 3, block_size, kv_heads, size, element)
    results = []
    for backend in (BACKENDS[isa], ReferenceBackend()):
        program = attention_program(backend, table, heads, kv_heads, size, window, softcap)
        executable = backend.compile(program, cache, limits(max(counts), 1, max(counts)))
        results.append(run_steps(executable, Sequence(tokens, blocks), counts, num_blocks))
    np.testing.assert_allclose(results[0], results[1], rtol=tolerance, atol=tolerance * scale)


@isas
@pytest.mark.parametrize("element", TOLERANCES)
@pytest.mark.parametrize("block_size", [16, 32, 1, 5, 24])
@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(14, 2, 64), (3, 3, 8), (8, 1, 80), (5, 1, 3)])
def test_shapes(isa, element, block_size, heads, kv_heads, size) -> None:
    compare(isa, heads, kv_heads, size, block_size, element, [37, 1, 1, 30, 1])


@isas
@pytest.mark.parametrize("window", [1, 7, 64, 100])
@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("element", ["f32", "int8"])
def test_window_and_cap(isa, element, window, softcap) -> None:
    compare(isa, 4, 2, 16, 16, element, [90, 1, 40, 1, 1], window, softcap)


@isas
@pytest.mark.parametrize("element", ["f16", "int8"])
def test_head_sizes_above_one_register_block(isa, element) -> None:
    compare(isa, 4, 2, 256, 32, element, [20, 1])
    compare(isa, 2, 2, 128, 16, element, [20, 1])


@isas
@pytest.mark.parametrize("element", ["f16", "int8"])
def test_contexts_beyond_one_segment(isa, element) -> None:
    """Some of these steps are split by segments over the threads."""
    compare(isa, 2, 1, 16, 16, element, [1000, 1, 200, 1, 1100, 1])
    compare(isa, 2, 1, 16, 16, element, [1000, 1, 200, 1, 1100, 1], window=1030)


@isas
def test_int8_holds_the_codes_of_the_reference(isa) -> None:
    """A token that sees itself alone gets its value back, as it was rounded."""
    compare(isa, 3, 1, 72, 16, "int8", [40, 1], window=1, tolerance=1e-6)


@isas
def test_large_scores(isa) -> None:
    compare(isa, 4, 2, 32, 16, "f32", [50, 1], scale=20.0, tolerance=1e-3)


@isas
@pytest.mark.parametrize("element", ["f16", "int8"])
def test_the_cache_holds_finite_numbers_only(isa, element) -> None:
    """Infinite or not-a-number keys of a finished sequence must not leak into the next user of a block."""
    size, length = 8, 20
    table = RANDOM.standard_normal((2 * length, 3 * size), np.float32)
    table[:length] = np.array([np.inf, np.nan, -np.inf, 1e30], np.float32).repeat(6)
    backend = BACKENDS[isa]
    program = attention_program(backend, table, 1, 1, size)
    results = []
    for dirty in (True, False):
        executable = backend.compile(program, CacheShape(2, 2, 16, 1, size, element), limits())
        if dirty:
            run_steps(executable, Sequence(list(range(length)), [0, 1]), [length], 2)
        clean = Sequence(list(range(length, 2 * length)), [1, 0])
        results.append(run_steps(executable, clean, [3, 5, 12], 2))
    assert np.isfinite(results[0]).all()
    assert np.array_equal(results[0], results[1])
