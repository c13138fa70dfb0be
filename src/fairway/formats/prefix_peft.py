"""PEFT's prefix tuning on disk: adapter_config.json, and one tensor of virtual keys and values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fairway.formats.atomic import atomic_file
from fairway.formats.lora_peft import CONFIG, WEIGHTS
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.tensors import F32

TENSOR = "prompt_embeddings"


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


def write_prefix(shape: PrefixShape, base: str | None, values: F32, folder: Path) -> None:
    """Writes the folder that PEFT's `from_pretrained` loads; values are of `shape.shape`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS, {TENSOR: tensor_data(values)}, {"format": "pt"})
    config = {
        "peft_type": "PREFIX_TUNING",
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
