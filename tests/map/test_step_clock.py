"""Time between steps, with a clock that moves by hand."""

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.map.step_clock import StepClock, clocked

SAMPLING = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)


def run(engine: Engine, *prompts: list[int]) -> None:
    for prompt in prompts:
        engine.add(Request(prompt, SAMPLING))
    while engine.has_work:
        engine.step()


def test_only_time_between_decoding_steps_of_the_same_size_counts():
    ticks = iter(range(0, 1000, 10))
    engine = Engine(FakeRunner())
    clock = engine.runner = StepClock(engine.runner, lambda: next(ticks))
    run(engine, [1, 2, 3], [4, 5])  # one step reads, three decode
    assert clock.take(2) == 10
    assert clock.take(2) is None  # taken already
    run(engine, [1, 2, 3])
    assert clock.take(2) is None


def test_the_runner_is_as_before_and_answers_the_same():
    engine, plain = Engine(FakeRunner()), Engine(FakeRunner())
    runner = engine.runner
    tokens = []
    with clocked(engine) as clock:
        assert clock.max_tokens == runner.max_tokens
        for each in (engine, plain):
            each.add(Request([1, 2, 3], SAMPLING))
            tokens.append([event.token_id for _ in range(4) for event in each.step()])
    assert engine.runner is runner
    assert tokens[0] == tokens[1] and len(tokens[0]) == 4
