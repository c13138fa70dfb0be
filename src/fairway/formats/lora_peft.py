"""PEFT's LoRA folders: adapter_config.json beside adapter_model.safetensors or .bin.

A table says which settings change what the adapter means; one that is set and not understood is refused,
so a kind of adapter that a later PEFT brings is never merged as something else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.atomic import atomic_file
from fairway.formats.bundle import FileTensors
from fairway.formats.json_text import read_object
from fairway.formats.lora import MAX_LAYERS, Adapter, LoraLayer, checked_layer
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.formats.source import Source
from fairway.formats.torch_checkpoint import open_torch
from fairway.tensors import DenseTensor

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
KIND, PREFIX_TUNING = "peft_type", "PREFIX_TUNING"
PREFIX = "base_model.model."
UNDERSTOOD = frozenset(
    {"alpha_pattern", "base_model_name_or_path", "bias", "lora_alpha", "modules_to_save", "peft_type", "r"}
    | {"rank_pattern", "target_modules", "use_rslora", "use_dora", "init_lora_weights", "fan_in_fan_out"}
)
WITHOUT_MEANING = frozenset(
    {
        "auto_mapping",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
    }
    | {
        "layers_to_transform",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
    }
    | {"task_type", "lora_ga_config", "velora_config", "runtime_config", "kasa_config"}
)
"""Settings of training, or of where layers are, which the tensors say themselves."""
UNSUPPORTED = {
    "use_qalora": "QALoRA, whose matrices work on groups of inputs",
    "use_bdlora": "block-diagonal LoRA",
    "lora_bias": "trained biases of the LoRA matrices",
    "layer_replication": "layers that stand several times in the model",
    "target_parameters": "LoRA on parameters that are no linear layers",
    "trainable_token_indices": "single trained tokens",
    "alora_invocation_tokens": "an activated LoRA, which counts only after certain tokens",
    "arrow_config": "a router over several adapters",
    "monteclora_config": "sampled LoRA matrices",
    "megatron_config": "layers split by Megatron",
    "loftq_config": "LoftQ, whose base model is a changed one",
    "corda_config": "CorDA, whose base model is a changed one",
}
CHANGED_BASES = ("pissa", "olora", "loftq", "corda")
"""Ways to begin that also change the base model: B @ A is no difference to the original."""
_TENSOR = re.compile(r"(?P<layer>.+)\.(?P<part>lora_A|lora_B)(?:\.(?!weight$)[^.]+)?\.weight")
MAGNITUDE = "lora_magnitude_vector"
_MAGNITUDE = re.compile(rf"(?P<layer>.+)\.(?P<part>{MAGNITUDE})(?:\.(?!weight$)[^.]+)?(?:\.weight)?")
_PLAIN_PATTERN = re.compile(r"\^?[\w.\-]+\$?")
T = TypeVar("T")


def read_peft(folder: Path) -> Adapter:
    """Raises `FormatError` for a broken adapter and `UnsupportedError`, naming it, for another kind."""
    config = read_object(folder / CONFIG)
    _refuse(folder, config)
    tensors = open_weights(folder)
    pairs: dict[str, dict[str, DenseTensor]] = {}
    replaced: dict[str, DenseTensor] = {}
    for name in tensors.infos:
        if match := _TENSOR.fullmatch(name) or _MAGNITUDE.fullmatch(name):
            pairs.setdefault(_layer_name(match["layer"]), {})[match["part"]] = _floats(tensors, name)
        else:
            replaced[_replaced_name(folder, name)] = _floats(tensors, name)
    if not pairs or len(pairs) > MAX_LAYERS:
        raise FormatError(f"{folder} holds {len(pairs)} LoRA layers.", hint="Save the adapter again.")
    base = config.get("base_model_name_or_path")
    return Adapter(
        name=folder.resolve().name,
        base=base if isinstance(base, str) and base else None,
        layers={name: _layer(folder, config, name, pair) for name, pair in pairs.items()},
        replaced=replaced,
        sources=(*tensors.sources, Source(folder / CONFIG)),
    )


def _refuse(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get(KIND)
    if kind == PREFIX_TUNING:
        raise UnsupportedError(
            f"The adapter in {folder} is a prefix: keys and values, which no weights hold.",
            hint="Serve it beside its model: fairway serve MODEL --lora NAME=ADAPTER.",
        )
    if kind != "LORA":
        raise _unsupported(folder, f"an adapter of type {str(kind)[:40]!r}, not LoRA")
    for name, value in config.items():
        if not value or name in UNDERSTOOD or name in WITHOUT_MEANING:
            continue
        raise _unsupported(
            folder, UNSUPPORTED.get(name, f"the setting {name[:40]!r}, which is not known here")
        )
    begin = str(config.get("init_lora_weights")).lower()
    if begin.startswith(CHANGED_BASES):
        raise _unsupported(folder, f"{begin[:40]!r} as its beginning, which changes the base model too")


def _unsupported(folder: Path, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The adapter in {folder} uses {what}.", hint="Merge it with PEFT, and use the merged model."
    )


def open_weights(folder: Path) -> FileTensors:
    """The tensors of PEFT's folder, whichever of its two files holds them."""
    if (folder / WEIGHTS).is_file():
        return open_safetensors(folder / WEIGHTS)
    if (folder / PICKLE).is_file():
        return open_torch(folder / PICKLE)
    raise FormatError(f"{folder} has neither {WEIGHTS} nor {PICKLE}.", hint="Save the adapter again.")


def _floats(tensors: FileTensors, name: str) -> DenseTensor:
    weight = tensors.read(name)
    assert isinstance(weight, DenseTensor)
    return weight


def _layer_name(name: str) -> str:
    return name.removeprefix(PREFIX)


def _replaced_name(folder: Path, name: str) -> str:
    """A tensor that takes the place of the base model's; anything of LoRA's own is a kind not known here."""
    if "lora_" in name:
        what = "LoRA on embeddings" if "lora_embedding" in name else f"the tensor {name[-60:]!r}"
        raise _unsupported(folder, what)
    return _layer_name(name).replace(".modules_to_save.default.", ".").replace(".original_module.", ".")


def _layer(folder: Path, config: Mapping[str, Any], name: str, pair: Mapping[str, DenseTensor]) -> LoraLayer:
    wanted = {"lora_A", "lora_B"} | ({MAGNITUDE} if config.get("use_dora") is True else set())
    if pair.keys() != wanted:
        found, needed = (", ".join(sorted(each)) for each in (pair, wanted))
        raise FormatError(f"{name[:120]} in {folder} has {found}, not {needed}.", hint="Save it again.")
    alpha = _pattern_value(folder, config.get("alpha_pattern"), name, config.get("lora_alpha"))
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise FormatError(f"lora_alpha in {folder / CONFIG} is {str(alpha)[:40]!r}, not a number.")
    uses_rslora = config.get("use_rslora") is True
    layer = LoraLayer(pair["lora_A"], pair["lora_B"], float(alpha), uses_rslora, pair.get(MAGNITUDE))
    return checked_layer(name, layer, str(folder))


def _pattern_value(folder: Path, patterns: object, name: str, default: object) -> object:
    """PEFT's patterns are regular expressions; only those that are plain names are taken from strangers."""
    if not isinstance(patterns, dict):
        return default
    for key, value in patterns.items():
        if not _PLAIN_PATTERN.fullmatch(key):
            raise _unsupported(folder, f"the pattern {key[:60]!r}, which is no plain name")
        plain = key.strip("^$")
        if name == plain or (not key.startswith("^") and name.endswith(f".{plain}")):
            return value
    return default


def write_peft(adapter: Adapter, folder: Path) -> None:
    """Writes the folder that PEFT's `from_pretrained` loads. Tensors keep their types."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{PREFIX}{name}": tensor_data(value) for name, value in adapter.replaced.items()}
    for name, layer in adapter.layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = tensor_data(layer.a)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = tensor_data(layer.b)
        if layer.magnitude is not None:
            tensors[f"{PREFIX}{name}.{MAGNITUDE}"] = tensor_data(layer.magnitude)
    write_safetensors(folder / WEIGHTS, tensors, {"format": "pt"})
    with atomic_file(folder / CONFIG) as file:
        file.write((json.dumps(_config(adapter), indent=2, ensure_ascii=False) + "\n").encode("utf-8"))


def _config(adapter: Adapter) -> dict[str, Any]:
    layers = adapter.layers
    uses_rslora = all(layer.uses_rslora for layer in layers.values())
    alphas = {name: layer.alpha if uses_rslora else layer.effective_alpha for name, layer in layers.items()}
    rank, alpha = _commonest(layer.rank for layer in layers.values()), _commonest(alphas.values())
    return {
        KIND: "LORA",
        "base_model_name_or_path": adapter.base,
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": _whole(alpha),
        "use_rslora": uses_rslora,
        "use_dora": adapter.uses_dora,
        "rank_pattern": {name: layer.rank for name, layer in layers.items() if layer.rank != rank},
        "alpha_pattern": {name: _whole(value) for name, value in alphas.items() if value != alpha},
        "target_modules": target_modules(layers),
        "modules_to_save": sorted({name.rpartition(".")[0] for name in adapter.replaced}) or None,
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": any(name.startswith("transformer.h.") for name in layers),
        "inference_mode": True,
    }


def target_modules(layers: Iterable[str]) -> list[str]:
    """Last names ("q_proj") where each of them stands in every layer of the model, else whole names."""
    names = sorted(layers)
    stems = {name: name.rpartition(".") for name in names}
    last = {stem[2] for stem in stems.values()}
    blocks = {re.sub(r"^(.*?\.\d+)\..*$", r"\1", name) for name in names}
    return sorted(last) if len(blocks) * len(last) == len(names) else names


def _commonest(values: Iterable[T]) -> T:
    return Counter(values).most_common(1)[0][0]


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value
