"""What a model is and what it needs, in numbers that its headers alone give.

Plain arithmetic over a `Bundle`; nothing is read. `fairway inspect` prints it and the planner
starts from it. Config spellings of all families are brought to one here, and only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import UNNAMED, method_of, with_weights

SPELLINGS = {
    "context": ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "vocabulary": ("vocab_size",),
}
KV_ELEMENT_BYTES = 2
"""The key-value cache holds float16."""


@dataclass(frozen=True)
class TypeBytes:
    """All tensors of one stored type together."""

    num_tensors: int
    num_elements: int
    num_bytes: int


@dataclass(frozen=True)
class Memory:
    """What serving takes, without the program itself and its scratch space."""

    context: int
    weight_bytes: int
    kv_bytes: int
    """The cache of one sequence that fills the context."""

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes


@dataclass(frozen=True)
class Summary:
    """One model. None means that the file does not say."""

    name: str
    container: str
    architecture: str | None
    """config.json's model_type."""
    num_parameters: int
    num_tensors: int
    weight_bytes: int
    types: Mapping[str, TypeBytes]
    """Stored type -> how much of it, the largest first."""
    quantization: str | None
    """The method a Hugging Face folder was quantised with (gptq, awq, bitsandbytes, ...)."""
    context_length: int | None
    num_layers: int | None
    hidden_size: int | None
    num_heads: int | None
    num_kv_heads: int | None
    head_dim: int | None
    vocab_size: int | None
    tokenizer: str | None
    """"tokenizer.json", "GGUF gpt2 (qwen2)", ..."""
    has_chat_template: bool
    licence: str | None
    end_of_text_ids: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def kv_bytes_per_token(self) -> int | None:
        """Keys and values of one token in all layers."""
        if not (self.num_layers and self.num_kv_heads and self.head_dim):
            return None
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * KV_ELEMENT_BYTES

    def memory(self, context: int | None = None) -> Memory | None:
        """At `context` tokens, or the model's whole context; None for a file that cannot tell."""
        context = context or self.context_length
        if context is None or self.kv_bytes_per_token is None or not self.num_tensors:
            return None
        return Memory(context, self.weight_bytes, context * self.kv_bytes_per_token)


def summarize(bundle: Bundle) -> Summary:
    """Reads nothing but what the bundle already holds; packed weights count as the weights they mean."""
    with suppress(FormatError, UnsupportedError):
        bundle = with_weights(bundle)
    sizes = config_sizes(bundle.config)
    infos = bundle.tensors.infos.values()
    return Summary(
        name=bundle.name,
        container=bundle.container,
        architecture=_text(text_config(bundle.config).get("model_type")),
        num_parameters=sum(info.num_elements for info in infos),
        num_tensors=len(infos),
        weight_bytes=sum(info.num_bytes for info in infos),
        types=_types(bundle),
        quantization=_quantization(bundle.config),
        context_length=sizes.get("context"),
        num_layers=sizes.get("layers"),
        hidden_size=sizes.get("hidden"),
        num_heads=sizes.get("heads"),
        num_kv_heads=sizes.get("kv_heads"),
        head_dim=sizes.get("head_dim"),
        vocab_size=sizes.get("vocabulary"),
        tokenizer=_tokenizer(bundle),
        has_chat_template=bundle.chat_template is not None,
        licence=bundle.licence,
        end_of_text_ids=bundle.end_of_text_ids,
        warnings=bundle.warnings,
    )


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's own part of a multimodal config, else the config itself."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def config_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a config states, by the keys of `SPELLINGS`, with what follows from them."""
    config = text_config(config)
    sizes: dict[str, int] = {}
    for name, spellings in SPELLINGS.items():
        stated = (config.get(spelling) for spelling in spellings)
        value = next((value for value in stated if type(value) is int and 0 < value < 1 << 31), None)
        if value is not None:
            sizes[name] = value
    if "heads" in sizes:
        sizes.setdefault("kv_heads", sizes["heads"])
        if "hidden" in sizes:
            sizes.setdefault("head_dim", sizes["hidden"] // sizes["heads"])
    return sizes


def _types(bundle: Bundle) -> dict[str, TypeBytes]:
    sums: dict[str, tuple[int, int, int]] = {}
    for info in bundle.tensors.infos.values():
        count, elements, size = sums.get(info.type, (0, 0, 0))
        sums[info.type] = (count + 1, elements + info.num_elements, size + info.num_bytes)
    largest_first = sorted(sums.items(), key=lambda item: -item[1][2])
    return {name: TypeBytes(*numbers) for name, numbers in largest_first}


def _quantization(config: Mapping[str, Any]) -> str | None:
    method = method_of(config)
    return "unknown" if method == UNNAMED else method


def _tokenizer(bundle: Bundle) -> str | None:
    source = bundle.tokenizer
    if source is None:
        return None
    if source.kind == "gguf":
        model, words = (_text(source.metadata.get(f"tokenizer.ggml.{key}")) for key in ("model", "pre"))
        return f"GGUF {model}" + (f" ({words})" if words else "")
    kinds = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    return next(name for name in kinds if name in source.files)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
