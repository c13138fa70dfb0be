"""The sampler against the plainest formulation: probabilities in a sorted list, one rule after the other."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from engine_cases import greedy
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.engine import sampler
from fairway.engine.events import TokenLogprob
from fairway.engine.request import Request
from fairway.engine.sampler import NOT_FINITE, Sample, draw_of, score_prompt
from fairway.engine.sampling_params import SamplingParams
from fairway.kernels.sampling import choose, score
from fairway.kernels.sampling import draw as draw_row

VOCABULARY = 200


class NumpyChooser:
    """A runner's `choose` and `score` over given logits."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits

    def choose(self, rows, draws):
        return choose(self.logits, rows, draws)

    def score(self, rows, numbers):
        return score(self.logits, rows, numbers)


def sample(requests, logits) -> list[Sample]:
    return sampler.sample(requests, range(len(requests)), logits, NumpyChooser(logits))


def draw(row, params: SamplingParams, threshold: float) -> int:
    return draw_row(row, draw_of(request_with(params))._replace(uniform=threshold))


def logits_of(seed: int, size: int = VOCABULARY, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, size).astype(np.float32)


def request_with(sampling: SamplingParams, prompt=(1, 2, 3), output=()) -> Request:
    request = Request(prompt, sampling)
    request.token_ids.extend(output)
    return request


def plain_logits(row, params: SamplingParams, prompt, output) -> list[float]:
    """Minimum length, bias and penalties, one token at a time."""
    adjusted = [float(value) for value in row]
    for token in range(len(adjusted)):
        if len(output) < params.min_tokens and token in params.stop_token_ids | params.end_of_text_ids:
            adjusted[token] = -math.inf
        adjusted[token] += params.logit_bias.get(token, 0.0)
        if token in prompt or token in output:
            factor = params.repetition_penalty
            adjusted[token] = adjusted[token] / factor if adjusted[token] > 0 else adjusted[token] * factor
        adjusted[token] -= params.frequency_penalty * list(output).count(token)
        adjusted[token] -= params.presence_penalty * (token in output)
    return adjusted


def plain_probabilities(logits, params: SamplingParams) -> dict[int, float]:
    """Temperature, min-p, top-k, top-p: each by its definition, on a sorted list."""
    highest = max(logits)
    weights = {token: math.exp((value - highest) / params.temperature) for token, value in enumerate(logits)}
    ranked = sorted(weights, key=lambda token: (-logits[token], token))
    ranked = [token for token in ranked if weights[token] >= params.min_p]
    ranked = ranked[: params.top_k]
    total, kept, mass = sum(weights[token] for token in ranked), [], 0.0
    for token in ranked:
        if mass >= params.top_p * total:
            break
        kept.append(token)
        mass += weights[token]
    return {token: weights[token] / mass for token in kept if weights[token] > 0}


def drawn_frequencies(row, params: SamplingParams, number: int) -> dict[int, float]:
    """Sweeps the threshold evenly from 0 to 1, so frequencies are probabilities up to 1 / number."""
    counts = Counter(draw(row, params, (i + 0.5) / number) for i in range(number))
    return {token: count / number for token, count in counts.items()}


@pytest.mark.parametrize("size", [3, 63, 64, 65, 200, 1000])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 2.5},
        {"top_k": 1},
        {"top_k": 7},
        {"top_k": 5000},
        {"top_p": 0.5},
        {"top_p": 0.97},
        {"top_p": 1e-9},
        {"min_p": 0.1},
        {"min_p": 1.0},
        {"top_k": 20, "top_p": 0.8, "temperature": 0.7},
        {"top_k": 20, "min_p": 0.05, "top_p": 0.9},
        {"min_p": 0.02, "top_p": 0.6, "temperature": 1.4},
    ],
    ids=str,
)
def test_draws_follow_the_definition(fields, size: int) -> None:
    params = SamplingParams(**fields)
    row = logits_of(size, size)
    expected = plain_probabilities(row.tolist(), params)
    number = 2000
    found = drawn_frequencies(row, params, number)
    assert set(found) <= set(expected)
    for token, probability in expected.items():
        assert found.get(token, 0.0) == pytest.approx(probability, abs=2.5 / number)


def test_a_large_vocabulary_is_drawn_from_by_the_same_rules() -> None:
    row = logits_of(1, 50_000, scale=4.0)
    for params in (
        SamplingParams(top_p=0.9, temperature=0.6),
        SamplingParams(top_k=300),
        SamplingParams(min_p=0.01),
    ):
        expected = plain_probabilities(row.tolist(), params)
        found = drawn_frequencies(row, params, 500)
        assert set(found) <= set(expected)
        best = max(expected, key=expected.__getitem__)
        assert found[best] == pytest.approx(expected[best], abs=0.01)


def test_among_equals_top_k_keeps_the_lowest_ids() -> None:
    row = np.zeros(500, np.float32)
    assert set(drawn_frequencies(row, SamplingParams(top_k=4), 100)) == {0, 1, 2, 3}


def test_the_lowest_id_wins_a_tie_in_every_greedy_path() -> None:
    row = np.zeros(300, np.float32)
    row[[7, 70, 200]] = 5
    plain, biased = request_with(greedy()), request_with(greedy(logit_bias={9: 0.0}))
    assert [choice.token_id for choice in sample([plain, plain], np.stack([row, row]))] == [7, 7]
    assert [choice.token_id for choice in sample([plain, biased], np.stack([row, row]))] == [7, 7]


def test_an_impossible_token_is_never_drawn() -> None:
    row = np.full(VOCABULARY, -np.inf, np.float32)
    row[[3, 150]] = 0
    for fields in ({}, {"top_k": 5}, {"top_p": 0.99}, {"min_p": 0.001}):
        assert set(drawn_frequencies(row, SamplingParams(**fields), 64)) == {3, 150}


def test_the_last_threshold_below_one_draws_a_possible_token() -> None:
    row = np.full(VOCABULARY, -200, np.float32)
    row[5] = 0
    assert draw(row, SamplingParams(), 1 - 2.0**-53) == 5


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    prompt=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=150),
    output=st.lists(st.integers(0, VOCABULARY - 1), max_size=150),
    repetition=st.sampled_from([1.0, 1.3, 0.8]),
    presence=st.sampled_from([0.0, 1.5, -0.5]),
    frequency=st.sampled_from([0.0, 0.25, -0.125]),
    bias=st.dictionaries(st.integers(0, VOCABULARY - 1), st.sampled_from([-100.0, -1.0, 2.0]), max_size=5),
    min_tokens=st.sampled_from([0, 20]),
)
def test_greedy_after_bias_and_penalties(
    seed, prompt, output, repetition, presence, frequency, bias, min_tokens
):
    row = logits_of(seed)
    best = int(row.argmax())
    params = greedy(
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        logit_bias=bias,
        min_tokens=min_tokens,
        max_tokens=1000,
        end_of_text_ids=frozenset({best}),
        stop_token_ids=frozenset({17, 99_999}),
    )
    expected = plain_logits(row, params, prompt, output)
    [choice] = sample([request_with(params, prompt, output)], row[None])
    assert expected[choice.token_id] >= max(expected) - 1e-5


def test_penalties_keep_up_with_an_answer_that_grows() -> None:
    """Counting goes on from step to step; after hundreds of distinct tokens it still agrees."""
    params = greedy(repetition_penalty=1.2, frequency_penalty=0.5, presence_penalty=0.3, max_tokens=1000)
    request = request_with(params, prompt=range(50))
    for step in range(150):
        row = logits_of(step)
        [choice] = sample([request], row[None].copy())
        expected = plain_logits(row, params, range(50), request.token_ids[50:].tolist())
        assert expected[choice.token_id] >= max(expected) - 1e-5
        request.token_ids.append(choice.token_id)


def test_the_draw_depends_on_seed_and_position_only() -> None:
    rows = np.stack([logits_of(i) for i in range(3)])
    params = SamplingParams(seed=42)
    together = sample(
        [request_with(params), request_with(greedy()), request_with(SamplingParams(seed=7))], rows
    )
    assert sample([request_with(params)], rows[:1]) == together[:1]
    assert sample([request_with(params, prompt=range(100))], rows[:1]) == together[:1]
    later = [sample([request_with(params, output=[0] * n)], rows[:1])[0].token_id for n in range(40)]
    assert len(set(later)) > 5


@pytest.mark.parametrize("vary", ["seed", "position"])
def test_draws_over_seeds_and_over_positions_are_fair(vary: str) -> None:
    """Chi-square against a known distribution; the value depends on our numbers alone, so it is no game."""
    row = np.log(np.arange(1, 11, dtype=np.float32))
    number = 6000
    counts = Counter()
    for i in range(number):
        seed, output = (i, ()) if vary == "seed" else (3, [0] * (i % 2000))
        request = request_with(SamplingParams(seed=seed + i // 2000 * (vary == "position")), output=output)
        counts[sample([request], row[None])[0].token_id] += 1
    expected = np.arange(1, 11) / 55 * number
    found = np.array([counts[i] for i in range(10)])
    assert ((found - expected) ** 2 / expected).sum() < 27.9  # 99.9 % of fair draws, 9 degrees of freedom


def test_without_a_seed_two_requests_differ() -> None:
    rows = np.zeros((1, 1000), np.float32)
    drawn = {sample([request_with(SamplingParams())], rows)[0].token_id for _ in range(20)}
    assert len(drawn) > 10


def test_logprobs_are_the_models_own_distribution() -> None:
    row = logits_of(5)
    params = SamplingParams(temperature=0.1, top_k=3, logit_bias={4: 50.0}, logprobs=5, seed=0)
    expected = row.astype(np.float64) - np.log(np.exp(row.astype(np.float64)).sum())
    [choice] = sample([request_with(params)], row[None])
    assert choice.token_id == 4
    assert choice.logprob == pytest.approx(expected[4], abs=1e-12)
    best = np.argsort(-expected, kind="stable")[:5].tolist()
    assert [top.token_id for top in choice.top_logprobs] == best
    assert [top.logprob for top in choice.top_logprobs] == pytest.approx(expected[best].tolist(), abs=1e-12)


@pytest.mark.parametrize("number", [0, 1, VOCABULARY, VOCABULARY + 50])
def test_as_many_top_logprobs_as_were_asked_for(number: int) -> None:
    [choice] = sample([request_with(greedy(logprobs=number))], logits_of(5)[None])
    assert choice.logprob is not None
    assert len(choice.top_logprobs) == min(number, VOCABULARY)


def test_prompt_logprobs_speak_of_the_next_prompt_token() -> None:
    prompt = [5, 9, 2, 7]
    rows = np.stack([logits_of(i) for i in range(4)])
    request = request_with(greedy(prompt_logprobs=1), prompt)
    score_prompt(request, range(2), rows, NumpyChooser(rows))
    score_prompt(request, range(2, 4), rows, NumpyChooser(rows))
    assert [own.token_id for own, _ in request.prompt_logprobs] == prompt[1:]
    for row, (own, top) in zip(rows, request.prompt_logprobs, strict=False):
        norm = math.log(np.exp(row.astype(np.float64)).sum())
        assert own.logprob == pytest.approx(float(row[own.token_id]) - norm, abs=1e-12)
        assert top == TokenLogprob(int(row.argmax()), pytest.approx(float(row.max()) - norm, abs=1e-12))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "fields", [{"temperature": 0.0}, {}, {"temperature": 0.0, "logprobs": 2}, {"top_k": 3}]
)
def test_a_row_that_is_not_finite_is_an_error_of_its_request_only(bad: float, fields) -> None:
    rows = np.stack([logits_of(0), logits_of(1)])
    rows[0, 50] = bad
    broken, fine = sample([request_with(SamplingParams(**fields))] * 2, rows)
    assert (broken.token_id, broken.error) == (None, NOT_FINITE)
    assert fine.token_id is not None


def test_only_the_own_row_is_adjusted() -> None:
    penalised = {"presence_penalty": 1.5, "max_tokens": 10}
    requests = [
        request_with(greedy(**penalised), range(9), range(5)),
        request_with(greedy(max_tokens=10), range(9), range(5)),
        request_with(greedy(logprobs=2, **penalised), range(9), range(2)),
    ]
    before = np.stack([logits_of(step) for step in range(3)])
    rows = before.copy()
    sample(requests, rows)
    assert np.flatnonzero(rows[0] != before[0]).tolist() == list(range(5))
    np.testing.assert_array_equal(rows[1], before[1])
    assert np.flatnonzero(rows[2] != before[2]).tolist() == [0, 1]
