"""Situations: who is there, and whom each of the next steps computes how far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from fairway.engine.kv_cache import KVCache
from fairway.engine.limits import StepLimits
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.scheduler import Scheduler
from fairway.errors import InternalError

BLOCK = 4
UNIQUE = 1000


@dataclass(frozen=True)
class Situation:
    """`prompts` arrive together; `steps` lists what each step computes as {id: (start, tokens)}.

    A prompt is a number of tokens that nobody shares, or a text whose letters are the tokens.
    """

    name: str
    prompts: Mapping[str, int | str]
    steps: Sequence[Mapping[str, tuple[int, int]]]
    num_blocks: int = 100
    limits: StepLimits = field(default_factory=lambda: StepLimits(100, 8, 100))
    adapters: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[int, Callable[[Scheduler], None]] = field(default_factory=dict)
    """Something that happens before step i."""
    preemptions: int = 0


def abort(request_id: str) -> Callable[[Scheduler], None]:
    return lambda scheduler: scheduler.remove(scheduler.requests[request_id])


def arrive(request_id: str, prompt: int | str) -> Callable[[Scheduler], None]:
    return lambda scheduler: scheduler.add(ask(request_id, prompt))


SITUATIONS = [
    Situation("nobody is there", {}, [{}]),
    Situation("one prompt, then token by token", {"a": 5}, [{"a": (0, 5)}, {"a": (5, 1)}, {"a": (6, 1)}]),
    Situation(
        "a long prompt goes in chunks of the budget",
        {"a": 10},
        [{"a": (0, 4)}, {"a": (4, 4)}, {"a": (8, 2)}, {"a": (10, 1)}],
        limits=StepLimits(4, 4, 4),
    ),
    Situation(
        "who decodes goes on while another's prompt is read",
        {"a": 3, "b": 9},
        [{"a": (0, 3), "b": (0, 2)}, {"a": (3, 1), "b": (2, 4)}, {"a": (4, 1), "b": (6, 3)}],
        limits=StepLimits(5, 4, 4),
    ),
    Situation(
        "an earlier prompt leaves a token to each one after it",
        {"a": 3, "b": 20},
        [
            {"a": (0, 3), "b": (0, 5)},
            {"a": (3, 1), "b": (5, 7)},
            {"a": (4, 1), "b": (12, 7)},
            {"a": (5, 1), "b": (19, 1), "c": (0, 2)},
        ],
        limits=StepLimits(8, 4, 4),
        before={1: arrive("c", 2)},
    ),
    Situation(
        "no more run than may, first come first served",
        {"a": 2, "b": 2, "c": 2},
        [{"a": (0, 2), "b": (0, 2)}, {"a": (2, 1), "b": (2, 1)}, {"b": (3, 1), "c": (0, 2)}],
        limits=StepLimits(100, 2, 100),
        before={2: abort("a")},
    ),
    Situation(
        "who comes first is not overtaken by one that would fit",
        {"a": 8, "b": 12, "c": 2},
        [{"a": (0, 8)}, {"a": (8, 1)}],
        num_blocks=5,
    ),
    Situation(
        "a newcomer leaves a block to grow for each who runs",
        {"a": 6, "b": 6},
        [{"a": (0, 6)}, {"a": (6, 1)}],
        num_blocks=4,
    ),
    Situation(
        "identical prompts: one computes, the others wait a step and share",
        {"a": "xxxxyyyyz", "b": "xxxxyyyyz", "c": "xxxxyyyyz"},
        [{"a": (0, 9)}, {"a": (9, 1), "b": (8, 1), "c": (8, 1)}],
    ),
    Situation(
        "a long shared prompt is waited for exactly as long as it is shared",
        {"a": "xxxxyyyyzzzzaa", "b": "xxxxyyyybbbbbb"},
        [
            {"a": (0, 4)},
            {"a": (4, 4)},
            {"a": (8, 4)},
            {"a": (12, 2), "b": (8, 2)},
            {"a": (14, 1), "b": (10, 3)},
        ],
        limits=StepLimits(4, 4, 4),
    ),
    Situation(
        "who waits for a prefix lets others pass and keeps the place",
        {"a": "xxxxyyyyz", "b": "xxxxyyyyq", "c": 3, "d": 3},
        [{"a": (0, 9), "c": (0, 3), "d": (0, 3)}, {"a": (9, 1), "c": (3, 1), "d": (3, 1), "b": (8, 1)}],
    ),
    Situation(
        "who waited for a prefix and came in later still leaves a token to the younger",
        {"a": "xxxxyyyyz", "b": "xxxxyyyy" + "q" * 30, "c": 3},
        [
            {"a": (0, 9), "c": (0, 3)},
            {"a": (9, 1), "c": (3, 1), "b": (8, 10)},
            {"a": (10, 1), "b": (18, 10), "c": (4, 1)},
        ],
        limits=StepLimits(12, 4, 12),
    ),
    Situation(
        "who waits for a prefix counts as if running, so nobody takes the place",
        {"a": "xxxxyyyyz", "b": "xxxxyyyyq", "c": 3},
        [{"a": (0, 9)}, {"a": (9, 1), "b": (8, 1)}],
        limits=StepLimits(100, 2, 100),
    ),
    Situation(
        "the one that was waited for is aborted: the other computes",
        {"a": "xxxxyyyyz", "b": "xxxxyyyyq"},
        [{"a": (0, 4)}, {"b": (4, 4)}, {"b": (8, 1)}],
        limits=StepLimits(4, 4, 4),
        before={1: abort("a")},
    ),
    Situation(
        "the same prompt for another adapter is not shared and not waited for",
        {"a": "xxxxyyyyz", "b": "xxxxyyyyz", "c": "xxxxyyyyz"},
        [{"a": (0, 9), "b": (0, 9)}, {"a": (9, 1), "b": (9, 1), "c": (8, 1)}],
        adapters={"b": "poet", "c": "poet"},
    ),
    Situation(
        "a prompt of whole blocks still computes its last block",
        {"a": "xxxxyyyy", "b": "xxxxyyyy"},
        [{"a": (0, 8)}, {"a": (8, 1), "b": (4, 4)}],
    ),
    Situation(
        "the youngest gives way when it cannot grow, and comes back over its own cached blocks",
        {"a": 6, "b": 5},
        [
            {"a": (0, 6), "b": (0, 5)},
            {"a": (6, 1), "b": (5, 1)},
            {"a": (7, 1), "b": (6, 1)},
            {"a": (8, 1), "b": (7, 1)},
            {"a": (9, 1)},
            {"b": (8, 1)},
        ],
        num_blocks=5,
        before={5: abort("a")},
        preemptions=1,
    ),
    Situation(
        "what the preempted left is computed again as far as others needed the place",
        {"a": 6, "b": 5},
        [
            {"a": (0, 6), "b": (0, 5)},
            *({"a": (6 + i, 1), "b": (5 + i, 1)} for i in range(3)),
            *({"a": (9 + i, 1)} for i in range(4)),
            {"b": (4, 5)},
        ],
        num_blocks=5,
        before={8: abort("a")},
        preemptions=1,
    ),
    Situation(
        "the youngest makes room for an older one",
        {"a": 5, "b": 7},
        [
            {"a": (0, 5), "b": (0, 7)},
            *({"a": (5 + i, 1), "b": (7 + i, 1)} for i in range(3)),
            {"a": (8, 1)},
            {"a": (9, 1)},
        ],
        num_blocks=5,
        preemptions=1,
    ),
    Situation(
        "outputs are a budget too",
        {"a": 2, "b": 2, "c": 2},
        [{"a": (0, 2), "b": (0, 2)}, {"a": (2, 1), "b": (2, 1)}],
        limits=StepLimits(100, 2, 2),
    ),
]


def ask(request_id: str, prompt: int | str, adapter: str = "") -> Request:
    if isinstance(prompt, str):
        return Request([ord(letter) for letter in prompt], id=request_id, adapter=adapter)
    first = UNIQUE * (1 + ord(request_id))
    return Request(range(first, first + prompt), id=request_id, adapter=adapter)


def step(scheduler: Scheduler) -> dict[str, tuple[int, int]]:
    """Schedules, pretends to compute, and appends a token to each that reached its end."""
    batch = scheduler.schedule()
    if batch is None:
        return {}
    assert batch.num_tokens <= scheduler.limits.max_tokens
    assert batch.num_outputs <= scheduler.limits.max_outputs
    for chunk in batch.chunks:
        request = scheduler.requests[chunk.request_id]
        ends = chunk.start + chunk.num_tokens == request.num_tokens
        assert chunk.num_outputs == ends or request.sampling.prompt_logprobs is not None
        assert list(chunk.token_ids) == list(request.token_ids[chunk.start : chunk.start + chunk.num_tokens])
        scheduler.advance(request, chunk.num_tokens)
        if ends:
            request.token_ids.append(UNIQUE * request.arrival)
    scheduler.check()
    return {chunk.request_id: (chunk.start, chunk.num_tokens) for chunk in batch.chunks}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_situation(situation: Situation) -> None:
    scheduler = Scheduler(KVCache(situation.num_blocks, BLOCK), situation.limits)
    for request_id, prompt in situation.prompts.items():
        scheduler.add(ask(request_id, prompt, situation.adapters.get(request_id, "")))
    happened = []
    for number in range(len(situation.steps)):
        situation.before.get(number, lambda _: None)(scheduler)
        happened.append(step(scheduler))
    assert [list(step.items()) for step in happened] == [list(step.items()) for step in situation.steps]
    assert scheduler.num_preemptions == situation.preemptions


def test_the_preempted_waits_at_the_head_of_the_queue() -> None:
    scheduler = Scheduler(KVCache(5, BLOCK), StepLimits(100, 2, 100))
    for request_id in "abc":
        scheduler.add(ask(request_id, 5))
    while not scheduler.num_preemptions:
        step(scheduler)
    assert [request.id for request in scheduler.waiting] == ["b", "c"]


def test_prompt_logprobs_want_every_logit_and_keep_to_the_budget_of_outputs() -> None:
    scheduler = Scheduler(KVCache(100, BLOCK), StepLimits(100, 4, 6))
    scheduler.add(ask("a", 3))
    scheduler.add(Request(range(9), SamplingParams(prompt_logprobs=0), id="b"))
    happened, outputs = [], []
    for _ in range(4):
        batch = scheduler.schedule()
        assert batch is not None
        happened.append({chunk.request_id: chunk.num_tokens for chunk in batch.chunks})
        outputs.append(batch.num_outputs)
        for chunk in batch.chunks:
            request = scheduler.requests[chunk.request_id]
            if request.id == "b":
                request.prompt_logprobs.extend(
                    [()] * min(chunk.num_outputs, 8 - len(request.prompt_logprobs))
                )
            scheduler.advance(request, chunk.num_tokens)
            if request.num_new == 0:
                request.token_ids.append(UNIQUE)
        scheduler.check()
    assert happened == [{"a": 3, "b": 5}, {"a": 1, "b": 4}, {"a": 1, "b": 1}, {"a": 1, "b": 1}]
    assert outputs == [6, 5, 2, 2]


def test_totals_count_a_prompt_once_however_often_it_is_preempted() -> None:
    scheduler = Scheduler(KVCache(5, BLOCK), StepLimits(100, 2, 100))
    scheduler.add(ask("a", 5))
    scheduler.add(ask("b", 5))
    for _ in range(10):
        step(scheduler)
    assert scheduler.num_preemptions >= 1
    abort("a")(scheduler)
    step(scheduler)
    assert (scheduler.num_prompt_tokens, scheduler.num_cached_tokens) == (10, 0)


def test_starting_afresh_sends_everyone_back_in_order_of_arrival() -> None:
    scheduler = Scheduler(KVCache(100, BLOCK), StepLimits(100, 2, 100))
    for request_id in "abc":
        scheduler.add(ask(request_id, 5))
    step(scheduler)
    scheduler.start_afresh(KVCache(100, BLOCK))
    scheduler.check()
    assert [request.id for request in scheduler.waiting] == ["a", "b", "c"]
    assert step(scheduler) == {"a": (0, 6), "b": (0, 6)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda scheduler: scheduler.running.reverse(),
        lambda scheduler: scheduler.running.pop(),
        lambda scheduler: scheduler.waiting.append(scheduler.running.pop()),
        lambda scheduler: scheduler.running.append(scheduler.waiting.pop()),
        lambda scheduler: scheduler.requests.pop("c"),
    ],
)
def test_check_sees_what_is_wrong(spoil) -> None:
    scheduler = Scheduler(KVCache(100, BLOCK), StepLimits(100, 2, 100))
    for request_id in "abc":
        scheduler.add(ask(request_id, 5))
    step(scheduler)
    spoil(scheduler)
    with pytest.raises(InternalError):
        scheduler.check()


def test_the_same_id_twice_is_our_own_mistake() -> None:
    scheduler = Scheduler(KVCache(100, BLOCK), StepLimits(100, 2, 100))
    scheduler.add(ask("a", 5))
    with pytest.raises(InternalError, match="already"):
        scheduler.add(ask("a", 5))
