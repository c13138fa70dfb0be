"""A checkpoint on disk and processes that load it through a cache: what the cache's tests share.

Run as a program it loads a model and prints what it answers: python packed_models.py MODEL CACHE TYPE
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny_models import Session

from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.kernels.native_backend import NativeBackend
from fairway.models.families import read_config
from fairway.models.loader import Model, load_model
from fairway.models.packed_cache import PackedCache
from fairway.models.random import random_bundle

CONFIG = {
    "model_type": "qwen2",
    "vocab_size": 1000,
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
LARGER = {**CONFIG, "vocab_size": 40_000, "hidden_size": 512, "intermediate_size": 2048}
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def write_model(
    folder: Path, config: dict = CONFIG, seed: int = 0, kind: str = "bf16", head: str = "own"
) -> Path:
    """A Hugging Face folder without a tokenizer. `head` "embedding" makes the head a copy of that."""
    read_config(config)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_bundle(config, kind, seed).tensors
    read = {name: tensors.read(name) for name in tensors.infos}
    if head == "embedding":
        read["lm_head.weight"] = read["model.embed_tokens.weight"]
    write_safetensors(
        folder / "model.safetensors", {name: tensor_data(tensor) for name, tensor in read.items()}
    )
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(model: Path, cache: PackedCache | None, weight_type: str = "int8") -> Model:
    return load_model(
        open_bundle(model, complete=False), NativeBackend(None, 2), weight_type=weight_type, cache=cache
    )


def answer(model: Model) -> np.ndarray:
    return Session(model).feed(TOKENS)


def started(model: Path, cache: Path, weight_type: str = "int8", **more) -> subprocess.Popen:
    """A process of its own that loads and answers."""
    command = [sys.executable, __file__, str(model), str(cache), weight_type]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def main() -> None:
    model, cache, weight_type = sys.argv[1:]
    notes: list[str] = []
    kept = PackedCache(Path(cache), 1 << 40, notes.append, smallest_bytes=0)
    logits = answer(load(Path(model), kept, weight_type))
    print(json.dumps({"sum": float(logits.sum()), "notes": notes}))


if __name__ == "__main__":
    main()
