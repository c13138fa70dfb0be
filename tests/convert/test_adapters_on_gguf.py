"""An adapter merged into a GGUF file: the same numbers as in its folder, and floats where it was low-bit."""

import numpy as np
import pytest
from model_cases import CASES
from model_folders import LLAMA, converted, make_folder, same_weights
from random_adapters import random_adapter

from fairway.convert.hops import convert, prepare
from fairway.convert.merge_lora import delta
from fairway.convert.settings import ConvertSettings
from fairway.errors import UnsupportedError
from fairway.formats.floats import floats
from fairway.formats.gguf import open_gguf
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.models.conversion import floats_of

OWN = {"vocab_size": 402, "bos_token_id": 400, "eos_token_id": 401, "pad_token_id": None}
FAMILIES = {
    "llama": LLAMA | {"hidden_size": 256, "intermediate_size": 512},
    "gpt2": CASES["gpt2-tied"] | OWN,
}


@pytest.fixture(params=["llama", "gpt2"])
def made(request, tmp_path):
    """A folder, the same as GGUF, and an adapter."""
    source = make_folder(tmp_path / "model", FAMILIES[request.param])
    converted(source, "gguf", tmp_path / "model.gguf")
    write_peft(random_adapter(open_bundle(source)), tmp_path / "adapter")
    return tmp_path


def test_it_is_the_merged_folder_to_the_bit(made):
    adapters = (made / "adapter",)
    converted(made / "model", "safetensors", made / "expected", adapters=adapters)
    converted(made / "model.gguf", "safetensors", made / "folder", adapters=adapters)
    same_weights(made / "expected", made / "folder")
    converted(made / "model.gguf", "gguf", made / "merged.gguf", adapters=adapters)
    converted(made / "merged.gguf", "safetensors", made / "back")
    same_weights(made / "expected", made / "back")


def test_everything_else_of_the_file_stays(made):
    converted(made / "model.gguf", "gguf", made / "merged.gguf", adapters=(made / "adapter",))
    before, after = open_gguf(made / "model.gguf"), open_gguf(made / "merged.gguf")
    assert list(after.tensors) == list(before.tensors)
    for key in set(before.metadata) - {"fairway.lineage"}:
        assert after.raw_value(key) == before.raw_value(key), key


@pytest.fixture
def low_bit(tmp_path):
    """A Q4_K_M file and an adapter for it."""
    source = make_folder(tmp_path / "model", FAMILIES["llama"])
    converted(source, "gguf", tmp_path / "low.gguf", type="Q4_K_M")
    write_peft(random_adapter(open_bundle(source)), tmp_path / "adapter")
    return tmp_path


@pytest.mark.parametrize("to", ["gguf", "safetensors", "onnx", "modelfile"])
def test_low_bit_weights_become_sixteen_bits(low_bit, to):
    settings = ConvertSettings(to=to, out=low_bit / "out", adapters=(low_bit / "adapter",))
    conversion = prepare(open_bundle(low_bit / "low.gguf"), settings)
    assert conversion.settings["type"] == "F16"
    assert any("becomes F16" in note for note in conversion.notes)
    published = convert(conversion)
    assert published.verdict.passed
    source, found = open_bundle(low_bit / "low.gguf").tensors, open_bundle(low_bit / "out").tensors
    name = "model.layers.0.mlp.up_proj.weight"
    layer = random_adapter(open_bundle(low_bit / "model")).layers[name.removesuffix(".weight")]
    exact = floats_of(source.read(name)) + delta(layer)
    np.testing.assert_array_equal(found.read(name).values, exact.astype(np.float16))


def test_rounding_the_merged_model_again_needs_a_word(low_bit):
    adapters = (low_bit / "adapter",)
    with pytest.raises(UnsupportedError, match="quantised already") as caught:
        converted(low_bit / "low.gguf", "gguf", low_bit / "out.gguf", type="Q4_K_M", adapters=adapters)
    assert "--requantize" in caught.value.hint
    converted(
        low_bit / "low.gguf", "gguf", low_bit / "out.gguf", type="Q4_K_M", adapters=adapters, requantize=True
    )
    types = {info.type for info in open_bundle(low_bit / "out.gguf").tensors.infos.values()}
    assert types >= {"Q4_K", "Q6_K"}


def test_the_base_and_the_adapter_are_in_the_lineage(low_bit):
    converted(low_bit / "low.gguf", "gguf", low_bit / "out.gguf", adapters=(low_bit / "adapter",))
    steps = open_bundle(low_bit / "out.gguf").lineage.steps
    assert [step.hop for step in steps[-2:]] == ["merge adapter", "gguf -> gguf"]
    assert steps[-1].sources[0].digest == open_bundle(low_bit / "low.gguf").lineage.digest


def test_floats_are_merged_in_float32_and_rounded_once(made):
    adapters = (made / "adapter",)
    converted(made / "model", "gguf", made / "expected.gguf", adapters=adapters, type="F16")
    converted(made / "model.gguf", "gguf", made / "found.gguf", adapters=adapters, type="F16")
    expected, found = open_bundle(made / "expected.gguf").tensors, open_bundle(made / "found.gguf").tensors
    for name in expected.infos:
        assert expected.infos[name] == found.infos[name]
        np.testing.assert_array_equal(floats(expected.read(name)), floats(found.read(name)), name)
