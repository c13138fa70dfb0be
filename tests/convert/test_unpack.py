"""Checkpoints that were quantised before become floats, or other low-bit types when that is asked for."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted
from quantized_folders import quantized_builtin

from fairway.errors import UnsupportedError
from fairway.formats.digest import bundle_digest
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import with_weights
from fairway.models.conversion import floats_of

GOLDENS = Path(__file__).parents[1] / "formats" / "data" / "quantized"
METHODS = ("awq", "gptq", "compressed-tensors")
PROJECTION = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module", params=METHODS)
def folders(request, tmp_path_factory):
    return quantized_builtin(request.param, tmp_path_factory.mktemp(request.param))


def numbers(path):
    bundle = with_weights(open_bundle(path, complete=False))
    return {name: floats_of(bundle.tensors.read(name)) for name in bundle.tensors.infos}


@pytest.mark.parametrize("to", ["safetensors", "gguf", "onnx"])
def test_every_number_stays_in_float32(folders, tmp_path, to):
    out = tmp_path / ("model.gguf" if to == "gguf" else "model")
    published = converted(folders / "short", to, out, type="F32")
    assert published.verdict.passed
    before, after = numbers(folders / "short"), numbers(out)
    assert set(after) == set(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], name)
    assert "quantization_config" not in open_bundle(out).config


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDENS.glob("*.json")))
def test_what_other_tools_wrote_means_the_same_in_floats(name, tmp_path):
    """compressed-tensors' own files and MXFP4 experts, which have three dimensions."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(GOLDENS / f"{name}.safetensors", source / "model.safetensors")
    stated = json.loads((GOLDENS / f"{name}.json").read_text())
    (source / "config.json").write_text(json.dumps({"quantization_config": stated}))
    converted(source, "safetensors", tmp_path / "out", type="F32", weights_only=True)
    before, after = numbers(source), numbers(tmp_path / "out")
    assert set(after) == set(before)
    for key, values in after.items():
        np.testing.assert_array_equal(values.reshape(before[key].shape), before[key], key)


def test_halves_are_rounded_once_and_the_proof_says_from_what(folders, tmp_path):
    published = converted(folders / "short", "safetensors", tmp_path / "out", type="F16")
    kinds = [types for types in published.tensors if types.startswith("INT4")]
    assert [types.partition(" -> ")[2] for types in kinds] == ["F16"]
    wanted = numbers(folders / "short")[PROJECTION].astype(np.float16)
    found = open_bundle(tmp_path / "out").tensors.read(PROJECTION).values
    np.testing.assert_array_equal(found, wanted)


def test_the_lineage_names_the_file_as_it_was(folders, tmp_path):
    published = converted(folders / "short", "gguf", tmp_path / "model.gguf", type="F16")
    assert published.source_digest == bundle_digest(open_bundle(folders / "short")).value
    [step] = open_bundle(tmp_path / "model.gguf").lineage.steps
    assert step.sources[0].digest == published.source_digest


def test_rounding_again_needs_a_word_and_is_covered(folders, tmp_path):
    out = tmp_path / "model.gguf"
    with pytest.raises(UnsupportedError, match="rounding it again loses") as caught:
        converted(folders / "short", "gguf", out, type="Q4_K_M")
    assert "--requantize" in caught.value.hint and "--type f16" in caught.value.hint
    published = converted(folders / "short", "gguf", out, type="Q4_K_M", requantize=True)
    assert published.verdict["coverage"].status == "passed"
    [step] = open_bundle(out).lineage.steps
    assert step.settings["requantize"] is True


@pytest.mark.parametrize("to", ["gguf", "onnx", "modelfile"])
def test_without_a_type_the_choice_is_asked_for(folders, tmp_path, to):
    with pytest.raises(UnsupportedError, match=f"and {to} has no such weights") as caught:
        converted(folders / "short", to, tmp_path / "out")
    assert "--type f16" in caught.value.hint


def test_as_they_are_they_stay_what_they_are(folders, tmp_path):
    published = converted(folders / "short", "safetensors", tmp_path / "out")
    assert published.digest == published.source_digest
    stated = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert stated["quant_method"] in METHODS


def test_what_only_its_own_library_reads_is_refused(folders, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(folders / "short", source)
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="bitsandbytes, which only its own library reads"):
        converted(source, "gguf", tmp_path / "model.gguf", type="F16")
