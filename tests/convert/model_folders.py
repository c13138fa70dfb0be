"""Complete Hugging Face folders with random weights, made in a moment."""

import json
from pathlib import Path

import numpy as np
from text_cases import byte_pair_json, spm_json
from tiny_models import tiny_weights

from fairway.convert.hops import convert, prepare
from fairway.convert.publish import Published
from fairway.convert.settings import ConvertSettings
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.models.conversion import to_bf16
from fairway.models.families import read_config
from fairway.models.sizes import expected_tensors
from fairway.tensors import DenseTensor

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 402,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "eos_token_id": 401,
    "bos_token_id": 400,
    "dtype": "float32",
}
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"


def weights_of(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    shapes = {name: tensor.shape for name, tensor in expected_tensors(read_config(config)).items()}
    return tiny_weights(shapes, seed, config["model_type"])


def stored_as(values: np.ndarray, kind: str) -> DenseTensor:
    if kind == "bf16":
        return DenseTensor("bf16", to_bf16(values))
    return DenseTensor(kind, values.astype(np.float16 if kind == "f16" else np.float32))


def make_folder(path: Path, config: dict | None = None, kind: str = "f32", vocabulary: str = "bpe") -> Path:
    """`vocabulary`: "bpe" (402 pieces) or "spm", whose size the config takes over."""
    config = dict(config or LLAMA)
    tokenizer = byte_pair_json() if vocabulary == "bpe" else spm_json()
    names = ("<|begin|>", "<|im_end|>") if vocabulary == "bpe" else ("<s>", "</s>")
    if vocabulary == "spm":
        config |= {"vocab_size": len(tokenizer["model"]["vocab"]), "bos_token_id": 1, "eos_token_id": 2}
    path.mkdir(parents=True)
    data = {name: tensor_data(stored_as(values, kind)) for name, values in weights_of(config).items()}
    write_safetensors(path / "model.safetensors", data, {"format": "pt"})
    files = {
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {
            "bos_token": names[0],
            "eos_token": names[1],
            "chat_template": TEMPLATE,
            "add_bos_token": True,
        },
        "generation_config.json": {"eos_token_id": config["eos_token_id"], "temperature": 0.7, "top_k": 20},
    }
    for name, value in files.items():
        (path / name).write_text(json.dumps(value))
    (path / "LICENSE").write_text("MIT License\n")
    return path


def converted(source: Path, to: str, out: Path, **settings) -> Published:
    """The whole way, as the command goes it."""
    bundle = open_bundle(source, complete=False)
    return convert(prepare(bundle, ConvertSettings(to=to, out=out, **settings)))


def same_weights(first: Path, second: Path) -> None:
    """Every number of two models is equal to the bit."""
    one, two = (open_bundle(path, complete=False).tensors for path in (first, second))
    assert set(one.infos) == set(two.infos)
    for name in one.infos:
        assert one.infos[name].type == two.infos[name].type
        np.testing.assert_array_equal(one.stored(name), two.stored(name), name)
