"""What several tests of the engine need: ask, drain, compare with being alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fairway.engine.engine import Engine
from fairway.engine.events import TokenEvent
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams


class NoWeights:
    """An adapter for a runner without a model."""

    num_bytes = 0


def greedy(**fields) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 16, **fields})


def engine_with(settings: EngineSettings | None = None, **fields) -> Engine:
    return Engine(FakeRunner(**fields), settings or EngineSettings())


def drain(engine: Engine) -> dict[str, list[TokenEvent]]:
    """Steps until nothing is left to do, checking every invariant after each step."""
    events: dict[str, list[TokenEvent]] = {}
    while engine.has_work:
        for event in engine.step():
            events.setdefault(event.request_id, []).append(event)
        engine.check()
    return events


def tokens(events: Iterable[TokenEvent]) -> list[int]:
    return [event.token_id for event in events if event.token_id is not None]


def answer(engine: Engine, prompt: Sequence[int], sampling: SamplingParams, **fields) -> list[TokenEvent]:
    """All events of one request that is served now."""
    request = Request(prompt, sampling, **fields)
    engine.add(request)
    return drain(engine)[request.id]


def alone(
    prompt: Sequence[int], sampling: SamplingParams, adapter: str = "", num_virtual: int = 0, **fields
) -> list[int]:
    """The tokens of a request that has an engine with plenty of room for itself."""
    engine = engine_with(**{"num_blocks": 300, "max_tokens": 600, "max_outputs": 600, **fields})
    if adapter:
        engine.adapters.load(adapter, NoWeights())
    engine.add(Request(prompt, sampling, adapter=adapter, num_virtual=num_virtual))
    events = []
    while engine.has_work:
        events += engine.step()
    return tokens(events)
