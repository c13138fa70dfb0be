"""The native chooser against the NumPy meaning: the same token for the same draw, row by row."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.kernels import program as p
from fairway.kernels.extension import native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import CacheShape, Limits, Program, Step
from fairway.kernels.sampling import Draw, choose, score
from fairway.tensors import DenseTensor

ISAS = native_isas()
pytestmark = pytest.mark.skipif(not ISAS, reason="no native variant on this machine")
isas = pytest.mark.parametrize("isa", ISAS)
BACKENDS = {isa: NativeBackend(isa, 2) for isa in ISAS}


def executable_showing(backend, logits):
    """An executable whose last run's logits are `logits` [rows, vocabulary]."""
    program, count = Program(), len(logits)
    shown, out = program.buffer(logits.shape[1]), program.buffer(logits.shape[1], "outputs")
    program.record(p.Embed(backend.matrix(DenseTensor("f32", logits)), shown))
    program.record(p.SelectOutputs(shown, out))
    program.logits = out
    executable = backend.compile(program, CacheShape(1, count, 1, 1, 1), Limits(count, count, count))
    rows = np.arange(count, dtype=np.int32)
    starts = np.arange(count + 1, dtype=np.int32)
    executable.run(Step(rows, np.zeros(count, np.int32), starts, rows[:, None], rows))
    return executable


def logits_of(seed, rows, vocabulary, scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, (rows, vocabulary)).astype(np.float32)


def agreement(isa, logits, draws):
    """Share of rows for which both choose the same token, several draws for each row."""
    rows = [i % len(logits) for i in range(len(draws))]
    found = executable_showing(BACKENDS[isa], logits).choose(rows, draws, logits.shape[1])
    return np.mean([a == b for a, b in zip(found, choose(logits, rows, draws), strict=True)])


WAYS = {
    "greedy": Draw(0.0),
    "temperature": Draw(0.8),
    "hot": Draw(5.0),
    "top-k": Draw(0.7, top_k=20),
    "top-k of many": Draw(1.5, top_k=700),
    "top-k, top-p": Draw(0.7, top_k=40, top_p=0.8),
    "top-k, min-p": Draw(1.0, top_k=40, min_p=0.1),
    "top-p": Draw(0.8, top_p=0.9),
    "top-p of most": Draw(4.0, top_p=0.98),
    "min-p": Draw(0.8, min_p=0.05),
    "min-p, top-p": Draw(1.2, min_p=0.001, top_p=0.7),
    "cold": Draw(1e-4, top_p=0.9),
    "hotter than hot": Draw(1e30, top_p=0.5),
}


@isas
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("vocabulary", [1, 17, 1000, 32_003])
def test_the_same_token_as_numpy(isa, way, vocabulary) -> None:
    rows, number = (200, 1000) if vocabulary <= 1000 else (10, 100)
    uniforms = np.random.default_rng(vocabulary).random(number)
    draws = [way._replace(uniform=float(u)) for u in uniforms]
    assert agreement(isa, logits_of(1, rows, vocabulary), draws) >= 0.999


@isas
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_draw(isa, data) -> None:
    number = st.floats(0, 1, exclude_max=True)
    way = Draw(
        data.draw(st.sampled_from([0.0, 0.3, 1.0, 2.0])),
        data.draw(st.sampled_from([0, 1, 5, 300, 10_000])),
        data.draw(st.sampled_from([1.0, 0.99, 0.5, 1e-6])),
        data.draw(st.sampled_from([0.0, 1.0, 0.3, 1e-9])),
    )
    vocabulary = data.draw(st.integers(1, 500))
    draws = [way._replace(uniform=data.draw(number)) for _ in range(20)]
    scale = data.draw(st.sampled_from([0.01, 1.0, 30.0]))
    assert agreement(isa, logits_of(data.draw(st.integers(0, 99)), 20, vocabulary, scale), draws) >= 0.95


@isas
def test_frequencies_are_the_probabilities(isa) -> None:
    logits = logits_of(3, 1, 12, 1.0)
    executable, number = executable_showing(BACKENDS[isa], logits), 4000
    draws = [Draw(1.0, uniform=(i + 0.5) / number) for i in range(number)]
    counts = Counter(executable.choose([0] * number, draws, 12))
    weights = np.exp(logits[0].astype(np.float64))
    for token, probability in enumerate(weights / weights.sum()):
        assert counts[token] / number == pytest.approx(probability, abs=1.5 / number * 2)


@isas
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_equal_logits_prefer_the_lower_id(isa, way) -> None:
    logits = np.zeros((1, 300), np.float32)
    logits[0, [7, 70, 200]] = 5
    draws = [way._replace(uniform=u / 50) for u in range(50)]
    assert agreement(isa, logits, draws) >= 0.95


@isas
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_row_breaks_nobody_else(isa, way, bad) -> None:
    logits = logits_of(5, 3, 100)
    for column in (0, 50, 99):
        broken = logits.copy()
        broken[1, column] = bad
        found = executable_showing(BACKENDS[isa], broken).choose([0, 1, 2], [way] * 3, 100)
        assert found[1] is None
        assert [found[0], found[2]] == executable_showing(BACKENDS[isa], logits).choose(
            [0, 2], [way] * 2, 100
        )


@isas
def test_impossible_tokens_are_never_chosen(isa) -> None:
    logits = np.full((2, 800), -np.inf, np.float32)
    logits[0, [3, 150]] = 0
    executable = executable_showing(BACKENDS[isa], logits)
    for way in (*WAYS.values(), Draw(1.0, top_p=1 - 1e-16), Draw(1.0, top_p=1 - 1e-9)):
        draws = [way._replace(uniform=u / 20) for u in range(20)]
        assert set(executable.choose([0] * 20, draws, 800)) <= {3, 150}
        assert executable.choose([1], [way], 800) == [None]


@isas
def test_neither_threads_nor_the_batch_matter(isa) -> None:
    logits = logits_of(6, 32, 5000)
    draws = [list(WAYS.values())[i % len(WAYS)]._replace(uniform=i / 32) for i in range(32)]
    found = [
        executable_showing(NativeBackend(isa, threads), logits).choose(range(32), draws, 5000)
        for threads in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]
    alone = executable_showing(BACKENDS[isa], logits)
    assert [alone.choose([i], [how], 5000)[0] for i, how in enumerate(draws)] == found[0]


@isas
def test_tokens_beyond_the_vocabulary_are_not_seen(isa) -> None:
    logits = logits_of(7, 1, 120)
    logits[0, 100:] = 99
    executable = executable_showing(BACKENDS[isa], logits)
    for way in WAYS.values():
        assert executable.choose([0], [way], 100) == choose(logits[:, :100], [0], [way])


@isas
def test_rows_that_were_not_run_are_refused(isa) -> None:
    executable = executable_showing(BACKENDS[isa], logits_of(8, 2, 10))
    for rows, vocabulary in ((2, 10), (-1, 10), (0, 11), (0, 0)):
        with pytest.raises(ValueError, match=r"row|logits"):
            executable.choose([rows], [Draw()], vocabulary)


@isas
@given(st.integers(0, 2**31), st.sampled_from([1, 7, 300, 5000]), st.sampled_from([0, 1, 5, 300, 6000]))
@settings(max_examples=30, deadline=None)
def test_log_probabilities_are_made_of_the_sum_and_the_most_likely(isa, seed, vocabulary, number) -> None:
    logits = np.round(logits_of(seed, 3, vocabulary + 9), 1)  # so that some are equal
    logits[1, : vocabulary // 2] = -np.inf
    found = executable_showing(BACKENDS[isa], logits).score([2, 0, 1, 0], [number, 1, number, 0], vocabulary)
    expected = score(logits[:, :vocabulary], [2, 0, 1, 0], [number, 1, number, 0])
    for own, other in zip(found, expected, strict=True):
        assert own.top == other.top
        assert own.log_sum_exp == pytest.approx(other.log_sum_exp, abs=1e-5)


@isas
def test_no_log_probabilities_where_there_are_no_finite_numbers(isa) -> None:
    logits = logits_of(9, 4, 100)
    logits[0, 3], logits[1, 70] = np.nan, np.inf
    logits[2] = -np.inf
    scores = executable_showing(BACKENDS[isa], logits).score([0, 1, 2, 3], [2, 2, 2, 2], 100)
    assert [np.isnan(each.log_sum_exp) for each in scores] == [True, True, True, False]


@isas
def test_neither_threads_nor_the_batch_matter_to_log_probabilities(isa) -> None:
    logits = logits_of(10, 8, 5000)
    found = [
        executable_showing(NativeBackend(isa, threads), logits).score(range(8), [5] * 8, 5000)
        for threads in (1, 2, 5)
    ]
    alone = executable_showing(BACKENDS[isa], logits)
    assert found[0] == found[1] == found[2] == [alone.score([i], [5], 5000)[0] for i in range(8)]
    with pytest.raises(ValueError, match="row"):
        alone.score([8], [1], 5000)
