"""Mean squares of what matrices read, beside the same sums made by hand; and llama.cpp's files of them."""

import numpy as np
import pytest

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_names import to_gguf
from fairway.formats.gguf_writer import gguf_data, write_gguf
from fairway.formats.open import open_bundle
from fairway.kernels.extension import native_isas
from fairway.kernels.reference import ReferenceBackend
from fairway.kernels.select import select_backend
from fairway.map.random_models import random_model
from fairway.models.conversion import floats_of
from fairway.quantize import importance as module
from fairway.quantize.imatrix_file import read_imatrix, write_imatrix
from fairway.quantize.importance import Activations, measure
from fairway.quantize.quantize_gguf import quantize_gguf

HIDDEN, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 128, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """random:tiny, a qwen2, as a GGUF file."""
    bundle = random_model("random:tiny")
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    sizes = {
        "block_count": LAYERS,
        "embedding_length": HIDDEN,
        "feed_forward_length": INNER,
        "context_length": 256,
    }
    heads = {"attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS}
    metadata = {f"qwen2.{key}": value for key, value in (sizes | heads).items()}
    metadata |= {"general.architecture": "qwen2", "qwen2.attention.layer_norm_rms_epsilon": 1e-6}
    metadata |= {"qwen2.vocab_size": 1024, "qwen2.rope.freq_base": 1e6}
    tensors = {name: floats_of(bundle.tensors.read(name)) for name in bundle.tensors.infos}
    data = {to_gguf("qwen2", name): gguf_data("F32", v.shape, v) for name, v in tensors.items()}
    write_gguf(path, metadata, data)
    return path


def windows(count=3, length=20):
    return list(np.random.default_rng(0).integers(0, 1024, (count, length)).astype(np.int32))


def opened(path):
    return open_bundle(path, complete=False)


def test_the_first_layer_reads_normed_embeddings(model) -> None:
    found = measure(opened(model), ReferenceBackend(), windows()).importance
    tensors = opened(model).tensors
    table = floats_of(tensors.read("model.embed_tokens.weight"))
    norm = floats_of(tensors.read("model.layers.0.input_layernorm.weight"))
    rows = table[np.concatenate(windows())].astype(np.float64)
    normed = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-6) * norm
    for stem in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(found[f"blk.0.{stem}.weight"], (normed**2).mean(axis=0), rtol=1e-4)


def test_every_matrix_of_a_layer_has_its_columns(model) -> None:
    found = measure(opened(model), ReferenceBackend(), windows())
    file = open_gguf(model)
    matrices = {
        name for name, each in file.tensors.items() if name.startswith("blk") and len(each.info.shape) == 2
    }
    assert set(found.sums) == matrices
    for name in matrices:
        assert found.sums[name].shape == (file.tensors[name].info.shape[1],)
        assert found.counts[name] == 60
        assert (found.sums[name] > 0).any()
    assert (found.num_windows, found.window) == (3, 20)


@pytest.mark.parametrize("isa", native_isas())
def test_native_kernels_see_what_the_reference_sees(model, isa) -> None:
    expected = measure(opened(model), ReferenceBackend(), windows()).importance
    found = measure(opened(model), select_backend(isa, 1), windows()).importance
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3)


def test_taps_that_do_not_fit_at_once_are_taken_in_turn(model, monkeypatch) -> None:
    expected = measure(opened(model), ReferenceBackend(), windows()).importance
    monkeypatch.setattr(module, "TAPPED_BYTES", 4 * 20 * INNER)
    found = measure(opened(model), ReferenceBackend(), windows()).importance
    assert all(np.array_equal(found[name], values) for name, values in expected.items())
    assert list(found) == list(expected)


def test_importance_makes_the_outputs_of_a_layer_more_exact(model, tmp_path) -> None:
    """Inputs whose columns differ much, as a real model's do."""
    random = np.random.default_rng(1)
    spread = np.exp(1.5 * random.standard_normal(INNER)).astype(np.float32)
    inputs = random.standard_normal((500, INNER), np.float32) * spread
    name = "blk.0.ffn_down.weight"
    measured = Activations()
    measured.add(name, inputs)
    errors = []
    for importance in (None, measured.importance):
        quantize_gguf(model, tmp_path / "out.gguf", "Q4_0", importance)
        weight, rounded = (
            floats_of(opened(path).tensors.read("model.layers.0.mlp.down_proj.weight"))
            for path in (model, tmp_path / "out.gguf")
        )
        errors.append(float(np.square(inputs @ (rounded - weight).T).mean()))
    assert errors[1] < 0.9 * errors[0]


def test_files_are_read_as_they_were_written(model, tmp_path) -> None:
    found = measure(opened(model), ReferenceBackend(), windows())
    write_imatrix(tmp_path / "imatrix.gguf", found, "words")
    again = read_imatrix(tmp_path / "imatrix.gguf")
    assert (again.num_windows, again.window) == (3, 20)
    for name, values in found.importance.items():
        np.testing.assert_allclose(again.importance[name], values, rtol=1e-6)
    file = open_gguf(tmp_path / "imatrix.gguf")
    assert file.metadata["general.type"] == "imatrix"
    assert file.metadata["imatrix.datasets"] == ["words"]
    assert file.tensors["blk.0.attn_q.weight.in_sum2"].info.shape == (1, HIDDEN)
    assert file.tensors["blk.0.attn_q.weight.counts"].info.shape == (1, 1)


def test_experts_without_a_token_count_evenly(tmp_path) -> None:
    found = Activations(sums={"x": np.array([[2.0, 4.0], [0.0, 0.0]])}, counts={"x": np.array([2.0, 0.0])})
    write_imatrix(tmp_path / "imatrix.gguf", found, "words")
    assert read_imatrix(tmp_path / "imatrix.gguf").importance["x"].tolist() == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a.weight": np.ones((1, 2), np.float32)}, "holds no importance matrix"),
        ({"a.in_sum2": np.ones((1, 2), np.float32)}, "has no 'a.counts' in F32"),
        (
            {"a.in_sum2": -np.ones((1, 2), np.float32), "a.counts": np.ones((1, 1), np.float32)},
            "no sums of squares",
        ),
        (
            {"a.in_sum2": np.full((1, 2), np.nan, np.float32), "a.counts": np.ones((1, 1), np.float32)},
            "no sums",
        ),
        (
            {"a.in_sum2": np.ones((1, 3), np.float32), "a.counts": np.ones((2, 1), np.float32)},
            "other experts",
        ),
    ],
)
def test_files_that_cannot_be_meant_are_refused(tmp_path, tensors, message) -> None:
    path = tmp_path / "broken.gguf"
    write_gguf(path, {}, {name: gguf_data("F32", values.shape, values) for name, values in tensors.items()})
    with pytest.raises(FormatError, match=message):
        read_imatrix(path)


def test_only_gguf_files_are_measured() -> None:
    with pytest.raises(UnsupportedError, match="is no GGUF file"):
        measure(random_model("random:tiny"), ReferenceBackend(), windows())
