"""Requests through the whole engine, with a runner whose tokens betray any mistake in the cache."""

from __future__ import annotations

import numpy as np
import pytest
from engine_cases import NoWeights, alone, answer, drain, engine_with, greedy, tokens

from fairway.engine.batch import Batch
from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import ContextExceeded, InternalError, RequestError

PROMPT = range(10, 80)


# Reasons to end


def test_length_is_the_reason_at_max_tokens() -> None:
    events = answer(engine_with(), PROMPT, greedy(max_tokens=5))
    assert len(tokens(events)) == 5
    assert [event.finish_reason for event in events] == [None] * 4 + ["length"]


def test_stop_is_the_reason_at_an_end_of_text_and_at_a_stop_token() -> None:
    free = alone(PROMPT, greedy())
    for kind in ("end_of_text_ids", "stop_token_ids"):
        events = answer(engine_with(), PROMPT, greedy(**{kind: frozenset({free[3]})}))
        assert tokens(events) == free[: free.index(free[3]) + 1]
        assert (events[-1].finish_reason, events[-1].stop_token) == ("stop", True)
        assert not any(event.stop_token for event in events[:-1])


def test_ignore_eos_goes_on_after_the_end_of_text() -> None:
    free = alone(PROMPT, greedy())
    sampling = greedy(end_of_text_ids=frozenset({free[3]}), ignore_eos=True)
    events = answer(engine_with(), PROMPT, sampling)
    assert tokens(events) == free
    assert events[-1].finish_reason == "length"


def test_min_tokens_keeps_stop_tokens_away_for_that_long() -> None:
    everything = frozenset(range(0, 320, 2))
    events = answer(engine_with(), PROMPT, greedy(max_tokens=64, min_tokens=10, stop_token_ids=everything))
    assert all(token % 2 for token in tokens(events)[:10])
    assert len(tokens(events)) > 10
    assert events[-1].finish_reason == "stop"


def test_an_answer_stops_at_the_context_and_says_length() -> None:
    for max_tokens in (None, 1000):
        events = answer(engine_with(max_context=80), PROMPT, greedy(max_tokens=max_tokens))
        assert len(tokens(events)) == 10
        assert events[-1].finish_reason == "length"


def test_a_prompt_is_scored_without_generating_anything() -> None:
    [event] = answer(engine_with(max_context=70), PROMPT, greedy(max_tokens=0, prompt_logprobs=2))
    assert (event.token_id, event.finish_reason) == (None, "length")
    assert event.prompt_logprobs is not None
    assert len(event.prompt_logprobs) == 69
    assert [entry[0].token_id for entry in event.prompt_logprobs] == list(PROMPT)[1:]


# Who is refused


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_with_both_numbers() -> None:
    engine = engine_with(max_context=70)
    with pytest.raises(ContextExceeded, match=r"70 tokens; the context holds 70"):
        engine.add(Request(PROMPT, greedy()))
    assert not engine.has_work
    assert len(engine.door) == 0


def test_a_prompt_that_could_never_fit_in_the_cache_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextExceeded, match=r"70 tokens; the whole cache holds 64"):
        engine_with(num_blocks=4).add(Request(PROMPT, greedy()))


@pytest.mark.parametrize("num_blocks", [5, 6])
def test_whatever_is_let_in_runs_to_its_end_even_if_it_fills_the_whole_cache(num_blocks: int) -> None:
    events = answer(engine_with(num_blocks=num_blocks), PROMPT, greedy(max_tokens=None))
    assert len(tokens(events)) == num_blocks * 16 - 70


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "The prompt is empty"),
        ([3, -1], "Token id -1"),
        ([3, 320], "Token id 320 in the prompt is outside the vocabulary of 320"),
        ([2**40], "must be a list of token ids"),
        (["a"], "must be a list of token ids"),
    ],
)
def test_a_prompt_that_is_no_prompt_is_refused(prompt, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        engine_with().add(Request(prompt, greedy()))


def test_a_bias_on_a_token_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(RequestError, match=r"logit_bias names token id 320; the vocabulary ends at 319"):
        engine_with().add(Request(PROMPT, greedy(logit_bias={320: 1.0})))


# Same tokens


def test_the_same_tokens_alone_and_in_a_batch_with_a_tiny_pool() -> None:
    engine = engine_with(num_blocks=24, max_tokens=40)
    for number in range(8):
        engine.add(Request(range(number % 3, 70), greedy(max_tokens=50), id=str(number)))
    together = drain(engine)
    assert engine.stats().preemptions_total > 0
    for number in range(8):
        assert tokens(together[str(number)]) == alone(range(number % 3, 70), greedy(max_tokens=50))


def test_the_same_tokens_after_a_prefix_hit_on_prompt_and_answer() -> None:
    engine = engine_with()
    first = tokens(answer(engine, PROMPT, greedy(max_tokens=40)))
    conversation = [*PROMPT, *first, 7, 8, 9]
    events = answer(engine, conversation, greedy())
    assert events[0].num_cached_tokens == (70 + 39) // 16 * 16
    assert tokens(events) == alone(conversation, greedy())


@pytest.mark.parametrize("max_step_tokens", [1, 3, 16, 33, 70])
def test_the_same_tokens_in_any_chunking(max_step_tokens: int) -> None:
    engine = engine_with(EngineSettings(max_step_tokens=max_step_tokens))
    assert tokens(answer(engine, PROMPT, greedy())) == alone(PROMPT, greedy())


def test_a_seed_decides_the_answer_whatever_the_batch() -> None:
    sampling = SamplingParams(temperature=1.5, seed=11, max_tokens=30)
    engine = engine_with(num_blocks=20, max_tokens=50)
    requests = [Request(PROMPT, sampling) for _ in range(3)]
    requests += [Request(range(i, i + 60), SamplingParams(max_tokens=30, seed=i)) for i in range(4)]
    for request in requests:
        engine.add(request)
    events = drain(engine)
    for request in requests[:3]:
        assert tokens(events[request.id]) == alone(PROMPT, sampling)


def test_prompt_logprobs_do_not_depend_on_the_cache_or_on_preemption() -> None:
    sampling = greedy(prompt_logprobs=1, max_tokens=30)
    expected = [answer(engine_with(), range(n, 70), sampling)[0].prompt_logprobs for n in range(3)]
    engine = engine_with(num_blocks=12, max_tokens=24)
    answer(engine, range(70), greedy())
    for number in range(3):
        engine.add(Request(range(number, 70), sampling, id=str(number)))
    events = drain(engine)
    assert [events[str(number)][0].prompt_logprobs for number in range(3)] == expected
    assert all(event.prompt_logprobs is None for stream in events.values() for event in stream[1:])
    assert engine.stats().preemptions_total > 0


def test_another_adapter_does_not_read_this_ones_cache() -> None:
    engine = engine_with()
    answer(engine, PROMPT, greedy())
    engine.adapters.load("poet", NoWeights())
    assert answer(engine, PROMPT, greedy(), adapter="poet")[0].num_cached_tokens == 0
    assert answer(engine, PROMPT, greedy(), adapter="poet")[0].num_cached_tokens == 64


# Sharing saves work


def test_many_answers_to_one_prompt_compute_it_once() -> None:
    engine = engine_with()
    for number in range(8):
        engine.add(Request(PROMPT, greedy(max_tokens=1), id=str(number)))
    events = drain(engine)
    assert [events[str(n)][0].num_cached_tokens for n in range(8)] == [0] + [64] * 7
    runner = engine.runner
    assert isinstance(runner, FakeRunner)
    assert runner.num_tokens == 70 + 7 * 6


def test_many_users_of_one_long_system_prompt_compute_it_once() -> None:
    engine = engine_with(max_tokens=64)
    system = [i % 300 for i in range(512)]
    for number in range(6):
        engine.add(Request([*system, number, number], greedy(max_tokens=1)))
    drain(engine)
    runner = engine.runner
    assert isinstance(runner, FakeRunner)
    assert runner.num_tokens == 512 + 6 * 2
    assert runner.num_steps <= 10


# Aborting


@pytest.mark.parametrize("steps", [0, 1, 3, 8, 20])
def test_abort_frees_everything_at_once_wherever_the_request_is(steps: int) -> None:
    """Waiting, reading its prompt, decoding, preempted: after these numbers of steps."""
    engine = engine_with(num_blocks=12, max_tokens=30)
    for number in range(4):
        engine.add(Request(range(number, 70), greedy(max_tokens=60), id=str(number)))
    for _ in range(steps):
        engine.step()
    for number in range(4):
        event = engine.abort(str(number))
        assert event is not None
        assert event.finish_reason == "abort"
        assert engine.abort(str(number)) is None
        engine.check()
    assert not engine.has_work
    stats = engine.stats()
    assert (stats.kv_blocks_used, stats.requests_total, len(engine.door)) == (0, {"abort": 4}, 0)
    assert engine.step() == []


def test_an_answer_that_is_complete_can_be_ended_as_stop() -> None:
    engine = engine_with()
    engine.add(Request(PROMPT, greedy(), id="a"))
    engine.step()
    event = engine.abort("a", "stop")
    assert event is not None
    assert (event.finish_reason, event.stop_token) == ("stop", False)
    assert engine.stats().requests_total == {"stop": 1}


# Failing


def test_a_runner_that_raises_ends_its_batch_and_nobody_else() -> None:
    def explode(batch: Batch) -> None:
        if any(chunk.request_id == "bad" for chunk in batch.chunks):
            raise RuntimeError("boom")

    engine = engine_with(EngineSettings(max_sequences=2), before_run=explode)
    for request_id in ("good", "bad", "later"):
        engine.add(Request(PROMPT, greedy(), id=request_id))
    engine.step()  # "bad" waits for the prefix of "good"
    with pytest.raises(RuntimeError):
        engine.step()
    events = engine.fail("The model failed: boom")
    assert [(e.request_id, e.finish_reason, e.error) for e in events] == [
        ("good", "error", "The model failed: boom"),
        ("bad", "error", "The model failed: boom"),
    ]
    engine.check()
    assert tokens(drain(engine)["later"]) == alone(PROMPT, greedy())
    assert engine.stats().kv_blocks_used == 0


def test_logits_that_are_not_numbers_end_that_request_only(monkeypatch) -> None:
    engine = engine_with()
    healthy = engine.runner.run
    engine.add(Request(PROMPT, greedy(), id="fine"))
    engine.add(Request(range(5), greedy(), id="broken"))

    def run(batch: Batch):
        logits = healthy(batch)
        logits[[chunk.request_id == "broken" for chunk in batch.chunks], 3] = np.nan
        return logits

    monkeypatch.setattr(engine.runner, "run", run)
    events = drain(engine)
    assert events["broken"][0].finish_reason == "error"
    assert "not a finite number" in (events["broken"][0].error or "")
    assert tokens(events["fine"]) == alone(PROMPT, greedy())


def test_after_a_mistake_of_our_own_all_end_and_the_engine_starts_afresh() -> None:
    engine = engine_with()
    engine.add(Request(PROMPT, greedy(), id="a"))
    engine.step()
    [event] = engine.fail("The engine made a mistake.")
    assert (event.finish_reason, event.error) == ("error", "The engine made a mistake.")
    engine.check()
    assert engine.stats().kv_blocks_cached == 0
    assert tokens(answer(engine, PROMPT, greedy())) == alone(PROMPT, greedy())
    assert engine.stats().requests_total == {"error": 1, "length": 1}


def test_an_end_that_was_reached_before_a_mistake_is_told_nevertheless(monkeypatch) -> None:
    engine = engine_with()
    engine.add(Request(PROMPT, greedy(max_tokens=1), id="a"))
    engine.add(Request(range(9), greedy(), id="b"))
    advance = engine.scheduler.advance
    monkeypatch.setattr(engine.scheduler, "advance", lambda r, n: advance(r, n) if r.id == "a" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.step()
    events = engine.fail("The engine made a mistake.")
    assert [(event.request_id, event.finish_reason) for event in events] == [("a", "length"), ("b", "error")]
    engine.check()


def test_a_request_is_answered_once() -> None:
    engine = engine_with()
    request = Request(PROMPT, greedy())
    engine.add(request)
    drain(engine)
    with pytest.raises(InternalError, match="answered before"):
        engine.add(request)


def test_check_sees_what_is_wrong() -> None:
    engine = engine_with()
    engine.add(Request(PROMPT, greedy(), id="a"))
    engine.door.leave("a")
    with pytest.raises(InternalError, match="came through the door"):
        engine.check()


# Counting


def test_stats_add_up() -> None:
    engine = engine_with(num_blocks=64)
    answer(engine, PROMPT, greedy(max_tokens=10))
    answer(engine, PROMPT, greedy(max_tokens=10))
    engine.add(Request(PROMPT, greedy()))
    engine.step()
    stats = engine.stats()
    assert (stats.num_running, stats.num_waiting) == (1, 0)
    assert (stats.prompt_tokens_total, stats.cached_tokens_total, stats.generated_tokens_total) == (
        210,
        128,
        21,
    )
    assert (stats.kv_blocks_total, stats.kv_blocks_used, stats.kv_blocks_cached) == (64, 5, 0)
    assert stats.requests_total == {"length": 2}


def test_every_event_knows_the_prompt_and_what_of_it_was_cached() -> None:
    engine = engine_with()
    answer(engine, PROMPT, greedy())
    for event in answer(engine, PROMPT, greedy()):
        assert (event.num_prompt_tokens, event.num_cached_tokens) == (70, 64)


def test_logprobs_come_with_each_token() -> None:
    for event in answer(engine_with(), PROMPT, greedy(logprobs=3)):
        assert event.logprob == event.top_logprobs[0].logprob
        assert event.token_id == event.top_logprobs[0].token_id
        assert len(event.top_logprobs) == 3


def test_the_engine_never_asks_for_more_than_the_runner_allows() -> None:
    """FakeRunner refuses a batch outside its limits; here they are as tight as they can be."""
    engine = Engine(FakeRunner(max_tokens=3, max_sequences=5, max_outputs=2, num_blocks=30))
    for number in range(5):
        engine.add(Request(range(number, 40), greedy(prompt_logprobs=0, max_tokens=4), id=str(number)))
    events = drain(engine)
    for number in range(5):
        assert tokens(events[str(number)]) == alone(range(number, 40), greedy(max_tokens=4))
