"""The small files that travel beside the weights of a folder, copied as they are.

A table of names: a folder may hold anything, and only what belongs to a model is taken along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fairway.formats.bundle import Bundle
from fairway.formats.json_text import read_object
from fairway.formats.pooling import MODULES
from fairway.formats.quantized_folder import CONFIG_KEYS
from fairway.formats.sidecars import TOKENIZER_FILES
from fairway.formats.source import Source

NAMES = (
    "config.json", "generation_config.json", *TOKENIZER_FILES, "chat_template.jinja", "chat_template.json",
    "preprocessor_config.json", "processor_config.json", MODULES, "sentence_bert_config.json",
    "config_sentence_transformers.json", "1_Pooling/config.json", "README.md", "LICENSE", "LICENSE.txt",
    "LICENSE.md", "LICENCE", "COPYING", "NOTICE",
)  # fmt: skip
MAX_BYTES = 256 << 20
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
DTYPE_KEYS = ("dtype", "torch_dtype")
GENERATION_KEYS = {"max_tokens": "max_new_tokens"}
"""Ours -> that of generation_config.json, where they differ."""


def copied_sidecars(bundle: Bundle, dtype: str | None) -> dict[str, bytes]:
    """What lies beside the weights; `dtype` is a stored type that config.json should now state."""
    if bundle.container == "nemo":
        return _written_sidecars(bundle, dtype)
    folder = bundle.path if bundle.path.is_dir() else bundle.path.parent
    found = {name: read_bytes(folder / name) for name in NAMES if (folder / name).is_file()}
    if dtype in DTYPES and "config.json" in found:
        config = read_object(folder / "config.json")
        changed = with_dtype(config, dtype)
        for key in CONFIG_KEYS:  # of packed weights that are unpacked on the way, only the file still says it
            if key not in bundle.config:
                changed.pop(key, None)
        if changed != config:
            found["config.json"] = as_json(changed)
    return found | (_of_modelfile(bundle, folder) if bundle.preset is not None else {})


def _of_modelfile(bundle: Bundle, folder: Path) -> dict[str, bytes]:
    """The template and the sampling that a Modelfile says instead of the folder's own."""
    path = folder / "generation_config.json"
    stated = {GENERATION_KEYS.get(key, key): value for key, value in asdict(bundle.generation).items()}
    before = read_object(path) if path.is_file() else {}
    after = before | {key: value for key, value in stated.items() if value is not None}
    found = {path.name: as_json(after)}
    if bundle.chat_template is not None:
        found["chat_template.jinja"] = bundle.chat_template.encode("utf-8")
    return found


def _written_sidecars(bundle: Bundle, dtype: str | None) -> dict[str, bytes]:
    """For a container that has its parts in another form."""
    if bundle.tokenizer is None:
        return {}
    stored = {info.type for info in bundle.tensors.infos.values() if len(info.shape) > 1}
    dtype = dtype or (stored.pop() if len(stored) == 1 else None)
    config = {key: value for key, value in bundle.config.items() if value is not None}
    found = {name: read_bytes(path) for name, path in bundle.tokenizer.files.items()}
    found["config.json"] = as_json(config | ({"dtype": DTYPES[dtype]} if dtype in DTYPES else {}))
    found["generation_config.json"] = as_json({"eos_token_id": list(bundle.end_of_text_ids)})
    return found


def with_dtype(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Both spellings of the key, where the config has them, here and in a text_config."""
    changed = {key: DTYPES[dtype] if key in DTYPE_KEYS else value for key, value in config.items()}
    if isinstance(inner := changed.get("text_config"), dict):
        changed["text_config"] = with_dtype(inner, dtype)
    return changed


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def read_bytes(path: Path) -> bytes:
    source = Source(path)
    return source.read(0, min(source.size, MAX_BYTES))
