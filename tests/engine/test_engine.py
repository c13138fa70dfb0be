"""Requests through the whole engine, with a runner whose tokens betray any mistake in the cache."""

from collections.abc import Iterable

from fairway.engine.engine import Engine
from fairway.engine.events import TokenEvent
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams


def drain(engine: Engine) -> dict[str, list[TokenEvent]]:
    events: dict[str, list[TokenEvent]] = {}
    while engine.has_work:
        for event in engine.step():
            events.setdefault(event.request_id, []).append(event)
        engine.check()
    return events


def tokens(events: Iterable[TokenEvent]) -> list[int]:
    return [event.token_id for event in events if event.token_id is not None]


def greedy(**fields) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 16, **fields})


def test_the_same_tokens_alone_and_in_a_batch_with_a_tiny_pool() -> None:
    def ask(number: int) -> Request:
        return Request(range(number % 3, 70), greedy(max_tokens=50), id=str(number))

    engine = Engine(FakeRunner(num_blocks=24, max_tokens=40))
    for number in range(8):
        engine.add(ask(number))
    together = drain(engine)
    assert engine.stats().preemptions_total > 0
    for number in range(8):
        alone = Engine(FakeRunner())
        alone.add(ask(number))
        assert tokens(drain(alone)[str(number)]) == tokens(together[str(number)])
