"""What a config may ask for that no family here can do, found before any weight is read.

A table of keys: each entry says which values are harmless and what the others mean. The rule: an
unknown variant is an error that names it, never a model that quietly answers wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fairway.errors import UnsupportedError
from fairway.formats.quantized_folder import READABLE, method_of
from fairway.models.fields import Fields

GENERATES = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "Model")


def _more_than_one(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and value > 1


VARIANTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_local_experts": (_more_than_one, "a mixture of experts"),
    "num_experts": (_more_than_one, "a mixture of experts"),
    "n_routed_experts": (_more_than_one, "a mixture of experts"),
    "moe_intermediate_size": (bool, "a mixture of experts"),
    "kv_lora_rank": (bool, "multi-head latent attention"),
    "is_encoder_decoder": (bool, "an encoder"),
    "add_cross_attention": (bool, "cross attention"),
    "use_bidirectional_attention": (bool, "bidirectional attention"),
    "attention_chunk_size": (bool, "chunked attention"),
    "no_rope_layers": (lambda layers: not _all_true(layers), "layers without rotary positions"),
    "alibi": (bool, "ALiBi positions"),
    "rope_interleaved": (bool, "interleaved rotation"),
    "scale_attn_by_inverse_layer_idx": (bool, "attention scaled by layer"),
    "num_kv_shared_layers": (bool, "layers that share a key-value cache"),
}


def _all_true(layers: Any) -> bool:  # noqa: ANN401
    return isinstance(layers, list) and all(layers)


def refuse_variants(config: Fields, model_type: str) -> None:
    """Raises `UnsupportedError` naming the first thing this engine does not have."""
    _refuse_quantized(config)
    _refuse_heads(config)
    for key, (unsupported, meaning) in VARIANTS.items():
        value = config.values.get(key)
        if value is not None and unsupported(value):
            shown = repr(value)[:40]
            raise UnsupportedError(
                f"{key} = {shown} asks for {meaning}, which the {model_type} of this engine does not have."
            )


def _refuse_quantized(config: Fields) -> None:
    config.section("quantization_config")  # an object, or an error
    method = method_of(config.values)
    if method is None or method in READABLE:
        return
    raise UnsupportedError(
        f"The weights are quantised with {method}, which this engine cannot read.",
        hint="Use the original checkpoint with --weights int8 or int4, or a GGUF file.",
    )


def _refuse_heads(config: Fields) -> None:
    for name in config.texts("architectures") if "architectures" in config else ():
        if not name.endswith(GENERATES):
            raise UnsupportedError(
                f"Architecture {name!r} does not generate text; this engine runs causal language models."
            )
