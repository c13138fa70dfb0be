"""What `plan_accuracy.py` measures: models and shapes, and the cases of each kind.

`UNSEEN` is the check: its shapes, contexts and batches took no part in setting the shares of `engines.toml`.
Whoever sets them anew moves these cases to `SPEED` and writes others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LLAMA: Mapping[str, Any] = {"model_type": "llama", "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
GPT2: Mapping[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": 50_257,
    "n_positions": 1024,
    "layer_norm_epsilon": 1e-5,
}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "smollm2-135m": LLAMA
    | {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000.0,
    },
    "llama-3.2-1b": LLAMA
    | {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rope_theta": 500_000.0,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": True,
    },
    "gpt2": GPT2 | {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "gpt2-medium": GPT2 | {"n_embd": 1024, "n_layer": 24, "n_head": 16},
    "smollm2-360m": LLAMA
    | {
        "vocab_size": 49_152,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000.0,
    },
    "tinyllama-1.1b": LLAMA
    | {
        "vocab_size": 32_000,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
    },
    "gemma3-270m": {
        "model_type": "gemma3_text",
        "vocab_size": 262_144,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "max_position_embeddings": 32_768,
        "sliding_window": 512,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "query_pre_attn_scalar": 256,
        "layer_types": ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(18)],
    },
}
"""Shapes of models as their makers publish them."""

ADAPTER_RANK = 16


@dataclass(frozen=True)
class Case:
    """`batch` requests of `context` tokens; memory is read when all their tokens are in the cache."""

    model: str
    weights: str
    context: int
    batch: int
    kv: str = "auto"
    adapters: int = 0
    """Of rank `ADAPTER_RANK`, on every linear layer."""

    @property
    def name(self) -> str:
        adapters = f", {self.adapters} adapters" if self.adapters else ""
        return f"{self.model}, {self.weights}, {self.batch} x {self.context}, {self.kv}{adapters}"


MEMORY = (
    Case("builtin", "auto", 1024, 1),
    Case("builtin", "int4", 1024, 16),
    Case("stories260k", "auto", 512, 4),
    Case("babyllama", "auto", 256, 8),
    Case("qwen2.5-0.5b", "int4", 512, 1),
    Case("qwen2.5-0.5b", "int4", 1024, 8),
    Case("qwen2.5-0.5b", "int8", 2048, 2),
    Case("qwen2.5-0.5b", "int8", 1024, 8, "int8"),
    Case("qwen2.5-0.5b", "bf16", 1024, 2, "f32"),
    Case("qwen2.5-0.5b Q4_K_M", "auto", 1024, 4),
    Case("qwen2.5-0.5b Q8_0", "auto", 2048, 1, "int8"),
    Case("qwen2.5-1.5b", "int4", 1024, 4),
    Case("qwen2.5-1.5b", "int8", 512, 2),
    Case("qwen2.5-1.5b", "int4", 2048, 1, "f32"),
    Case("qwen2.5-0.5b", "int4", 1024, 8, adapters=8),
    Case("qwen2.5-0.5b", "bf16", 512, 8, adapters=8),
)
SPEED = (
    Case("builtin", "int8", 512, 1, "f16"),
    Case("builtin", "int4", 512, 8, "f16"),
    Case("qwen2.5-0.5b", "int4", 512, 1, "f16"),
    Case("qwen2.5-0.5b", "int4", 512, 8, "f16"),
    Case("qwen2.5-0.5b", "int4", 512, 32, "f16"),
    Case("qwen2.5-0.5b", "int8", 512, 1, "f16"),
    Case("qwen2.5-0.5b", "int8", 512, 8, "f16"),
    Case("qwen2.5-0.5b", "bf16", 512, 1, "f16"),
    Case("qwen2.5-0.5b", "int4", 2048, 4, "int8"),
    Case("qwen2.5-1.5b", "int4", 512, 1, "f16"),
    Case("qwen2.5-1.5b", "int4", 512, 8, "f16"),
    Case("qwen2.5-1.5b", "int8", 512, 1, "f16"),
    Case("qwen2.5-1.5b", "int8", 512, 8, "f16"),
    Case("babyllama", "int8", 256, 1, "f16"),
    Case("babyllama", "bf16", 200, 4, "f32"),
    Case("builtin", "bf16", 1024, 2, "f32"),
    Case("smollm2-135m", "int8", 512, 1, "f16"),
    Case("smollm2-135m", "int4", 1024, 16, "f16"),
    Case("smollm2-135m", "bf16", 300, 4, "f32"),
    Case("gpt2", "int4", 1000, 2, "f16"),
    Case("gpt2", "int8", 200, 8, "int8"),
    Case("qwen3-0.6b", "int4", 300, 1, "f16"),
    Case("qwen3-0.6b", "int8", 1500, 4, "f16"),
    Case("qwen3-0.6b", "int5", 768, 2, "int8"),
    Case("llama-3.2-1b", "int4", 768, 2, "f16"),
    Case("llama-3.2-1b", "int8", 384, 4, "f16"),
    Case("llama-3.2-1b", "bf16", 256, 1, "f16"),
)
UNSEEN = (
    Case("gpt2-medium", "int8", 320, 1, "f16"),
    Case("gpt2-medium", "int4", 640, 6, "f16"),
    Case("gpt2-medium", "bf16", 128, 2, "f32"),
    Case("smollm2-360m", "int4", 448, 1, "f16"),
    Case("smollm2-360m", "int8", 896, 3, "f16"),
    Case("smollm2-360m", "int6", 256, 12, "int8"),
    Case("gemma3-270m", "int8", 640, 2, "f16"),
    Case("gemma3-270m", "int4", 1280, 4, "f16"),
    Case("tinyllama-1.1b", "int4", 320, 1, "f16"),
    Case("tinyllama-1.1b", "int8", 640, 3, "f16"),
    Case("tinyllama-1.1b", "int4", 1280, 6, "int8"),
    Case("tinyllama-1.1b", "bf16", 192, 1, "f16"),
)
"""Other models, contexts and batches, measured once after the shares had been set with `SPEED`."""
CASES = {"memory": MEMORY, "speed": SPEED, "unseen": UNSEEN}
