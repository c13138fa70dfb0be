"""OpenVINO GenAI takes our folders as they are: the same greedy tokens, and a tokenizer that was tried."""

import json

import numpy as np
import pytest
from model_folders import converted, make_folder
from tiny_models import Session

from fairway.convert import openvino_tokenizer
from fairway.convert.openvino_tokenizer import LIBRARIES, NAMES
from fairway.formats.open import open_bundle
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model
from fairway.text.loader import load_tokenizer

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


def pipeline(folder):
    genai = pytest.importorskip("openvino_genai")
    return genai.LLMPipeline(str(folder), "CPU", **EXACT)


def settings(count):
    import openvino_genai

    found = openvino_genai.GenerationConfig()
    found.max_new_tokens, found.do_sample, found.ignore_eos = count, False, True
    found.apply_chat_template = False
    return found


def greedy_ids(pipe, prompt, count):
    """The tokens after `prompt`, ids in and ids out."""
    import openvino
    import openvino_genai

    ids = np.array([prompt], np.int64)
    inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
    return list(pipe.generate(inputs, settings(count)).tokens[0])


@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_models_give_their_greedy_tokens(shared, tmp_path, name):
    pytest.importorskip("openvino_genai")
    source = shared / "models" / name
    converted(source, "openvino", tmp_path / "ir", type="F32")
    answer = json.loads((source / "golden.json").read_text())
    prompt, wanted = answer["prompt_ids"], answer["greedy_ids"]
    assert prompt + greedy_ids(pipeline(tmp_path / "ir"), prompt, len(wanted) - len(prompt)) == wanted


CONFIGS = {"llama": {}, "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}}


@pytest.mark.parametrize("name", CONFIGS)
def test_tiny_models_give_the_tokens_of_their_source(tmp_path, name):
    pytest.importorskip("openvino_genai")
    from model_folders import LLAMA

    source = make_folder(tmp_path / "model", LLAMA | CONFIGS[name])
    converted(source, "openvino", tmp_path / "ir", type="F32")
    prompt = [3, 1, 4, 1, 5, 9]
    wanted = Session(load_model(open_bundle(source), ReferenceBackend())).greedy(prompt, 30)
    assert prompt + greedy_ids(pipeline(tmp_path / "ir"), prompt, 24) == wanted


def test_text_goes_in_and_comes_out(shared, tmp_path):
    """With the tokenizers that were published beside the model."""
    for name in ("openvino_genai", *LIBRARIES):
        pytest.importorskip(name)
    source = shared / "models" / "stories260k"
    report = converted(source, "openvino", tmp_path / "ir", type="F32")
    assert "tokenizer reads" in report.verdict["OpenVINO"].figure
    assert all((tmp_path / "ir" / name).is_file() for name in NAMES)
    answer = json.loads((source / "golden.json").read_text())
    text = pipeline(tmp_path / "ir").generate(answer["prompt"], settings(60))
    tokenizer = load_tokenizer(open_bundle(source).tokenizer)
    count = len(answer["prompt_ids"])
    wanted = tokenizer.decode(answer["greedy_ids"][count : count + 60])
    assert text.strip() == wanted.strip()


def test_a_tokenizer_that_reads_otherwise_is_not_published(shared, tmp_path):
    """babyllama's unknown characters: OpenVINO makes one token of each, its own tokenizer one of all."""
    for name in ("openvino", *LIBRARIES):
        pytest.importorskip(name)
    report = converted(shared / "models" / "babyllama", "openvino", tmp_path / "ir")
    assert "without OpenVINO's tokenizer (it reads only" in report.verdict["OpenVINO"].figure
    assert not any((tmp_path / "ir" / name).exists() for name in NAMES)


def test_without_the_libraries_the_check_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_tokenizer, "is_installed", lambda name: False)
    words = openvino_tokenizer.write_tokenizers(tmp_path, open_bundle(model).tokenizer)
    assert words == "without OpenVINO's tokenizer (openvino_tokenizers is not installed)"


def test_a_broken_tokenizer_costs_the_tokenizer_only(model, tmp_path, monkeypatch):
    def broken(folder):
        raise RuntimeError("cannot convert\nmore")

    monkeypatch.setattr(openvino_tokenizer, "is_installed", lambda name: True)
    monkeypatch.setattr(openvino_tokenizer, "_converted", broken)
    words = openvino_tokenizer.write_tokenizers(tmp_path, open_bundle(model).tokenizer)
    assert words == "without OpenVINO's tokenizer (cannot convert)"
