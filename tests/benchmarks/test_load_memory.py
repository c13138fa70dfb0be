"""Loading takes little memory beside the packed weights: measured in processes of their own."""

import pytest
from benchmarks.load_memory import MB, SOURCES, loaded, write_checkpoint

from fairway.kernels.extension import native_isas
from fairway.models.random import QWEN2_5_0_5B

pytestmark = pytest.mark.skipif(not native_isas(), reason="the reference does not pack")
# A token table of 62 million values beside which the rest is small: 250 MB in float32, 47 MB as codes.
CONFIG = dict(QWEN2_5_0_5B) | {
    "vocab_size": 120_000,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_hidden_layers": 2,
}
# Slices, scales of one matrix and what the allocator keeps; a copy of the table's codes would be 47 MB more.
SLACK_MB = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.parametrize("weight_type", ["stored", "int4"])
@pytest.mark.parametrize("source", SOURCES)
def test_the_peak_lies_little_above_the_packed_weights(folder, source, weight_type):
    path = write_checkpoint(folder, source, CONFIG)
    found = loaded(path, weight_type)
    assert found["packed"] * MB > 50_000_000
    assert found["own above packed"] < SLACK_MB


def test_a_mapped_model_takes_no_memory_of_its_own(folder, tmp_path):
    path = write_checkpoint(folder, "bf16", CONFIG)
    first, second = (loaded(path, "int8", tmp_path) for _ in range(2))
    assert first["own above packed"] < SLACK_MB
    assert first["own at the end"] < SLACK_MB
    assert second["own above packed"] + second["packed"] < SLACK_MB
