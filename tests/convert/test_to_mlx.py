"""Folders for MLX: MLX's own codes, weights read back, the same tokens in mlx-lm where it is installed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_cases import CASES
from model_folders import LLAMA, converted, make_folder, same_weights
from tiny_models import MemoryTensors, Session, golden

from fairway.convert import hops, mlx_runtime
from fairway.convert.mlx_runtime import MlxLm, ReadBack
from fairway.convert.to_mlx import LOW
from fairway.errors import ProofFailed, SettingsError, UnsupportedError
from fairway.formats.digest import bundle_digest
from fairway.formats.floats import floats
from fairway.formats.mlx_weights import mlx_tensors
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import with_weights
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.kernels.affine_quantize import quantize_affine
from fairway.kernels.reference import ReferenceBackend
from fairway.models.conversion import floats_of, to_bf16
from fairway.models.loader import load_model
from fairway.tensors import DenseTensor

DATA = Path(__file__).parents[1] / "formats" / "data" / "mlx"
GOLDENS = sorted(path.stem for path in DATA.glob("*.safetensors"))
PROMPT = [400, 5, 9, 17, 33, 65, 129]
REFUSED = {
    "llama-rope-dynamic": "rope that changes",
    "phi3-longrope-short": "rope that changes",
    "phi3-longrope-long": "rope that changes",
    "qwen3-tied-bias": "biases in its attention",
    "gemma2-no-caps": "soft caps",
    "gemma3-text-layer-types": "soft caps",
    "gemma3-multimodal": "other names",
    "gpt2-tied": "other names",
    "gpt2-untied": "other names",
}
RANDOM = "rounded random weights answer with other tokens"
WINDOWS = {"mistral-window": 7, "qwen2-upper-window": 9, "gemma2-soft-caps": 8, "phi3-window": 10}


@pytest.fixture
def no_mlx(monkeypatch):
    monkeypatch.setattr(mlx_runtime, "is_installed", lambda name: False)


def stored_floats(values, kind):
    """float32 numbers as a file of that type would have them."""
    if kind == "BF16":
        return floats(DenseTensor("bf16", to_bf16(values)))
    return values.astype({"F16": np.float16, "F32": np.float32}[kind]).astype(np.float32)


@pytest.mark.parametrize("name", GOLDENS)
def test_the_codes_are_those_of_mlx(name):
    bits, group, _ = name.split("-")
    tensors = open_safetensors(DATA / f"{name}.safetensors")
    codes, scales, biases = quantize_affine(floats(tensors.read("given")), int(bits), int(group))
    view = mlx_tensors(tensors, {"bits": int(bits), "group_size": int(group)})
    kind = tensors.infos["x.scales"].type
    assert np.array_equal(stored_floats(scales, kind), floats(tensors.read("x.scales")))
    assert np.array_equal(stored_floats(biases, kind), floats(tensors.read("x.biases")))
    wide = [np.repeat(stored_floats(each, kind), int(group), axis=1) for each in (scales, biases)]
    assert np.array_equal(wide[0] * codes + wide[1], floats_of(view.read("x.weight")))


def test_a_model_that_mlx_lm_quantised_answers_with_its_tokens():
    tokens = json.loads((DATA / "tiny" / "tokens.json").read_text())
    logits = np.load(DATA / "tiny" / "logits.npy")
    bundle = open_bundle(DATA / "tiny", complete=False)
    rounded = load_model(bundle, ReferenceBackend())  # whose activations are integers, too
    assert np.abs(Session(rounded).feed(tokens) - logits).max() < 0.1 * np.abs(logits).max()
    exact = load_model(in_floats(bundle), ReferenceBackend())
    assert np.abs(Session(exact).feed(tokens) - logits).max() < 1e-4
    assert Session(exact).greedy(tokens[:7], len(tokens)) == tokens


def in_floats(bundle):
    """The same weights in float32, so that nothing else is rounded."""
    tensors = with_weights(bundle).tensors
    floats = MemoryTensors({name: floats_of(tensors.read(name)) for name in tensors.infos})
    config = {key: value for key, value in bundle.config.items() if not key.startswith("quantization")}
    return replace(bundle, tensors=floats, config=config, sources=())


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_floats_keep_every_number(kind, tmp_path, no_mlx):
    model = make_folder(tmp_path / "model", kind=kind)
    report = converted(model, "mlx", tmp_path / "mlx")
    same_weights(model, tmp_path / "mlx")
    assert open_safetensors(tmp_path / "mlx" / "model.safetensors").metadata == {"format": "mlx"}
    assert report.verdict["read back (mlx-lm is not installed)"].status == "passed"


@pytest.mark.parametrize("kind", LOW)
def test_every_type_is_read_back_as_what_it_says(kind, model, tmp_path, no_mlx):
    report = converted(model, "mlx", tmp_path / "mlx", type=kind, group_size=32, accept=RANDOM)
    assert set(report.tensors) == {f"F32 -> {kind}_ASYM", "F32 -> F32"}
    bundle = open_bundle(tmp_path / "mlx")
    assert bundle.config["quantization"] == {"group_size": 32, "bits": LOW[kind], "mode": "affine"}
    assert bundle.config["quantization_config"] == bundle.config["quantization"]
    assert bundle.lineage.steps[0].settings == {"to": "mlx", "type": kind, "group_size": 32}
    assert bundle_digest(bundle).value == report.digest == bundle.lineage.digest
    weights = with_weights(bundle).tensors
    assert {info.type for info in weights.infos.values()} == {f"{kind}_ASYM", "F32"}
    assert weights.infos["model.embed_tokens.weight"].type == f"{kind}_ASYM"


def test_rows_that_no_wide_group_divides_get_a_smaller_one_or_stay_floats(tmp_path, no_mlx):
    config = LLAMA | {"intermediate_size": 96, "hidden_size": 64}
    model = make_folder(tmp_path / "model", config)
    converted(model, "mlx", tmp_path / "mlx", type="INT4", group_size=128, accept=RANDOM)
    stated = open_bundle(tmp_path / "mlx").config["quantization"]
    assert stated["group_size"] == 128
    assert stated["model.layers.0.mlp.down_proj"] == {"group_size": 32, "bits": 4}
    assert stated["model.layers.0.mlp.up_proj"] == {"group_size": 64, "bits": 4}
    odd = make_folder(tmp_path / "odd", LLAMA | {"intermediate_size": 100})
    bundle = open_bundle(odd)
    settings = hops.ConvertSettings(to="mlx", type="INT4", out=tmp_path / "x")
    [note] = hops.prepare(bundle, settings).notes
    assert note.startswith("2 matrices stay floats") and "down_proj" in note


def test_shards_name_every_part(model, tmp_path, no_mlx):
    converted(model, "mlx", tmp_path / "mlx", type="INT8", max_shard_bytes=40_000, accept=RANDOM)
    index = json.loads((tmp_path / "mlx" / "model.safetensors.index.json").read_text())
    assert {"lm_head.weight", "lm_head.scales", "lm_head.biases"} <= set(index["weight_map"])
    assert with_weights(open_bundle(tmp_path / "mlx")).tensors.infos["lm_head.weight"].shape == (402, 64)


def test_floats_come_back_without_another_rounding(model, tmp_path, no_mlx):
    converted(model, "mlx", tmp_path / "mlx", type="INT4", accept=RANDOM)
    report = converted(tmp_path / "mlx", "safetensors", tmp_path / "back", type="F32")
    low = with_weights(open_bundle(tmp_path / "mlx")).tensors
    back = open_bundle(tmp_path / "back")
    assert "quantization" not in back.config and "quantization_config" not in back.config
    for name, info in back.tensors.infos.items():
        assert info.type == "F32"
        assert np.array_equal(floats_of(back.tensors.read(name)), floats_of(low.read(name)))
    assert report.source_digest == open_bundle(tmp_path / "mlx").lineage.digest
    assert [step.hop for step in back.lineage.steps] == ["huggingface -> mlx", "huggingface -> safetensors"]


def test_what_mlx_quantised_is_not_rounded_again(model, tmp_path, no_mlx):
    converted(model, "mlx", tmp_path / "mlx", type="INT4", accept=RANDOM)
    for to, kind in (("gguf", "stored"), ("mlx", "INT8"), ("safetensors", "Q4_0")):
        with pytest.raises(UnsupportedError, match="quantised with mlx") as error:
            converted(tmp_path / "mlx", to, tmp_path / "x", type=kind)
        assert "--type f16" in error.value.hint
    converted(tmp_path / "mlx", "safetensors", tmp_path / "copy")
    same_weights(tmp_path / "mlx", tmp_path / "copy")


def test_unknown_types_and_groups_are_refused(model, tmp_path):
    with pytest.raises(SettingsError, match="MLX has no type Q4_K_M"):
        converted(model, "mlx", tmp_path / "mlx", type="Q4_K_M")
    with pytest.raises(SettingsError, match="no groups of 48"):
        converted(model, "mlx", tmp_path / "mlx", type="INT4", group_size=48)


def case_folder(path, name):
    """A golden's model with its own weights, and a tokenizer that is never asked."""
    answer = golden(name)
    make_folder(path)
    (path / "config.json").write_text(json.dumps(answer.config))
    write_safetensors(
        path / "model.safetensors", {key: tensor_data(value) for key, value in answer.weights.items()}
    )
    return path, answer


@pytest.mark.parametrize("name", CASES)
def test_families_that_mlx_lm_computes_otherwise_are_refused_or_noted(name, tmp_path):
    bundle = open_bundle(case_folder(tmp_path / "model", name)[0])
    settings = hops.ConvertSettings(to="mlx", out=tmp_path / "mlx")
    if name in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[name]):
            hops.prepare(bundle, settings)
        return
    notes = hops.prepare(bundle, settings).notes
    assert bool(notes) == (name in WINDOWS)
    assert all("has no window" in note for note in notes)


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_mlx_lm_gives_the_logits_of_every_family(name, tmp_path):
    """Up to the window of those whose window it does not have."""
    pytest.importorskip("mlx_lm")
    folder, answer = case_folder(tmp_path / "model", name)
    conversion = hops.prepare(open_bundle(folder), hops.ConvertSettings(to="mlx", out=tmp_path / "mlx"))
    (folder / "config.json").write_bytes(conversion.sidecars["config.json"])
    count = WINDOWS.get(name, len(answer.tokens))
    logits = MlxLm(folder)(np.array(answer.tokens[:count], np.int32))
    assert np.abs(logits - answer.logits[:count]).max() < 1e-3 * max(1.0, np.abs(answer.logits).max())


@pytest.mark.parametrize("kind", ["stored", "INT4", "INT8"])
def test_mlx_lm_gives_the_same_tokens(kind, model, tmp_path):
    pytest.importorskip("mlx_lm")
    report = converted(model, "mlx", tmp_path / "mlx", type=kind, accept=RANDOM)
    assert report.verdict["MLX"].status == ("failed" if kind == "INT4" else "passed")
    bundle = open_bundle(tmp_path / "mlx")
    assert "mlx_lm" in bundle.lineage.steps[0].tools
    tokens, run = list(PROMPT), MlxLm(tmp_path / "mlx")
    while len(tokens) < 40:
        tokens.append(int(run(np.array(tokens, np.int32))[-1].argmax()))
    ours = load_model(in_floats(bundle), ReferenceBackend())
    assert Session(ours).greedy(PROMPT, len(tokens)) == tokens


def test_a_folder_that_computes_something_else_is_not_published(model, tmp_path, no_mlx, monkeypatch):
    def wrong(self, ids):
        return np.zeros((len(ids), 402), np.float32)

    monkeypatch.setattr(ReadBack, "__call__", wrong)
    with pytest.raises(ProofFailed, match="read back"):
        converted(model, "mlx", tmp_path / "mlx")
    assert not (tmp_path / "mlx").exists()


def test_the_rope_of_a_config_of_transformers_5_is_spelled_as_mlx_lm_reads_it(tmp_path):
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 20000.0}
    config = {key: value for key, value in LLAMA.items() if key != "rope_theta"} | {"rope_parameters": rope}
    bundle = open_bundle(make_folder(tmp_path / "model", config))
    conversion = hops.prepare(bundle, hops.ConvertSettings(to="mlx", out=tmp_path / "mlx"))
    written = json.loads(conversion.sidecars["config.json"])
    assert written["rope_theta"] == 20000.0
    assert written["rope_scaling"] == rope | {"type": "linear"}
    assert written["rope_parameters"] == rope
