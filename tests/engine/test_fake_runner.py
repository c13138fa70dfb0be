"""The fake must be as strict as a real model is fragile, or the other tests prove nothing."""

import time

import numpy as np
import pytest

from fairway.engine.batch import Batch, Chunk
from fairway.engine.fake_runner import FakeRunner
from fairway.errors import InternalError


def chunk(tokens, blocks, start=0, outputs=1, request_id="a") -> Chunk:
    return Chunk(request_id, tokens, start, outputs, blocks)


def logits(runner: FakeRunner, *chunks: Chunk) -> np.ndarray:
    return runner.run(Batch(chunks)).copy()


def small(**fields) -> FakeRunner:
    return FakeRunner(**{"vocab_size": 50, "num_blocks": 8, "block_size": 4, **fields})


def test_logits_do_not_depend_on_chunks_blocks_or_neighbours() -> None:
    tokens = [3, 1, 4, 1, 5, 9, 2]
    whole = logits(small(), chunk(tokens, [0, 1], outputs=7))
    runner = small()
    pieces = [
        logits(runner, chunk(tokens[:3], [6], outputs=3), chunk([7, 7], [0], request_id="b"))[:3],
        logits(runner, chunk(tokens[3:], [6, 2], start=3, outputs=4)),
    ]
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("position", range(5))
def test_logits_depend_on_every_earlier_token(position: int) -> None:
    tokens = [3, 1, 4, 1, 5]
    changed = tokens.copy()
    changed[position] += 1
    assert not np.array_equal(logits(small(), chunk(tokens, [0, 1])), logits(small(), chunk(changed, [0, 1])))


def test_logits_depend_on_the_order_of_tokens() -> None:
    assert not np.array_equal(logits(small(), chunk([1, 2, 3], [0])), logits(small(), chunk([2, 1, 3], [0])))


def test_a_wrong_block_changes_the_logits() -> None:
    runner = small()
    right = logits(runner, chunk([1, 2, 3, 4, 5], [0, 1]))
    assert not np.array_equal(logits(runner, chunk([5], [3, 1], start=4)), right)
    assert np.array_equal(logits(runner, chunk([5], [0, 1], start=4)), right)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk([1], [0], request_id=str(n)) for n in range(33)],
        [chunk([1] * 5, [0])],
        [chunk([1] * 4, [0, 1])],
        [chunk([], [0])],
        [chunk([1, 2], [0], outputs=3)],
        [chunk([1], [0]), chunk([2], [0], request_id="b")],
        [chunk([1] * 513, list(range(129)))],
    ],
)
def test_a_batch_that_breaks_the_contract_is_refused(chunks) -> None:
    with pytest.raises(InternalError):
        small().run(Batch(tuple(chunks)))


def test_likely_ids_are_the_most_likely() -> None:
    runner = small(likely_ids=(10, 11, 12))
    for start in range(20):
        assert logits(runner, chunk([start, 1], [0])).argmax() in (10, 11, 12)


def test_latency_is_per_step_and_per_token() -> None:
    runner = small(step_latency_s=0.01, token_latency_s=0.005)
    start = time.perf_counter()
    runner.run(Batch((chunk([1, 2], [0]),)))
    assert time.perf_counter() - start >= 0.02
    assert (runner.num_steps, runner.num_tokens) == (1, 2)
