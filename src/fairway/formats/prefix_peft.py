"""PEFT's prefix tuning on disk: adapter_config.json, and one tensor of virtual keys and values.

A prefix that was trained through a projection is stored as what that made of it, so it is read as any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.atomic import atomic_file
from fairway.formats.json_text import read_object
from fairway.formats.lora_peft import CONFIG, KIND, PREFIX_TUNING, WEIGHTS, open_weights
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.formats.source import Source
from fairway.tensors import F32, DenseTensor

TENSOR = "prompt_embeddings"
MAX_SIZE = 1 << 20
"""Of any count in a config."""


@dataclass(frozen=True)
class PrefixShape:
    """Keys and values that every layer sees before the first token."""

    num_virtual_tokens: int
    num_layers: int
    num_kv_heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Floats of one token's key in one layer."""
        return self.num_kv_heads * self.head_size

    @property
    def shape(self) -> tuple[int, int]:
        """A row per virtual token: key and value of layer 0, of layer 1, ..."""
        return self.num_virtual_tokens, self.num_layers * 2 * self.width


@dataclass(frozen=True)
class Prefix:
    """A whole prefix."""

    name: str
    base: str | None
    """The model that it was trained on, by name or hub id."""
    shape: PrefixShape
    values: DenseTensor
    """Of `shape.shape`."""
    sources: tuple[Source, ...] = ()
    """The files that it was read from, tensors first."""

    @property
    def num_parameters(self) -> int:
        return int(self.values.values.size)

    @property
    def digest(self) -> str:
        """Of all that it computes, whatever it is called."""
        values = self.values
        found = hashlib.sha256(json.dumps(["prefix", values.type, values.shape]).encode())
        found.update(np.ascontiguousarray(values.values).data)
        return f"sha256:{found.hexdigest()}"


def is_prefix(path: Path) -> bool:
    """Whether PEFT's folder, or the one of a file in it, says that it holds a prefix."""
    config = (path if path.is_dir() else path.parent) / CONFIG
    return config.is_file() and read_object(config).get(KIND) == PREFIX_TUNING


def read_prefix(path: Path) -> Prefix:
    """PEFT's folder, or a file in it. Raises `FormatError` for a broken prefix and `UnsupportedError`."""
    folder = path if path.is_dir() else path.parent
    config = read_object(folder / CONFIG)
    shape = _shape(folder, config)
    tensors = open_weights(folder)
    if TENSOR not in tensors.infos:
        raise FormatError(f"{folder} has no tensor {TENSOR}, so it holds no prefix.", hint="Save it again.")
    if others := sorted(tensors.infos.keys() - {TENSOR}):
        raise UnsupportedError(
            f"The prefix in {folder} also replaces whole tensors ({others[0][:80]}), which cannot be served.",
            hint="Train it without modules_to_save.",
        )
    values = tensors.read(TENSOR)
    assert isinstance(values, DenseTensor)
    if values.shape != shape.shape:
        raise FormatError(
            f"{TENSOR} in {folder} is {list(values.shape)[:4]}; its {CONFIG} says {list(shape.shape)}.",
            hint="Save the prefix again.",
        )
    base = config.get("base_model_name_or_path")
    return Prefix(
        name=folder.resolve().name,
        base=base if isinstance(base, str) and base else None,
        shape=shape,
        values=values,
        sources=(*tensors.sources, Source(folder / CONFIG)),
    )


def _shape(folder: Path, config: Mapping[str, Any]) -> PrefixShape:
    tokens, layers, heads, width, parts = (
        _size(folder, config, name)
        for name in (
            "num_virtual_tokens",
            "num_layers",
            "num_attention_heads",
            "token_dim",
            "num_transformer_submodules",
        )
    )
    if parts != 1:
        raise UnsupportedError(
            f"The prefix in {folder} is for a model of {parts} parts, an encoder and a decoder.",
            hint="Name a prefix that was trained on this model.",
        )
    if width % heads:
        raise FormatError(f"In {folder / CONFIG}, token_dim {width} is no multiple of {heads} heads.")
    return PrefixShape(tokens, layers, heads, width // heads)


def _size(folder: Path, config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
        raise FormatError(
            f"{name} in {folder / CONFIG} is {str(value)[:40]!r}, not a number from 1 to {MAX_SIZE}.",
            hint="Save the prefix again.",
        )
    return value


def write_prefix(shape: PrefixShape, base: str | None, values: F32, folder: Path) -> None:
    """Writes the folder that PEFT's `from_pretrained` loads; values are of `shape.shape`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS, {TENSOR: tensor_data(values)}, {"format": "pt"})
    config = {
        KIND: PREFIX_TUNING,
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": shape.num_virtual_tokens,
        "num_layers": shape.num_layers,
        "num_attention_heads": shape.num_kv_heads,
        "token_dim": shape.width,
        "encoder_hidden_size": shape.width,
        "num_transformer_submodules": 1,
        "prefix_projection": False,
        "inference_mode": True,
    }
    with atomic_file(folder / CONFIG) as file:
        file.write((json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))
