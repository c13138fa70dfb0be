"""Real checkpoints that nobody in this project wrote; skipped where they are not at hand."""

import numpy as np
import pytest

from fairway.formats.open import open_bundle

MODELS = {"stories260k": "stories260k-f32.gguf", "babyllama": "babyllama-f32.gguf"}
SAME_KEYS = (
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "vocab_size", "rms_norm_eps", "hidden_act",
    "attention_bias", "mlp_bias", "bos_token_id", "eos_token_id", "architectures",
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_folder_and_gguf_hold_the_same_tensors(shared, model):
    folder = open_bundle(shared / "models" / model)
    gguf = open_bundle(shared / "models" / model / MODELS[model])
    assert len(folder.tensors.infos) == 47
    for name, info in folder.tensors.infos.items():
        assert gguf.tensors.infos[name].shape == info.shape
        np.testing.assert_array_equal(gguf.tensors.read(name).values, folder.tensors.read(name).values, name)
    assert set(gguf.tensors.infos) - set(folder.tensors.infos) == {"lm_head.weight"}
    head, embedding = (
        gguf.tensors.read(f"{name}.weight").values for name in ("lm_head", "model.embed_tokens")
    )
    np.testing.assert_array_equal(head, embedding)


@pytest.mark.parametrize("model", MODELS)
def test_folder_and_gguf_have_the_same_config(shared, model):
    folder = open_bundle(shared / "models" / model)
    gguf = open_bundle(shared / "models" / model / MODELS[model])
    assert {key: gguf.config[key] for key in SAME_KEYS} == {key: folder.config[key] for key in SAME_KEYS}
    assert gguf.config["rope_theta"] == folder.config["rope_parameters"]["rope_theta"]
    assert gguf.config["rope_scaling"] is None
    assert gguf.end_of_text_ids == folder.end_of_text_ids == (2,)
    assert folder.licence == "MIT License"


VOCABULARIES = {
    "bert-bge": (30522, ()),
    "gpt-2": (50257, (50256,)),
    "llama-bpe": (128256, (128001, 128009)),
    "llama-spm": (32000, (2,)),
    "phi-3": (32064, (32000, 32007)),
    "qwen2": (151936, (151643, 151645)),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabulary_files_open_without_tensors(shared, name):
    size, ends = VOCABULARIES[name]
    bundle = open_bundle(shared / "tokenizers" / f"ggml-vocab-{name}.gguf")
    assert len(bundle.tokenizer.metadata["tokenizer.ggml.tokens"]) == bundle.config["vocab_size"] == size
    assert bundle.end_of_text_ids == ends
    assert bundle.tensors.infos == {}
    assert bundle.warnings == ("The file holds a vocabulary and no weights.",)


@pytest.mark.parametrize("name", ["mnist/mnist.safetensors", "silero-vad/silero_vad_16k.safetensors"])
def test_files_of_other_projects_equal_what_the_official_package_reads(shared, name):
    official = pytest.importorskip("safetensors.numpy")
    expected = official.load_file(shared / "models" / name)
    bundle = open_bundle(shared / "models" / name, complete=False)
    assert set(bundle.tensors.infos) == set(expected)
    for key, value in expected.items():
        if bundle.tensors.infos[key].type == "F32":
            np.testing.assert_array_equal(bundle.tensors.read(key).values, value)
