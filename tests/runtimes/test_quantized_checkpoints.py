"""Whole models that AWQ and GPTQ quantised, run by our kernels beside their own weights in float32."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import fairway
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import UnsupportedError
from fairway.formats.open import open_bundle
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.formats.summary import summarize
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.models.conversion import floats_of
from fairway.runtimes.loading import load_runtime
from fairway.runtimes.protocol import GenerationRequest

BUILTIN = Path(fairway.__file__).parent / "builtin"
GROUP = 64
AWQ_PLACES = (0, 2, 4, 6, 1, 3, 5, 7)


def rounded(weights):
    """Four bits with a zero per group: codes, zeros and scales as the checkpoints hold them."""
    grouped = weights.reshape(len(weights), -1, GROUP)
    low, high = np.minimum(grouped.min(2), 0), np.maximum(grouped.max(2), 0)
    scales = np.maximum((high - low) / 15, 1e-6).astype(np.float16)
    zeros = np.clip(np.rint(-low / scales), 0, 15).astype(np.int64)
    codes = np.clip(np.rint(grouped / scales[:, :, None]) + zeros[:, :, None], 0, 15).astype(np.int64)
    return codes.reshape(weights.shape), zeros, scales


def packed(values, places):
    words = np.zeros((len(values), values.shape[1] // 8), np.uint32)
    for nibble, place in enumerate(places):
        words |= values[:, place::8].astype(np.uint32) << np.uint32(4 * nibble)
    return words.view(np.int32)


def stored_by(method, name, codes, zeros, scales):
    if method == "awq":
        weights = {"qweight": packed(codes.T, AWQ_PLACES), "qzeros": packed(zeros.T, AWQ_PLACES)}
    else:
        in_order = tuple(range(8))
        weights = {
            "qweight": packed(codes, in_order).T.copy(),
            "qzeros": packed(((zeros - 1) % 16).T, in_order),
        }
    return {f"{name}.{key}": value for key, value in (weights | {"scales": scales.T.copy()}).items()}


@pytest.fixture(scope="module", params=["awq", "gptq"])
def folders(request, tmp_path_factory):
    """The built-in model quantised so, and the same weights written out in float32."""
    root = tmp_path_factory.mktemp(request.param)
    source = open_safetensors(BUILTIN / "model.safetensors")
    short, wide = {}, {}
    for name in source.infos:
        values = floats_of(source.read(name))
        if "_proj" in name:
            codes, zeros, scales = rounded(values)
            short |= stored_by(request.param, name.removesuffix(".weight"), codes, zeros, scales)
            per_column = np.arange(values.shape[1]) // GROUP
            wide[name] = (scales[:, per_column] * np.float32(1) * (codes - zeros[:, per_column])).astype(
                np.float32
            )
        else:
            short[name] = wide[name] = values
    stated = {"quant_method": request.param, "bits": 4, "group_size": GROUP, "sym": False, "zero_point": True}
    for kind, tensors in (("short", short), ("wide", wide)):
        shutil.copytree(BUILTIN, root / kind)
        write_safetensors(root / kind / "model.safetensors", {k: tensor_data(v) for k, v in tensors.items()})
    config = json.loads((BUILTIN / "config.json").read_text())
    (root / "short" / "config.json").write_text(json.dumps(config | {"quantization_config": stated}))
    return root


def logprobs(folder):
    settings = PlanSettings(context=128, max_sequences=2, weights="stored", packed_cache=False, kv="f32")
    bundle = open_bundle(folder)
    with closing(load_runtime(bundle, plan(bundle, probe(), settings).native_options("m"))) as runtime:
        ids = runtime.tokenizer.encode("Once upon a time there was a little dragon who lived in")
        sampling = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
        first = next(iter(runtime.generate(GenerationRequest(ids, sampling))))
    return np.array([each.logprob for each in first.prompt_logprobs[1:]])


def test_the_model_says_what_its_weights_say(folders):
    """Activations are rounded to 8 bits beside low-bit weights; nothing else differs."""
    short, wide = logprobs(folders / "short"), logprobs(folders / "wide")
    assert np.abs(short - wide).mean() < 0.03
    assert np.abs(short - wide).max() < 0.25


def test_inspect_counts_the_weights_and_says_why_a_variant_cannot_be_run(folders):
    facts = summarize(open_bundle(folders / "short"))
    assert facts.num_parameters == summarize(open_bundle(folders / "wide")).num_parameters
    assert "INT4_ASYM" in facts.types
    config = json.loads((folders / "short" / "config.json").read_text())
    config["quantization_config"]["bits"] = 3
    odd = folders / "odd"
    shutil.copytree(folders / "short", odd, dirs_exist_ok=True)
    (odd / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="in 3 bits"):
        open_bundle(odd)
    assert summarize(open_bundle(odd, complete=False)).num_tensors > 0


def test_the_plan_keeps_the_weights_as_they_are(folders):
    bundle = open_bundle(folders / "short")
    made = plan(bundle, probe(), PlanSettings())
    assert (made.weight_type, made.stored_types[0]) in (("stored", "INT4_ASYM"), ("stored", "F32"))
    assert "model.layers.0.mlp.up_proj.qweight" in bundle.tensors.infos
