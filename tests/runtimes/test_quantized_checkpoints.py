"""Whole models that AWQ and GPTQ quantised, run by our kernels beside their own weights in float32."""

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
from quantized_folders import quantized_builtin

from fairway.engine.sampling_params import SamplingParams
from fairway.errors import UnsupportedError
from fairway.formats.open import open_bundle
from fairway.formats.summary import summarize
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.runtimes.loading import load_runtime
from fairway.runtimes.protocol import GenerationRequest


@pytest.fixture(scope="module", params=["awq", "gptq"])
def folders(request, tmp_path_factory):
    return quantized_builtin(request.param, tmp_path_factory.mktemp(request.param))


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
