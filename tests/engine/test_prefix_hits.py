"""Every block of every prompt is computed once, however many ask for it at once, as long as there is room."""

from __future__ import annotations

import random
from collections.abc import Sequence

from engine_cases import engine_with, greedy
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.engine.engine import Engine
from fairway.engine.request import Request

BLOCK = 4
VOCABULARY = 300


def prompts_of(seed: int, count: int) -> list[list[int]]:
    """Prompts that begin like earlier ones, each with an end of its own that is no whole block."""
    choose = random.Random(seed)
    found: list[list[int]] = []
    for _ in range(count):
        start: list[int] = []
        if found and choose.random() < 0.8:
            earlier = choose.choice(found)
            start = earlier[: choose.randint(0, len(earlier) // BLOCK) * BLOCK]
        start = start + [choose.randrange(VOCABULARY) for _ in range(BLOCK * choose.randint(0, 5))]
        end = choose.randrange(1, BLOCK) if start else BLOCK - 1
        found.append(start + [choose.randrange(VOCABULARY) for _ in range(end)])
    return found


def blocks_of(prompt: Sequence[int]) -> list[tuple[int, ...]]:
    """Every prefix of whole blocks."""
    return [tuple(prompt[:end]) for end in range(BLOCK, len(prompt) + 1, BLOCK)]


def ideal_hits(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that an endless cache supplies, in whatever order the prompts come."""
    blocks = [block for prompt in prompts for block in blocks_of(prompt)]
    return BLOCK * (len(blocks) - len(set(blocks)))


def serve(engine: Engine, prompts: Sequence[Sequence[int]], num_at_once: int) -> None:
    """One token each, `num_at_once` inside at any time."""
    left = list(prompts)[::-1]
    while left or engine.has_work:
        while left and len(engine.door) < num_at_once:
            engine.add(Request(left.pop(), greedy(max_tokens=1)))
        engine.step()
        engine.check()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 30),
    num_at_once=st.integers(1, 40),
    max_tokens=st.integers(1, 60),
    max_sequences=st.integers(1, 12),
)
def test_the_hit_rate_is_the_ideal_one(seed, count, num_at_once, max_tokens, max_sequences) -> None:
    prompts = prompts_of(seed, count)
    engine = engine_with(
        vocab_size=VOCABULARY,
        block_size=BLOCK,
        num_blocks=2000,
        max_tokens=max_tokens,
        max_outputs=max_tokens,
        max_sequences=max_sequences,
    )
    serve(engine, prompts, num_at_once)
    assert engine.stats().cached_tokens_total == ideal_hits(prompts)
    assert engine.runner.num_tokens == sum(map(len, prompts)) - ideal_hits(prompts)


def test_many_users_of_one_system_prompt_compute_it_once() -> None:
    shared = list(range(1, 1001))
    prompts = [[*shared, user, *range(15)] for user in range(32)]
    engine = engine_with(vocab_size=1100, num_blocks=512, max_tokens=512)
    serve(engine, prompts, num_at_once=32)
    whole_blocks = 1000 // engine.runner.block_size * engine.runner.block_size
    assert engine.stats().cached_tokens_total == 31 * whole_blocks


def test_what_the_queue_asks_for_outlives_what_was_used_later() -> None:
    """Two prefixes fit beside who runs; the one that somebody waits for is there when its turn comes."""
    engine = engine_with(block_size=BLOCK, num_blocks=9, max_sequences=1, max_tokens=32)
    wanted, other = list(range(1, 13)), list(range(101, 113))
    serve(engine, [[*wanted, 0], [*other, 0]], num_at_once=1)
    serve(engine, [[*range(201, 213), 0], [*wanted, 1]], num_at_once=2)
    assert engine.stats().cached_tokens_total == len(wanted)
