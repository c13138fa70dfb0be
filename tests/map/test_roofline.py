"""Shares of the machine's limits, by hand."""

import pytest

from fairway.kernels.machine_limits import MachineLimits
from fairway.kernels.select import select_backend
from fairway.map.roofline import PassWork, Share, Work
from fairway.models.loader import load_model
from fairway.models.random import random_bundle

LIMITS = MachineLimits(threads=2, memory_bytes_per_s=40e9, int8_ops_per_s=1e12, f32_ops_per_s=0.25e12)

CONFIG = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}
# q and o 64 x 64, k and v 32 x 64, gate, up and down 128 x 64.
LAYER = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64


@pytest.mark.parametrize("weight_type", ["stored", "int8", "int4"])
def test_the_work_of_a_pass_is_that_of_its_matrices(weight_type):
    bundle = random_bundle(CONFIG)
    program = load_model(bundle, select_backend("reference"), weight_type=weight_type).program
    work = PassWork.of(program)
    assert work.tokens.ops == 2 * 2 * LAYER
    assert work.outputs.ops == 2 * 96 * 64
    assert bool(work.tokens.int8_ops) == (weight_type != "stored")
    assert bool(work.tokens.float_ops) == (weight_type == "stored")


def test_weights_are_read_once_and_products_done_for_every_token():
    once = PassWork(Work(1000, 20, 3), Work(500, 7, 0))
    assert once.step(tokens=8, outputs=2) == Work(1500, 8 * 20 + 2 * 7, 24)


def test_a_share_is_the_least_time_over_the_time_taken():
    share = Share.of(Work(20_000_000_000, 250_000_000_000, 50_000_000_000), 2.0, LIMITS)
    assert share.bytes_per_s == 10e9
    assert share.ops_per_s == 150e9
    assert share.memory_share == pytest.approx(0.25)
    assert share.products_share == pytest.approx((0.25 + 0.2) / 2)


def test_the_median_of_shares_is_that_of_each_number():
    shares = [Share(1.0, 30.0, 0.2, 0.9), Share(2.0, 10.0, 0.1, 0.8), Share(9.0, 20.0, 0.3, 0.1)]
    assert Share.median(shares) == Share(2.0, 20.0, 0.2, 0.8)
