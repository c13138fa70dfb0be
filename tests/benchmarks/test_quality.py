"""Perplexity and divergence by hand, windows of text, and the table."""

import math

import numpy as np
import pytest
from benchmarks.peers.protocol import Unavailable
from benchmarks.quality import Row, compared, page
from benchmarks.workloads.held_out import windows
from benchmarks.workloads.likeness import Comparison
from benchmarks.workloads.variations import REFERENCE, Loaded, Variation, kv_types

from fairway.text.byte_tokenizer import ByteTokenizer


def logits_of(*rows):
    """Logits whose softmax is `rows`."""
    return np.log(np.array(rows, np.float32))


def test_figures_of_a_text_that_one_can_check_by_hand():
    reference = logits_of([0.5, 0.5], [0.25, 0.75], [0.5, 0.5])
    other = logits_of([0.25, 0.75], [0.25, 0.75], [0.5, 0.5])
    found = Comparison()
    found.add(reference, other, np.array([0, 1, 0]))
    likeness = found.result()
    assert likeness.num_tokens == 2
    assert likeness.reference_perplexity == pytest.approx((0.5 * 0.25) ** -0.5)
    assert likeness.perplexity == pytest.approx((0.75 * 0.25) ** -0.5)
    divergence = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert likeness.kl_mean == pytest.approx(divergence / 2, abs=1e-6)
    assert likeness.kl_p99 == pytest.approx(divergence * 0.99, rel=1e-3)
    assert likeness.same_top == 0.5
    assert likeness.perplexity_change == pytest.approx((0.5 / 0.75) ** 0.5 - 1)


def test_large_logits_do_not_overflow():
    logits = np.array([[3e4, -3e4], [0, 0]], np.float32)
    likeness = compared([logits], [logits], [np.array([0, 0])])
    assert (likeness.kl_mean, likeness.perplexity) == (0.0, 1.0)


def test_windows_are_full_begin_with_bos_and_come_from_the_whole_text():
    tokenizer = ByteTokenizer()
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found = windows(tokenizer, ["a" * 50, "b" * 50], 10, 4)
    assert [len(window) for window in found] == [10] * 4
    assert all(window[: len(begin)].tolist() == begin for window in found)
    last = {window[-1] for window in found}
    assert last == {tokenizer.encode("a")[-1], tokenizer.encode("b")[-1]}
    with pytest.raises(Unavailable, match="shorter"):
        windows(tokenizer, ["a"], 10, 4)


def test_every_cache_that_can_be_asked_for_is_measured():
    assert kv_types()[0] == "f32"
    assert "f16" in kv_types() and "auto" not in kv_types()


def test_int4_is_farther_from_the_reference_than_int8(quality_model):
    ids = [np.random.default_rng(0).integers(0, 64, 32).astype(np.int32)]
    exact = [Loaded(quality_model, REFERENCE, 32, 1).logits(ids[0]).copy()]
    rows = []
    for weights in ("stored", "int8", "int4"):
        loaded = Loaded(quality_model, Variation(weights, "f32", isa="reference"), 32, 1)
        rows.append(Row(weights, compared(exact, [loaded.logits(ids[0])], ids), loaded.weight_bytes))
    stored, int8, int4 = (row.likeness.kl_mean for row in rows)
    assert stored == 0 < int8 < int4
    text = page("tiny", rows, {"date": "2000-01-01", "windows": 1})
    assert "| stored | " in text and "100.00%" in text and "- windows: 1" in text


@pytest.fixture
def quality_model(tmp_path):
    """A small model with random weights, as a folder."""
    from benchmarks.comparison.shapes import write_random

    from fairway.map.random_models import TINY

    shape = {**TINY, "vocab_size": 512, "max_position_embeddings": 64}
    write_random(shape, tmp_path / "model")
    return tmp_path / "model"
