"""The estimate against what the native kernels really hold, to the byte."""

import numpy as np
import pytest

from fairway.errors import SettingsError
from fairway.kernels.lora import adaptable
from fairway.kernels.program import Delta, Limits
from fairway.kernels.select import select_backend, why_reference
from fairway.map.adapter_memory import adapter_bytes, adapter_parameters
from fairway.map.estimate import kv_bytes, weight_bytes
from fairway.map.random_models import TINY
from fairway.models.families import read_config
from fairway.models.loader import load_model
from fairway.models.random import random_bundle
from fairway.tensors import DenseTensor

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


@pytest.mark.parametrize("config", [TINY, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("rank", [1, 5, 16])
@pytest.mark.parametrize("weight_type", ["stored", "bf16", "int8", "int4"])
def test_adapters(config, rank, weight_type):
    bundle = random_bundle(config, "f32")
    model = load_model(bundle, select_backend(), weight_type=weight_type, takes_adapters=True)
    executable = model.compile(model.cache_shape(4), Limits(4, 4, 4))
    deltas, num_parameters = {}, 0
    for linear in adaptable(model.program.operations):
        for part in linear.lora:
            shapes = (rank, linear.x.width), (part.width, rank)
            a, b = (DenseTensor("f32", np.zeros(shape, np.float32)) for shape in shapes)
            deltas[part.name] = Delta(a, b, 1.0)
            num_parameters += a.values.size + b.values.size
    assert adapter_bytes(bundle, model.config, weight_type, rank) == executable.pack_adapter(deltas).num_bytes
    assert adapter_parameters(model.config, rank) == num_parameters


@pytest.mark.parametrize("kv_type", ["f32", "f16", "int8"])
def test_cache(kv_type):
    config = read_config(TINY)
    bundle = random_bundle(TINY)
    shape = load_model(bundle, select_backend()).cache_shape(64, 16, type=kv_type)
    assert kv_bytes(config, 64 * 16, kv_type) == shape.num_bytes
