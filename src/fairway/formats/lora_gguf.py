"""GGUF's LoRA files: general.type "adapter", and two tensors for each that they change.

`blk.0.attn_q.weight.lora_a` [rank, in] and `.lora_b` [out, rank] under llama.cpp's names and row order;
one alpha counts for all. The base model says how many heads its rows belong to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.floats import FLOATS, dense_tensor, floats
from fairway.formats.gguf import GgufFile, open_gguf
from fairway.formats.gguf_config import MODEL_TYPES
from fairway.formats.gguf_names import LAYER_NAMES, to_gguf, to_huggingface
from fairway.formats.gguf_tensors import INTERLEAVED_ROPE, halves_from_pairs, pairs_from_halves
from fairway.formats.gguf_values import HINT
from fairway.formats.gguf_writer import GgufData, gguf_data, write_gguf
from fairway.formats.lora import MAX_LAYERS, Adapter, LoraLayer, checked_layer
from fairway.tensors import Array, DenseTensor

PARTS = (".lora_a", ".lora_b")
HEADS = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}


def is_gguf_adapter(file: GgufFile) -> bool:
    return file.metadata.get("general.type") == "adapter"


def read_gguf_adapter(path: Path, config: Mapping[str, Any]) -> Adapter:
    """`config` is the base model's. Raises `FormatError` or `UnsupportedError`."""
    file = open_gguf(path)
    architecture = _architecture(file, config)
    alpha = file.metadata.get("adapter.lora.alpha")
    if not isinstance(alpha, float) or alpha == 0:
        raise FormatError(f"{path} states no adapter.lora.alpha.", hint=HINT)
    pairs: dict[str, dict[str, DenseTensor]] = {}
    for name in file.tensors:
        stem, part = name[:-7], name[-7:]
        if part not in PARTS:
            raise UnsupportedError(f"{path} holds {name[:80]!r}, which is no part of a LoRA.")
        pairs.setdefault(stem, {})[part] = _read(file, name)
    if not pairs or len(pairs) > MAX_LAYERS:
        raise FormatError(f"{path} holds {len(pairs)} LoRA layers.", hint=HINT)
    layers = {}
    for stem, pair in pairs.items():
        if len(pair) != 2:
            raise FormatError(f"{stem[:120]} in {path} has only {next(iter(pair))[1:]}.", hint=HINT)
        layer = _layer_name(architecture, stem, path)
        b = _rows(pair[".lora_b"], _heads(architecture, stem, config), halves_from_pairs)
        layers[layer] = checked_layer(layer, LoraLayer(pair[".lora_a"], b, alpha), str(path))
    return Adapter(path.stem, _base(file.metadata), layers, sources=(file.source,))


def _architecture(file: GgufFile, config: Mapping[str, Any]) -> str:
    kind, name = file.metadata.get("adapter.type"), file.metadata.get("general.architecture")
    where = file.source.path
    if not is_gguf_adapter(file) or kind != "lora":
        raise UnsupportedError(f"{where} is no LoRA adapter (its type is {str(kind)[:40]!r}).")
    if "adapter.alora.invocation_tokens" in file.metadata:
        raise UnsupportedError(f"{where} is an activated LoRA, which counts only after certain tokens.")
    if not isinstance(name, str) or name != architecture_of(config):
        raise UnsupportedError(
            f"{where} is for models of the architecture {str(name)[:40]!r}, not {architecture_of(config)!r}.",
            hint="Name the model that it was trained on.",
        )
    return name


def architecture_of(config: Mapping[str, Any]) -> str:
    """GGUF's name for a model. Raises `UnsupportedError` for one whose tensors have no GGUF names here."""
    model_type = str(config.get("model_type"))
    named = {hf: gguf for gguf, (hf, _) in MODEL_TYPES.items()} | {"mistral": "llama"}
    name = named.get(model_type, model_type)
    if name not in LAYER_NAMES:
        raise UnsupportedError(
            f"Models of type {model_type[:40]!r} have no GGUF names here, so an adapter cannot be written.",
            hint=f"Known: {', '.join(sorted(LAYER_NAMES))}.",
        )
    return name


def _layer_name(architecture: str, stem: str, path: Path) -> str:
    name = to_huggingface(architecture, stem)
    if name == stem or not name.endswith(".weight"):
        raise UnsupportedError(f"{path} changes {stem[:80]!r}, which is no linear layer of a {architecture}.")
    return name.removesuffix(".weight")


def _read(file: GgufFile, name: str) -> DenseTensor:
    tensor = file.tensors[name]
    if tensor.type.name not in FLOATS:
        raise UnsupportedError(f"{name[:80]!r} of {file.source.path} is {tensor.type.name}, not a float.")
    return dense_tensor(tensor.type.name, file.raw(tensor), tensor.info.shape)


def _base(metadata: Mapping[str, Any]) -> str | None:
    name = metadata.get("general.base_model.0.name")
    return name if isinstance(name, str) and name else None


def _heads(architecture: str, stem: str, config: Mapping[str, Any]) -> int | None:
    """How many heads the rows of B are in llama.cpp's order for; None where the order is the same."""
    part = stem.split(".")[2] if stem.count(".") == 3 else ""
    if architecture not in INTERLEAVED_ROPE or part not in HEADS:
        return None
    heads = config.get(HEADS[part]) or config.get("num_attention_heads")
    if type(heads) is not int or heads < 1:
        raise FormatError("The base model's config states no number of heads.", hint="Name a complete model.")
    return heads


def _rows(b: DenseTensor, heads: int | None, order: Any) -> DenseTensor:  # noqa: ANN401
    if heads is None or len(b.shape) != 2:
        return b
    return DenseTensor(b.type, b.values[order(b.shape[0], heads)])


def write_gguf_adapter(adapter: Adapter, path: Path, config: Mapping[str, Any]) -> None:
    """Writes what llama.cpp's --lora loads, in float32; `config` is the base model's.

    One alpha counts for all layers: where theirs differ, B carries the ratio. Raises `UnsupportedError` for
    what GGUF has no place for.
    """
    if adapter.replaced:
        name = next(iter(adapter.replaced))
        raise UnsupportedError(
            f"The adapter replaces whole tensors ({name[:80]}), and a GGUF adapter cannot hold them.",
            hint="Merge it into its model and convert that.",
        )
    if adapter.uses_dora:
        raise UnsupportedError(
            "The adapter is a DoRA, and a GGUF adapter cannot hold its magnitudes.",
            hint="Merge it into its model and convert that.",
        )
    architecture = architecture_of(config)
    alpha = _common_alpha(adapter)
    tensors: dict[str, GgufData] = {}
    for name, layer in adapter.layers.items():
        stem = to_gguf(architecture, f"{name}.weight")
        if stem is None:
            raise UnsupportedError(f"GGUF has no name for the layer {name[:120]} of {architecture}.")
        ratio = np.float32(layer.effective_alpha / alpha)
        b = _rows(layer.b, _heads(architecture, stem, config), pairs_from_halves)
        tensors[f"{stem}.lora_a"] = _data(floats(layer.a))
        tensors[f"{stem}.lora_b"] = _data(floats(b) if ratio == 1 else floats(b) * ratio)
    write_gguf(path, _metadata(adapter, architecture, alpha), tensors)


def _common_alpha(adapter: Adapter) -> float:
    """As float32 holds it; never 0, which would mean a scale of 1."""
    alphas = Counter(layer.effective_alpha for layer in adapter.layers.values())
    commonest = next((alpha for alpha, _ in alphas.most_common() if alpha), 1.0)
    return float(np.float32(commonest))


def _data(values: Array) -> GgufData:
    return gguf_data("F32", values.shape, values)


def _metadata(adapter: Adapter, architecture: str, alpha: float) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "general.name": adapter.name,
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    if adapter.base:
        metadata |= {"general.base_model.count": 1, "general.base_model.0.name": adapter.base}
    return metadata
