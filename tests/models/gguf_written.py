"""The families' tiny models as GGUF files, as far as GGUF can say what they are."""

from collections.abc import Callable
from pathlib import Path

from gguf_files import gguf_model
from model_cases import CASES

from fairway.formats.bundle import Bundle
from fairway.formats.gguf_writer import GgufData, gguf_data, write_gguf
from fairway.formats.open import open_bundle
from fairway.tensors import F32

# GGUF has no key for these: llama.cpp knows neither Mistral's window nor Qwen 2's upper ones, no
# dynamic rope, no biases in qwen3 and olmo2, and one scale for GPT-2.
INEXPRESSIBLE = {
    "llama-rope-dynamic",
    "mistral-window",
    "qwen2-upper-window",
    "qwen3-tied-bias",
    "olmo2-bias",
    "gpt2-untied",
    "gemma3-multimodal",
}
NAMES = [name for name in CASES if name not in INEXPRESSIBLE]


def expressible(config: dict) -> dict:
    """The case with what llama.cpp assumes, where its files cannot say otherwise."""
    changed = dict(config)
    if "query_pre_attn_scalar" in config:
        changed["query_pre_attn_scalar"] = config["head_dim"]
    if changed.pop("rope_parameters", None):
        del changed["layer_types"]
        changed |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 2}
    return changed


def written(path: Path, config: dict, weights: dict[str, F32], pack: Callable[[F32], GgufData]) -> Bundle:
    metadata, tensors = gguf_model(config, weights)
    write_gguf(path, metadata, {name: pack(values) for name, values in tensors.items()})
    return open_bundle(path, complete=False)


def as_f32(values: F32) -> GgufData:
    return gguf_data("F32", values.shape, values)
