"""The estimate against what the native kernels really hold, to the byte."""

import pytest

from fairway.errors import SettingsError
from fairway.kernels.select import select_backend, why_reference
from fairway.map.estimate import kv_bytes, weight_bytes
from fairway.map.random_models import TINY
from fairway.models.families import read_config
from fairway.models.loader import load_model
from fairway.models.random import random_bundle

pytestmark = pytest.mark.skipif(why_reference() is not None, reason="the reference does not pack")
# Odd on purpose: neither rows nor columns fill their tiles.
ODD = dict(TINY) | {"vocab_size": 1003, "intermediate_size": 172, "hidden_size": 72, "num_attention_heads": 6}


@pytest.mark.parametrize("config", [TINY, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("stored", ["f32", "bf16", "int8", "int4"])
@pytest.mark.parametrize("weight_type", ["stored", "bf16", "int8", "int4"])
def test_weights(config, stored, weight_type):
    bundle = random_bundle(config, stored)
    try:
        model = load_model(bundle, select_backend(), weight_type=weight_type)
    except SettingsError:
        pytest.skip("not a conversion that exists")
    estimated = weight_bytes(bundle, model.config, weight_type)
    assert estimated == model.weight_bytes, "the kernels' layout has changed: map/estimate.py must follow"


@pytest.mark.parametrize("kv_type", ["f32", "f16", "int8"])
def test_cache(kv_type):
    config = read_config(TINY)
    bundle = random_bundle(TINY)
    shape = load_model(bundle, select_backend()).cache_shape(64, 16, type=kv_type)
    assert kv_bytes(config, 64 * 16, kv_type) == shape.num_bytes
