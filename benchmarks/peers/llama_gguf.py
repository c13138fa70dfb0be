"""A Hugging Face folder of a llama or qwen2 model as a bf16 GGUF, for llama-quantize to shrink.

Written with Fairway's own writer, so that no peer's converter (and no PyTorch) is needed. A tokenizer
goes in where it is the byte-level BPE of the random models; llama-server needs it, the rest does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.peers.protocol import Unavailable
from fairway.formats.bundle import Bundle
from fairway.formats.gguf_names import to_gguf
from fairway.formats.gguf_tensors import INTERLEAVED_ROPE, pairs_from_halves
from fairway.formats.gguf_writer import GgufData, MetadataValue, Number, write_gguf
from fairway.formats.open import open_bundle
from fairway.models.config import DecoderConfig
from fairway.models.conversion import floats_of, to_bf16
from fairway.models.families import read_config

SPECIAL, NORMAL = 3, 1
"""llama.cpp's token types."""


def write_bf16_gguf(folder: Path, path: Path) -> None:
    bundle = open_bundle(folder)
    config = read_config(bundle.config)
    metadata = shape_metadata(config) | tokenizer_metadata(folder, config)
    write_gguf(path, metadata, dict(_tensors(bundle, config)))


def shape_metadata(config: DecoderConfig) -> dict[str, MetadataValue]:
    name = config.model_type
    sizes = {
        "block_count": config.num_layers,
        "context_length": config.max_context,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "rope.dimension_count": config.head_size,
        "vocab_size": config.vocab_size,
    }
    metadata: dict[str, MetadataValue] = {"general.architecture": name, "general.name": "benchmark"}
    metadata |= {f"{name}.{key}": value for key, value in sizes.items()}
    theta = config.rope.theta if config.rope else 10_000.0
    return metadata | {
        f"{name}.attention.layer_norm_rms_epsilon": config.norm_eps,
        f"{name}.rope.freq_base": theta,
    }


def tokenizer_metadata(folder: Path, config: DecoderConfig) -> dict[str, MetadataValue]:
    """The byte-level BPE of a random model; for any other tokenizer, none: bare ids."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    if (tokenizer["pre_tokenizer"] or {}).get("type") != "ByteLevel":
        return {"tokenizer.ggml.model": "none"}
    special = {each["id"] for each in tokenizer["added_tokens"]}
    names = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    kinds = [SPECIAL if index in special else NORMAL for index in range(config.vocab_size)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": names,
        "tokenizer.ggml.token_type": [Number("INT32", kind) for kind in kinds],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tokenizer["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
    }


def _tensors(bundle: Bundle, config: DecoderConfig) -> Iterator[tuple[str, GgufData]]:
    """Under llama.cpp's names; matrices bf16, vectors f32."""
    for name, info in bundle.tensors.infos.items():
        spelled = to_gguf(config.model_type, name)
        if spelled is None:
            raise Unavailable(f"GGUF has no name for {name}")
        kind = "F32" if len(info.shape) == 1 else "BF16"
        yield spelled, GgufData(kind, info.shape, partial(_bytes, bundle, config, name))


def _bytes(bundle: Bundle, config: DecoderConfig, name: str) -> list[memoryview]:
    """Read when its turn comes."""
    values = floats_of(bundle.tensors.read(name))
    for part, heads in zip(("q_proj", "k_proj"), (config.num_heads, config.num_kv_heads), strict=True):
        if part in name and config.model_type in INTERLEAVED_ROPE:
            values = values[pairs_from_halves(len(values), heads)]
    stored = values if values.ndim == 1 else to_bf16(values)
    return [np.ascontiguousarray(stored).reshape(-1).view(np.uint8).data]
