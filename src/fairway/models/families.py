"""The families this engine runs: `model_type` -> the module that reads and records it.

Modules are imported when first asked for. The rule: the name in the table is the name in config.json.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from fairway.errors import UnsupportedError
from fairway.models.config import DecoderConfig
from fairway.models.fields import Fields
from fairway.models.recording import Recording
from fairway.models.refusals import refuse_variants

if TYPE_CHECKING:
    from fairway.models.recording import Recording

MODULES = {
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "gpt2": "gpt2",
    "granite": "granite",
    "llama": "llama",
    "mistral": "mistral",
    "olmo2": "olmo2",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
}


class Family(Protocol):
    """What each family's module offers."""

    def read(self, config: Fields) -> DecoderConfig:
        """The decoder that a config.json describes; raises for what the family cannot do."""
        ...

    def record(self, model: Recording) -> None:
        """Records the forward pass, asking `model.weights` for every tensor by name."""
        ...


def supported() -> tuple[str, ...]:
    """Every model_type that can run."""
    return tuple(sorted(MODULES))


def family(model_type: str) -> Family:
    if model_type not in MODULES:
        raise UnsupportedError(
            f"Model type {model_type!r} is not supported; this engine runs {', '.join(supported())}."
        )
    return cast(Family, importlib.import_module(f"fairway.models.{MODULES[model_type]}"))


def read_config(values: Mapping[str, Any], where: str = "config.json") -> DecoderConfig:
    """A config.json, or what another container has in its place, as a `DecoderConfig`.

    `where` names it in errors. Raises `UnsupportedError` for what this engine does not have and
    `FormatError` for a config that contradicts itself; neither needs the weights.
    """
    outer = Fields(values, where)
    model_type = outer.text("model_type")
    module = family(model_type)
    config = _text_config(outer, model_type)
    for fields in (outer, config):
        refuse_variants(fields, model_type)
    return module.read(config)


def _text_config(outer: Fields, model_type: str) -> Fields:
    """The language model's part of a multimodal config; whether weights are tied is stated outside."""
    if "text_config" not in outer:
        return outer
    values = dict(outer.section("text_config").values)
    inner = values.setdefault("model_type", model_type)
    if MODULES.get(inner) != MODULES[model_type]:
        raise UnsupportedError(
            f"A {model_type} model around a text model of type {inner!r} is not supported."
        )
    if "tie_word_embeddings" in outer:
        values["tie_word_embeddings"] = outer.values["tie_word_embeddings"]
    return Fields(values, f"{outer.where}, text_config")
