"""The models that are compared: shapes with random weights, and two real small ones.

A random model is written once as an ordinary Hugging Face folder (bf16 safetensors, a tokenizer that
fits), from which every peer makes its own format. Speed depends on shapes, not on values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.comparison.environments import whole
from benchmarks.comparison.vocabulary import write_tokenizer
from benchmarks.peers.protocol import Model, Unavailable
from fairway.formats.safetensors_writer import TensorData, write_safetensors
from fairway.models.conversion import to_bf16
from fairway.models.families import read_config
from fairway.models.random import QWEN2_5_0_5B, random_bundle
from fairway.models.sizes import expected_tensors
from fairway.tensors import DenseTensor

QWEN2_5_1_5B: Mapping[str, Any] = dict(QWEN2_5_0_5B) | {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
}
RANDOM: Mapping[str, Mapping[str, Any]] = {"qwen2.5-0.5b": QWEN2_5_0_5B, "qwen2.5-1.5b": QWEN2_5_1_5B}
ROOT = Path(__file__).parents[2]
REAL: Mapping[str, Path] = {
    "builtin": ROOT / "src" / "fairway" / "builtin",
    "babyllama": ROOT.parent / "shared" / "data" / "models" / "babyllama",
}
SHAPES = (*RANDOM, *REAL)
FOR_TRANSFORMERS = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
"""What other readers of a config.json expect beside the shape."""


def model_of(shape: str, cache: Path, layers: int | None = None) -> Model:
    """Writes the folder if it is not there. `layers` cuts a random shape for a quick trial."""
    if shape in REAL:
        return _real_model(shape, cache)
    config = dict(RANDOM[shape]) | ({} if layers is None else {"num_hidden_layers": layers})
    name = shape if layers is None else f"{shape}-{layers}-layers"
    folder = cache / "models" / name / "huggingface"
    if not folder.exists():
        write_random(config, folder)
    return _described(name, folder, folder.parent)


def _real_model(shape: str, cache: Path) -> Model:
    if not (REAL[shape] / "config.json").exists():
        raise Unavailable(f"{shape} is not on this machine")
    digest = hashlib.sha256((REAL[shape] / "model.safetensors").read_bytes()).hexdigest()
    return _described(shape, REAL[shape], cache / "models" / f"{shape}-{digest[:8]}")


def _described(name: str, folder: Path, made: Path) -> Model:
    decoder = read_config(json.loads((folder / "config.json").read_text("utf-8")))
    matrices = [each for each in expected_tensors(decoder).values() if each.role == "linear"]
    num_weights = sum(each.num_elements for each in matrices)
    return Model(name, folder, decoder.vocab_size, decoder.max_context, num_weights, made)


def write_random(config: Mapping[str, Any], folder: Path) -> None:
    """All or nothing: the folder appears under its name when it is complete."""
    with whole(folder) as partial:
        partial.mkdir()
        (partial / "config.json").write_text(json.dumps(dict(config) | FOR_TRANSFORMERS, indent=1), "utf-8")
        (partial / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}), "utf-8")
        write_tokenizer(partial, config["vocab_size"], config["max_position_embeddings"])
        write_safetensors(partial / "model.safetensors", random_tensors(config), {"format": "pt"})


def random_tensors(config: Mapping[str, Any]) -> dict[str, TensorData]:
    """Everything in bf16; each tensor is drawn when its turn comes."""
    tensors = random_bundle(config).tensors

    def data(name: str) -> TensorData:
        def chunks() -> Iterator[memoryview]:
            tensor = tensors.read(name)
            assert isinstance(tensor, DenseTensor)
            values = tensor.values if tensor.type == "bf16" else to_bf16(tensor.values)
            yield values.reshape(-1).data.cast("B")

        return TensorData("BF16", tensors.infos[name].shape, chunks)

    return {name: data(name) for name in tensors.infos}
