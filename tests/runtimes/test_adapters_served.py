"""Adapters beside a real model: PEFT's logits, the merged model's answers, the same from GGUF, in any mix."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from fairway.convert.merge_lora import merged
from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import FormatError, ModelNotFound, RequestError, SettingsError, UnsupportedError
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_gguf import write_gguf_adapter
from fairway.formats.lora_open import open_adapter
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.kernels.lora import adaptable
from fairway.kernels.program import Limits, Step
from fairway.kernels.select import select_backend
from fairway.models.adapters import adapter_deltas
from fairway.models.loader import load_model
from fairway.models.random import random_bundle
from fairway.runtimes.model_runner import ModelRunner
from fairway.tensors import DenseTensor

LORA = Path(__file__).parents[1] / "formats" / "data" / "lora"
DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "adapters.json").read_text())
BASES = {"plain": "base-llama", "patterns": "base-llama", "gpt2": "base-gpt2"}
LIMITS = Limits(64, 16, 64)
backends = pytest.mark.parametrize("isa", ["auto", "reference"])


def opened(name):
    return open_bundle(LORA / name, complete=False)


def model_of(bundle, isa="auto", weights="stored"):
    return load_model(bundle, select_backend(isa, 2), weight_type=weights, takes_adapters=True)


def runner_of(model, **adapters):
    runner = ModelRunner(model, model.cache_shape(40, 4, type="f32"), LIMITS)
    for identity, adapter in adapters.items():
        packed = runner.pack_adapter(adapter_deltas(model.program, adapter, 64))
        runner.load_adapter(identity, packed)
    return runner


def prompt_logits(model, adapter=None):
    executable = model.compile(model.cache_shape(1, 64, type="f32"), LIMITS)
    if adapter is not None:
        executable.put_adapter(0, executable.pack_adapter(adapter_deltas(model.program, adapter, 64)))
    ids = np.array(GOLDEN["prompt"], np.int32)
    rows, slots = np.arange(len(ids), dtype=np.int32), np.array([-1 if adapter is None else 0], np.int32)
    starts = np.array([0, len(ids)], np.int32)
    return executable.run(Step(ids, rows, starts, np.zeros((1, 1), np.int32), rows, slots)).copy()


def greedy_tokens(runner, asks, prompt=None):
    """The answers to (identity) asks that run together."""
    engine, found = Engine(runner), {}
    engine.adapters._loaded |= {each for each in asks if each}
    for number, identity in enumerate(asks):
        if identity:
            engine.door.admit(identity)
        sampling = SamplingParams(temperature=0.0, max_tokens=12)
        engine.add(Request(prompt or GOLDEN["prompt"], sampling, id=str(number), adapter=identity))
    while engine.has_work:
        for event in engine.step():
            found.setdefault(int(event.request_id), []).append(event.token_id)
        engine.check()
    return [found[number] for number in range(len(asks))]


@backends
@pytest.mark.parametrize("name", BASES)
def test_the_logits_are_pefts(name, isa) -> None:
    bundle = opened(BASES[name])
    expected = np.load(DATA / "adapters.npz")
    model = model_of(bundle, isa)
    adapter = open_adapter(LORA / name, bundle.config)
    np.testing.assert_allclose(prompt_logits(model, adapter), expected[name], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(prompt_logits(model), expected[BASES[name]], rtol=1e-4, atol=2e-5)
    assert np.abs(expected[name] - expected[BASES[name]]).max() > 0.1


@backends
def test_a_mixed_batch_answers_as_peft_one_by_one(isa) -> None:
    bundle = opened("base-llama")
    adapters = {name: open_adapter(LORA / name, bundle.config) for name in ("plain", "patterns")}
    asks = ["plain", "", "patterns", "plain", "", "patterns", "plain"]
    found = greedy_tokens(runner_of(model_of(bundle, isa), **adapters), asks)
    assert found == [GOLDEN["tokens"][ask or "base-llama"] for ask in asks]


@pytest.mark.parametrize("name", BASES)
def test_unmerged_is_merged(name) -> None:
    bundle = opened(BASES[name])
    adapter = open_adapter(LORA / name, bundle.config)
    whole, apart = model_of(merged(bundle, adapter)), model_of(bundle)
    np.testing.assert_allclose(prompt_logits(apart, adapter), prompt_logits(whole), rtol=1e-4, atol=2e-5)
    assert greedy_tokens(runner_of(apart, it=adapter), ["it"]) == greedy_tokens(runner_of(whole), [""])


@pytest.mark.parametrize("name", ["plain", "patterns"])
def test_an_adapter_from_gguf_is_the_one_from_peft(name, tmp_path) -> None:
    """To the bit, where one alpha serves all layers; else B carries the ratio and is rounded once more."""
    bundle = opened("base-llama")
    adapter = open_adapter(LORA / name, bundle.config)
    write_gguf_adapter(adapter, tmp_path / "a.gguf", bundle.config)
    model = model_of(bundle)
    ours = prompt_logits(model, open_adapter(tmp_path / "a.gguf", bundle.config))
    if name == "plain":
        assert np.array_equal(ours, prompt_logits(model, adapter))
    np.testing.assert_allclose(ours, prompt_logits(model, adapter), rtol=1e-5, atol=1e-6)


SMALL = {
    "model_type": "qwen2",
    "vocab_size": 203,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


def random_adapter(program, seed, rank=8, layers=None):
    dice, found = np.random.default_rng(seed), {}
    for linear in adaptable(program.operations):
        for part in linear.lora:
            if layers is None or part.name.endswith(layers):
                a = dice.standard_normal((rank, linear.x.width), np.float32) / 8
                b = dice.standard_normal((part.width, rank), np.float32) / 8
                found[part.name] = LoraLayer(DenseTensor("f32", a), DenseTensor("f32", b), 2.0 * rank)
    return Adapter(f"random-{seed}", None, found)


@pytest.mark.parametrize("weights", ["f32", "bf16", "int8", "int4"])
def test_the_same_tokens_alone_and_in_any_mix(weights) -> None:
    """A pool too small for everyone: prefixes are shared within an adapter, requests are preempted."""
    model = model_of(random_bundle(SMALL, "f32", seed=1), weights="stored" if weights == "f32" else weights)
    adapters = {f"a{seed}": random_adapter(model.program, seed, 4 + seed) for seed in range(4)}
    dice = random.Random(weights)
    begin = [dice.randrange(203) for _ in range(12)]
    asks = [
        (
            dice.choice(["", *adapters]),
            begin[: dice.choice([0, 12])] + [dice.randrange(203) for _ in range(9)],
        )
        for _ in range(16)
    ]
    runner = runner_of(model, **adapters)
    alone = [greedy_tokens(runner, [identity], prompt)[0] for identity, prompt in asks]
    engine, found = Engine(runner), {}
    engine.adapters._loaded |= set(adapters)
    for identity in adapters:
        engine.door.admit(identity)
    for number, (identity, prompt) in enumerate(asks):
        sampling = SamplingParams(temperature=0.0, max_tokens=12)
        engine.add(Request(prompt, sampling, id=str(number), adapter=identity))
        for event in engine.step():
            found.setdefault(int(event.request_id), []).append(event.token_id)
    while engine.has_work:
        for event in engine.step():
            found.setdefault(int(event.request_id), []).append(event.token_id)
    assert [found[number] for number in range(len(asks))] == alone
    assert engine.stats().cached_tokens_total > 0
    assert len({tuple(tokens) for tokens in alone}) > 8


def test_what_cannot_be_served_is_refused_by_name(tmp_path) -> None:
    bundle = opened("base-llama")
    program = model_of(bundle).program

    def deltas(path, rank=64):
        return adapter_deltas(program, open_adapter(path, bundle.config), rank)

    assert len(deltas(LORA / "plain")) == 14
    with pytest.raises(UnsupportedError, match="DoRA"):
        deltas(LORA / "dora")
    with pytest.raises(UnsupportedError, match="LoRA on embeddings"):
        deltas(LORA / "embedding")
    with pytest.raises(UnsupportedError, match=r"replaces whole tensors \(lm_head.*Merge it into its model"):
        deltas(LORA / "head")
    with pytest.raises(
        SettingsError, match=r"has rank 4; at most 2 is allowed\. Start with --max-lora-rank 4"
    ):
        deltas(LORA / "plain", rank=2)
    with pytest.raises(
        FormatError, match=r"changes transformer\.h\.0\.attn\.c_attn, which this model does not"
    ):
        deltas(LORA / "gpt2")
    with pytest.raises(ModelNotFound, match="There is no adapter at"):
        deltas(tmp_path / "nothing")
    layer = LoraLayer(
        DenseTensor("f32", np.ones((2, 33), np.float32)),
        DenseTensor("f32", np.ones((32, 2), np.float32)),
        1.0,
    )
    write_peft(Adapter("wide", "org/other", {"model.layers.0.self_attn.q_proj": layer}), tmp_path / "wide")
    with pytest.raises(FormatError, match=r"as \[32, 33\]; this model has \[32, 32\]\. It was trained"):
        deltas(tmp_path / "wide")
    write_peft(Adapter("head", None, {"lm_head": layer}), tmp_path / "head")
    with pytest.raises(UnsupportedError, match="changes lm_head, and only layers between"):
        deltas(tmp_path / "head")


def test_the_digest_is_of_what_it_computes(tmp_path) -> None:
    bundle = opened("base-llama")
    adapter = open_adapter(LORA / "plain", bundle.config)
    copy = shutil.copytree(LORA / "plain", tmp_path / "another name")
    assert open_adapter(copy, bundle.config).digest == adapter.digest
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 9}))
    assert open_adapter(copy, bundle.config).digest != adapter.digest
    assert open_adapter(LORA / "patterns", bundle.config).digest != adapter.digest


@pytest.fixture
def runtime(tmp_path):
    """The whole runtime over a saved model with a tokenizer of bytes; two adapters at most."""
    from adapter_models import saved_runtime

    runtime = saved_runtime(tmp_path, max_loras=2)
    yield runtime
    runtime.close()


def test_loading_replacing_and_unloading_by_name(runtime, tmp_path) -> None:
    table = runtime.adapters
    info = table.load("poet", LORA / "plain")
    assert (info.rank, info.num_layers, list(table.infos)) == (4, 14, ["poet"])
    with pytest.raises(RequestError, match="'poet' is loaded already"):
        table.load("poet", LORA / "patterns")
    again = table.load("poet", LORA / "patterns", replace=True)
    assert table.find("poet").identity == again.identity != info.identity
    table.load("twin", LORA / "patterns")
    with pytest.raises(SettingsError, match="2 adapters are loaded, and no more"):
        table.load("third", LORA / "plain")
    for name in ("", "a\nb", "x" * 201):
        with pytest.raises(RequestError, match="1 to 200 printable"):
            table.load(name, LORA / "plain")
    table.unload("poet")
    assert table.find("twin").identity == again.identity
    with pytest.raises(ModelNotFound, match=r"no adapter 'poet' here\. Loaded: twin"):
        table.unload("poet")
    table.unload("twin")
    with pytest.raises(ModelNotFound, match="No adapter is loaded"):
        table.find("twin")
