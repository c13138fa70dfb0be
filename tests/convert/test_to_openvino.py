"""Graphs are run before they are published; OpenVINO's IR in every type where the library is installed."""

import json

import numpy as np
import pytest
from model_cases import CASES
from model_folders import converted
from tiny_models import Session, golden

from fairway.convert import graph_runtimes, to_openvino
from fairway.convert.finish import compare_with_source
from fairway.convert.openvino_graph import keep_cache_inside, read_weights_as_stored
from fairway.errors import MissingExtra, ProofFailed, SettingsError
from fairway.formats.open import open_bundle
from fairway.formats.openvino_ir import open_openvino
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model
from fairway.proof.thresholds import KINDS


class Ours:
    """In place of a runtime: the weights of the written folder through our own reference."""

    error = 0.0

    def __init__(self, path, config):
        self.folder = path.parent

    def __call__(self, ids):
        logits = Session(load_model(open_bundle(self.folder), ReferenceBackend())).feed(list(map(int, ids)))
        return logits + self.error * np.arange(logits.shape[1], dtype=np.float32)


@pytest.fixture
def runtime(monkeypatch):
    monkeypatch.setattr(to_openvino, "is_installed", lambda name: True)
    monkeypatch.setattr(to_openvino, "version", lambda name: "1.0")
    monkeypatch.setattr(to_openvino, "OnnxRuntime", Ours)
    return Ours


def test_a_graph_that_was_run_says_so_in_its_lineage(model, tmp_path, runtime):
    report = converted(model, "onnx", tmp_path / "onnx")
    assert report.verdict["ONNX Runtime"].status == "passed"
    [step] = open_bundle(tmp_path / "onnx").lineage.steps
    assert step.tools["onnxruntime"] == "1.0"
    assert step.proof["checks"]["ONNX Runtime"].startswith("passed: KL")


def test_a_graph_that_computes_something_else_is_not_published(model, tmp_path, runtime, monkeypatch):
    monkeypatch.setattr(Ours, "error", 0.1)
    with pytest.raises(ProofFailed, match="1 of 6 checks failed: ONNX Runtime"):
        converted(model, "onnx", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
    converted(model, "onnx", tmp_path / "onnx", accept="a test")
    assert open_bundle(tmp_path / "onnx").lineage.steps[0].accepted_by.endswith("a test")


def test_without_the_runtime_the_check_says_that_it_was_not_made(model, tmp_path, monkeypatch):
    monkeypatch.setattr(to_openvino, "is_installed", lambda name: False)
    report = converted(model, "onnx", tmp_path / "onnx")
    assert report.verdict["ONNX Runtime"].status == "not applicable"
    assert report.verdict.passed


def test_a_small_error_of_a_lossless_graph_is_found(model, monkeypatch):
    bundle = open_bundle(model)
    engine = load_model(bundle, ReferenceBackend())

    def run(ids, error=0.01):
        return Session(engine).feed(list(map(int, ids))) + np.float32(error)

    assert compare_with_source("x", bundle, run, KINDS["lossless"]).status == "failed"
    assert compare_with_source("x", bundle, run, KINDS["16-bit"]).status == "passed"
    exact = compare_with_source("x", bundle, lambda ids: run(ids, 0.0), KINDS["lossless"])
    assert exact.status == "passed"


def test_a_missing_library_is_named_before_anything_is_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_runtimes, "is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match="needs openvino") as caught:
        converted(model, "openvino", tmp_path / "ir")
    assert "pip install 'fairway[openvino]'" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_types_of_other_formats_are_refused(model, tmp_path):
    with pytest.raises(SettingsError, match="F32, F16, INT8, INT4, not Q4_K_M"):
        converted(model, "openvino", tmp_path / "ir", type="Q4_K_M")


WANTED = {"F32": "F32", "stored": "F16", "INT8": "U8", "INT4": "U4"}


@pytest.mark.parametrize("wanted", WANTED)
def test_real_models_become_ir(shared, tmp_path, wanted):
    pytest.importorskip("openvino")
    if wanted.startswith("INT"):
        pytest.importorskip("nncf")
    report = converted(shared / "models" / "babyllama", "openvino", tmp_path / "ir", type=wanted)
    assert report.verdict["OpenVINO"].status == "passed"
    names = {path.name for path in (tmp_path / "ir").iterdir()}
    assert {"openvino_model.xml", "openvino_model.bin", "tokenizer.json", "fairway.json"} <= names
    assert not any("onnx" in name for name in names)
    found = open_openvino(tmp_path / "ir" / "openvino_model.xml")
    assert next(iter(found.types)) == WANTED[wanted]
    names = [port.name for port in found.graph.inputs]
    assert names == ["input_ids", "attention_mask", "position_ids", "beam_idx"]
    assert "openvino" in json.loads((tmp_path / "ir" / "fairway.json").read_text())["steps"][0]["tools"]


def test_ir_in_float32_gives_the_greedy_tokens(shared, tmp_path):
    pytest.importorskip("openvino")
    from onnx_runners import StatefulOpenVino, greedy_with_state

    source = shared / "models" / "stories260k"
    converted(source, "openvino", tmp_path / "ir", type="F32")
    answer = json.loads((source / "golden.json").read_text())
    model = StatefulOpenVino(tmp_path / "ir" / "openvino_model.xml")
    wanted = answer["greedy_ids"]
    assert greedy_with_state(model, answer["prompt_ids"], len(wanted)) == wanted


@pytest.mark.parametrize("name", CASES)
def test_every_family_keeps_its_cache_inside(name, tmp_path):
    """In two parts through the state, and greedily, as transformers recorded it."""
    openvino = pytest.importorskip("openvino")
    from onnx_models import write_onnx
    from onnx_runners import StatefulOpenVino, greedy_with_state

    model = openvino.Core().read_model(str(write_onnx(tmp_path, name)))
    read_weights_as_stored(model)
    keep_cache_inside(model)
    openvino.save_model(model, str(tmp_path / "ir.xml"), compress_to_fp16=False)
    answer, ir = golden(name), StatefulOpenVino(tmp_path / "ir.xml")
    tokens = np.array([answer.tokens])
    logits = np.concatenate([ir(tokens[:, :19]), ir(tokens[:, 19:])], axis=1)[0]
    limit = 1e-3 * max(1.0, float(np.abs(answer.logits).max()))
    assert np.abs(logits - answer.logits).max() < limit
    if answer.greedy:
        assert greedy_with_state(ir, answer.tokens[: answer.num_prompt], len(answer.tokens)) == answer.tokens


def test_sequences_of_a_batch_change_places(model, tmp_path):
    """What beam search does: `beam_idx` says whose past each one continues."""
    pytest.importorskip("openvino")
    from onnx_runners import StatefulOpenVino

    converted(model, "openvino", tmp_path / "ir", type="F32")
    ir = StatefulOpenVino(tmp_path / "ir" / "openvino_model.xml")
    first, second, last = [3, 1, 4, 1], [5, 9, 2, 6], [7]
    alone = []
    for text in (first, second):
        ir.begin()
        alone.append(ir(np.array([text + last]))[0, -1])
    ir.begin()
    ir(np.array([first, second]))
    together = ir(np.array([last, last]), order=[1, 0])[:, -1]
    np.testing.assert_allclose(together, alone[::-1], atol=1e-4)


def test_matrices_that_stayed_floats_are_no_quantised_model(shared, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr(to_openvino, "read_weights_as_stored", lambda model: None)
    with pytest.raises(ProofFailed, match="of the matrices in low bits"):
        converted(shared / "models" / "babyllama", "openvino", tmp_path / "ir", type="INT8")
    assert not (tmp_path / "ir").exists()
