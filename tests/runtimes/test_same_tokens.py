"""The promise on real kernels: a request's tokens and log probabilities are the same, bit for bit,
alone, batched, after a prefix hit, in any chunking and after preemption.

A small random model runs in a pool too small for its requests, so that sharing, eviction and
preemption all happen; the play is checked to have used each of them.
"""

import random
from dataclasses import dataclass, field

import pytest

from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.kernels.program import CacheShape, Limits
from fairway.kernels.select import select_backend
from fairway.models.loader import load_model
from fairway.models.random import random_bundle
from fairway.runtimes.model_runner import ModelRunner

CONFIG = {
    "model_type": "qwen2",
    "vocab_size": 203,
    "hidden_size": 96,
    "intermediate_size": 172,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
WEIGHTS = ["f32", "bf16", "int8", "int4"]
BLOCK_SIZE = 16


def make_engine(model, *, num_blocks: int, max_tokens: int, max_sequences: int, kv="f16") -> Engine:
    cache = CacheShape(2, num_blocks, BLOCK_SIZE, 2, 16, kv)
    return Engine(ModelRunner(model, cache, Limits(max_tokens, max_sequences, max_sequences)))


@dataclass
class Ask:
    """One request of the play, to be made again for every way of running it."""

    prompt: list[int]
    sampling: SamplingParams
    arrival: int
    tokens: list[tuple[int, float]] = field(default_factory=list)


def draw_asks(seed: int) -> list[Ask]:
    """Prompts with shared beginnings, greedy and sampled, arriving over time."""
    dice = random.Random(seed)
    beginnings = [[dice.randrange(203) for _ in range(length)] for length in (0, 16, 50, 97)]
    asks = []
    for _ in range(14):
        prompt = dice.choice(beginnings) + [dice.randrange(203) for _ in range(dice.randint(1, 40))]
        sampling = SamplingParams(
            temperature=dice.choice([0.0, 0.8]), seed=dice.randrange(1000), max_tokens=40, logprobs=0
        )
        asks.append(Ask(prompt, sampling, arrival=dice.randrange(30)))
    return asks


def play(engine: Engine, asks: list[Ask]) -> list[list[tuple[int, float]]]:
    """Runs all asks, arriving at their steps; returns (token, log probability) of each."""
    told: dict[str, list[tuple[int, float]]] = {str(index): [] for index in range(len(asks))}
    step = 0
    while step <= max(ask.arrival for ask in asks) or engine.has_work:
        for index, ask in enumerate(asks):
            if ask.arrival == step:
                engine.add(Request(ask.prompt, ask.sampling, id=str(index)))
        for event in engine.step():
            if event.token_id is not None:
                told[event.request_id].append((event.token_id, event.logprob))
        engine.check()
        step += 1
    return list(told.values())


@pytest.mark.parametrize(("weights", "kv"), [*((w, "f16") for w in WEIGHTS), ("int8", "int8")])
def test_tokens_do_not_depend_on_what_else_runs(weights, kv):
    bundle = random_bundle(CONFIG, weights, seed=3)
    model = load_model(bundle, select_backend("auto", threads=2), context=256)
    asks = draw_asks(seed=5)
    alone = [
        play(make_engine(model, num_blocks=16, max_tokens=256, max_sequences=1, kv=kv), [ask])[0]
        for ask in asks
    ]
    crowded = make_engine(model, num_blocks=26, max_tokens=23, max_sequences=6, kv=kv)
    assert play(crowded, asks) == alone
    stats = crowded.stats()
    assert stats.preemptions_total > 0
    assert stats.cached_tokens_total > 0
    assert all(len(tokens) == 40 for tokens in alone)


def test_tokens_do_not_depend_on_the_number_of_threads():
    bundle = random_bundle(CONFIG, "int4", seed=3)
    asks = draw_asks(seed=6)[:6]
    answers = []
    for threads in (1, 2, 3):
        model = load_model(bundle, select_backend("auto", threads=threads), context=256)
        answers.append(play(make_engine(model, num_blocks=64, max_tokens=64, max_sequences=6), asks))
    assert answers[0] == answers[1] == answers[2]
