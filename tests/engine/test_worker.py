"""The thread that owns the engine, with readers in threads and in event loops that come and go."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from engine_cases import alone, greedy, tokens

from fairway.engine.batch import Batch
from fairway.engine.engine import Engine
from fairway.engine.events import TokenEvent
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.request import Request
from fairway.engine.worker import Worker
from fairway.errors import Busy, ContextExceeded

PROMPT = range(10, 80)
pytestmark = pytest.mark.timeout(60)


class Gate:
    """Lets the runner pass a given number of times, so that tests need no sleep."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self._is_open = False
        self.arrived = threading.Event()

    def __call__(self, batch: Batch) -> None:
        self.arrived.set()
        if not self._is_open:
            self._passes.acquire()

    def allow(self, number: int) -> None:
        for _ in range(number):
            self._passes.release()

    def open(self) -> None:
        self._is_open = True
        self._passes.release()


@contextmanager
def worker_with(settings: EngineSettings | None = None, **fields) -> Iterator[Worker]:
    runner = FakeRunner(**fields)
    worker = Worker(Engine(runner, settings or EngineSettings()))
    try:
        yield worker
    finally:
        if isinstance(runner.before_run, Gate):
            runner.before_run.open()
        worker.close()
        worker._engine.check()
        assert not worker._thread.is_alive()
        assert not worker._engine.has_work
        assert worker.stats().kv_blocks_used == 0


def ask(**fields) -> Request:
    return Request(PROMPT, greedy(**fields))


async def read(stream) -> list[TokenEvent]:
    return [event async for event in stream]


def test_a_thread_reads_its_answer() -> None:
    with worker_with() as worker:
        assert tokens(worker.submit(ask())) == alone(PROMPT, greedy())


def test_tasks_read_their_answers() -> None:
    async def main(worker: Worker) -> list[list[TokenEvent]]:
        return await asyncio.gather(*(read(worker.submit(ask())) for _ in range(40)))

    with worker_with() as worker:
        for events in asyncio.run(main(worker)):
            assert tokens(events) == alone(PROMPT, greedy())
        assert worker.stats().requests_total == {"length": 40}


def test_stats_are_up_to_date_when_the_last_event_arrives() -> None:
    with worker_with() as worker:
        for number in range(1, 20):
            list(worker.submit(ask(max_tokens=2)))
            assert worker.stats().requests_total == {"length": number}


def test_an_idle_worker_does_nothing() -> None:
    with worker_with() as worker:
        list(worker.submit(ask(max_tokens=2)))
        steps = []
        step = worker._engine.step
        worker._engine.step = lambda: steps.append(1) or step()
        assert not threading.Event().wait(0.1)
        assert len(steps) <= 1  # the turn it was in when it was replaced
        worker._engine.step = step


def test_refusals_come_at_once() -> None:
    with worker_with(max_context=50) as worker, pytest.raises(ContextExceeded):
        worker.submit(ask())


def test_a_full_queue_is_busy_until_someone_leaves() -> None:
    gate = Gate()
    with worker_with(EngineSettings(max_sequences=2, max_waiting=1), before_run=gate) as worker:
        streams = [worker.submit(ask()) for _ in range(3)]
        with pytest.raises(Busy) as caught:
            worker.submit(ask())
        assert caught.value.retry_after_s >= 1
        gate.open()
        assert all(len(tokens(stream)) == 16 for stream in streams)
        assert len(tokens(worker.submit(ask()))) == 16


def test_whoever_vanishes_is_aborted_within_one_step() -> None:
    gate = Gate()
    with worker_with(before_run=gate) as worker:
        stream = worker.submit(ask(max_tokens=1000))
        gate.allow(3)
        next(stream)
        del stream
        gc.collect()
        gate.open()
        other = worker.submit(ask(max_tokens=1))
        list(other)
        assert worker.stats().requests_total == {"abort": 1, "length": 1}
        assert worker.stats().generated_tokens_total <= 5


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_abort_reaches_the_waiting_and_the_running(steps: int) -> None:
    gate = Gate()
    with worker_with(EngineSettings(max_sequences=1), before_run=gate) as worker:
        running, waiting = worker.submit(ask(max_tokens=1000)), worker.submit(ask())
        gate.allow(steps)
        worker.abort(waiting.request_id)
        worker.finish(running.request_id)
        gate.open()
        assert [event.finish_reason for event in waiting] == ["abort"]
        events = list(running)
        assert events[-1].finish_reason == "stop"
        assert len(tokens(events)) <= steps + 1
        worker.abort(running.request_id)
        worker.abort("nobody")


def test_a_runner_that_raises_ends_its_requests_and_the_worker_goes_on(caplog) -> None:
    def explode(batch: Batch) -> None:
        if any(chunk.request_id == "bad" for chunk in batch.chunks):
            raise ValueError("boom")

    with worker_with(before_run=explode) as worker:
        [event] = worker.submit(Request(PROMPT, greedy(), id="bad"))
        assert (event.finish_reason, event.error) == (
            "error",
            "The model failed on this batch: ValueError: boom",
        )
        assert worker.stats().kv_blocks_used == 0
        assert tokens(worker.submit(ask())) == alone(PROMPT, greedy())
        assert worker.stats().requests_total == {"error": 1, "length": 1}
    assert "boom" in caplog.text


def test_a_mistake_in_the_engine_ends_everyone_and_the_worker_goes_on(monkeypatch) -> None:
    gate = Gate()
    with worker_with(EngineSettings(max_sequences=1), before_run=gate) as worker:
        streams = [worker.submit(ask()) for _ in range(3)]
        gate.arrived.wait()
        gate.arrived.clear()
        gate.allow(1)
        gate.arrived.wait()  # the second step: all three are inside
        with monkeypatch.context() as patch:
            patch.setattr(worker._engine.scheduler, "advance", lambda *_: 1 / 0)
            gate.allow(1)
            assert [[event.finish_reason for event in stream][-1] for stream in streams] == ["error"] * 3
        gate.open()
        assert tokens(worker.submit(ask())) == alone(PROMPT, greedy())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_even_a_worker_that_dies_tells_its_readers(monkeypatch) -> None:
    gate = Gate()
    worker = Worker(Engine(FakeRunner(before_run=gate)))
    stream = worker.submit(ask())
    gate.arrived.wait()
    monkeypatch.setattr(worker._engine, "step", lambda: 1 / 0)
    monkeypatch.setattr(worker._engine, "fail", lambda message: 1 / 0)
    gate.open()
    *_, last = stream
    assert (last.finish_reason, last.error) == ("error", "The engine has stopped.")
    with pytest.raises(Busy):
        worker.submit(ask())
    worker.close()


def test_close_aborts_who_is_left_and_lets_nobody_in() -> None:
    worker = Worker(Engine(FakeRunner(step_latency_s=0.001), EngineSettings(max_sequences=1)))
    streams = [worker.submit(ask(max_tokens=1900)) for _ in range(3)]
    worker.close()
    worker.close()
    for stream in streams:
        assert [event.finish_reason for event in stream][-1] == "abort"
    with pytest.raises(Busy, match="shutting down"):
        worker.submit(ask())


def test_close_with_grace_lets_everyone_finish() -> None:
    worker = Worker(Engine(FakeRunner()))
    streams = [worker.submit(ask()) for _ in range(5)]
    worker.close(grace_s=60)
    assert [len(tokens(stream)) for stream in streams] == [16] * 5


def test_whoever_slips_in_while_it_closes_is_told_the_end() -> None:
    """Past the door, but not yet in the inbox when the worker is asked to stop."""
    worker = Worker(Engine(FakeRunner()))
    request = ask()
    worker._engine.enter(request)
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not worker._aborting:
        pass
    enter, worker._engine.enter = worker._engine.enter, lambda request: None
    stream = worker.submit(request)
    worker._engine.enter = enter
    assert [event.finish_reason for event in stream] == ["abort"]
    closing.join()


def test_two_hundred_streams_that_vanish_at_random() -> None:
    """The engine survives, every request ends once, and only the prefix cache still holds blocks."""
    choose = random.Random(1)

    async def client(worker: Worker, patience: int) -> int:
        stream = worker.submit(Request([choose.randrange(3) for _ in range(40)], greedy(max_tokens=30)))
        count = 0
        async for event in stream:
            count += event.token_id is not None
            if count > patience:
                break
        return count

    async def main(worker: Worker) -> int:
        tasks = [asyncio.create_task(client(worker, choose.choice([0, 3, 10, 99, 99]))) for _ in range(200)]
        while sum(task.done() for task in tasks) < 60:
            choose.choice(tasks).cancel()
            await asyncio.sleep(0)
        counts = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(count == 30 for count in counts)

    with worker_with(num_blocks=100, max_tokens=128) as worker:
        num_complete = asyncio.run(main(worker))
        gc.collect()
        list(worker.submit(ask(max_tokens=1)))  # everyone's abort was read before this
        stats = worker.stats()
        assert (stats.num_running, stats.num_waiting, stats.kv_blocks_used) == (0, 0, 0)
        assert stats.requests_total["length"] >= num_complete + 1
        entered = stats.requests_total["length"] + stats.requests_total["abort"]
        assert 140 <= entered <= 201
        assert set(stats.requests_total) == {"length", "abort"}
        assert 0 < num_complete < 140
