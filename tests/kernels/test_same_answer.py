"""The promise: a token's logits are the same bits alone, in any batch, in any chunks, on any threads."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_programs import WEIGHTS, Sequence, Shape, decoder, limits, run_steps, step_of

from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.reference import ReferenceBackend

ISAS = native_isas()
pytestmark = pytest.mark.skipif(not ISAS, reason="no native variant on this machine")
isas = pytest.mark.parametrize("isa", ISAS)
LENGTH, MAX_BLOCKS = 90, 6
LONG = 3000 if os.environ.get("FAIRWAY_EMULATED") else 6000
"""Tokens of a long context: several segments. Reading 6,000 takes an emulator a quarter of an hour."""
SHAPES = {
    "plain": Shape(heads=14, kv_heads=2),
    "windowed": Shape(heads=6, kv_heads=3, window=20, softcap=8.0, width=96),
}
_cache: dict[tuple[str, ...], object] = {}


def tokens(seed):
    return np.random.default_rng(seed).integers(0, 101, LENGTH).tolist()


def compiled(isa, shape, weights, threads=2, cache="f16"):
    key = (isa, shape, weights, str(threads), cache)
    if key not in _cache:
        backend = NativeBackend(isa, threads)
        base = SHAPES[shape]
        made = decoder(backend, Shape(**(vars(base) | {"weights": weights})))
        _cache[key] = backend.compile(made.program, made.cache(256, 16, cache), limits(3200, 40, 3200))
    return _cache[key]


def alone(isa, shape, weights, seed=0, threads=2, cache="f16"):
    executable = compiled(isa, shape, weights, threads, cache)
    sequence = Sequence(tokens(seed), list(range(MAX_BLOCKS)))
    return run_steps(executable, sequence, [LENGTH], MAX_BLOCKS)


@isas
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("weights", "cache"), [*((w, "f16") for w in WEIGHTS), ("int4", "int8"), ("f32", "f32")]
)
def test_alone_or_among_32(isa, shape, weights, cache) -> None:
    executable = compiled(isa, shape, weights, cache=cache)
    sequences = [Sequence(tokens(s), list(range(s * MAX_BLOCKS, (s + 1) * MAX_BLOCKS))) for s in range(32)]
    together = [[] for _ in sequences]
    for count in (33, 1, 1, 55):
        logits = executable.run(step_of([(s, count) for s in sequences], MAX_BLOCKS))
        for part, sequence, rows in zip(together, sequences, np.split(logits, 32), strict=True):
            part.append(rows.copy())
            sequence.cached += count
    for seed in (0, 13, 31):
        assert np.array_equal(np.concatenate(together[seed]), alone(isa, shape, weights, seed, cache=cache))


@isas
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_one_token_at_a_time(isa, shape, weights) -> None:
    executable = compiled(isa, shape, weights)
    found = run_steps(executable, Sequence(tokens(0), [9, 3, 77, 20, 5, 6]), [1] * LENGTH, MAX_BLOCKS)
    assert np.array_equal(found, alone(isa, shape, weights))


@isas
@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.sampled_from(WEIGHTS),
    st.sampled_from(["f32", "f16", "int8"]),
)
def test_any_chunks(isa, shape, sizes, weights, cache) -> None:
    counts, left = [], LENGTH
    for size in sizes:
        counts.append(min(size, left))
        left -= counts[-1]
        if not left:
            break
    counts += [left] if left else []
    executable = compiled(isa, shape, weights, cache=cache)
    found = run_steps(executable, Sequence(tokens(0), [40, 41, 8, 9, 50, 2]), counts, 6)
    assert np.array_equal(found, alone(isa, shape, weights, cache=cache))


@isas
@pytest.mark.parametrize("weights", WEIGHTS)
def test_one_thread_or_several(isa, weights) -> None:
    one = alone(isa, "plain", weights, threads=1)
    for threads in (2, 3):
        assert np.array_equal(alone(isa, "plain", weights, threads=threads), one)


@isas
@pytest.mark.parametrize("cache", ["f16", "int8"])
def test_long_contexts_in_chunks(isa, cache) -> None:
    """Across several closed segments of the online softmax."""
    backend = NativeBackend(isa, 2)
    made = decoder(backend, Shape(layers=1))
    executable = backend.compile(made.program, made.cache(160, 16, cache), limits(2600, 1, 2600))
    ids = np.random.default_rng(3).integers(0, 101, 2500).tolist()
    whole = run_steps(executable, Sequence(ids, list(range(157))), [2500], 157)
    chunks = run_steps(executable, Sequence(ids, list(range(157))), [1100, 1, 500, 899], 157)
    assert np.array_equal(whole, chunks)


@isas
@pytest.mark.parametrize("is_windowed", [False, True], ids=["whole", "windowed"])
@pytest.mark.parametrize("cache", ["f16", "int8"])
def test_long_contexts_split_over_threads(isa, cache, is_windowed) -> None:
    """Few sequences with long contexts are cut by segments, more finely the more threads there are."""
    window = LONG // 2 if is_windowed else None
    ids = np.random.default_rng(4).integers(0, 101, LONG + 3).tolist()
    found = []
    for threads in (1, 2, 5):
        backend = NativeBackend(isa, threads)
        made = decoder(backend, Shape(layers=1, window=window))
        executable = backend.compile(made.program, made.cache(376, 16, cache), limits(LONG, 1, LONG))
        found.append(run_steps(executable, Sequence(ids, list(range(376))), [LONG, 1, 2], 376))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@isas
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("weights", "cache"), [*((w, "f16") for w in WEIGHTS), ("f32", "int8")])
def test_whole_decoder_against_the_reference(isa, shape, weights, cache) -> None:
    reference = ReferenceBackend()
    made = decoder(reference, Shape(**(vars(SHAPES[shape]) | {"weights": weights})))
    executable = reference.compile(made.program, made.cache(8, 16, cache), limits())
    expected = run_steps(executable, Sequence(tokens(0), list(range(MAX_BLOCKS))), [LENGTH], MAX_BLOCKS)
    found = alone(isa, shape, weights, cache=cache)
    # A value half way between two int8 codes may round differently: few logits move, and little.
    assert np.median(np.abs(found - expected)) < 2e-3
    assert np.abs(found - expected).max() < 0.15
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95


@isas
def test_greedy_is_the_argmax_of_the_logits(isa) -> None:
    executable = compiled(isa, "plain", "int4")
    step = step_of([(Sequence(tokens(0), list(range(MAX_BLOCKS))), LENGTH)], MAX_BLOCKS)
    assert np.array_equal(executable.greedy(step), executable.run(step).argmax(axis=1))
