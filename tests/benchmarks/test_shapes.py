import json

import numpy as np
import pytest
from benchmarks.comparison.shapes import RANDOM, model_of, write_random
from benchmarks.peers.llama_gguf import write_bf16_gguf
from benchmarks.peers.protocol import Unavailable

from fairway.formats.open import open_bundle
from fairway.models.conversion import floats_of
from fairway.models.families import read_config
from fairway.models.sizes import num_parameters

SMALL = dict(RANDOM["qwen2.5-0.5b"]) | {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}


@pytest.mark.parametrize(("shape", "billions"), [("qwen2.5-0.5b", 0.494), ("qwen2.5-1.5b", 1.544)])
def test_shapes_are_those_of_the_models_they_are_named_after(shape, billions):
    assert num_parameters(read_config(RANDOM[shape])) / 1e9 == pytest.approx(billions, abs=0.001)


def test_a_random_folder_opens_with_its_tokenizer(tmp_path):
    write_random(SMALL, tmp_path / "model")
    bundle = open_bundle(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"]
    assert bundle.tokenizer is not None
    assert {info.type for info in bundle.tensors.infos.values()} == {"BF16"}


def test_the_gguf_holds_the_same_weights(tmp_path):
    write_random(SMALL, tmp_path / "model")
    write_bf16_gguf(tmp_path / "model", tmp_path / "model.gguf")
    folder, gguf = open_bundle(tmp_path / "model"), open_bundle(tmp_path / "model.gguf")
    assert set(folder.tensors.infos) == set(gguf.tensors.infos)
    for name in folder.tensors.infos:
        same = floats_of(folder.tensors.read(name)), floats_of(gguf.tensors.read(name))
        assert np.array_equal(*same), name
    read = read_config(gguf.config)
    assert (read.num_layers, read.hidden_size, read.vocab_size) == (2, 64, 600)


def test_the_builtin_model_is_described(tmp_path):
    model = model_of("builtin", tmp_path)
    assert (model.vocab_size, model.context) == (4096, 1024)
    assert model.made.parent == tmp_path / "models"


def test_a_model_that_is_not_here_is_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.comparison.shapes.REAL", {"babyllama": tmp_path})
    with pytest.raises(Unavailable, match="babyllama is not on this machine"):
        model_of("babyllama", tmp_path)
