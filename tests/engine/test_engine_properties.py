"""Random arrivals, lengths, shared prefixes, aborts, tiny pools: every request's tokens as if alone."""

from __future__ import annotations

import random

from engine_cases import NoWeights, alone
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from fairway.engine.engine import Engine
from fairway.engine.events import TokenEvent
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import ContextExceeded, ModelNotFound

VOCABULARY = 40
ADAPTERS = ["poet", "clerk", "before"]
NUM_VIRTUAL = {"before": 7}
"""Of the one that is a prefix."""

runners = st.fixed_dictionaries(
    {
        "num_blocks": st.integers(3, 24),
        "block_size": st.sampled_from([1, 2, 4, 8]),
        "max_context": st.integers(8, 120),
        "max_tokens": st.integers(1, 48),
        "max_sequences": st.integers(1, 8),
        "max_outputs": st.integers(1, 48),
    }
)


class Play:
    """One engine and the requests that come and go; everything random comes from one seed."""

    def __init__(self, runner: dict[str, int], seed: int, shares: bool = True) -> None:
        self.random = random.Random(seed)
        wishes = EngineSettings(enable_prefix_caching=shares)
        self.engine = Engine(FakeRunner(vocab_size=VOCABULARY, **runner), wishes)
        for adapter in ADAPTERS:
            self.engine.adapters.load(adapter, NoWeights())
        self.loaded = set(ADAPTERS)
        self.runner = runner
        self.asked: dict[str, Request] = {}
        self.prompts: list[list[int]] = []
        self.events: dict[str, list[TokenEvent]] = {}

    def go(self, num_rounds: int) -> None:
        for _ in range(num_rounds):
            for _ in range(self.random.choice([0, 0, 1, 1, 4])):
                self.arrive()
            if self.random.random() < 0.1:
                self.load_or_unload(self.random.choice(ADAPTERS))
            if self.random.random() < 0.1 and self.asked:
                self.abort(self.random.choice(list(self.asked)))
            self.step()
        while self.engine.has_work:
            self.step()

    def load_or_unload(self, adapter: str) -> None:
        """Also while its requests run, and again while it still leaves."""
        if adapter in self.loaded:
            self.engine.adapters.unload(adapter)
        else:
            self.engine.adapters.load(adapter, NoWeights())
        self.loaded ^= {adapter}

    def arrive(self) -> None:
        """One request, or several answers to the same one."""
        prompt, sampling = self.prompt(), self.sampling()
        adapter = self.random.choice(["", "", *ADAPTERS])
        for _ in range(self.random.choice([1, 1, 3])):
            num_virtual = NUM_VIRTUAL.get(adapter, 0)
            request = Request(
                prompt, sampling, id=str(len(self.asked)), adapter=adapter, num_virtual=num_virtual
            )
            try:
                self.engine.add(request)
            except ContextExceeded:
                return
            except ModelNotFound:
                assert adapter not in self.loaded
                return
            self.prompts.append(prompt)
            self.asked[request.id] = request

    def prompt(self) -> list[int]:
        """Half of all prompts begin like one before."""
        choose = self.random
        start: list[int] = []
        if self.prompts and choose.random() < 0.5:
            earlier = choose.choice(self.prompts)
            start = earlier[: choose.randint(1, len(earlier))]
        return start + [choose.randrange(VOCABULARY) for _ in range(choose.randint(0 if start else 1, 30))]

    def sampling(self) -> SamplingParams:
        choose = self.random
        return SamplingParams(
            temperature=choose.choice([0.0, 0.0, 0.9]),
            top_k=choose.choice([None, 5]),
            repetition_penalty=choose.choice([1.0, 1.0, 1.4]),
            seed=choose.randrange(1000),
            max_tokens=choose.choice([None, 0, 1, 5, 25]),
            stop_token_ids=frozenset(choose.sample(range(VOCABULARY), choose.choice([0, 0, 2]))),
            prompt_logprobs=choose.choice([None, None, None, 0]),
        )

    def abort(self, request_id: str) -> None:
        event = self.engine.abort(request_id)
        if event is not None:
            self.record([event])
        self.engine.check()

    def step(self) -> None:
        self.record(self.engine.step())
        self.engine.check()

    def record(self, events: list[TokenEvent]) -> None:
        for event in events:
            stream = self.events.setdefault(event.request_id, [])
            assert not stream or stream[-1].finish_reason is None, "an event after the last one"
            stream.append(event)

    def compare_with_alone(self) -> None:
        limits = {"vocab_size": VOCABULARY, "max_context": self.room}
        for request_id, request in self.asked.items():
            stream = self.events[request_id]
            assert stream[-1].finish_reason is not None
            found = [event.token_id for event in stream if event.token_id is not None]
            prompt = request.token_ids[: request.num_prompt]
            expected = alone(prompt, request.sampling, request.adapter, request.num_virtual, **limits)
            if stream[-1].finish_reason == "abort":
                expected = expected[: len(found)]
            assert found == expected, request_id

    @property
    def room(self) -> int:
        return min(self.runner["max_context"], self.runner["num_blocks"] * self.runner["block_size"])

    def check_totals(self) -> None:
        stats = self.engine.stats()
        events = [event for stream in self.events.values() for event in stream]
        assert (stats.num_running, stats.num_waiting, stats.kv_blocks_used) == (0, 0, 0)
        assert sum(stats.requests_total.values()) == len(self.asked)
        assert stats.generated_tokens_total == sum(event.token_id is not None for event in events)
        assert len(self.engine.door) == 0
        assert self.engine.runner.adapters == self.loaded

    def check_nothing_was_shared(self) -> None:
        stats = self.engine.stats()
        assert (stats.cached_tokens_total, stats.kv_blocks_cached) == (0, 0)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(runner=runners, seed=st.integers(0, 2**32), num_rounds=st.integers(1, 40))
def test_every_request_gets_the_tokens_it_would_get_alone(runner, seed: int, num_rounds: int) -> None:
    play = Play(runner, seed)
    play.go(num_rounds)
    assume(play.asked)
    note(str(play.engine.stats()))
    play.compare_with_alone()
    play.check_totals()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(runner=runners, seed=st.integers(0, 2**32), num_rounds=st.integers(1, 30))
def test_without_prefix_caching_the_tokens_are_the_same_and_nothing_is_shared(
    runner, seed: int, num_rounds: int
) -> None:
    play = Play(runner, seed, shares=False)
    play.go(num_rounds)
    play.compare_with_alone()
    play.check_totals()
    play.check_nothing_was_shared()


def test_the_random_plays_do_reach_the_difficult_places() -> None:
    """A property test that never preempts, evicts, shares or aborts would prove nothing."""
    runner = {
        "num_blocks": 14,
        "block_size": 4,
        "max_context": 50,
        "max_tokens": 12,
        "max_sequences": 6,
        "max_outputs": 12,
    }
    play = Play(runner, seed=5)
    play.go(150)
    stats = play.engine.stats()
    assert stats.preemptions_total > 10
    assert stats.cached_tokens_total > 100
    assert stats.requests_total["abort"] > 3
    assert stats.requests_total["stop"] > 3
    play.compare_with_alone()
    play.check_totals()
