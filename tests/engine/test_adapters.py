"""Adapters come between two steps and go when their last request has ended; nobody runs without theirs."""

import threading

import pytest
from engine_cases import NoWeights, alone, drain, engine_with, greedy, tokens

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.request import Request
from fairway.engine.worker import Worker
from fairway.errors import Busy, ModelNotFound

PROMPT = list(range(40))


def test_requests_with_and_without_adapters_share_a_batch() -> None:
    engine = engine_with()
    for adapter in ("one", "two"):
        engine.adapters.load(adapter, NoWeights())
    for adapter in ("", "one", "two", "one"):
        engine.add(
            Request(PROMPT, greedy(), id=f"{adapter}{len(engine.scheduler.requests)}", adapter=adapter)
        )
    events = drain(engine)
    found = {request_id: tokens(events[request_id]) for request_id in events}
    assert found["one1"] == found["one3"] == alone(PROMPT, greedy(), "one")
    assert found["0"] == alone(PROMPT, greedy())
    assert len({tuple(each) for each in found.values()}) == 3


def test_an_adapter_that_is_not_loaded_is_refused_at_the_door() -> None:
    engine = engine_with()
    with pytest.raises(ModelNotFound, match="adapter is not loaded"):
        engine.add(Request(PROMPT, greedy(), adapter="poet"))
    assert len(engine.door) == 0


def test_running_requests_finish_before_their_adapter_goes() -> None:
    engine = engine_with()
    engine.adapters.load("poet", NoWeights())
    request = Request(PROMPT, greedy(), adapter="poet")
    engine.add(request)
    engine.step()
    engine.adapters.unload("poet")
    assert engine.runner.adapters == {"poet"}
    with pytest.raises(ModelNotFound):
        engine.add(Request(PROMPT, greedy(), adapter="poet"))
    assert request.num_output == 1
    drain(engine)
    assert request.num_output == 16
    assert engine.runner.adapters == set()


def test_one_that_leaves_may_come_back() -> None:
    engine = engine_with()
    engine.adapters.load("poet", NoWeights())
    engine.add(Request(PROMPT, greedy(), adapter="poet"))
    engine.adapters.unload("poet")
    engine.adapters.load("poet", NoWeights())
    drain(engine)
    assert engine.runner.adapters == {"poet"}
    engine.adapters.unload("poet")
    engine.adapters.unload("poet")
    assert engine.runner.adapters == set()


def test_a_prefix_survives_its_adapter_and_serves_no_other() -> None:
    engine = engine_with()
    for adapter, cached in (("a", 0), ("b", 0), ("a", 32)):
        engine.adapters.load(adapter, NoWeights())
        request = Request(PROMPT, greedy(), adapter=adapter)
        engine.add(request)
        drain(engine)
        engine.adapters.unload(adapter)
        assert request.num_cached == cached


def test_the_worker_does_it_between_two_steps() -> None:
    runner = FakeRunner(step_latency_s=0.002)
    worker = Worker(Engine(runner))
    worker.call(lambda engine: engine.adapters.load("poet", NoWeights()))
    stream = worker.submit(Request(PROMPT, greedy(max_tokens=30), adapter="poet"))
    threads = {worker.call(lambda _: threading.current_thread().name) for _ in range(5)}
    worker.call(lambda engine: engine.adapters.unload("poet"))
    assert len(threads) == 1
    assert len(tokens(stream)) == 30
    worker.call(lambda engine: engine.adapters.release())
    assert runner.adapters == set()
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda _: 1 // 0)
    worker.close()
    with pytest.raises(Busy, match="shutting down"):
        worker.call(lambda _: None)
