"""Rounded weights against the reference, and the table."""

import numpy as np
import pytest
from benchmarks.quality import Row, compared, page
from benchmarks.workloads.variations import REFERENCE, Loaded, Variation, kv_types


def test_large_logits_do_not_overflow():
    logits = np.array([[3e4, -3e4], [0, 0]], np.float32)
    likeness = compared([logits], [logits], [np.array([0, 0])])
    assert (likeness.kl_mean, likeness.perplexity) == (0.0, 1.0)


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
