"""Perplexity and divergence by hand, in chunks of any size, and windows of text."""

import math

import numpy as np
import pytest

from fairway.errors import UsageError
from fairway.proof import likeness as module
from fairway.proof.forward import windows
from fairway.proof.likeness import Comparison
from fairway.text.byte_tokenizer import ByteTokenizer


def logits_of(*rows):
    """Logits whose softmax is `rows`."""
    return np.log(np.array(rows, np.float32))


def test_figures_of_a_text_that_one_can_check_by_hand():
    reference = logits_of([0.5, 0.5], [0.25, 0.75], [0.5, 0.5])
    other = logits_of([0.25, 0.75], [0.25, 0.75], [0.5, 0.5])
    found = Comparison()
    found.add(reference, other, np.array([1, 0]))
    likeness = found.result()
    assert likeness.num_tokens == 2
    assert likeness.reference_perplexity == pytest.approx((0.5 * 0.25) ** -0.5)
    assert likeness.perplexity == pytest.approx((0.75 * 0.25) ** -0.5)
    divergence = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert likeness.kl_mean == pytest.approx(divergence / 2, abs=1e-6)
    assert likeness.kl_p99 == pytest.approx(divergence * 0.99, rel=1e-3)
    assert likeness.same_top == 0.5
    assert likeness.perplexity_change == pytest.approx((0.5 / 0.75) ** 0.5 - 1)


def test_chunks_change_nothing(monkeypatch):
    draws = np.random.default_rng(1)
    reference, other = (draws.normal(size=(40, 30)).astype(np.float32) for _ in range(2))
    ids = draws.integers(0, 30, 40).astype(np.int32)
    whole, pieces = Comparison(), Comparison()
    whole.add(reference, other, ids[1:])
    monkeypatch.setattr(module, "CHUNK_BYTES", 8 * 30 * 7)
    for start in range(0, 40, 16):
        part = slice(start, start + 16)
        pieces.add(reference[part], other[part], ids[start + 1 : start + 17])
    assert pieces.result() == whole.result()
    assert whole.result().max_difference == np.abs(reference - other)[:-1].max()


def test_logits_that_are_no_numbers_give_figures_that_are_none():
    broken = np.full((3, 4), np.nan, np.float32)
    found = Comparison()
    found.add(np.zeros((3, 4), np.float32), broken, np.array([0, 1]))
    assert math.isnan(found.result().kl_mean) and math.isnan(found.result().perplexity)


def test_windows_are_full_begin_with_bos_and_come_from_the_whole_text():
    tokenizer = ByteTokenizer()
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found = windows(tokenizer, ["a" * 50, "b" * 50], 10, 4)
    assert [len(window) for window in found] == [10] * 4
    assert all(window[: len(begin)].tolist() == begin for window in found)
    last = {window[-1] for window in found}
    assert last == {tokenizer.encode("a")[-1], tokenizer.encode("b")[-1]}
    with pytest.raises(UsageError, match="shorter"):
        windows(tokenizer, ["a"], 10, 4)
