"""A decoder as the keys and rope tensors of a GGUF file: `formats/gguf_config.py` the other way round.

Starts from `DecoderConfig`, in which all spellings of config.json are one. Rule: what llama.cpp does
not read, or reads otherwise, is refused or said; the keys are read back and compared before use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fairway.errors import UnsupportedError
from fairway.formats.gguf_config import LAYERS_OF_27B
from fairway.models.config import DecoderConfig
from fairway.models.rope import frequencies
from fairway.models.rope_config import RopeConfig
from fairway.tensors import F32

ARCHITECTURES = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2",
    "gemma3": "gemma3", "gemma3_text": "gemma3", "phi3": "phi3", "granite": "granite", "olmo2": "olmo2",
    "gpt2": "gpt2",
}  # fmt: skip
"""model_type -> general.architecture"""
PATTERNS = {"gemma2": 2, "gemma3": 6}
"""Every so-manyth layer sees everything, unless a file lists its layers."""
WITH_BIAS = {"llama", "granite", "gpt2"}
"""Architectures whose attention may have biases besides qwen2, which always has them on q, k and v."""
SAME_ANGLES = 1e-4
"""Relative: a rope tensor of float32 divisors, from which a formula is found again, is no more exact."""
HINT = "Keep the model as safetensors, which Fairway runs as they are."


@dataclass(frozen=True)
class GgufKeys:
    """Metadata under full keys, the rope tensors that are part of it, and what a user should know."""

    architecture: str
    metadata: Mapping[str, Any]
    rope_tensors: Mapping[str, F32]
    notes: tuple[str, ...] = ()


def gguf_keys(config: DecoderConfig) -> GgufKeys:
    """Raises `UnsupportedError` for what a GGUF file cannot say."""
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture is None:
        raise UnsupportedError(f"There is no GGUF architecture for {config.model_type}.", hint=HINT)
    _check_biases(config, architecture)
    limited, notes = _within_window(config, architecture)
    keys = _sizes(limited) | _scales(limited, architecture) | _windows(limited, architecture)
    tensors: dict[str, F32] = {}
    if limited.rope is not None:
        keys |= _rope(limited)
        tensors = _rope_tensors(limited.rope)
    stated = {f"{architecture}.{name}": value for name, value in keys.items() if value is not None}
    return GgufKeys(architecture, stated, tensors, notes)


def _sizes(config: DecoderConfig) -> dict[str, Any]:
    is_gpt2 = config.model_type == "gpt2"
    norm = "attention.layer_norm_epsilon" if is_gpt2 else "attention.layer_norm_rms_epsilon"
    return {
        "context_length": config.rope.max_positions if config.rope else config.max_context,
        "block_count": config.num_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": None if is_gpt2 else config.head_size,
        "attention.value_length": None if is_gpt2 else config.head_size,
        "vocab_size": config.vocab_size,
        norm: float(config.norm_eps),
    }


def _scales(config: DecoderConfig, architecture: str) -> dict[str, float | None]:
    """Multipliers that only some architectures have; elsewhere they must be what is always assumed."""
    if architecture == "granite":
        return {
            "attention.scale": float(config.attention_scale),
            "embedding_scale": float(config.embedding_scale),
            "residual_scale": float(config.residual_scale),
            "logit_scale": 1 / config.logits_scale,
        }
    _check_attention_scale(config, architecture)
    if architecture not in PATTERNS:
        return {}
    if architecture == "gemma2" and None in (config.attention_softcap, config.logits_softcap):
        raise UnsupportedError(
            "llama.cpp always caps the logits of gemma2, and this model does not.", hint=HINT
        )
    if architecture == "gemma3" and config.attention_softcap is not None:
        raise UnsupportedError("llama.cpp does not cap attention in gemma3, and this model does.", hint=HINT)
    return {
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.logits_softcap,
    }


def _check_attention_scale(config: DecoderConfig, architecture: str) -> None:
    size = config.head_size
    if config.num_layers == LAYERS_OF_27B.get(architecture):
        size = config.hidden_size // config.num_heads
    if not math.isclose(config.attention_scale, size**-0.5, rel_tol=1e-6):
        raise UnsupportedError(
            f"This model scales attention by {config.attention_scale:.6g}; llama.cpp's {architecture} "
            f"always by {size**-0.5:.6g}.",
            hint=HINT,
        )


def _check_biases(config: DecoderConfig, architecture: str) -> None:
    if (config.attention_bias or config.output_bias) and architecture not in WITH_BIAS | {"qwen2"}:
        raise UnsupportedError(f"llama.cpp's {architecture} has no biases in attention.", hint=HINT)


def _within_window(config: DecoderConfig, architecture: str) -> tuple[DecoderConfig, tuple[str, ...]]:
    """Where llama.cpp knows no window, the context ends where the window would begin to matter."""
    windows = [window for window in config.windows if window is not None and window < config.max_context]
    if not windows or architecture in PATTERNS or config.rope is None:
        return config, ()
    if architecture == "phi3":
        note = f"llama.cpp ignores phi3's window of {windows[0]} tokens: longer texts differ there."
        return config, (note,)
    window = min(windows)
    note = (
        f"GGUF's {architecture} has no attention window: the context ends at {window} tokens, within "
        "which nothing changes."
    )
    rope = replace(config.rope, max_positions=window)
    none: tuple[int | None, ...] = (None,) * config.num_layers
    return replace(config, rope=rope, max_context=window, windows=none), (note,)


def _windows(config: DecoderConfig, architecture: str) -> dict[str, Any]:
    sizes = {window for window in config.windows if window is not None}
    if architecture == "phi3":
        return {"attention.sliding_window": sizes.pop() if sizes else 0}
    if architecture not in PATTERNS or not sizes:
        return {}
    slides = [window is not None for window in config.windows]
    period = PATTERNS[architecture]
    usual = [(layer + 1) % period != 0 for layer in range(config.num_layers)]
    listed = {} if slides == usual else {"attention.sliding_window_pattern": slides}
    return {"attention.sliding_window": sizes.pop()} | listed


def _rope(config: DecoderConfig) -> dict[str, Any]:
    rope = config.rope
    assert rope is not None
    keys: dict[str, Any] = {"rope.freq_base": float(rope.theta), "rope.dimension_count": rope.rotary}
    if config.local_rope is not None:
        keys["rope.freq_base_swa"] = float(config.local_rope.theta)
    if rope.type == "dynamic":
        raise UnsupportedError("GGUF has no dynamic rope scaling.", hint=HINT)
    if rope.type in ("linear", "yarn"):
        keys |= {"rope.scaling.type": rope.type, "rope.scaling.factor": float(rope.factor)}
    if rope.type == "yarn":
        keys |= _yarn(rope)
    if rope.type == "longrope":
        keys["rope.scaling.attn_factor"] = frequencies(rope, rope.max_positions)[1]
    if rope.type in ("longrope", "yarn") or config.model_type == "phi3":
        keys["rope.scaling.original_context_length"] = rope.original_positions
    return keys


def _yarn(rope: RopeConfig) -> dict[str, Any]:
    if rope.attention_factor is not None or rope.mscale is not None or not rope.truncate:
        raise UnsupportedError(
            "This model's YaRN scales attention in its own way; GGUF's does not.", hint=HINT
        )
    return {
        "rope.scaling.yarn_beta_fast": float(rope.beta_fast),
        "rope.scaling.yarn_beta_slow": float(rope.beta_slow),
    }


def _rope_tensors(rope: RopeConfig) -> dict[str, F32]:
    """llama3's scaling as one divisor for each frequency, longrope's factors as they are."""
    if rope.type == "llama3":
        plain = frequencies(replace(rope, type="default"), rope.max_positions)[0]
        return {"rope_freqs.weight": plain / frequencies(rope, rope.max_positions)[0]}
    if rope.type == "longrope":
        return {
            "rope_factors_long.weight": np.array(rope.long_factors, np.float32),
            "rope_factors_short.weight": np.array(rope.short_factors, np.float32),
        }
    return {}


def check_same(before: DecoderConfig, after: DecoderConfig) -> None:
    """What was read back from the keys means what the source means; within a shorter context if limited."""
    context = after.max_context
    windows = tuple(window if window is not None and window < context else None for window in before.windows)
    seen = tuple(window if window is not None and window < context else None for window in after.windows)
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in SAME}
    pairs["windows"] = (windows, seen)
    for name, (wanted, found) in pairs.items():
        if not _equal(wanted, found):
            raise _different(name, wanted, found)
    if not _same_rope(before.rope, after.rope, context) or not _same_rope(
        before.local_rope, after.local_rope, context
    ):
        raise _different("rope", before.rope, after.rope)


SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "head_size",
    "norm_eps", "activation", "attention_scale", "attention_bias", "mlp_bias", "attention_softcap",
    "logits_softcap", "embedding_scale", "residual_scale", "logits_scale",
)  # fmt: skip


def _equal(wanted: object, found: object) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(wanted, found, rel_tol=1e-6)
    return wanted == found


def _same_rope(wanted: RopeConfig | None, found: RopeConfig | None, context: int) -> bool:
    """The same angles for short and for full contexts."""
    if wanted is None or found is None:
        return wanted is found
    for length in {1, min(wanted.original_positions or context, context), context}:
        (ours, factor), (theirs, other) = frequencies(wanted, length), frequencies(found, length)
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=SAME_ANGLES, atol=0):
            return False
        if not math.isclose(factor, other, rel_tol=SAME_ANGLES):
            return False
    return True


def _different(name: str, wanted: object, found: object) -> UnsupportedError:
    return UnsupportedError(
        f"GGUF cannot say this model's {name}: {str(wanted)[:120]} would be read as {str(found)[:120]}.",
        hint=HINT,
    )
