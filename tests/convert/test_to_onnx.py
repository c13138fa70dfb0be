"""Decoders as ONNX: the logits of every family, with and without a past, in a batch; weights to the bit.

The graphs run in NumPy here (`onnx_numpy`), and in ONNX Runtime and OpenVINO where those are installed.
"""

import importlib.util
import json

import numpy as np
import pytest
from model_cases import CASES
from model_folders import LLAMA, converted, make_folder, same_weights
from onnx_models import InNumPy, write_onnx
from onnx_runners import OnnxRuntime, OpenVino, greedy, in_two_parts, padded_batch, step
from tiny_models import Session, golden

from fairway.convert.to_onnx import DATA_NAME
from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.onnx import open_onnx
from fairway.formats.open import ONNX_NAME, open_bundle
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model

LIMIT = 1e-3
RUNTIMES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return RUNTIMES[request.param]


def check(model, answer):
    """All ways of feeding the same text give the logits of transformers."""
    tokens, wanted = answer.tokens, answer.logits
    limit = LIMIT * max(1.0, float(np.abs(wanted).max()))
    assert np.abs(step(model, np.array([tokens]))[0][0] - wanted).max() < limit
    assert np.abs(in_two_parts(model, tokens, 19) - wanted).max() < limit
    long, short = padded_batch(model, tokens, tokens[:31])
    assert np.abs(long - wanted).max() < limit
    assert np.abs(short - wanted[:31]).max() < limit


@pytest.mark.parametrize("name", CASES)
def test_every_family_in_numpy(name):
    check(InNumPy(name), golden(name))


@pytest.mark.parametrize("name", CASES)
def test_every_family_in_a_runtime(name, runtime, tmp_path):
    answer = golden(name)
    model = runtime(write_onnx(tmp_path, name))
    check(model, answer)
    if answer.greedy:
        assert greedy(model, answer.tokens[: answer.num_prompt], len(answer.tokens)) == answer.tokens


@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
@pytest.mark.parametrize("kind", ["stored", "F16", "BF16"])
def test_real_models_in_a_runtime(shared, name, kind, runtime, tmp_path):
    source = shared / "models" / name
    converted(source, "onnx", tmp_path / "onnx", type=kind)
    model = runtime(tmp_path / "onnx" / ONNX_NAME)
    answer = json.loads((source / "golden.json").read_text())
    tokens = answer["greedy_ids"]
    ours = Session(load_model(open_bundle(tmp_path / "onnx"), ReferenceBackend())).feed(tokens[:64])
    assert np.abs(step(model, np.array([tokens[:64]]))[0][0] - ours).max() < LIMIT
    if kind == "stored":
        assert greedy(model, answer["prompt_ids"], len(tokens)) == tokens


@pytest.mark.parametrize(("kind", "wanted"), [("f32", "stored"), ("bf16", "stored"), ("f32", "F16")])
def test_the_output_is_a_model_with_the_same_numbers(tmp_path, kind, wanted):
    source = make_folder(tmp_path / "model", kind=kind)
    report = converted(source, "onnx", tmp_path / "onnx", type=wanted)
    assert report.verdict.passed
    before, after = open_bundle(source), open_bundle(tmp_path / "onnx")
    assert after.container == "onnx"
    assert after.lineage.steps[0].hop == "huggingface -> onnx"
    for part in ("chat_template", "generation", "end_of_text_ids", "licence"):
        assert getattr(after, part) == getattr(before, part)
    if wanted == "stored":
        assert report.digest == report.source_digest
        same_weights(source, tmp_path / "onnx")
    logits = [
        Session(load_model(open_bundle(path), ReferenceBackend())).feed([3, 1, 4, 1, 5])
        for path in (source, tmp_path / "onnx")
    ]
    assert np.abs(logits[0] - logits[1]).max() < (1e-6 if wanted == "stored" else 0.05)


def test_weights_lie_beside_the_graph_on_pages_of_their_own(model, tmp_path):
    converted(model, "onnx", tmp_path / "onnx")
    found = open_onnx(tmp_path / "onnx" / ONNX_NAME)
    beside = [each for each in found.tensors.tensors.values() if each.source.name == DATA_NAME]
    assert len(beside) == len(open_bundle(model).tensors.infos)
    assert all(each.span[0] % 4096 == 0 for each in beside)
    assert (tmp_path / "onnx" / ONNX_NAME).stat().st_size < 100_000
    assert [port.name for port in found.graph.inputs][:5] == [
        "input_ids", "attention_mask", "position_ids", "past_key_values.0.key", "past_key_values.0.value",
    ]  # fmt: skip
    assert found.graph.inputs[3].shape == ("batch_size", 2, "past_sequence_length", 16)
    assert [port.name for port in found.graph.outputs][:2] == ["logits", "present.0.key"]


def test_a_tied_head_is_stored_once(tmp_path):
    source = make_folder(tmp_path / "model", LLAMA | {"tie_word_embeddings": True})
    converted(source, "onnx", tmp_path / "onnx")
    infos = open_bundle(tmp_path / "onnx").tensors.infos
    assert "lm_head.weight" not in infos
    assert set(infos) == set(open_bundle(source).tensors.infos)


def test_the_official_checker_finds_nothing(model, tmp_path):
    onnx = pytest.importorskip("onnx")
    converted(model, "onnx", tmp_path / "onnx")
    onnx.checker.check_model(str(tmp_path / "onnx" / ONNX_NAME), full_check=True)


def test_low_bit_types_and_unknown_families_are_refused(model, tmp_path):
    with pytest.raises(SettingsError, match="floats here, not Q4_K"):
        converted(model, "onnx", tmp_path / "out", type="Q4_K")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(UnsupportedError, match="'mamba' is not supported"):
        converted(model, "onnx", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
