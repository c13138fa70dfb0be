"""Measuring: what is counted, with a runner whose speed is known."""

import pytest

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.errors import ModelNotFound
from fairway.map import measure as module
from fairway.map.measure import Measured, Prompts, Run, Spread, Workload, measure_engine
from fairway.map.random_models import random_model
from fairway.text.loader import load_tokenizer


class Clock:
    """Time passes only when a step runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class TimedRunner(FakeRunner):
    """A step takes 1 ms for each of its tokens and 10 ms for itself."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(num_blocks=256, block_size=16)
        self._clock = clock

    def run(self, batch):
        self._clock.now += 0.010 + 0.001 * batch.num_tokens
        return super().run(batch)


@pytest.fixture
def engine(monkeypatch) -> Engine:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return Engine(TimedRunner(clock))


def test_rates_of_one_request(engine):
    rates = measure_engine(engine, Workload(prompt=32, generate=11, batch=1), Prompts(256))
    assert rates.prefill == pytest.approx(32 / 0.042)
    assert rates.decode == pytest.approx(1 / 0.011)
    assert rates.output == pytest.approx(11 / (0.042 + 10 * 0.011))


def test_decoding_is_timed_with_everyone_in_the_batch(engine):
    rates = measure_engine(engine, Workload(prompt=33, generate=21, batch=4), Prompts(256))
    assert rates.decode == pytest.approx(4 / 0.014, rel=0.15)


def test_no_prompt_comes_twice(engine):
    workload, prompts = Workload(prompt=32, generate=2, batch=2), Prompts(256)
    measure_engine(engine, workload, prompts)
    assert Run(engine, list(prompts.take(2, 32)), 1).whole_s == pytest.approx(0.010 + 0.064)


def test_spread():
    assert Spread.of([5.0]) == Spread(5.0, 0.0)
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2 / 3)


def test_json_names():
    row = Measured(Workload(512, 64, 8), {"prefill_tokens_per_s": Spread(100.0, 0.1)}).to_dict()
    assert row == {
        "batch": 8,
        "prompt": 512,
        "generate": 64,
        "prefill_tokens_per_s": 100.0,
        "prefill_tokens_per_s_spread": 0.1,
    }


def test_a_random_model_can_be_served():
    bundle = random_model("random:tiny")
    tokenizer = load_tokenizer(bundle.tokenizer)
    assert tokenizer.vocab_size == 1024
    ids = list(range(300, 340))
    assert tokenizer.decode(ids).split() == [f"w{number - 257}" for number in ids]


def test_an_unknown_random_model_names_a_near_one():
    with pytest.raises(ModelNotFound, match=r"Did you mean random:qwen2\.5-0\.5b\?"):
        random_model("random:qwen2.5-05b")
