"""What mlx-lm computes as the model does, and the keys of config.json that it needs for that.

Measured against the logits of transformers for each family (tests/convert/test_to_mlx.py). The rule: where
its code leaves something of the model out, it is refused, or a note says from which length on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.models.config import DecoderConfig

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "granite", "olmo2")
PATTERN = 6
"""Gemma 3 attends to everything in each sixth layer, unless its config says otherwise."""
HINT = "Convert it to gguf or onnx instead."


def check_family(bundle: Bundle, config: DecoderConfig) -> None:
    """Raises `UnsupportedError` naming what mlx-lm lacks."""
    if config.model_type not in FAMILIES or "text_config" in bundle.config:
        raise UnsupportedError(
            f"mlx-lm keeps {config.model_type} under other names, which are not written here.",
            hint=f"Known: {', '.join(FAMILIES)}.",
        )
    for lacks, what in LACKING:
        if lacks(bundle.config, config):
            raise UnsupportedError(f"mlx-lm's {config.model_type} has no {what}.", hint=HINT)


def window_note(bundle: Bundle, config: DecoderConfig) -> tuple[str, ...]:
    """Most of its families attend to everything, which shows only in long texts."""
    windows = [window for window in config.windows if window is not None]
    if not windows or config.model_type == "gemma3_text" or _reads_layer_types(bundle.config, config):
        return ()
    return (
        f"mlx-lm's {config.model_type} has no window: texts of more than {min(windows):,} tokens depart.",
    )


def needed_keys(stated: Mapping[str, Any], config: DecoderConfig) -> dict[str, Any]:
    """What mlx-lm reads under the names of transformers 4, where config.json has not stated it."""
    assert config.rope is not None
    keys: dict[str, Any] = {"rope_theta": config.rope.theta}
    parameters = stated.get("rope_parameters")
    if isinstance(parameters, dict) and config.rope.type != "default":
        keys["rope_scaling"] = {**parameters, "type": config.rope.type}
    if config.local_rope is not None:
        keys["rope_local_base_freq"] = config.local_rope.theta
    if config.model_type == "granite":
        keys |= {"attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias}
    return {key: value for key, value in keys.items() if stated.get(key) is None}


def _reads_layer_types(stated: Mapping[str, Any], config: DecoderConfig) -> bool:
    return config.model_type in ("llama", "mistral") and "layer_types" in stated


def _other_rope(_: Mapping[str, Any], config: DecoderConfig) -> bool:
    """The dynamic one keeps its base; longrope's long factors serve short texts too."""
    return config.rope is not None and config.rope.type in ("dynamic", "longrope")


def _other_pattern(stated: Mapping[str, Any], config: DecoderConfig) -> bool:
    if config.model_type != "gemma3_text":
        return False
    pattern = stated.get("sliding_window_pattern", PATTERN)
    is_whole = [(layer + 1) % pattern == 0 for layer in range(config.num_layers)]
    return pattern > config.num_layers or is_whole != [window is None for window in config.windows]


def _has_biases(_: Mapping[str, Any], config: DecoderConfig) -> bool:
    return config.model_type in ("qwen3", "phi3", "gemma2", "gemma3_text") and (
        config.attention_bias or config.output_bias
    )


def _lacks_caps(_: Mapping[str, Any], config: DecoderConfig) -> bool:
    return config.model_type == "gemma2" and None in (config.attention_softcap, config.logits_softcap)


def _has_caps(_: Mapping[str, Any], config: DecoderConfig) -> bool:
    caps = (config.attention_softcap, config.logits_softcap)
    return config.model_type == "gemma3_text" and caps != (None, None)


LACKING: tuple[tuple[Callable[[Mapping[str, Any], DecoderConfig], bool], str], ...] = (
    (_other_rope, "rope that changes with the length of the text"),
    (_has_biases, "biases in its attention"),
    (_lacks_caps, "way to leave its soft caps out"),
    (_has_caps, "soft caps"),
    (_other_pattern, "such order of layers with and without a window"),
)
