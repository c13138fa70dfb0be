"""The plan: a table of machines and settings, and what is decided."""

import json
import re
from dataclasses import replace

import pytest

from fairway.errors import DoesNotFit, SettingsError, UnsupportedError
from fairway.map.plan import count, size
from fairway.map.planner import plan
from fairway.map.probe import Machine
from fairway.map.settings import PlanSettings
from fairway.models.random import QWEN2_5_0_5B, random_bundle

GB = 10**9
MACHINE = Machine("Linux", "x86_64", "a processor", frozenset({"avx2"}), 8, 32 * GB, 24 * GB, 100 * GB)
TINY = dict(QWEN2_5_0_5B) | {"vocab_size": 4096, "num_hidden_layers": 4, "hidden_size": 256} | {
    "num_attention_heads": 4, "intermediate_size": 768, "max_position_embeddings": 1024
}  # fmt: skip
SEVEN_B = dict(QWEN2_5_0_5B) | {
    "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "max_position_embeddings": 131_072, "tie_word_embeddings": False,
}  # fmt: skip


def with_free(gigabytes: float) -> Machine:
    return replace(MACHINE, memory_free_bytes=int(gigabytes * GB))


@pytest.mark.parametrize(
    ("config", "stored", "free", "weights", "kv"),
    [
        (TINY, "f32", 24, "stored", "f32"),
        (TINY, "bf16", 24, "stored", "f16"),
        (QWEN2_5_0_5B, "bf16", 24, "int8", "f16"),
        (QWEN2_5_0_5B, "f32", 24, "int8", "f16"),
        (QWEN2_5_0_5B, "int4", 24, "stored", "f16"),
        (QWEN2_5_0_5B, "bf16", 0.8, "int4", "f16"),
        (SEVEN_B, "bf16", 24, "int4", "f16"),
    ],
)
def test_types(config, stored, free, weights, kv):
    planned = plan(random_bundle(config, stored), with_free(free), PlanSettings())
    assert (planned.weight_type, planned.kv_type) == (weights, kv)
    assert planned.weight_reason


def test_what_is_asked_for_is_done():
    settings = PlanSettings(weights="bf16", context=777, kv="f32", threads=3)
    planned = plan(random_bundle(QWEN2_5_0_5B), MACHINE, settings)
    assert (planned.weight_type, planned.context, planned.kv_type, planned.threads) == ("bf16", 777, "f32", 3)
    assert planned.cache_tokens >= 777


def test_the_cache_holds_a_full_context_and_no_more_than_is_useful():
    planned = plan(random_bundle(TINY), MACHINE, PlanSettings())
    assert planned.context == 1024 and planned.cache_tokens == PlanSettings().max_sequences * 1024
    large = plan(random_bundle(QWEN2_5_0_5B), MACHINE, PlanSettings())
    assert large.context == 32_768 and large.need.kv_bytes <= 2 << 30
    assert large.cache_tokens >= large.context


def test_a_long_context_is_cut_to_what_fits_and_the_plan_says_so():
    planned = plan(random_bundle(SEVEN_B), with_free(9), PlanSettings())
    assert 2048 <= planned.context < 131_072 and planned.context % 1024 == 0
    assert f"{planned.context:,} tokens of the model's 131,072" in dict(planned.lines())["context"]
    assert planned.need.total_bytes <= planned.machine.memory_free_bytes


@pytest.mark.parametrize("free", [0.7, 0.8, 1, 2, 4, 8, 24])
@pytest.mark.parametrize("config", [TINY, QWEN2_5_0_5B, SEVEN_B])
def test_whatever_is_planned_fits(config, free):
    try:
        planned = plan(random_bundle(config), with_free(free), PlanSettings())
    except DoesNotFit as error:
        assert error.hint is not None
        return
    assert planned.need.total_bytes <= free * GB
    assert planned.cache_tokens >= planned.context


@pytest.mark.parametrize(
    ("config", "free", "settings", "message", "hint"),
    [
        (
            SEVEN_B,
            8,
            PlanSettings(weights="bf16"),
            r"needs 1\d\.\d GB .*bf16.* 7\.4 GB are usable",
            "--weights int4",
        ),
        (SEVEN_B, 8, PlanSettings(context=65_536), r"context 65,536", r"--context \d{5}"),
        (SEVEN_B, 2, PlanSettings(), r"and 1\.8 GB are usable", r"a machine with \d\.\d GB free"),
        (QWEN2_5_0_5B, 1.2, PlanSettings(weights="bf16"), "bf16", r"--weights int8; --weights int4"),
    ],
)
def test_what_does_not_fit_says_what_would(config, free, settings, message, hint):
    with pytest.raises(DoesNotFit, match=message) as caught:
        plan(random_bundle(config), with_free(free), settings)
    assert caught.value.hint is not None
    assert re.search(hint, caught.value.hint), caught.value.hint


def test_every_way_that_is_offered_works():
    bundle, machine = random_bundle(SEVEN_B), with_free(9)
    with pytest.raises(DoesNotFit) as caught:
        plan(bundle, machine, PlanSettings(weights="int8", context=131_072))
    ways = (caught.value.hint or "").removeprefix("Ways to fit: ").rstrip(".").split("; ")
    assert 1 <= len(ways) <= 3
    for way in (each for each in ways if each.startswith("--")):
        words = way.split()
        flags = {words[i].removeprefix("--"): words[i + 1] for i in range(0, len(words), 2)}
        context = int(flags.get("context", 131_072))
        settings = PlanSettings(
            weights=flags.get("weights", "int8"), context=context, kv=flags.get("kv", "auto")
        )
        assert plan(bundle, machine, settings).context == context


def test_adapters_take_their_memory():
    bundle = random_bundle(QWEN2_5_0_5B, "bf16")
    settings = PlanSettings(weights="int4", context=2048)
    without = plan(bundle, with_free(24), settings).need
    planned = plan(bundle, with_free(24), replace(settings, adapters=8, adapter_rank=16))
    assert planned.need.total_bytes - without.total_bytes == planned.need.adapter_bytes > 100e6
    assert dict(planned.lines())["memory"].endswith("; 8 adapters of rank 16, 111.3 MB")
    assert planned.to_dict()["needed"]["adapter_bytes"] == planned.need.adapter_bytes
    free = without.total_bytes / 0.92 / GB
    with pytest.raises(DoesNotFit):
        plan(bundle, with_free(free), replace(settings, adapters=64, adapter_rank=64))


def test_a_smaller_cache_type_is_offered():
    bundle = random_bundle(QWEN2_5_0_5B)
    for free in (1.2, 1.3, 1.4):
        settings = PlanSettings(weights="int8", context=32_768)
        try:
            plan(bundle, with_free(free), settings)
        except DoesNotFit as error:
            if "--kv int8" in (error.hint or ""):
                planned = plan(bundle, with_free(free), replace(settings, kv="int8"))
                assert planned.kv_type == "int8" and "in int8" in dict(planned.lines())["context"]
                return
    pytest.fail("no amount of memory made an int8 cache worth offering")


def test_more_context_than_the_model_has_is_refused():
    with pytest.raises(SettingsError, match="2000 is not possible: this model has 1024"):
        plan(random_bundle(TINY), MACHINE, PlanSettings(context=2000))


def test_what_cannot_run_is_refused_before_anything_is_planned():
    bundle = replace(random_bundle(TINY), config={"model_type": "mamba"})
    with pytest.raises(UnsupportedError, match="mamba"):
        plan(bundle, MACHINE, PlanSettings())


def test_the_plan_reads_well_and_is_json():
    planned = plan(random_bundle(QWEN2_5_0_5B), replace(MACHINE, limits=("a quota",)), PlanSettings())
    text = dict(planned.lines())
    assert text["model"].startswith("qwen2, 494 M parameters")
    assert text["weights"] == "int8, 525.1 MB: next to lossless, and small enough to be fast"
    assert text["memory"].endswith("needed once the cache is full, 24.0 GB free")
    assert text["threads"] == "8 on a processor, AVX2 (a quota)"
    data = json.loads(json.dumps(planned.to_dict()))
    assert data["weights"] == "int8" and data["needed"]["total_bytes"] < data["available_bytes"]


def test_numbers_for_people():
    assert [count(n) for n in (7, 260_032, 11_200_000, 7_615_616_512)] == ["7", "260 k", "11.2 M", "7.62 B"]
    assert [size(n) for n in (900, 1_500_000, 2.5e9)] == ["1 kB", "1.5 MB", "2.5 GB"]


@pytest.mark.parametrize(
    ("features", "isa", "kernels"),
    [
        (("avx2", "avx512_vnni"), "auto", "AVX-512"),
        (("avx2", "avx512_vnni"), "avx2", "AVX2"),
        (("avx2", "avx512_vnni"), "reference", "the slow NumPy reference"),
        (("avx2", "avx_vnni"), "auto", "AVX2 with VNNI"),
        (("avx2", "avx_vnni", "avx512_vnni"), "auto", "AVX-512"),
        (("asimd", "asimddp", "i8mm"), "auto", "NEON with int8 matrices"),
        (("asimd", "asimddp"), "auto", "NEON with dot products"),
        (("asimd",), "auto", "the slow NumPy reference"),
    ],
)
def test_the_plan_names_the_kernels_that_will_run(features, isa, kernels):
    machine = replace(MACHINE, features=features)
    planned = plan(random_bundle(TINY), machine, PlanSettings(isa=isa))
    assert dict(planned.lines())["threads"] == f"8 on a processor, {kernels}"
