"""A generation is a stream of deltas; the whole answer is their fold, whichever way it is read."""

import asyncio
import time
from contextlib import closing
from dataclasses import replace

import pytest
from fake_runtime import LETTERS, fake_runtime

from fairway.engine.fake_runner import FakeRunner
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import Busy, ContextExceeded, RequestError
from fairway.runtimes.protocol import Delta, GenerationRequest

GREEDY = SamplingParams(temperature=0.0, max_tokens=40)


@pytest.fixture
def runtime():
    with closing(fake_runtime()) as each:
        yield each


@pytest.fixture
def slow_runtime():
    """Slow enough that a reader is never behind."""
    runner = FakeRunner(vocab_size=258, likely_ids=LETTERS, step_latency_s=0.005)
    with closing(fake_runtime(runner)) as each:
        yield each


def ask(runtime, text="once upon a time", sampling=GREEDY, **options):
    return GenerationRequest(runtime.tokenizer.encode(text), sampling, **options)


def fold(deltas: list[Delta], index: int = 0) -> str:
    return "".join(delta.text for delta in deltas if delta.index == index)


def read(runtime, request) -> list[Delta]:
    return list(runtime.generate(request))


async def read_async(runtime, request) -> list[Delta]:
    return [delta async for delta in runtime.generate(request)]


def wait_until_idle(runtime) -> None:
    """Everything that was submitted has been told its end, so a further request ends after it."""
    request = ask(runtime, "idle?", replace(GREEDY, max_tokens=1))
    for _ in range(500):
        try:
            read(runtime, request)
        except Busy:
            time.sleep(0.01)
        else:
            return
    pytest.fail("the queue never emptied")


def test_an_answer_ends_with_its_reason_and_usage(runtime):
    deltas = read(runtime, ask(runtime))
    assert len(fold(deltas)) == 40
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * 39
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].usage.prompt_tokens == 17
    assert deltas[-1].usage.completion_tokens == 40


def test_plain_and_async_iteration_agree(runtime):
    plain = read(runtime, ask(runtime))
    awaited = asyncio.run(read_async(runtime, ask(runtime)))
    assert fold(plain) == fold(awaited)
    assert awaited[-1].usage.cached_tokens > 0


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_ends_the_answer_where_it_begins(slow_runtime, include):
    runtime = slow_runtime
    whole = fold(read(runtime, ask(runtime)))
    stop = whole[11:14]
    deltas = read(runtime, ask(runtime, stop=(stop,), include_stop=include))
    end = whole.index(stop) + (len(stop) if include else 0)
    assert fold(deltas) == whole[:end]
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", stop)
    assert deltas[-1].usage.completion_tokens == whole.index(stop) + len(stop)
    wait_until_idle(runtime)
    assert runtime.stats().requests_total["stop"] == 1


def test_what_was_held_back_for_a_stop_string_is_sent_at_the_end(runtime):
    whole = fold(read(runtime, ask(runtime)))
    deltas = read(runtime, ask(runtime, stop=(whole[-3:] + "never",)))
    assert fold(deltas) == whole


def test_a_stop_token_is_named_and_not_shown(runtime):
    whole = fold(read(runtime, ask(runtime)))
    stop_id = ord(whole[5])
    sampling = replace(GREEDY, stop_token_ids=frozenset({stop_id}))
    deltas = read(runtime, ask(runtime, sampling=sampling))
    assert fold(deltas) == whole[: whole.index(whole[5])]
    assert (deltas[-1].finish_reason, deltas[-1].stop_reason) == ("stop", stop_id)
    assert deltas[-1].token_ids == ()


@pytest.mark.parametrize("reader", [read, lambda *a: asyncio.run(read_async(*a))], ids=["plain", "async"])
def test_answers_differ_by_seed_and_each_is_what_its_seed_gives_alone(runtime, reader):
    sampling = SamplingParams(temperature=1.5, max_tokens=20, seed=7)
    deltas = reader(runtime, ask(runtime, sampling=sampling, num_answers=3))
    texts = [fold(deltas, index) for index in range(3)]
    assert len(set(texts)) == 3
    for index, text in enumerate(texts):
        alone = reader(runtime, ask(runtime, sampling=replace(sampling, seed=7 + index)))
        assert fold(alone) == text
    ends = [delta for delta in deltas if delta.finish_reason]
    assert sorted(delta.index for delta in ends) == [0, 1, 2]
    assert [delta.usage is not None for delta in ends] == [False, False, True]
    assert ends[-1].usage.completion_tokens == 60


def test_logprobs_name_the_chosen_token_first_among_its_rivals(runtime):
    sampling = replace(GREEDY, max_tokens=3, logprobs=2)
    deltas = read(runtime, ask(runtime, sampling=sampling))
    for delta in deltas:
        (chosen,) = delta.logprobs
        assert chosen.bytes == chosen.top[0].bytes == bytes([chosen.token_id])
        assert chosen.logprob == chosen.top[0].logprob >= chosen.top[1].logprob
        assert len(chosen.top) == 2


def test_prompt_logprobs_come_once_with_nothing_for_the_first_token(runtime):
    sampling = replace(GREEDY, max_tokens=2, prompt_logprobs=1)
    deltas = read(runtime, ask(runtime, "abc", sampling))
    given = [delta.prompt_logprobs for delta in deltas if delta.prompt_logprobs is not None]
    assert len(given) == 1
    assert given[0][0] is None
    assert [each.token_id for each in given[0][1:]] == [ord(c) for c in "abc"]
    assert all(each.logprob <= 0 for each in given[0][1:])


@pytest.mark.parametrize("num_answers", [1, 3])
def test_leaving_early_frees_everything(num_answers):
    runner = FakeRunner(vocab_size=258, likely_ids=LETTERS, step_latency_s=0.001)
    with closing(fake_runtime(runner)) as runtime:

        async def leave() -> None:
            request = ask(runtime, sampling=replace(GREEDY, max_tokens=1000), num_answers=num_answers)
            task = asyncio.ensure_future(read_async(runtime, request))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(leave())
        wait_until_idle(runtime)
        stats = runtime.stats()
        assert stats.requests_total["abort"] == num_answers
        assert (stats.num_running, stats.num_waiting, stats.kv_blocks_used) == (0, 0, 0)


def test_all_answers_are_accepted_or_none():
    runner = FakeRunner(vocab_size=258, max_sequences=1, step_latency_s=0.001)
    with closing(fake_runtime(runner, max_waiting=1)) as runtime:
        with pytest.raises(Busy):
            runtime.generate(ask(runtime, sampling=replace(GREEDY, max_tokens=500), num_answers=8))
        wait_until_idle(runtime)
        assert runtime.stats().num_waiting == 0


def test_a_prompt_that_cannot_fit_is_refused_with_both_numbers(runtime):
    with pytest.raises(ContextExceeded, match=r"5001.*2048"):
        runtime.generate(ask(runtime, "a" * 5000))


@pytest.mark.parametrize("ids", [[], [300], [-1]])
def test_impossible_prompts_are_refused(runtime, ids):
    with pytest.raises(RequestError):
        runtime.generate(GenerationRequest(ids, GREEDY))


def test_text_parts_are_joined_for_templates_that_know_only_strings(runtime):
    parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]
    joined = runtime.chat_prompt([{"role": "user", "content": "hello there"}])
    assert runtime.chat_prompt([{"role": "user", "content": parts}]) == joined


def test_a_failing_model_ends_its_requests_with_an_error_and_serves_the_next():
    calls = []

    def fail_once(batch) -> None:
        calls.append(batch)
        if len(calls) == 3:
            raise RuntimeError("broken on purpose")

    runner = FakeRunner(vocab_size=258, likely_ids=LETTERS, before_run=fail_once)
    with closing(fake_runtime(runner)) as runtime:
        deltas = read(runtime, ask(runtime))
        assert deltas[-1].finish_reason == "error"
        assert "broken on purpose" in deltas[-1].error
        assert read(runtime, ask(runtime))[-1].finish_reason == "length"
