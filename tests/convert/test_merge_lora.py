"""Adapters merged into models: PEFT's numbers, and refusals where they would be lost."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted

from fairway.convert.hops import convert, prepare
from fairway.convert.merge_lora import delta, merged
from fairway.convert.settings import ConvertSettings
from fairway.errors import FormatError, UnsupportedError
from fairway.formats.floats import floats
from fairway.formats.gguf_writer import write_gguf
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_gguf import write_gguf_adapter
from fairway.formats.lora_open import open_adapter
from fairway.formats.open import open_bundle
from fairway.formats.safetensors import open_safetensors
from fairway.models.conversion import to_bf16
from fairway.tensors import DenseTensor

DATA = Path(__file__).parents[1] / "formats" / "data" / "lora"
BASES = {
    "plain": "llama", "patterns": "llama", "head": "llama", "dora": "llama",
    "gpt2": "gpt2", "dora-gpt2": "gpt2",
}  # fmt: skip


def base_of(name):
    return open_bundle(DATA / f"base-{BASES[name]}", complete=False)


@pytest.mark.parametrize("name", BASES)
def test_the_merged_model_is_pefts(name):
    """Bit for bit where it was made; other matrix libraries may add the products in another order."""
    base = base_of(name)
    model = merged(base, open_adapter(DATA / name, base.config))
    expected = open_safetensors(DATA / f"{name}-merged.safetensors")
    for key, info in base.tensors.infos.items():
        found = floats(model.tensors.read(key))
        if key in expected.infos:
            wanted = floats(expected.read(key))
            np.testing.assert_allclose(found, wanted, rtol=2.4e-7, atol=2.4e-7 * np.abs(wanted).max())
        else:
            assert np.array_equal(found, floats(base.tensors.read(key)))
        assert model.tensors.infos[key] == info


def test_a_gguf_adapter_merges_to_the_same_numbers(tmp_path):
    base = base_of("plain")
    adapter = open_adapter(DATA / "plain", base.config)
    write_gguf_adapter(adapter, tmp_path / "a.gguf", base.config)
    ours = merged(base, open_adapter(tmp_path / "a.gguf", base.config))
    theirs = merged(base, adapter)
    for name in base.tensors.infos:
        assert np.array_equal(ours.tensors.read(name).values, theirs.tensors.read(name).values)


def test_sixteen_bits_are_rounded_once(tmp_path):
    shutil.copytree(DATA / "base-llama", tmp_path / "base")
    converted(tmp_path / "base", "safetensors", tmp_path / "bf16", type="BF16", weights_only=True)
    base = open_bundle(tmp_path / "bf16", complete=False)
    adapter = open_adapter(DATA / "plain", base.config)
    name = "model.layers.0.self_attn.q_proj.weight"
    exact = floats(base.tensors.read(name)) + delta(adapter.layers[name.removesuffix(".weight")])
    model = merged(base, adapter)
    assert model.tensors.infos[name].type == "BF16"
    assert np.array_equal(model.tensors.read(name).values, to_bf16(exact))
    wide = merged(base, adapter, stored_type="F32")
    assert np.array_equal(wide.tensors.read(name).values, exact)
    assert wide.tensors.infos[name].num_bytes == 4 * exact.size


def test_a_merged_model_is_converted_like_any_other(tmp_path):
    base = base_of("plain")
    model = merged(base, open_adapter(DATA / "plain", base.config))
    convert(prepare(model, ConvertSettings("safetensors", out=tmp_path / "out", weights_only=True)))
    again = open_bundle(tmp_path / "out", complete=False)
    for name in base.tensors.infos:
        assert np.array_equal(again.tensors.read(name).values, model.tensors.read(name).values)


def test_another_models_adapter_is_refused():
    base = base_of("plain")
    with pytest.raises(FormatError, match=r"changes transformer\.h\.0\.\S+, which is not in"):
        merged(base, open_adapter(DATA / "gpt2", base.config))
    ones = DenseTensor("f32", np.ones((2, 2), np.float32))
    name = "model.layers.0.self_attn.q_proj"
    with pytest.raises(FormatError, match=r"as \[2, 2\], .*\[32, 32\].*trained on org/base"):
        merged(base, Adapter("a", "org/base", {name: LoraLayer(ones, ones, 1.0)}))
    with pytest.raises(FormatError, match=r"replaces lm_head\.weight by \[2, 2\].*tokens of its own"):
        merged(base, Adapter("a", None, {}, {"lm_head.weight": ones}))


def test_quantised_models_are_refused_unless_told():
    base = base_of("plain")
    adapter = open_adapter(DATA / "plain", base.config)
    quantised = replace(base, config={**base.config, "quantization_config": {"quant_method": "awq"}})
    with pytest.raises(UnsupportedError, match="quantised"):
        merged(quantised, adapter)
    name = "model.layers.0.mlp.up_proj.weight"
    assert merged(quantised, adapter, allow_quantised=True).tensors.infos[name].type == "F32"


def test_what_is_no_adapter_is_refused(tmp_path):
    base = base_of("plain")
    with pytest.raises(FormatError, match=r"has no adapter_config\.json"):
        open_adapter(DATA / "base-llama", base.config)
    with pytest.raises(UnsupportedError, match="is a model, not an adapter"):
        write_gguf(tmp_path / "m.gguf", {"general.architecture": "llama"}, {})
        open_adapter(tmp_path / "m.gguf", base.config)


def test_a_weight_that_sixteen_bits_cannot_hold_is_refused():
    base = base_of("plain")
    name = "model.layers.0.self_attn.q_proj"
    huge = LoraLayer(
        DenseTensor("f32", np.full((1, 32), 1e3, np.float32)),
        DenseTensor("f32", np.full((32, 1), 1e3, np.float32)),
        1.0,
    )
    model = merged(base, Adapter("a", None, {name: huge}), stored_type="F16")
    with pytest.raises(FormatError, match="F16 ends at 65504"):
        model.tensors.read(f"{name}.weight")


SHARED = Path(__file__).parents[3] / "shared" / "data" / "models" / "stories260k"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/models")
def test_adapters_fit_a_gguf_model_too():
    """q and k of a llama GGUF file are read in Hugging Face's order, and the adapter is added in that."""
    folder, file = open_bundle(SHARED), open_bundle(SHARED / "stories260k-f32.gguf")
    numbers = np.random.default_rng(0)
    layers = {
        f"model.layers.{n}.self_attn.{part}": LoraLayer(
            DenseTensor("f32", numbers.standard_normal((2, 64), np.float32)),
            DenseTensor("f32", numbers.standard_normal((rows, 2), np.float32)),
            4.0,
        )
        for n in range(5)
        for part, rows in (("q_proj", 64), ("k_proj", 32))
    }
    adapter = Adapter("made", None, layers)
    ours, theirs = merged(folder, adapter), merged(file, adapter)
    for name in layers:
        assert np.array_equal(
            ours.tensors.read(f"{name}.weight").values, theirs.tensors.read(f"{name}.weight").values
        )
