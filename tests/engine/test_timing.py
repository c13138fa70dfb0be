import logging

from engine_cases import drain, engine_with, greedy

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.request import Request
from fairway.engine.timing import Stopwatch


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def on_start(self, *what) -> None:
        self.said.append(("start", *what))

    def on_first_token(self, *what) -> None:
        self.said.append(("first", *what))

    def on_token(self, *what) -> None:
        self.said.append(("token", *what))

    def on_finish(self, *what) -> None:
        self.said.append(("finish", *what))


def ticking(engine: Engine, notes) -> None:
    """Gives the engine a clock that says 1, 2, 3, ..."""
    seconds = iter(range(1, 10_000))
    engine._stopwatch = Stopwatch(notes, lambda: float(next(seconds)))


def test_a_listener_hears_when_requests_start_answer_and_end() -> None:
    notes, engine = Notes(), engine_with(EngineSettings(max_sequences=1))
    ticking(engine, notes)
    engine.add(Request(range(5), greedy(max_tokens=2), id="a"))  # 1
    engine.add(Request(range(5), greedy(max_tokens=1), id="b"))  # 2
    drain(engine)  # scheduled at 3, 5, 7 and happened at 4, 6, 8
    assert notes.said == [
        ("start", "a", 2.0),
        ("first", "a", 3.0),
        ("token", "a", 2.0),
        ("finish", "a", "length", 5.0),
        ("start", "b", 5.0),
        ("first", "b", 6.0),
        ("finish", "b", "length", 6.0),
    ]


def test_a_request_that_never_starts_still_ends() -> None:
    notes, engine = Notes(), engine_with()
    ticking(engine, notes)
    engine.add(Request(range(5), greedy(), id="a"))
    engine.abort("a")
    assert notes.said == [("finish", "a", "abort", 1.0)]


def test_a_preempted_request_starts_once() -> None:
    notes = Notes()
    engine = Engine(FakeRunner(num_blocks=12), listener=notes)
    for number in range(3):
        engine.add(Request(range(number, 70), greedy(max_tokens=50)))
    drain(engine)
    assert engine.stats().preemptions_total > 0
    kinds = [said[0] for said in notes.said]
    assert [kinds.count(kind) for kind in ("start", "first", "token", "finish")] == [3, 3, 147, 3]


def test_a_listener_that_fails_is_told_no_more_and_harms_nobody(caplog) -> None:
    class Failing(Notes):
        def on_first_token(self, *what) -> None:
            raise ValueError("out of ink")

    notes = Failing()
    engine = Engine(FakeRunner(), listener=notes)
    engine.add(Request(range(5), greedy(max_tokens=3), id="a"))
    with caplog.at_level(logging.ERROR):
        assert len(drain(engine)["a"]) == 3
    assert [said[0] for said in notes.said] == ["start"]
    assert "out of ink" in caplog.text


def test_without_a_listener_no_clock_is_read(monkeypatch) -> None:
    engine = engine_with()
    monkeypatch.setattr("time.perf_counter", lambda: 1 / 0)
    engine.add(Request(range(5), greedy(), id="a"))
    assert len(drain(engine)["a"]) == 16
