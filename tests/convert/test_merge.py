"""`fairway merge`: PEFT's own combinations, a proof against the unmerged model, and no silent rounding."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from combined_cases import CASES, adapters, base
from model_folders import LLAMA, make_folder
from random_adapters import random_adapter

from fairway.cli.main import run
from fairway.cli.merge import parse_weighted
from fairway.convert import merge_lora
from fairway.convert.combine_adapters import combined
from fairway.convert.merge_lora import delta
from fairway.errors import UnsupportedError, UsageError
from fairway.formats.floats import floats
from fairway.formats.lineage import Lineage, Origin, Step, read_lineage
from fairway.formats.lora_open import open_adapter
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.tensors import DenseTensor

GOLDENS = Path(__file__).parent / "goldens" / "peft-combined.npz"


@pytest.fixture
def model(tmp_path) -> Path:
    return make_folder(tmp_path / "model", kind="bf16")


@pytest.fixture
def adapter(model, tmp_path) -> Path:
    bundle = open_bundle(model)
    write_peft(random_adapter(bundle), tmp_path / "random")
    step = Step("tune (lora)", (Origin("facts.jsonl", "data", "sha256:1"),))
    (tmp_path / "random" / "fairway.json").write_text(Lineage(None, (step,)).to_json(), "utf-8")
    return tmp_path / "random"


def merge(model: Path, *arguments: object) -> int:
    return run(["merge", str(model), *map(str, arguments)])


def test_a_dora_is_merged_alone():
    folder = Path(__file__).parents[1] / "formats" / "data" / "lora"
    config = open_bundle(folder / "base-llama", complete=False).config
    plain, dora = (open_adapter(folder / name, config) for name in ("plain", "dora"))
    assert combined([(dora, 1.0)]) is dora
    for several in ([(dora, 0.5)], [(plain, 1.0), (dora, 1.0)]):
        with pytest.raises(UnsupportedError, match="is a DoRA, whose rows' lengths cannot be weighed"):
            combined(several)


@pytest.mark.parametrize("case", CASES)
def test_combined_adapters_are_pefts(case):
    how, weights = CASES[case]
    expected = np.load(GOLDENS)
    one = combined(list(zip(adapters(base()), weights, strict=True)), how)
    assert {f"{case}/{name}" for name in one.layers} == {
        key for key in expected if key.startswith(f"{case}/")
    }
    for name, layer in one.layers.items():
        np.testing.assert_allclose(delta(layer), expected[f"{case}/{name}"], rtol=1e-5, atol=1e-5)


def test_one_adapter_alone_stays_as_it_is():
    [first, _] = adapters(base())
    assert combined([(first, 1.0)]) is first


def test_ranks_that_cannot_be_added_are_refused():
    first, second = adapters(base())
    name, layer = next(iter(second.layers.items()))
    thin = replace(
        layer, a=DenseTensor("f32", floats(layer.a)[:2]), b=DenseTensor("f32", floats(layer.b)[:, :2])
    )
    other = replace(second, layers={**second.layers, name: thin})
    with pytest.raises(UsageError, match=r"ranks \[2, 3\]"):
        combined([(first, 1.0), (other, 1.0)], "linear")
    assert combined([(first, 1.0), (other, 1.0)], "cat").layers[name].rank == 5


def test_whole_tensors_have_no_weight():
    [first, second] = adapters(base())
    whole = replace(first, replaced={"lm_head.weight": DenseTensor("f32", np.ones((2, 2), np.float32))})
    with pytest.raises(UnsupportedError, match=r"replaces lm_head\.weight"):
        combined([(whole, 0.5), (second, 1.0)])
    assert "lm_head.weight" in combined([(whole, 1.0), (second, 1.0)]).replaced


def test_the_merged_model_says_what_the_unmerged_one_says(model, adapter, tmp_path, capsys):
    assert merge(model, f"{adapter}=0.5", "--out", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["checks"]["merged as unmerged"].startswith("passed: KL")
    made = open_bundle(tmp_path / "out")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert made.tensors.infos[name].type == "BF16"
    change = delta(open_adapter(adapter, made.config).layers[name.removesuffix(".weight")])
    wanted = floats(open_bundle(model).tensors.read(name)) + change / 2
    np.testing.assert_allclose(floats(made.tensors.read(name)), wanted, rtol=2**-8, atol=1e-6)


def test_the_lineage_says_what_the_adapter_was_made_from(model, adapter, tmp_path):
    assert merge(model, f"{adapter}=0.05", f"{adapter}=0.1", "--out", tmp_path / "out") == 0
    lineage = read_lineage(tmp_path / "out")
    assert lineage is not None
    tuned, merged_step, hop = lineage.steps
    assert tuned.sources[0].name == "facts.jsonl"
    assert [each.name for each in merged_step.sources] == ["random", "random"]
    assert merged_step.settings["weights"] == [0.05, 0.1]
    assert "merged as unmerged" in hop.proof["checks"]


def test_a_float32_base_stays_float32(adapter, tmp_path):
    wide = make_folder(tmp_path / "wide", {**LLAMA, "dtype": "float32"}, kind="f32")
    assert merge(wide, adapter, "--out", tmp_path / "out") == 0
    assert {info.type for info in open_bundle(tmp_path / "out").tensors.infos.values()} == {"F32"}


def test_a_merge_that_says_something_else_is_not_published(model, adapter, tmp_path, capsys, monkeypatch):
    right = merge_lora.delta
    monkeypatch.setattr(merge_lora, "delta", lambda layer, **more: 3 * right(layer, **more))
    assert merge(model, adapter, "--out", tmp_path / "out") == 9
    assert "Merged as unmerged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_quantised_base_needs_a_word(model, adapter, tmp_path, capsys):
    small = tmp_path / "small.gguf"
    assert run(["quantize", str(model), "--to", "Q8_0", "--out", str(small)]) == 0
    assert merge(small, adapter, "--out", tmp_path / "out") == 4
    said = capsys.readouterr().err
    assert "original 16-bit model" in said
    assert "--dequantize" in said
    assert not (tmp_path / "out").exists()
    assert merge(small, adapter, "--dequantize", "--out", tmp_path / "out") == 0
    made = open_bundle(tmp_path / "out")
    assert made.tensors.infos["model.layers.0.self_attn.q_proj.weight"].type == "F16"


def test_adapters_become_one_adapter(model, adapter, tmp_path, capsys):
    out = tmp_path / "both"
    assert merge(model, f"{adapter}=0.5", f"{adapter}=-2", "--to", "adapter", "--out", out) == 0
    both, one = (open_adapter(path, open_bundle(model).config) for path in (out, adapter))
    for name, layer in both.layers.items():
        assert layer.rank == 8
        np.testing.assert_allclose(delta(layer), -1.5 * delta(one.layers[name]), rtol=1e-4, atol=1e-5)
    assert merge(model, adapter, "--to", "adapter", "--out", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert merge(model, adapter, "--to", "adapter", "--out", out, "--force") == 0


def test_weights_in_names(tmp_path):
    assert parse_weighted("a=0.5") == (Path("a"), 0.5)
    assert parse_weighted("a") == (Path("a"), 1.0)
    (tmp_path / "b=2").mkdir()
    assert parse_weighted(f"{tmp_path}/b=2") == (tmp_path / "b=2", 1.0)
    with pytest.raises(UsageError, match="'much' in"):
        parse_weighted("a=much")
