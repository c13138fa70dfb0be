"""Memory from headers alone, against sums done by hand."""

import pytest

from fairway.map.estimate import (
    Packing,
    activation_bytes,
    is_quantised,
    kv_bytes,
    num_parameters,
    stored_packing,
    stored_types,
    weight_bytes,
)
from fairway.models.families import read_config
from fairway.models.random import QWEN2_5_0_5B, random_bundle

CONFIG = read_config(QWEN2_5_0_5B)
GEMMA = read_config(
    {
        "model_type": "gemma3_text",
        "vocab_size": 262_144,
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 26,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "max_position_embeddings": 32_768,
        "sliding_window": 512,
    }
)


def test_parameters_of_a_known_shape():
    assert num_parameters(random_bundle(QWEN2_5_0_5B)) == 494_032_768


@pytest.mark.parametrize(
    ("weight_type", "gigabytes"),
    [
        ("stored", 0.988),
        ("bf16", 0.988),
        ("int8", 0.525),
        ("int6", 0.4015),
        ("int5", 0.3567),
        ("int4", 0.312),
    ],
)
def test_weights_by_type(weight_type, gigabytes):
    """int4 keeps the token table (136 M of 494 M) at 6 bits."""
    bundle = random_bundle(QWEN2_5_0_5B, "bf16")
    assert weight_bytes(bundle, CONFIG, weight_type) / 1e9 == pytest.approx(gigabytes, rel=0.002)


@pytest.mark.parametrize(
    ("packing", "rows", "columns", "size"),
    [
        (Packing(32), 16, 10, 640),
        (Packing(32), 17, 10, 1280),
        (Packing(8, 32), 16, 64, 2 * 16 * 34),
        (Packing(8, 32), 16, 33, 2 * 16 * 34),
        (Packing(4, 32), 16, 64, 2 * 16 * 18),
        (Packing(4, 32, has_offsets=True), 16, 64, 2 * 16 * 20),
        (Packing(4, 16, has_offsets=True), 17, 65, 2 * 4 * 16 * 24),
    ],
)
def test_packed_size(packing, rows, columns, size):
    assert packing.num_bytes(rows, columns) == size


@pytest.mark.parametrize(
    ("type_name", "packing"),
    [
        ("F32", Packing(32)),
        ("BF16", Packing(16)),
        ("Q4_0", Packing(4, 32)),
        ("Q4_K", Packing(4, 32, has_offsets=True)),
        ("Q6_K", Packing(6, 16)),
        ("Q5_0", Packing(5, 32)),
        ("Q5_K", Packing(5, 32, has_offsets=True)),
        ("Q2_K", Packing(4, 16, has_offsets=True)),
    ],
)
def test_what_a_stored_type_becomes(type_name, packing):
    assert stored_packing(type_name) == packing


def test_cache_of_grouped_heads():
    """24 layers x 2 (k, v) x 2 heads x 64 x 2 bytes."""
    assert kv_bytes(CONFIG, 1, "f16") == 12_288
    assert kv_bytes(CONFIG, 1000, "f32") == 2 * 1000 * 12_288


def test_an_int8_cache_holds_scales_too():
    """24 layers x 2 heads x (64 codes and 2 scales of a key, 64 codes and 1 scale of a value)."""
    assert kv_bytes(CONFIG, 1, "int8") == 24 * 2 * (64 + 2 * 4 + 64 + 4)


def test_cache_of_sliding_windows():
    whole = kv_bytes(GEMMA, 8192, "f16")
    assert whole == 2 * 26 * 8192 * 256 * 2
    full_layers = sum(window is None for window in GEMMA.windows)
    kept = full_layers * 8192 + (26 - full_layers) * 512
    assert kv_bytes(GEMMA, 8192, "f16", trims_windows=True) == 2 * kept * 256 * 2
    assert kv_bytes(GEMMA, 100, "f16", trims_windows=True) == kv_bytes(GEMMA, 100, "f16")


def test_activations_grow_with_the_step():
    small, large = activation_bytes(CONFIG, 16, 1), activation_bytes(CONFIG, 512, 64)
    assert small < large
    assert large > 64 * CONFIG.vocab_size * 4


@pytest.mark.parametrize(
    ("type_name", "quantised"), [("f32", False), ("bf16", False), ("int8", True), ("int4", True)]
)
def test_what_counts_as_quantised(type_name, quantised):
    infos = random_bundle(QWEN2_5_0_5B, type_name).tensors.infos
    assert is_quantised(infos) is quantised
    assert next(iter(stored_types(infos))) == type_name.upper()
