"""Chunks become the arrays of a step; nothing of an earlier batch leaks into a later one."""

import numpy as np
import pytest

from fairway.engine.batch import Batch, Chunk
from fairway.errors import InternalError
from fairway.kernels.program import CacheShape, Limits, Step
from fairway.runtimes.model_runner import ModelRunner

LIMITS = Limits(max_tokens=16, max_sequences=4, max_outputs=4)
CACHE = CacheShape(num_layers=1, num_blocks=8, block_size=4, num_kv_heads=1, head_size=2)


class RecordingModel:
    """Keeps a copy of every step it is asked to run."""

    vocab_size = 11
    max_context = 20

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def compile(self, cache, limits):
        return self

    def run(self, step: Step):
        self.steps.append(Step(*(np.array(getattr(step, name)) for name in step.__dataclass_fields__)))
        return np.zeros((len(step.output_rows), self.vocab_size), np.float32)

    def choose(self, rows, draws, vocabulary):
        return [vocabulary - 1 for _ in rows]


def chunk(name, tokens, start, num_outputs, blocks):
    return Chunk(name, tokens, start, num_outputs, blocks)


def test_a_mixed_batch_of_decodes_and_a_prompt_chunk():
    model = RecordingModel()
    runner = ModelRunner(model, CACHE, LIMITS)
    batch = Batch(
        (
            chunk("decode", [7], 9, 1, [3, 1, 5]),
            chunk("middle of a prompt", [1, 2, 3, 4], 4, 0, [0, 2]),
            chunk("prompt log probabilities", [5, 6, 8], 0, 3, [4]),
        )
    )
    logits = runner.run(batch)
    step = model.steps[0]
    assert logits.shape == (4, 11)
    assert step.token_ids.tolist() == [7, 1, 2, 3, 4, 5, 6, 8]
    assert step.positions.tolist() == [9, 4, 5, 6, 7, 0, 1, 2]
    assert step.starts.tolist() == [0, 1, 5, 8]
    assert step.output_rows.tolist() == [0, 5, 6, 7]
    assert [row[:n].tolist() for row, n in zip(step.block_tables, (3, 2, 1), strict=True)] == [
        [3, 1, 5],
        [0, 2],
        [4],
    ]


def test_a_smaller_batch_after_a_larger_one_is_not_polluted():
    model = RecordingModel()
    runner = ModelRunner(model, CACHE, LIMITS)
    runner.run(Batch((chunk("a", [1, 2, 3], 0, 1, [0]), chunk("b", [4], 5, 1, [1, 2]))))
    runner.run(Batch((chunk("c", [9], 2, 1, [6]),)))
    step = model.steps[1]
    assert (step.token_ids.tolist(), step.positions.tolist()) == ([9], [2])
    assert (step.starts.tolist(), step.output_rows.tolist()) == ([0, 1], [0])
    assert step.block_tables.shape[0] == 1
    assert step.block_tables[0, 0] == 6


@pytest.mark.parametrize(
    "batch",
    [
        Batch((chunk("too many tokens", list(range(17)), 0, 1, [0, 1, 2, 3, 4]),)),
        Batch(tuple(chunk(str(i), [1], 0, 0, [i]) for i in range(5))),
        Batch((chunk("too many outputs", [1] * 5, 0, 5, [0, 1]),)),
    ],
)
def test_an_oversized_batch_is_our_own_mistake(batch):
    with pytest.raises(InternalError, match="exceeds"):
        ModelRunner(RecordingModel(), CACHE, LIMITS).run(batch)


def test_runner_states_the_limits_the_scheduler_plans_with():
    runner = ModelRunner(RecordingModel(), CACHE, LIMITS)
    assert (runner.vocab_size, runner.max_context) == (11, 20)
    assert (runner.num_blocks, runner.block_size) == (8, 4)
    assert (runner.max_tokens, runner.max_sequences, runner.max_outputs) == (16, 4, 4)


def test_tokens_that_the_tokenizer_does_not_have_cannot_be_chosen():
    runner = ModelRunner(RecordingModel(), CACHE, LIMITS, vocab_size=9)
    logits = runner.run(Batch((chunk("a", [1], 0, 1, [0]),)))
    assert logits.shape == (1, runner.vocab_size) == (1, 9)
