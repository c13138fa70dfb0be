"""An adapter from wherever it lies: PEFT's folder, a file in it, or a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairway.errors import FormatError, ModelNotFound, UnsupportedError
from fairway.formats.gguf import open_gguf
from fairway.formats.identify import identify
from fairway.formats.json_text import read_object
from fairway.formats.lora import Adapter
from fairway.formats.lora_gguf import is_gguf_adapter, read_gguf_adapter
from fairway.formats.lora_peft import CONFIG, KIND, PREFIX_TUNING, read_peft


def open_adapter(path: Path, config: Mapping[str, Any]) -> Adapter:
    """`config` is the base model's. Raises `ModelNotFound`, `FormatError` or `UnsupportedError`."""
    if not path.exists():
        raise ModelNotFound(f"There is no adapter at {path}.", hint="Name PEFT's folder or a GGUF file.")
    if path.is_file() and identify(path).format == "gguf":
        if not is_gguf_adapter(open_gguf(path)):
            raise UnsupportedError(f"{path} is a model, not an adapter.", hint="Name it as the model.")
        return read_gguf_adapter(path, config)
    folder = path if path.is_dir() else path.parent
    if not (folder / CONFIG).is_file():
        raise FormatError(f"{folder} has no {CONFIG}, so it is no adapter.", hint="Name PEFT's folder.")
    return read_peft(folder)


def stated_rank(path: Path) -> int | None:
    """The largest rank that an adapter's header states; None: of no LoRA, or not to be read from there."""
    if path.is_file() and identify(path).format == "gguf":
        tensors = open_gguf(path).tensors.items()
        return max((each.info.shape[0] for name, each in tensors if name.endswith(".lora_a")), default=None)
    config = (path if path.is_dir() else path.parent) / CONFIG
    if not config.is_file():
        return None
    stated = read_object(config)
    patterns = stated.get("rank_pattern")
    ranks = [stated.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())]
    return max((each for each in ranks if type(each) is int), default=None)


def stated_adapter(folder: Path) -> str | None:
    """What PEFT's folder says that it holds, in words; None where it holds no adapter."""
    if not (folder / CONFIG).is_file():
        return None
    stated = read_object(folder / CONFIG)
    kind, base = stated.get(KIND), stated.get("base_model_name_or_path")
    if kind == PREFIX_TUNING:
        text = f"prefix of {stated.get('num_virtual_tokens')} tokens"
    elif kind == "LORA":
        text = f"{'DoRA' if stated.get('use_dora') else 'LoRA'} of rank {stated_rank(folder)}"
    else:
        text = f"{kind}"
    return f"{text}, of {base}" if base else text
