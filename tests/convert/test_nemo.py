"""`.nemo` archives: a known decoder becomes a Llama, others are named, hostile ones are never opened."""

import io
import tarfile

import numpy as np
import pytest
from model_folders import LLAMA, converted, weights_of
from text_cases import spm_model_file, spm_tables
from tiny_models import Session, memory_bundle
from torch_zips import torch_zip

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.open import open_bundle
from fairway.kernels.reference import ReferenceBackend
from fairway.models.loader import load_model

CONFIG = """
target: nemo.collections.nlp.models.language_modeling.megatron_gpt_model.MegatronGPTModel
hidden_size: 64
ffn_hidden_size: 96
num_layers: 2
num_attention_heads: 4
num_query_groups: 2
max_position_embeddings: 128
layernorm_epsilon: 1.0e-05
normalization: rmsnorm
activation: fast-swiglu
position_embedding_type: rope
bias: false
tokenizer:
  library: sentencepiece
  model: nemo:abc_tokenizer.model
"""
VOCABULARY = len(spm_tables()[0])
QKV = "self_attention.linear_qkv"
PLAIN = LLAMA | {"vocab_size": VOCABULARY, "eos_token_id": 2, "bos_token_id": 1}


def megatron(weights):
    """The weights under NeMo's names: q, k and v of each group together, gate above up."""
    found = {
        "model.embedding.word_embeddings.weight": weights["model.embed_tokens.weight"],
        "model.decoder.final_layernorm.weight": weights["model.norm.weight"],
        "model.output_layer.weight": weights["lm_head.weight"],
    }
    for layer in range(2):
        ours, theirs = f"model.layers.{layer}", f"model.decoder.layers.{layer}"
        q, k, v = (weights[f"{ours}.self_attn.{n}_proj.weight"].reshape(2, -1, 64) for n in "qkv")
        fused = np.concatenate([q, k, v], axis=1).reshape(-1, 64)
        gated = np.concatenate([weights[f"{ours}.mlp.{n}_proj.weight"] for n in ("gate", "up")])
        found |= {
            f"{theirs}.{QKV}.weight": fused,
            f"{theirs}.self_attention.linear_qkv.layer_norm_weight": weights[
                f"{ours}.input_layernorm.weight"
            ],
            f"{theirs}.self_attention.linear_proj.weight": weights[f"{ours}.self_attn.o_proj.weight"],
            f"{theirs}.mlp.linear_fc1.weight": gated,
            f"{theirs}.mlp.linear_fc1.layer_norm_weight": weights[f"{ours}.post_attention_layernorm.weight"],
            f"{theirs}.mlp.linear_fc2.weight": weights[f"{ours}.mlp.down_proj.weight"],
        }
    return found


def archive(path, members, prefix="./"):
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(prefix + name)
            if isinstance(data, bytes):
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
            else:
                file.addfile(info)
    return path


def members(tmp_path, config=CONFIG, weights=None):
    torch_zip(tmp_path / "weights.ckpt", weights or megatron(weights_of(PLAIN)))
    raw = (tmp_path / "weights.ckpt").read_bytes()
    (tmp_path / "weights.ckpt").unlink()
    return {
        "model_config.yaml": config.encode(),
        "model_weights.ckpt": raw,
        "abc_tokenizer.model": spm_model_file(),
    }


@pytest.fixture
def nemo(tmp_path):
    return archive(tmp_path / "small.nemo", members(tmp_path))


def test_it_computes_what_its_weights_compute(nemo):
    bundle = open_bundle(nemo)
    assert bundle.config["model_type"] == "llama"
    assert bundle.end_of_text_ids == (2,)
    wanted = load_model(memory_bundle(PLAIN, weights_of(PLAIN)), ReferenceBackend())
    prompt = [3, 1, 4, 1, 5]
    found = Session(load_model(bundle, ReferenceBackend())).feed(prompt)
    np.testing.assert_array_equal(found, Session(wanted).feed(prompt))


@pytest.mark.parametrize("to", ["safetensors", "gguf"])
def test_it_becomes_a_folder_or_a_gguf_file(nemo, tmp_path, to):
    report = converted(nemo, to, tmp_path / f"out.{to}")
    assert report.verdict.passed
    bundle = open_bundle(tmp_path / f"out.{to}")
    weights = weights_of(PLAIN)
    assert set(bundle.tensors.infos) == set(weights)
    for name, values in weights.items():
        np.testing.assert_array_equal(bundle.tensors.read(name).values, values, name)
    assert bundle.end_of_text_ids == (2,)
    assert bundle.lineage.steps[0].sources[0].container == "nemo"


OTHERS = {
    "It is a EncDecCTCModelBPE": ("MegatronGPTModel", "x.EncDecCTCModelBPE"),
    "normalization is 'layernorm1p'": ("rmsnorm", "layernorm1p"),
    "activation is 'squared-relu'": ("fast-swiglu", "squared-relu"),
}


@pytest.mark.parametrize("words", OTHERS)
def test_another_architecture_is_named_and_its_tensors_can_be_had(tmp_path, words):
    path = archive(tmp_path / "other.nemo", members(tmp_path, CONFIG.replace(*OTHERS[words])))
    with pytest.raises(UnsupportedError, match=words) as caught:
        converted(path, "safetensors", tmp_path / "out")
    assert "--weights-only" in caught.value.hint
    converted(path, "safetensors", tmp_path / "out", weights_only=True)
    assert (
        "model.decoder.final_layernorm.weight" in open_bundle(tmp_path / "out", complete=False).tensors.infos
    )


def link(name, kind, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "a link or a device": {"model_weights.ckpt": link("model_weights.ckpt", tarfile.SYMTYPE, "/etc/passwd")},
    "link or": {"x": link("x", tarfile.LNKTYPE, "../../etc/passwd")},
    "or a device": {"x": link("x", tarfile.FIFOTYPE, "")},
    "outside the archive": {"../../evil": b"x"},
    "has no model_config.yaml": {"model_config.yaml": None},
    "has no model_weights.ckpt": {"model_weights.ckpt": None},
    "YAML aliases": {"model_config.yaml": b"a: &x [1,2]\nb: *x\n"},
    "is broken": {"model_config.yaml": b"a: [1\nb: }"},
    "holds no table": {"model_config.yaml": b"- 1\n"},
    "model_config.yaml in .* is broken": {"model_config.yaml": b"a: !!python/name:os.system\n"},
    "not a size": {"model_config.yaml": CONFIG.replace("64", "many").encode()},
    "cannot share": {"model_config.yaml": CONFIG.replace("groups: 2", "groups: 3").encode()},
    "not q, k and v": {"model_config.yaml": CONFIG.replace("groups: 2", "groups: 4").encode()},
    "not one that torch.save made|damaged zip|pickle": {"model_weights.ckpt": b"PK\x03\x04" + b"\0" * 100},
    "tokenizer.model": {"abc_tokenizer.model": b"\xff" * 64},
}


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_archives_end_in_one_sentence(tmp_path, words):
    contents = members(tmp_path) | HOSTILE[words]
    path = archive(tmp_path / "bad.nemo", {name: data for name, data in contents.items() if data is not None})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FairwayError, match=words):
        open_bundle(path)
    assert sorted(tmp_path.iterdir()) == before


def test_an_absolute_path_and_a_name_twice(tmp_path):
    contents = members(tmp_path)
    path = archive(tmp_path / "abs.nemo", contents | {"/etc/evil": b"x"}, prefix="")
    with pytest.raises(FormatError, match="outside the archive"):
        open_bundle(path)
    with tarfile.open(tmp_path / "twice.nemo", "w") as file:
        for _ in range(2):
            info = tarfile.TarInfo("model_config.yaml")
            info.size = 3
            file.addfile(info, io.BytesIO(b"a: "))
    with pytest.raises(FormatError, match="twice"):
        open_bundle(tmp_path / "twice.nemo")


@pytest.mark.parametrize("keep", [100, 700, 40_000])
def test_a_truncated_archive(nemo, tmp_path, keep):
    (tmp_path / "cut.nemo").write_bytes(nemo.read_bytes()[:keep])
    with pytest.raises(FairwayError):
        open_bundle(tmp_path / "cut.nemo")


def test_a_compressed_archive_says_what_to_do(tmp_path):
    with tarfile.open(tmp_path / "packed.nemo", "w:gz") as file:
        file.addfile(tarfile.TarInfo("model_config.yaml"), io.BytesIO(b""))
    with pytest.raises(UnsupportedError, match="compressed") as caught:
        open_bundle(tmp_path / "packed.nemo")
    assert "gunzip" in caught.value.hint


def test_a_tar_that_is_no_nemo_is_named(tmp_path):
    path = archive(tmp_path / "some.bin", {"a": b"x"})
    with pytest.raises(FairwayError, match="a tar archive"):
        open_bundle(path)
