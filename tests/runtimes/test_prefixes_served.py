"""Prefixes before a real model's prompts: PEFT's answers, fresh and cached, beside LoRA in any mix."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fairway.engine.engine import Engine
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import ContextExceeded, FormatError, UnsupportedError
from fairway.formats.lora_open import open_adapter
from fairway.formats.open import open_bundle
from fairway.formats.prefix_peft import is_prefix, read_prefix
from fairway.kernels.program import Limits, Step
from fairway.kernels.select import select_backend
from fairway.models.adapters import adapter_deltas
from fairway.models.loader import load_model
from fairway.models.prefix import prefix_tokens
from fairway.runtimes.model_runner import ModelRunner
from fairway.runtimes.protocol import GenerationRequest
from fairway.tensors import DenseTensor

LORA = Path(__file__).parents[1] / "formats" / "data" / "lora"
DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "adapters.json").read_text())
PROMPT = GOLDEN["prompt"]
PREFIXES = DATA / "prefixes"
ANSWERS = json.loads((DATA / "prefixes.json").read_text())
BASES = {"prefix": "base-llama", "projected": "base-llama", "gpt2": "base-gpt2"}
ON_LLAMA = ("prefix", "projected")
LIMITS = Limits(64, 16, 64)
CACHES = ("f32", "f16", "int8")
backends = pytest.mark.parametrize("isa", ["auto", "reference"])


def model_of(base, isa="auto"):
    bundle = open_bundle(LORA / base, complete=False)
    return load_model(bundle, select_backend(isa, 2), weight_type="stored", takes_adapters=True)


def runner_of(model, *names, num_blocks=60, block_size=4, type="f32", limits=LIMITS):
    """With each of these prefixes, and every other name as LoRA."""
    runner = ModelRunner(model, model.cache_shape(num_blocks, block_size, type=type), limits)
    for name in names:
        if name in BASES:
            packed = prefix_tokens(read_prefix(PREFIXES / name), model.cache_shape(1), 64)
        else:
            packed = runner.pack_adapter(adapter_deltas(model.program, open_adapter(LORA / name, {}), 64))
        runner.load_adapter(name, packed)
    return runner


def engine_of(runner, **settings):
    engine = Engine(runner, **settings)
    names = set(runner._slots)
    engine.adapters._loaded |= names
    for name in names:
        engine.door.admit(name)
    return engine


def num_virtual(name):
    return read_prefix(PREFIXES / name).shape.num_virtual_tokens if name in BASES else 0


def request(name, prompt=PROMPT, **sampling):
    how = SamplingParams(**{"temperature": 0.0, "max_tokens": 12, **sampling})
    return Request(prompt, how, adapter=name, num_virtual=num_virtual(name))


def answers(engine, requests):
    for each in requests:
        engine.add(each)
    while engine.has_work:
        engine.step()
        engine.check()
    return [each.token_ids[each.num_prompt :].tolist() for each in requests]


def prompt_logits(runner, name):
    """Of every prompt token, all at once after the prefix."""
    tokens, count = runner._prefixes[name], num_virtual(name)
    blocks = np.arange(16, dtype=np.int32)[None]
    runner._executable.put_cached(np.arange(count, dtype=np.int32), tokens.keys, tokens.values)
    ids, rows = np.array(PROMPT, np.int32), np.arange(len(PROMPT), dtype=np.int32)
    step = Step(ids, rows + count, np.array([0, len(ids)], np.int32), blocks, rows)
    return runner._executable.run(step).copy()


@backends
@pytest.mark.parametrize("name", BASES)
def test_the_logits_are_pefts(name, isa) -> None:
    expected = np.load(DATA / "prefixes.npz")[name]
    runner = runner_of(model_of(BASES[name], isa), name)
    np.testing.assert_allclose(prompt_logits(runner, name), expected, rtol=1e-4, atol=2e-5)
    without = np.load(DATA / "adapters.npz")[BASES[name]]
    assert np.abs(expected - without).max() > 0.1


@pytest.mark.parametrize("type", CACHES)
def test_the_native_cache_holds_a_prefix_as_the_reference_does(type) -> None:
    ours, theirs = (
        prompt_logits(runner_of(model_of("base-llama", isa), "projected", type=type), "projected")
        for isa in ("auto", "reference")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@backends
def test_keys_and_values_outside_the_cache_are_refused(isa) -> None:
    executable = runner_of(model_of("base-llama", isa), num_blocks=4)._executable
    parts = np.zeros((2, 1, 16), np.float32)
    for place in (-1, 16):
        with pytest.raises(ValueError, match="a place lies outside the cache"):
            executable.put_cached(np.array([place], np.int32), parts, parts)
    for wrong in (parts[:1], parts[:, :0], parts[:, :, :8]):
        with pytest.raises(ValueError, match="do not have the cache's size"):
            executable.put_cached(np.array([0], np.int32), parts, wrong)


@backends
@pytest.mark.parametrize("block_size", [1, 4, 16])
@pytest.mark.parametrize("name", BASES)
def test_the_tokens_are_pefts_fresh_and_cached(name, block_size, isa) -> None:
    engine = engine_of(runner_of(model_of(BASES[name], isa), name, block_size=block_size))
    fresh, cached = request(name), request(name)
    assert answers(engine, [fresh]) == answers(engine, [cached]) == [ANSWERS[name]]
    assert fresh.num_cached == 0
    reusable = (num_virtual(name) + len(PROMPT) - 1) // block_size * block_size
    assert cached.num_cached == max(0, reusable - num_virtual(name))


@backends
def test_base_lora_and_prefix_in_one_batch_answer_as_peft_one_by_one(isa) -> None:
    runner = runner_of(model_of("base-llama", isa), *ON_LLAMA, "plain", "patterns", num_blocks=200)
    asks = ["prefix", "", "plain", "projected", "prefix", "patterns", "", "projected"]
    found = answers(engine_of(runner), [request(each) for each in asks])
    wanted = ANSWERS | GOLDEN["tokens"] | {"": GOLDEN["tokens"]["base-llama"]}
    assert found == [wanted[each] for each in asks]


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("type", CACHES)
def test_the_same_tokens_alone_and_in_any_mix(type, shares) -> None:
    """A pool too small for everyone, in steps of few tokens: requests wait, are cut and are preempted."""
    from fairway.engine.limits import EngineSettings

    names = ("", *ON_LLAMA, "plain")
    model, dice = model_of("base-llama"), random.Random(type)
    begin = [dice.randrange(3, 48) for _ in range(12)]
    asks = [
        (dice.choice(names), begin[: dice.choice([0, 12])] + [dice.randrange(3, 48) for _ in range(9)])
        for _ in range(24)
    ]
    alone = [
        answers(engine_of(runner_of(model, *names[1:], type=type)), [request(*each)])[0] for each in asks
    ]
    settings = EngineSettings(enable_prefix_caching=shares)
    runner = runner_of(model, *names[1:], num_blocks=24, type=type, limits=Limits(16, 8, 16))
    engine = engine_of(runner, settings=settings)
    assert answers(engine, [request(*each) for each in asks]) == alone
    stats = engine.stats()
    assert stats.preemptions_total > 0
    assert (stats.cached_tokens_total > 0) == shares
    assert len({tuple(each) for each in alone}) > 8


def test_virtual_tokens_take_room_and_are_not_counted_as_prompt() -> None:
    runner = runner_of(model_of("base-llama"), "projected")
    engine = engine_of(runner)
    each = request("projected", max_tokens=None, prompt_logprobs=1)
    answers(engine, [each])
    assert (each.num_prompt, each.num_output) == (len(PROMPT), 64 - 8 - len(PROMPT))
    assert len(each.prompt_logprobs) == len(PROMPT) - 1
    assert engine.stats().prompt_tokens_total == len(PROMPT)
    with pytest.raises(ContextExceeded, match="has 56 tokens, its adapter 8 before it; the context holds 64"):
        engine.add(request("projected", [3] * 56))
    engine.add(request("projected", [3] * 55, max_tokens=5))
    answers(engine, [])


def test_unloading_waits_for_the_last_request() -> None:
    runner = runner_of(model_of("base-llama"), "prefix", "plain")
    engine = engine_of(runner)
    each = request("prefix")
    engine.add(each)
    engine.step()
    engine.adapters.unload("prefix")
    assert "prefix" in runner._prefixes
    assert answers(engine, []) == []
    assert each.token_ids[each.num_prompt :].tolist() == ANSWERS["prefix"]
    assert not runner._prefixes
    assert answers(engine, [request("plain")]) == [GOLDEN["tokens"]["plain"]]


@pytest.fixture
def copy(tmp_path):
    """A prefix whose config may be changed."""

    def changed(**settings):
        folder = shutil.copytree(PREFIXES / "prefix", tmp_path / "it", dirs_exist_ok=True)
        config = json.loads((PREFIXES / "prefix" / "adapter_config.json").read_text()) | settings
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder

    return changed


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"num_virtual_tokens": "six"},
            FormatError,
            "num_virtual_tokens in .* is 'six', not a number from 1",
        ),
        ({"num_virtual_tokens": 7}, FormatError, r"is \[6, 64\]; its adapter_config.json says \[7, 64\]"),
        ({"num_layers": True}, FormatError, "num_layers in .* is 'True'"),
        ({"num_attention_heads": 3}, FormatError, "token_dim 16 is no multiple of 3 heads"),
        ({"num_transformer_submodules": 2}, UnsupportedError, "model of 2 parts, an encoder"),
    ],
)
def test_a_broken_prefix_is_refused_by_name(settings, error, message, copy) -> None:
    with pytest.raises(error, match=message):
        read_prefix(copy(**settings))


def test_a_prefix_without_its_tensor_or_with_others_is_refused(copy) -> None:
    folder = copy()
    shutil.copy(LORA / "plain" / "adapter_model.safetensors", folder)
    with pytest.raises(FormatError, match="has no tensor prompt_embeddings"):
        read_prefix(folder)
    from fairway.formats.safetensors_writer import tensor_data, write_safetensors

    values = tensor_data(read_prefix(PREFIXES / "prefix").values)
    write_safetensors(
        folder / "adapter_model.safetensors", {"prompt_embeddings": values, "lm_head.weight": values}, {}
    )
    with pytest.raises(UnsupportedError, match=r"replaces whole tensors \(lm_head.weight\)"):
        read_prefix(folder)


def test_a_prefix_of_another_model_or_too_long_is_refused() -> None:
    model = model_of("base-llama")
    with pytest.raises(FormatError, match=r"1 layers of 16 floats; this model caches 2 of 16\. It was train"):
        prefix_tokens(read_prefix(PREFIXES / "gpt2"), model.cache_shape(1), 64)
    with pytest.raises(ContextExceeded, match="prefix prefix has 6 virtual tokens; the context holds 6"):
        prefix_tokens(read_prefix(PREFIXES / "prefix"), model.cache_shape(1), 6)


def test_a_prefix_of_no_numbers_is_refused() -> None:
    prefix = read_prefix(PREFIXES / "prefix")
    values = np.full(prefix.shape.shape, np.nan, np.float32)
    broken = replace(prefix, values=DenseTensor("f32", values))
    with pytest.raises(FormatError, match="prefix prefix holds numbers that are not finite"):
        prefix_tokens(broken, model_of("base-llama").cache_shape(1), 64)


def test_a_prefix_cannot_be_merged() -> None:
    assert is_prefix(PREFIXES / "prefix")
    assert not is_prefix(LORA / "plain")
    with pytest.raises(UnsupportedError, match=r"is a prefix.*Serve it beside its model"):
        open_adapter(PREFIXES / "prefix", {})


def test_by_name_through_the_whole_runtime(tmp_path) -> None:
    from adapter_models import saved_runtime

    runtime = saved_runtime(tmp_path, max_loras=2)
    try:
        info = runtime.adapters.load("before", PREFIXES / "prefix")
        assert (info.rank, info.num_virtual_tokens, info.num_layers, info.num_parameters) == (None, 6, 2, 384)
        assert info.num_bytes == 4 * info.num_parameters
        ask = GenerationRequest(PROMPT, SamplingParams(temperature=0.0, max_tokens=12), adapter="before")
        deltas = list(runtime.generate(ask))
        assert [token for delta in deltas for token in delta.token_ids] == ANSWERS["prefix"]
        usage = deltas[-1].usage
        assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (len(PROMPT), 0, 12)
        again = runtime.adapters.load("before", PREFIXES / "projected", replace=True)
        assert again.identity != info.identity
        found = [token for delta in runtime.generate(ask) for token in delta.token_ids]
        assert found == ANSWERS["projected"]
        runtime.adapters.unload("before")
    finally:
        runtime.close()
